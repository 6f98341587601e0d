package dataplane

import (
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
