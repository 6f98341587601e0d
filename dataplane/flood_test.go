package dataplane

import (
	"fmt"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// Broadcast, multicast and unknown unicast reach every other port and every peer of their VNI exactly once, and nobody else; a frame from a peer
// never reaches a peer; known unicast reaches one place.
//
//	p0 p1 p2 (VNI 42) ──┐                ┌── r0 (VNI 42, 43)
//	                    ├ switch ════════┼── r1 (VNI 42)
//	p9       (VNI 43) ──┘                └── r2 (VNI 42)
func TestFloodCounts(t *testing.T) {
	t.Parallel()
	s := newScene(t, 3, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.set(VNIConfig{VNI: 43, Learning: true}, s.addrs(0)...)
	for _, p := range []string{"p0", "p1", "p2"} {
		s.port(p, 42)
	}
	s.port("p9", 43)

	here, there := station(1), station(2)
	for _, dst := range []struct {
		name string
		mac  uint64
	}{{"broadcast", broadcast}, {"multicast", 0x01005e000101}, {"multicast6", 0x333300000101}, {"unknown", station(99)}} {
		frame := times(10, frameOf(here, dst.mac))
		s.Inject("p0", frame...)
		if got, want := s.counts(), "p1:10 p2:10 r0:10 r1:10 r2:10"; got != want {
			t.Errorf("%s from p0: %q, want %q", dst.name, got, want)
		}
		s.remotes[1].send(42, times(10, frameOf(there, dst.mac))...)
		if got, want := s.counts(), "p0:10 p1:10 p2:10"; got != want {
			t.Errorf("%s from r1: %q, want %q", dst.name, got, want)
		}
	}

	// Both stations are known now: here behind p0, there behind r1. One more behind p2 and one behind r0.
	near, far := station(3), station(4)
	s.Inject("p2", frameOf(near, broadcast))
	s.remotes[0].send(42, frameOf(far, broadcast))
	s.forget()
	for _, c := range []struct {
		name  string
		send  func(frames ...[]byte)
		frame []byte
		want  string
	}{
		{"port to peer", func(f ...[]byte) { s.Inject("p0", f...) }, frameOf(here, there), "r1:10"},
		{"port to port", func(f ...[]byte) { s.Inject("p0", f...) }, frameOf(here, near), "p2:10"},
		{"peer to port", func(f ...[]byte) { s.remotes[1].send(42, f...) }, frameOf(there, near), "p2:10"},
		{"peer to port, source new", func(f ...[]byte) { s.remotes[2].send(42, f...) }, frameOf(station(5), here), "p0:10"},
	} {
		c.send(times(10, c.frame)...)
		if got := s.counts(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	s.drops(10, SplitHorizon, func() { s.remotes[1].send(42, times(10, frameOf(there, far))...) })
	s.drops(10, SplitHorizon, func() { s.remotes[1].send(42, times(10, frameOf(there, station(5)))...) })
	s.drops(10, SplitHorizon, func() { s.remotes[0].send(42, times(10, frameOf(far, far))...) })
	s.drops(10, SamePlace, func() { s.Inject("p0", times(10, frameOf(here, here))...) })
	s.drops(10, LinkLocalMulticast, func() { s.Inject("p0", times(10, frameOf(here, 0x0180c2000000))...) })
	s.drops(10, LinkLocalMulticast, func() { s.remotes[0].send(42, times(10, frameOf(far, 0x0180c200000e))...) })
	if got := s.counts(); got != "" {
		t.Errorf("dropped frames arrived: %q", got)
	}
	s.Inject("p0", frameOf(here, 0x0180c2000010)) // the first address beyond the sixteen
	if got, want := s.counts(), "p1:1 p2:1 r0:1 r1:1 r2:1"; got != want {
		t.Errorf("01:80:c2:00:00:10: %q, want %q", got, want)
	}
	s.balance()
}

// A VNI in which nobody else is has nowhere to send to.
//
//	p0 (VNI 42) ── switch ════ r0 (no peer of VNI 42)
func TestFloodWithoutDestination(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.port("p0", 42)
	s.drops(3, NoDestination, func() { s.Inject("p0", times(3, frameOf(station(1), broadcast))...) })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs(0)...)
	s.drops(0, NoDestination, func() { s.Inject("p0", times(3, frameOf(station(1), broadcast))...) })
	if got, want := s.counts(), "r0:3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.do(func() error { return s.DelPort("p0") })
	delete(s.sniffed, "p0")
	s.drops(3, NoDestination, func() { s.remotes[0].send(42, times(3, frameOf(station(2), broadcast))...) })
}

// A flooded superframe reaches ports whole and peers cut, in order, byte for byte; also where a port takes no superframes.
//
//	p0 p1 p2 ── switch ════ r0 r1 r2
func TestFloodSuperframe(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v6=%t", v6), func(t *testing.T) {
			s := newScene(t, 3, nil)
			s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
			for _, p := range []string{"p0", "p1", "p2"} {
				s.port(p, 42)
			}
			sent := encaptest.Packet{
				SrcMAC: station(1), DstMAC: broadcast, V6: v6, Proto: encap.ProtoTCP, Seq: 7000, Flags: encap.TCPPsh | encap.TCPAck,
				TCPOptions: encaptest.Timestamps(1, 2), Payload: encaptest.Payload(40003, 5),
			}
			const size = 1200
			frame, off := sent.Superframe(size)
			s.InjectSuperframe("p0", encodeOffload(off), frame)
			s.rest()
			for _, p := range []string{"p1", "p2"} {
				s.wantStream(p, s.seen(p), sent, 1)
			}
			segments := (len(sent.Payload) + size - 1) / size
			for i, r := range s.remotes {
				var frames [][]byte
				for _, a := range r.received() {
					frames = append(frames, a.frame)
				}
				s.wantStream(fmt.Sprintf("remote %d", i), frames, sent, segments)
				for _, f := range frames {
					wantChecksums(t, f)
				}
			}
			if got := len(s.seen("p0")); got != 0 {
				t.Errorf("%d frames came back", got)
			}
			want := Totals{Received: uint64(segments), Forwarded: uint64(segments)}
			if got := s.Totals(); got != want {
				t.Errorf("totals %+v, want %+v: a superframe counts as its segments", got, want)
			}
			for _, p := range s.PortStats() {
				if p.Port == "p1" && p.TxPackets != uint64(segments) {
					t.Errorf("port p1 sent %d packets, want %d", p.TxPackets, segments)
				}
			}
		})
	}
}

// Four switches that replicate to each other: a frame reaches each of the others once, never twice over a third one.
//
//	a ══╗
//	b ══╬══ bridge
//	c ══╣
//	d ══╝
func TestHeadEndReplication(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := []*lab.Host{l.Host("a"), l.Host("b"), l.Host("c"), l.Host("d")}
	l.Switch("net", lab.LinkOptions{}, hosts...)
	var nodes []*node
	var sniffers []*lab.Sniffer
	for _, h := range hosts {
		silence(t, h)
		n := startNode(t, h, nil)
		c := VNIConfig{VNI: 42, Learning: true}
		for _, other := range hosts {
			if other != h {
				c.Peers = append(c.Peers, peerAt(other.Underlay4()))
			}
		}
		n.do(func() error { return n.SetVNI(c) })
		n.tap("p0", 42, nil)
		nodes = append(nodes, n)
		sniffers = append(sniffers, n.Sniff("p0"))
	}
	// Neighbours' addresses first: what is lost while they are asked for is not the switches' doing.
	for from, n := range nodes {
		eventually(t, "all hosts reach all hosts", func() bool {
			n.Inject("p0", frameOf(station(50+from), broadcast))
			for to, sniffer := range sniffers {
				if to == from {
					continue
				}
				_, ok := sniffer.Until(200*time.Millisecond, func(f []byte) bool { return encap.Ethernet(f).Src() == station(50+from) })
				if !ok {
					return false
				}
			}
			return true
		})
	}
	rest(nodes...)
	for from, n := range nodes {
		n.Inject("p0", times(10, frameOf(station(from), broadcast))...)
		rest(nodes...)
		for to, sniffer := range sniffers {
			want := 10
			if to == from {
				want = 0
			}
			got := 0
			for _, f := range sniffer.Collect(quietTime) {
				if encap.Ethernet(f.Data).Src() == station(from) {
					got++
				}
			}
			if got != want {
				t.Errorf("%d sent 10, %d got %d, want %d", from, to, got, want)
			}
		}
	}
	for _, n := range nodes {
		n.balance()
	}
}
