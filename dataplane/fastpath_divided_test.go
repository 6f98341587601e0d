package dataplane

import (
	"net/netip"
	"testing"

	"vtepd/bench/lab"
)

// Superframes of UDP are carried to a peer where they leave the underlay's interface as datagrams, and what is sent right behind them is, too; in order, also behind the largest,
// which wrapped up would not fit the length fields. Where the interface may hand them over whole, and as soon as it may, user space divides them.
//
//	workload ══ web0 ── switch ── eth0 ══ eth0 ── switch ── db0 ══ workload
//	                      a                         b
func TestFastPathDividedUDP(t *testing.T) {
	t.Parallel()
	needFastPath(t)
	for _, kind := range []PortType{PortTAP, PortVeth, PortNetdev} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			ha, hb := l.Host("a"), l.Host("b")
			link := l.Link(ha, hb, lab.LinkOptions{})
			link.OffloadsOff()
			fast := func(c *Config) { c.FastPath = FastPathOn }
			a, b := startNode(t, ha, fast), startNode(t, hb, fast)
			a.vni(42, hb.Underlay4())
			b.vni(42, ha.Underlay4())
			var from *lab.Host
			if kind == PortTAP { // the host is the workload
				from = ha
				a.do(func() error {
					return a.AddPort(PortConfig{Name: "web0", Type: kind, Untagged: 42, Addresses: ha.OverlayPrefixes()})
				})
			} else {
				from = a.packetPort(l, kind, "web0", 42, 1450, nil)
			}
			to := b.packetPort(l, PortVeth, "db0", 42, 1450, nil)
			newPinger(t, from, to.Overlay4()).ping(100)
			const turns, small = 50, 5
			// burst says how many were left to user space.
			burst := func(segments int) (left uint64) {
				t.Helper()
				rest(a, b)
				before := a.Status().FastPath
				got, late := sendInTurns(t, from, to, turns, segments, 1393)
				rest(a, b)
				after := a.Status().FastPath
				if want := turns * (segments + small); got < want*9/10 || late != 0 { // a veth queue of 256 may have had no room
					t.Errorf("%d of %d datagrams came, %d of them late", got, want, late)
				}
				for _, reason := range []string{"odd_superframe", "behind_superframe"} {
					left += after.Punted[reason] - before.Punted[reason]
				}
				if n := after.Encap - before.Encap; left == 0 && n < uint64(turns*(segments+small)) {
					t.Errorf("superframes of %d: %d carried", segments, n)
				}
				return left
			}
			if left := burst(20); left != 0 {
				t.Errorf("%d left to user space", left)
			}
			if left := burst(47); left < turns {
				t.Errorf("of the largest %d left to user space", left)
			}
			link.A.Features(map[string]bool{"tx-udp_tnl-segmentation": true, "tx-udp-segmentation": true})
			eventually(t, "superframes are left to user space", func() bool { return burst(20) >= turns })
			link.A.Features(map[string]bool{"tx-udp-segmentation": false})
			eventually(t, "they are carried again", func() bool { return burst(20) == 0 })
		})
	}
}

// Superframes of a tunnel that the workload has itself are left to user space as such, wherever they leave: the kernel does not wrap them up again, and what comes behind them must not
// overtake them.
//
//	vxlan7 ── eth0 ══ web0 ── switch ── eth0 ══ eth0 ── switch ── db0 ══ eth0 ── vxlan7
//	  workload                  a                         b              workload
func TestFastPathTunnelInsideDivided(t *testing.T) {
	t.Parallel()
	needFastPath(t)
	l := lab.New(t)
	ha, hb := l.Host("a"), l.Host("b")
	l.Link(ha, hb, lab.LinkOptions{}).OffloadsOff()
	fast := func(c *Config) { c.FastPath = FastPathOn }
	a, b := startNode(t, ha, fast), startNode(t, hb, fast)
	a.vni(42, hb.Underlay4())
	b.vni(42, ha.Underlay4())
	from, to := a.packetPort(l, PortNetdev, "web0", 42, 1450, nil), b.packetPort(l, PortVeth, "db0", 42, 1450, nil)
	inner := []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}
	for i, h := range []*lab.Host{from, to} {
		other := []*lab.Host{to, from}[i]
		h.Must("ip", "link", "add", "vxlan7", "mtu", "1400", "type", "vxlan", "id", "7", "local", h.Overlay4().String(), "remote", other.Overlay4().String(), "dstport", "8472")
		h.Must("ip", "link", "set", "vxlan7", "up")
		h.Addr("vxlan7", netip.PrefixFrom(inner[i], 24))
	}
	newPinger(t, from, inner[1]).ping(100)
	server, err := to.Start("iperf3", "-s")
	if err != nil {
		t.Skipf("needs iperf3: %v", err)
	}
	defer server.Stop()
	before := a.Status().FastPath.Punted
	eventually(t, "superframes of the workload's tunnel are left to user space", func() bool {
		_, _ = from.Command("timeout", "4", "iperf3", "-c", inner[1].String(), "-t", "1")
		return a.Status().FastPath.Punted["odd_superframe"] > before["odd_superframe"]
	})
}
