package dataplane

import (
	"net/netip"
	"testing"

	"vtepd/bench/lab"
)

// A connection whose superframes pass user space where they arrive: to a netdev port that they would not cross whole when the underlay carries them so, and from a
// peer in user space, whose datagrams come joined. Single segments between them do so too, and it stays in order. Acknowledgements, the other way, and pings are carried.
//
//	workload ══ web0 ── switch ── eth0 ══ eth0 ── switch ── db0 ══ workload
//	                      a                         b
func TestSegmentsStayBehindSuperframes(t *testing.T) {
	for _, c := range []struct {
		name   string
		sender FastPathMode
		to     PortType
		vrf    string // that the underlays are in
	}{
		{"from the fast path to a netdev port", FastPathOn, PortNetdev, ""},
		{"from user space to a netdev port", FastPathOff, PortNetdev, ""},
		{"from user space to a veth port", FastPathOff, PortVeth, ""},
		{"from user space to a veth port, in a VRF", FastPathOff, PortVeth, "blue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			needFastPath(t)
			ha, hb := l.Host("a"), l.Host("b")
			l.Link(ha, hb, lab.LinkOptions{})
			if c.vrf != "" {
				for _, h := range []*lab.Host{ha, hb} {
					bringVRFs(t, h, c.vrf)
					h.Must("ip", "link", "set", "eth0", "master", c.vrf)
				}
			}
			mode := func(m FastPathMode) func(*Config) { return func(n *Config) { n.FastPath, n.VRF = m, c.vrf } }
			a, b := startNode(t, ha, mode(c.sender)), startNode(t, hb, mode(FastPathOn))
			a.vni(42, hb.Underlay4())
			b.vni(42, ha.Underlay4())
			wa, wb := a.packetPort(l, c.to, "web0", 42, 1450, nil), b.packetPort(l, c.to, "db0", 42, 1450, nil)
			if c.to == PortNetdev { // which would take them whole
				lab.End{Host: hb, Name: "db0"}.Features(map[string]bool{"tx-udp_tnl-segmentation": false})
				b.awaitWhole("db0", false)
			}
			newPinger(t, wa, wb.Overlay4()).ping(100)
			left := func() (odd, behind uint64) {
				p := b.Status().FastPath.Punted
				return p["odd_superframe"], p["behind_superframe"]
			}
			for i := 0; ; i++ {
				if odd, _ := left(); odd > 0 {
					break
				}
				if i == 10 {
					t.Skip("superframes do not cross whole here")
				}
				transfer(t, wa, wb, wb.Overlay4(), 1<<20) // the first may pass before the maps know the stations
				rest(a, b)
			}
			odd, behind := left()
			here, there, again := a.Status().FastPath, b.Status().FastPath, sentAgain(t, wa)
			transfer(t, wa, wb, wb.Overlay4(), 64<<20)
			rest(a, b)
			oddThen, behindThen := left()
			again = sentAgain(t, wa) - again
			carried := b.Status().FastPath.Decap - there.Decap
			t.Logf("%d superframes and %d segments behind them left to user space, %d carried, %d sent again", oddThen-odd, behindThen-behind, carried, again)
			if oddThen == odd {
				t.Error("superframes cross whole no more")
			}
			if behindThen == behind {
				t.Error("no segment stayed behind, not even the last")
			}
			// What is sent again after a pause may be.
			if carried > 20 {
				t.Errorf("%d segments were carried past the superframes in user space", carried)
			}
			if c.sender == FastPathOn && a.Status().FastPath.Decap == here.Decap {
				t.Error("no acknowledgement was carried")
			}
			newPinger(t, wa, wb.Overlay4()).ping(100)
			if b.Status().FastPath.Decap == there.Decap {
				t.Error("no ping was carried")
			}
			a.balance()
			b.balance()
		})
	}
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
