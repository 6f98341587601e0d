package dataplane

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// The largest superframes of UDP, which wrapped up would not fit the length fields, and what is sent right behind them stay in order, to a peer and to a port.
//
//	workload ══ web0 ─┐
//	                  ├─ switch ── eth0 ══ eth0 ── switch ── db0 ══ workload
//	workload ══ app0 ─┘    a                         b
func TestLargestUDPStaysInOrder(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	needFastPath(t)
	ha, hb := l.Host("a"), l.Host("b")
	l.Link(ha, hb, lab.LinkOptions{})
	fast := func(c *Config) { c.FastPath = FastPathOn }
	a, b := startNode(t, ha, fast), startNode(t, hb, fast)
	a.vni(42, hb.Underlay4())
	b.vni(42, ha.Underlay4())
	from := a.packetPort(l, PortVeth, "web0", 42, 1450, nil)
	for _, to := range []*lab.Host{b.packetPort(l, PortVeth, "db0", 42, 1450, nil), a.packetPort(l, PortVeth, "app0", 42, 1450, nil)} {
		newPinger(t, from, to.Overlay4()).ping(100)
		rest(a, b)
		before := a.Status().FastPath
		got, late := sendInTurns(t, from, to, 100, 47, 1393)
		rest(a, b)
		after := a.Status().FastPath
		if got == 0 || late != 0 {
			t.Errorf("%d of %d datagrams came late", late, got)
		}
		if n := after.Punted["too_large"] - before.Punted["too_large"]; n != 0 {
			t.Errorf("%d were too large", n)
		}
	}
}

// sendInTurns sends superframes of so many datagrams, and five small ones behind each; it says how many came, and how many of them behind later ones.
func sendInTurns(t *testing.T, from, to *lab.Host, turns, segments, size int) (got, late int) {
	t.Helper()
	var receiver, sender *net.UDPConn
	if err := to.Do(func() (err error) {
		receiver, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Overlay4(), 0)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	if err := from.Do(func() (err error) {
		sender, err = net.DialUDP("udp", nil, receiver.LocalAddr().(*net.UDPAddr))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	_ = receiver.SetReadBuffer(8 << 20)
	_ = sender.SetWriteBuffer(8 << 20)

	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, size)
		for newest := uint32(0); ; got++ {
			_ = receiver.SetReadDeadline(time.Now().Add(2 * time.Second))
			if _, err := receiver.Read(b); err != nil {
				return
			}
			if n := binary.BigEndian.Uint32(b); n < newest {
				late++
			} else {
				newest = n
			}
		}
	}()
	gso := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(gso, uint64(unix.CmsgLen(2)))
	binary.NativeEndian.PutUint32(gso[8:], unix.SOL_UDP)
	binary.NativeEndian.PutUint32(gso[12:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(gso[16:], uint16(size))
	number := uint32(0)
	data := make([]byte, segments*size)
	for range turns {
		for i := range segments {
			number++
			binary.BigEndian.PutUint32(data[i*size:], number)
		}
		if _, _, err := sender.WriteMsgUDP(data, gso, nil); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			number++
			binary.BigEndian.PutUint32(data, number)
			if _, err := sender.Write(data[:100]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	<-done
	return got, late
}
