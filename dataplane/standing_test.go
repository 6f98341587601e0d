package dataplane

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"vtepd/bench/lab"
)

// The underlay address is on an interface that stands on another one, directly or by a bridge: that one is no port, or nothing would come up to the
// address. What stands beside it may be one.
//
//	192.0.2.1 on u0 (macvlan) ── eth0 ══ eth0 wire          192.0.2.1 on br0 ── u0 (macvlan) ── eth0 ══ eth0 wire
//	                 side0 ──────┘                                                  side0 ──────┘
func TestPortUnderTheUnderlay(t *testing.T) {
	for _, carrier := range []string{"u0", "br0"} {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			host, wire := l.Host("sw"), l.Host("wire")
			l.Link(host, wire, lab.LinkOptions{})
			for _, name := range []string{"u0", "side0"} {
				if out, err := host.Command("ip", "link", "add", "link", "eth0", "name", name, "type", "macvlan", "mode", "bridge"); err != nil {
					t.Skipf("no macvlan here: %v: %s", err, out)
				}
				host.Must("ip", "link", "set", name, "up")
			}
			if carrier == "br0" {
				host.Bridge("br0", "u0")
			}
			host.Must("ip", "address", "flush", "dev", "eth0")
			host.Must("ip", "address", "add", host.Underlay4().String()+"/24", "dev", carrier)
			n := startNode(t, host, nil)
			n.vni(42)
			n.do(func() error {
				err := n.AddPort(PortConfig{Name: "eth0", Type: PortNetdev, Untagged: 42})
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), carrier+", which carries the underlay address") {
					t.Errorf("taken from under the underlay: %v", err)
				}
				if n.CheckPort(PortConfig{Name: "eth0", Type: PortNetdev, Untagged: 42}) == nil {
					t.Error("the check has nothing against it")
				}
				return n.AddPort(PortConfig{Name: "side0", Type: PortNetdev, Untagged: 42})
			})
		})
	}
}

// The underlay's interface is no port by its other name either, nor when it comes, with the address, after the port.
//
//	192.0.2.1 on eth0, also called other0, then on late0 (bridge) ── eth0
func TestPortIsTheUnderlay(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.Must("ip", "link", "property", "add", "dev", "eth0", "altname", "other0")
	s.do(func() error {
		if err := s.AddPort(PortConfig{Name: "other0", Type: PortNetdev, Untagged: 42}); !errors.Is(err, ErrInvalid) {
			t.Errorf("taken by its other name: %v", err)
		}
		return s.AddPort(PortConfig{Name: "late0", Type: PortNetdev, Untagged: 42})
	})
	s.Must("ip", "link", "add", "br0", "type", "bridge")
	s.Must("ip", "address", "flush", "dev", "eth0")
	s.Must("ip", "address", "add", s.Underlay4().String()+"/24", "dev", "br0")
	s.Must("ip", "link", "set", "eth0", "master", "br0")
	s.Must("ip", "link", "set", "br0", "up")
	s.Rename("br0", "late0")
	eventually(t, "the reason is shown", func() bool { return strings.Contains(s.portInfo("late0").Reason, "late0 carries the underlay address") })
	if state := s.portInfo("late0").State; state != PortMissing {
		t.Errorf("it is %s", state)
	}
}

// With the underlay address on lo, as in a fabric, the interfaces that routes to peers lead over are no ports, each next hop's of several; others may be.
//
//	192.0.2.1, 2001:db8::1 on lo ── eth0, up0 ═══ 203.0.113.0/24, 2001:db8:1::/64 (equal-cost)
//	                             ── u1 (bridge) ── up1 ═══ 203.0.113.128/25
//	                             ── side0
func TestPortOnTheWay(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host, wire := l.Host("sw"), l.Host("wire")
	l.Link(host, wire, lab.LinkOptions{})
	for _, name := range []string{"up0", "up1", "side0"} {
		host.Must("ip", "link", "add", name, "type", "veth", "peer", "name", name+"p")
		host.Must("ip", "link", "set", name+"p", "up")
		host.Must("ip", "link", "set", name, "up")
	}
	host.Must("ip", "link", "add", "u1", "type", "bridge")
	host.Must("ip", "link", "set", "up1", "master", "u1")
	host.Must("ip", "link", "set", "u1", "up")
	host.Must("ip", "address", "flush", "dev", "eth0")
	host.Must("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
	host.Must("ip", "address", "add", "2001:db8::1/128", "dev", "lo", "nodad")
	host.Must("ip", "route", "add", "203.0.113.0/24", "nexthop", "dev", "eth0", "nexthop", "dev", "up0")
	host.Must("ip", "route", "add", "203.0.113.128/25", "dev", "u1")
	host.Must("ip", "route", "add", "203.0.113.200", "dev", "side0")
	host.Must("ip", "-6", "route", "add", "2001:db8:2::/64", "dev", "side0")
	host.Must("ip", "-6", "route", "add", "2001:db8:1::/64", "nexthop", "via", "fe80::1", "dev", "eth0", "nexthop", "via", "fe80::1", "dev", "up0")
	for local, c := range map[string]struct {
		learned string
		peers   []string
		want    map[string]string // the word against each interface
	}{
		"192.0.2.1": {"203.0.113.200:4789", []string{"203.0.113.2", "203.0.113.3", "203.0.113.130"},
			map[string]string{"eth0": "leads over eth0:", "up0": "leads over up0:", "up1": "leads over u1, which stands on up1:", "side0": ""}},
		"2001:db8::1": {"[2001:db8:2::2]:4789", []string{"2001:db8:1::2"},
			map[string]string{"eth0": "leads over eth0:", "up0": "leads over up0:", "side0": ""}},
	} {
		t.Run(local, func(t *testing.T) {
			n := startNode(t, host, func(c *Config) { c.Local = netip.MustParseAddr(local) })
			// One that was learned may be forged, and is no reason.
			if _, err := n.peers.obtain(netip.MustParseAddrPort(c.learned), 0); err != nil {
				t.Fatal(err)
			}
			var peers []netip.Addr
			for _, p := range c.peers {
				peers = append(peers, netip.MustParseAddr(p))
			}
			n.vni(42, peers...)
			for name, want := range c.want {
				n.do(func() error {
					err := n.CheckPort(PortConfig{Name: name, Type: PortNetdev, Untagged: 42})
					if (err == nil) != (want == "") || err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want)) {
						t.Errorf("%s: %v, want %q", name, err, want)
					}
					return nil
				})
			}
		})
	}
}

// A port that is there is changed, and taken again, whatever the route to a learned peer; one that is configured later is told of.
//
//	192.0.2.1 on lo ── eth0 ══ wire, and 198.51.100.1 on side0 (a port)
func TestPortWithARouteOverIt(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host, wire := l.Host("sw"), l.Host("wire")
	l.Link(host, wire, lab.LinkOptions{})
	host.Must("ip", "link", "add", "side0", "type", "veth", "peer", "name", "side0p")
	host.Must("ip", "address", "add", "198.51.100.1/24", "dev", "side0")
	host.Must("ip", "link", "set", "side0p", "up")
	host.Must("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
	n := startNode(t, host, nil)
	n.vni(42)
	port := PortConfig{Name: "side0", Type: PortNetdev, Untagged: 42}
	n.do(func() error { return n.AddPort(port) })
	beside := netip.MustParseAddr("198.51.100.77")
	n.vni(43, beside)
	port.MaxMACs = 11
	n.do(func() error { return n.SetPort(port) })
	eventually(t, "peer show names the port", func() bool { return strings.Contains(n.Peers()[0].NoRoute, "leads into port side0") })
}
