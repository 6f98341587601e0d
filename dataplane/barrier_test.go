package dataplane

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// barrierPort is where the ends of a barrier listen.
const barrierPort = 7777

// barrierPatience is how long a probe may take on a busy machine; a link that is down takes none.
const barrierPatience = time.Second

// barrier tells when everything that was put on the link between switch and wire has arrived. What crosses a veth pair waits in the backlog of the
// processor that sent it, for as long as the kernel's softirq thread is kept from running; what waits for a neighbour's address waits in the neighbour's queue.
// A probe behind it, from every processor and to every address, arrives after it.
type barrier struct {
	sw, wire *net.UDPConn
	toWire   []netip.AddrPort
	toSwitch netip.AddrPort
	number   byte
}

func newBarrier(s *scene) *barrier {
	s.t.Helper()
	b := &barrier{toSwitch: netip.AddrPortFrom(s.config.Local, barrierPort)}
	open := func(conn **net.UDPConn) func() error {
		return func() (err error) {
			*conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: barrierPort})
			return err
		}
	}
	s.do(open(&b.sw))
	if err := s.wire.Do(open(&b.wire)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { b.sw.Close(); b.wire.Close() })
	for _, r := range s.remotes {
		b.toWire = append(b.toWire, netip.AddrPortFrom(r.addr, barrierPort))
	}
	return b
}

// pass waits for what is under way in both directions, and says whether all probes arrived. Where one cannot be sent, nothing else can be under way.
func (b *barrier) pass(t testing.TB) bool {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	b.number++
	var toWire, toSwitch int
	for cpu := range 1024 {
		if !all.IsSet(cpu) {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		for _, to := range b.toWire {
			if _, err := b.sw.WriteToUDPAddrPort([]byte{b.number}, to); err == nil {
				toWire++
			}
		}
		if _, err := b.wire.WriteToUDPAddrPort([]byte{b.number}, b.toSwitch); err == nil {
			toSwitch++
		}
	}
	there := b.await(b.wire, toWire)
	return b.await(b.sw, toSwitch) && there && toWire+toSwitch > 0
}

func (b *barrier) await(conn *net.UDPConn, probes int) bool {
	_ = conn.SetReadDeadline(time.Now().Add(barrierPatience))
	var buf [1]byte
	for probes > 0 {
		n, _, err := conn.ReadFromUDPAddrPort(buf[:])
		if os.IsTimeout(err) {
			return false
		}
		if err == nil && n == 1 && buf[0] == b.number {
			probes--
		}
	}
	return true
}
