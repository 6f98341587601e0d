package dataplane

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"vtepd/bench/lab"
)

// A workload that routes between two VNIs sends what came out of a tunnel on this machine, which the kernel still takes for wrapped up: it is carried all the same, cut
// by the kernel or whole, with right checksums where the first tunnel had some. Where the outer family is not that of what it carries, user space does it.
//
//	              r0 (VNI 42) ══ eth0 ┐
//	a ── switch ──                     ├ router
//	│             r1 (VNI 43) ══ eth1 ┘
//	└ eth0 ══ eth0 ── k: vxlan42, and vxlan43 with its addresses in far
func TestFastPathRouter(t *testing.T) {
	t.Parallel()
	needFastPath(t)
	for _, kind := range []PortType{PortVeth, PortNetdev} {
		for _, v6 := range []bool{false, true} {
			for _, summed := range []bool{false, true} {
				for _, cut := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/IPv6 %v/checksums %v/cut %v", kind, v6, summed, cut), func(t *testing.T) {
						t.Parallel()
						routedBetweenVNIs(t, kind, v6, summed, cut)
					})
				}
			}
		}
	}
}

func routedBetweenVNIs(t *testing.T, kind PortType, v6, summed, cut bool) {
	l := lab.New(t)
	ha, k, router, far := l.Host("a"), l.Host("k"), l.Host("router"), l.Host("far")
	link := l.Link(ha, k, lab.LinkOptions{})
	if cut { // what a sends: what comes arrives whole
		link.A.Features(map[string]bool{"tx-udp_tnl-segmentation": false, "tx-udp_tnl-csum-segmentation": false})
	}
	local, remote, mtu, check := ha.Underlay4(), k.Underlay4(), 1450, []string{"noudpcsum"}
	switch {
	case v6 && summed: // of what a sends, superframes alone have some
		check = []string{"noudp6zerocsumtx", "udp6zerocsumrx"}
	case v6:
		check = []string{"udp6zerocsumtx", "udp6zerocsumrx"}
	case summed:
		check = []string{"udpcsum"}
	}
	if v6 {
		local, remote, mtu = ha.Underlay6(), k.Underlay6(), 1430
	}
	a := startNode(t, ha, func(c *Config) { c.FastPath, c.Local, c.UDP6ZeroChecksumRx = FastPathOn, local, true })
	net := func(vni, host int) []netip.Prefix {
		return []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(16*(vni-42) + host)}), 28),
			netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::%d/64", vni, host)),
		}
	}
	for i, vni := range []int{42, 43} {
		a.do(func() error {
			return a.SetVNI(VNIConfig{VNI: uint32(vni), Learning: true, Peers: []netip.AddrPort{netip.AddrPortFrom(remote, 0)}, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}})
		})
		dev := fmt.Sprint("vxlan", vni)
		k.Must("ip", append([]string{"link", "add", dev, "mtu", fmt.Sprint(mtu), "type", "vxlan", "id", fmt.Sprint(vni), "local", remote.String(), "remote", local.String(),
			"dstport", "4789"}, check...)...)
		end := k
		if vni == 43 {
			k.Must("ip", "link", "set", dev, "netns", far.Name())
			end = far
		}
		end.Must("ip", "link", "set", dev, "up")
		end.Addr(dev, net(vni, 2)...)
		for _, to := range net(42+43-vni, 0) {
			via := net(vni, 1)[0].Addr()
			if to.Addr().Is6() {
				via = net(vni, 1)[1].Addr()
			}
			end.Must("ip", "route", "add", to.String(), "via", via.String())
		}
		c := PortConfig{Name: fmt.Sprint("r", i), Type: kind, Untagged: uint32(vni)}
		eth := fmt.Sprint("eth", i)
		if kind == PortNetdev {
			ha.Must("ip", "link", "add", c.Name, "mtu", fmt.Sprint(mtu), "type", "veth", "peer", "name", eth, "mtu", fmt.Sprint(mtu), "netns", router.Name())
			router.Must("ip", "link", "set", eth, "up")
			ha.Must("ip", "link", "set", c.Name, "up")
			router.Addr(eth, net(vni, 1)...)
		} else {
			c.NetNS, c.IfName, c.MTU, c.Addresses = router.Name(), eth, mtu, net(vni, 1)
		}
		a.do(func() error { return a.AddPort(c) })
	}
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := router.Sysctl(key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	const size = 16 << 20
	block := bytes.Repeat([]byte("overlay "), 1<<17)
	for i, inner6 := range []bool{false, true} {
		server := net(43, 2)[i].Addr()
		newPinger(t, k, server).ping(100)
		transferOf(t, k, far, server, 1<<20, block)
		rest(a)
		before := a.Status()
		transferOf(t, k, far, server, size, block)
		rest(a)
		after := a.Status()
		carried := after.FastPath.Encap - before.FastPath.Encap
		if back := after.FastPath.Punted["given_back"] - before.FastPath.Punted["given_back"]; inner6 == v6 && (carried < size/1450 || back != 0) {
			t.Errorf("IPv6 inside %v: %d segments were carried and %d given back, want %d at least and none", inner6, carried, back, size/1450)
		}
	}
}
