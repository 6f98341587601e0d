package dataplane

import (
	"net/netip"
	"testing"

	"vtepd/bench/lab"
)

// A connection to a netdev port, whose superframes pass user space when the underlay carries them whole: single segments between them do so too, and it
// stays in order. Acknowledgements, the other way, and UDP are carried.
//
//	workload ══ web0 ── switch ── eth0 ══ eth0 ── switch ── db0 ══ workload
//	                      a                         b
func TestSegmentsStayBehindSuperframes(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	needFastPath(t)
	ha, hb := l.Host("a"), l.Host("b")
	l.Link(ha, hb, lab.LinkOptions{})
	on := func(c *Config) { c.FastPath = FastPathOn }
	a, b := startNode(t, ha, on), startNode(t, hb, on)
	a.vni(42, hb.Underlay4())
	b.vni(42, ha.Underlay4())
	wa, wb := a.packetPort(l, PortNetdev, "web0", 42, 1450, nil), b.packetPort(l, PortNetdev, "db0", 42, 1450, nil)
	newPinger(t, wa, wb.Overlay4()).ping(100)
	odd := func() uint64 { return b.Status().FastPath.Punted["odd_superframe"] }
	for i := 0; odd() == 0; i++ {
		if i == 10 {
			t.Skip("superframes do not cross whole here")
		}
		transfer(t, wa, wb, wb.Overlay4(), 1<<20) // the first may pass before the maps know the stations
		rest(a, b)
	}
	here, there := a.Status().FastPath, b.Status().FastPath
	transfer(t, wa, wb, wb.Overlay4(), 64<<20)
	rest(a, b)
	if odd() == there.Punted["odd_superframe"] {
		t.Error("superframes cross whole no more")
	}
	if n := b.Status().FastPath.Decap - there.Decap; n != 0 {
		t.Errorf("%d segments were carried past the superframes in user space", n)
	}
	if a.Status().FastPath.Decap == here.Decap {
		t.Error("no acknowledgement was carried")
	}
	newPinger(t, wa, wb.Overlay4()).ping(100)
	if b.Status().FastPath.Decap == there.Decap {
		t.Error("no ping was carried")
	}
	a.balance()
	b.balance()
}

// Tunnels that workloads run among themselves pass whole on the fast path between two netdev ports: what a superframe in one leaves to be finished lies behind
// the headers that were judged.
//
//	vx0 ── workload ══ web0 ── switch ── db0 ══ workload ── vx0
func TestFastPathWorkloadTunnels(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	needFastPath(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	n := startNode(t, h, func(c *Config) { c.FastPath = FastPathOn })
	n.vni(42)
	w := []*lab.Host{n.packetPort(l, PortNetdev, "web0", 42, 1450, nil), n.packetPort(l, PortNetdev, "db0", 42, 1450, nil)}
	inside := []string{"203.0.113.1", "203.0.113.2"}
	for i, end := range w {
		end.Must("ip", "link", "add", "vx0", "type", "vxlan", "id", "7", "local", end.Overlay4().String(), "remote", w[1-i].Overlay4().String(), "dstport", "8472")
		end.Must("ip", "address", "add", inside[i]+"/24", "dev", "vx0")
		end.Must("ip", "link", "set", "vx0", "up")
	}
	newPinger(t, w[0], netip.MustParseAddr(inside[1])).ping(100)
	rest(n)
	before := n.Status().FastPath.Local
	const size = 32 << 20
	transfer(t, w[0], w[1], netip.MustParseAddr(inside[1]), size)
	rest(n)
	if carried := n.Status().FastPath.Local - before; carried < size/1500/2 {
		t.Errorf("%d frames were carried of %d MB", carried, size>>20)
	}
	// What went before the maps knew the stations met user space, which cannot carry it.
	if dropped := n.dropped(BadOffload); dropped > 20 {
		t.Errorf("%d superframes dropped", dropped)
	}
	n.balance()
}
