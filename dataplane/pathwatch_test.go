package dataplane

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/dataplane/underlay"
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
	// Each of them could meet the poll by chance; and on a busy machine one may take long.
	var slow []time.Duration
	for range 3 {
		slow = nil
		for _, mtu := range []int{1400, 1500, 1400, 1500, 1400, 1500} {
			object("replace", mtu)
			from := time.Now()
			n.awaitPath(peer.Addr(), mtu)
			if took := time.Since(from); took > pathPoll/2 {
				slow = append(slow, took.Round(time.Millisecond))
			}
		}
		if slow == nil {
			return
		}
	}
	t.Errorf("changes took %s", slow)
}

// A look that had to wait, here for a command, elsewhere for the kernel, is no reason to rest before the next one.
//
//	auto ── switch ── eth0 ══ r0
func TestPathsAfterAWait(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.do(func() error { return s.AddPort(PortConfig{Name: "auto", Type: PortTAP, Untagged: 42}) })
	s.awaitPort("auto", 1450)
	const wait = 3 * time.Second
	s.mu.Lock()
	s.MTU("eth0", 1400)
	time.Sleep(wait)
	s.mu.Unlock()
	s.awaitPort("auto", 1350)
	s.MTU("eth0", 9000)
	from := time.Now()
	s.awaitPort("auto", 8950)
	if took := time.Since(from); took > 5*wait {
		t.Errorf("followed after %s, behind a look that had to wait for %s", took.Round(time.Millisecond), wait)
	}
}

// What a router said of a way is of no more use when routes change, and that the path is wide again is told as that it was narrow.
func TestPathIsToldWideWithTheRoutes(t *testing.T) {
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, b, lab.LinkOptions{MTU: 1500})
	peer := netip.MustParseAddrPort("192.0.2.2:4789")
	n := startNode(t, a, nil)
	n.do(func() error { return n.SetVNI(VNIConfig{VNI: 42, Learning: true, Peers: []netip.AddrPort{peer}}) })
	n.awaitPath(peer.Addr(), 1500)
	events, cancel := n.Subscribe(100)
	defer cancel()
	p := n.peers.find(peer)
	for round := range 3 {
		n.pathsChanged(n.paths.hear(p, &underlay.ICMPError{Dest: peer, Errno: unix.EMSGSIZE, MTU: 1400}))
		n.awaitPath(peer.Addr(), 1400)
		a.Must("ip", "route", "add", fmt.Sprintf("203.0.113.%d/32", round), "dev", "eth0")
		n.awaitPath(peer.Addr(), 1500)
		said := 0
		eventually(t, "the path is told to be narrow, and wide again", func() bool {
			for len(events) > 0 {
				if e := <-events; e.Object == "peer" && e.Action == "pmtu" {
					said++
				}
			}
			return said >= 2
		})
	}
}
