package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// Sixty-four UDP flows of mixed sizes cross two switches both ways at once, over IPv4 and IPv6, single datagrams and superframes (USO), and what comes is
// what was sent, byte for byte, in the order of its flow.
//
//	vtep0 198.51.100.1 ── switch ── eth0 ══ eth0 ── switch ── vtep0 198.51.100.2
func TestFlows(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%t", offload), func(t *testing.T) {
			a, b, _ := pair(t, func(c *Config) { c.Offload = offload })
			waitForRoute(t, a, b.Overlay6())
			waitForAddress(t, a, a.Overlay6())
			waitForRoute(t, b, a.Overlay6())
			waitForAddress(t, b, b.Overlay6())
			const flows = 64
			var running sync.WaitGroup
			var lost, echoed atomic.Int64
			var list []*flow
			for i := range flows {
				server := b.Overlay4()
				if i%2 == 1 {
					server = b.Overlay6()
				}
				f := &flow{t: t, number: i, rounds: 40, lost: &lost, echoed: &echoed}
				b.do(func() error { return f.listen(server) })
				a.do(func() error { return f.dial() })
				list = append(list, f)
			}
			for _, f := range list {
				running.Go(f.echo)
				running.Go(f.ask)
			}
			running.Wait()
			rest(a, b)
			a.balance()
			b.balance()
			// A message whose answer was late is sent again: on a busy machine that may happen, often it must not.
			if n := lost.Load(); n > flows*40/100 {
				t.Errorf("%d of %d messages were lost", n, flows*40)
			}
			t.Logf("%d bytes echoed, %d messages lost", echoed.Load(), lost.Load())
			for _, n := range []*node{a, b} {
				for _, d := range n.Drops() {
					if d.Reason != LinkLocalMulticast && d.Reason != NoDestination {
						t.Errorf("dropped: %+v", d)
					}
				}
			}
		})
	}
}

// waitForRoute waits until a node has a way to an address: the kernel makes the routes of IPv6 prefixes a while after the address.
func waitForRoute(t testing.TB, n *node, to netip.Addr) {
	t.Helper()
	eventually(t, "a route to "+to.String(), func() bool {
		return n.Host.Do(func() error {
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
			if err == nil {
				c.Close()
			}
			return err
		}) == nil
	})
}

// waitForAddress waits until a node can use an address of its own: a while after the interface of an IPv6 address was set up.
func waitForAddress(t *testing.T, n *node, own netip.Addr) {
	t.Helper()
	n.AwaitAddress(own)
}

// flow is one UDP flow: the client sends a message, several datagrams at times, and the server sends each datagram back.
type flow struct {
	t              *testing.T
	number, rounds int
	server, client *net.UDPConn
	lost, echoed   *atomic.Int64
}

func (f *flow) listen(a netip.Addr) (err error) {
	f.server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	return err
}

func (f *flow) dial() (err error) {
	f.client, err = net.DialUDP("udp", nil, f.server.LocalAddr().(*net.UDPAddr))
	return err
}

func (f *flow) echo() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := f.server.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if _, err := f.server.WriteToUDPAddrPort(buf[:n], from); err != nil && !errors.Is(err, net.ErrClosed) {
			f.t.Errorf("flow %d: echo of %d bytes: %v", f.number, n, err)
		}
	}
}

func (f *flow) ask() {
	defer f.server.Close()
	defer f.client.Close()
	rng := rand.New(rand.NewPCG(uint64(f.number), 3))
	for round := range f.rounds {
		// One datagram of any size, fragments included, or a train of equal ones with a shorter last.
		size, count := 9+rng.IntN(1390), 1
		switch rng.IntN(8) {
		case 0:
			size = 1400 + rng.IntN(8000)
		case 1, 2, 3:
			size, count = 100+rng.IntN(1200), 2+rng.IntN(20)
		}
		message := encaptest.Payload(size*(count-1)+9+rng.IntN(size-8), rng.Uint64())
		for at := 0; at < len(message); at += size {
			binary.BigEndian.PutUint64(message[at:], uint64(round)<<32|uint64(at/size))
		}
		tries := 0
		for ; tries < 5 && !f.exchange(message, size, count > 1); tries++ {
			f.lost.Add(1)
		}
		if tries == 5 {
			f.t.Errorf("flow %d: %d datagrams of %d bytes never came back whole", f.number, count, size)
			return
		}
		f.echoed.Add(int64(len(message)))
	}
}

// exchange sends a message and compares what comes back: in order, but with the fast path. There UDP superframes pass user space and single datagrams do not, so
// that the last of a train, when it is shorter, may come first.
func (f *flow) exchange(message []byte, size int, train bool) bool {
	segment := 0
	if train {
		segment = size
	}
	raw, err := f.client.SyscallConn()
	if err == nil {
		controlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, segment) })
		err = errors.Join(err, controlErr)
	}
	if err != nil {
		f.t.Errorf("flow %d: %v", f.number, err)
		return true
	}
	if _, err := f.client.Write(message); err != nil {
		f.t.Errorf("flow %d: send %d bytes: %v", f.number, len(message), err)
		return true
	}
	buf := make([]byte, 1<<16)
	fast := os.Getenv("VTEPD_TEST_FASTPATH") == "on"
	came := make(map[int]bool) // by where it begins in the message
	for at := 0; at < len(message); {
		_ = f.client.SetReadDeadline(time.Now().Add(time.Second))
		n, err := f.client.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		begin := at
		if fast && err == nil && n >= 8 {
			begin = int(binary.BigEndian.Uint64(buf)-binary.BigEndian.Uint64(message)) * size
		}
		if begin < 0 || begin >= len(message) || came[begin] {
			begin = at
		}
		want := message[begin:min(begin+size, len(message))]
		if n >= 8 && !bytes.Equal(buf[:8], want[:8]) && binary.BigEndian.Uint64(buf) < binary.BigEndian.Uint64(want) {
			continue // the late answer to a message that was sent again
		}
		if err != nil || !bytes.Equal(buf[:n], want) {
			f.t.Errorf("flow %d: datagram at %d of %d: %d bytes came back changed or out of order: %v", f.number, at, len(message), n, err)
			return true
		}
		came[begin] = true
		at += n
	}
	return true
}

// Frames of one flow leave in their order whatever their outer headers take from them: ECN marks that a router made, and packets without.
//
//	p0 ── switch ════ r0
func TestFlowKeepsOrderAcrossClasses(t *testing.T) {
	t.Parallel()
	for _, marked := range []uint8{3, 0, 0xb8} {
		t.Run(fmt.Sprintf("TOS %#x", marked), func(t *testing.T) {
			s := newScene(t, 1, nil)
			s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{InheritDSCP: true}}, s.addrs()...)
			s.port("p0", 42)
			s.pinned(42, "", station(2))
			const n = 200
			var frames [][]byte
			for i := range n {
				p := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Flags: encap.TCPAck, Seq: uint32(i * 100), TOS: 2, Payload: encaptest.Payload(100, uint64(i))}
				if i%8 == 3 {
					p.TOS = marked
				}
				frames = append(frames, p.Frame())
			}
			s.Inject("p0", frames...)
			s.rest()
			got := s.remotes[0].received()
			if len(got) != n {
				t.Fatalf("%d of %d arrived", len(got), n)
			}
			for i, a := range got {
				var l encap.Layout
				l.Parse(a.frame)
				if seq := int(encap.TCP(a.frame[l.L4:]).Seq()) / 100; seq != i {
					t.Fatalf("frame %d arrived as number %d", seq, i)
				}
			}
		})
	}
}
