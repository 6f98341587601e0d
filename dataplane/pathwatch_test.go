package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// A group beyond 32 would be left out without a word: nl.Subscribe asks by a mask of 32 bits.
func TestRouteGroups(t *testing.T) {
	for _, g := range routeGroups {
		if g < 1 || g > 32 {
			t.Errorf("group %d cannot be asked for so", g)
		}
	}
}

// A route that leads by a nexthop object is another one when the object is replaced, of which the kernel need not announce a route.
//
//	a eth0 ══ 1500 ══ b
//	  eth1 ══ 1400 ══ c
func TestPathFollowsNexthop(t *testing.T) {
	l := lab.New(t)
	a, b, c := l.Host("a"), l.Host("b"), l.Host("c")
	l.Link(a, b, lab.LinkOptions{MTU: 1500})
	second := l.Link(a, c, lab.LinkOptions{MTU: 1400, Addressing: lab.Bare})
	a.Addr(second.A.Name, netip.MustParsePrefix("198.51.100.1/24"))
	if err := a.Sysctl("net/ipv4/nexthop_compat_mode", "0"); err != nil {
		t.Skipf("no nexthop objects in this kernel: %v", err)
	}
	gateways := map[int][]string{1500: {"via", "192.0.2.2", "dev", "eth0"}, 1400: {"via", "198.51.100.2", "dev", second.A.Name}}
	object := func(verb string, mtu int) {
		a.Must("ip", append([]string{"nexthop", verb, "id", "1"}, gateways[mtu]...)...)
	}
	object("add", 1500)
	a.Must("ip", "route", "add", "203.0.113.2/32", "nhid", "1")
	peer := netip.MustParseAddrPort("203.0.113.2:4789")
	n := startNode(t, a, nil)
	n.do(func() error { return n.SetVNI(VNIConfig{VNI: 42, Learning: true, Peers: []netip.AddrPort{peer}}) })
	n.awaitPath(peer.Addr(), 1500)
	for i, mtu := range []int{1400, 1500, 1400, 1500, 1400, 1500} { // each of them could meet the poll by chance
		object("replace", mtu)
		from := time.Now()
		n.awaitPath(peer.Addr(), mtu)
		if took := time.Since(from); took > pathPoll/2 {
			t.Errorf("change %d took %s", i, took.Round(time.Millisecond))
		}
	}
}
