package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// A peer that nothing gets to is told with the reason: a route that leads nowhere, by its type, and an own address that is on no interface, which another one
// may hide.
func TestWhyNothingGetsThere(t *testing.T) {
	t.Parallel()
	for _, make := range []func() *scene{func() *scene { return newScene(t, 1, nil) }, func() *scene { return newScene6(t, 1, nil) }} {
		s := make()
		peer, local := s.remotes[0].addr, s.config.Local
		family := fmt.Sprintf("-%d", version(peer.Is6()))
		s.set(VNIConfig{VNI: 42, Learning: true}, peer)
		said := func(why string) {
			t.Helper()
			eventually(t, fmt.Sprintf("the reason %q", why), func() bool { return s.Peers()[0].NoRoute == why })
			if got := s.probePath(peer); got.NoRoute != why || got.Fits != 0 && why != "" {
				t.Errorf("probed: %+v, want %q", got, why)
			}
			s.do(func() error {
				r, err := newRoutes(s.log, vrf{})
				if err != nil {
					return err
				}
				defer r.close()
				if got := r.find(peer, local); got.reason != why {
					t.Errorf("fast path: %q, want %q", got.reason, why)
				}
				return nil
			})
		}
		said("")
		s.port("p0", 42)
		for _, kind := range []string{"blackhole", "unreachable", "prohibit"} {
			s.Host.Must("ip", family, "route", "add", kind, peer.String())
			said("its route is of type " + kind)
			s.Host.Must("ip", family, "route", "del", kind, peer.String())
		}
		said("")
		s.Host.Must("ip", family, "address", "flush", "dev", "eth0")
		gone := awayText("", local, "")
		said(gone)
		another := "192.0.2.77/24"
		if local.Is6() {
			another = "2001:db8::77/64"
		}
		s.Host.Must("ip", "address", "add", another, "dev", "eth0", "nodad")
		said(gone)
		sent := func() bool {
			dropped := s.dropped(NoRoute)
			s.Inject("p0", frameOf(station(1), broadcast))
			s.rest()
			return s.dropped(NoRoute) == dropped
		}
		eventually(t, "nothing is sent from "+local.String(), func() bool { return !sent() })
		if got := s.probePath(peer); !got.Away || got.Evidence != EvidenceNone {
			t.Errorf("probed without %s: %+v", local, got)
		}
		s.Host.Must("ip", "address", "add", local.String()+map[bool]string{false: "/24", true: "/64"}[local.Is6()], "dev", "eth0", "nodad")
		said("")
		eventually(t, "datagrams leave again", sent)
	}
}

// The broadcast address of an attached network is nobody's, which sending would tell by a refusal that looks like a firewall's.
func TestBroadcastPeer(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	all := netip.MustParseAddr("192.0.2.255")
	s.set(VNIConfig{VNI: 42, Learning: true}, all)
	eventually(t, "the reason", func() bool { return s.Peers()[0].NoRoute == broadcastRoute })
	s.port("p0", 42)
	s.drops(1, NoRoute, func() { s.Inject("p0", frameOf(station(1), broadcast)) })
	if got := s.probePath(all); got.NoRoute != broadcastRoute || got.Evidence != EvidenceNone {
		t.Errorf("probed: %+v", got)
	}
	s.do(func() error {
		r, err := newRoutes(s.log, vrf{})
		if err != nil {
			return err
		}
		defer r.close()
		if got := r.find(all, s.config.Local); got.reason != broadcastRoute {
			t.Errorf("fast path: %q", got.reason)
		}
		return nil
	})
}

// Of two local addresses each is looked for.
func TestLocalsAway(t *testing.T) {
	t.Parallel()
	h := lab.New(t).Host("a")
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	h.Must("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	h.Must("ip", "link", "set", "eth1", "up")
	h.Must("ip", "link", "set", "eth0", "up", "mtu", "1400")
	h.Must("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
	h.Must("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
	s := startNode(t, h, func(c *Config) { c.Local, c.OtherLocal = v4, v6 })
	for _, c := range []struct {
		del, add, name string
		mtu            int
		away           []netip.Addr
	}{
		{"", "", "eth0", 1400, nil},
		{"192.0.2.1/24", "", "eth0", 1400, []netip.Addr{v4}},
		{"2001:db8::1/64", "", "", 0, []netip.Addr{v4, v6}},
		{"", "192.0.2.1/24", "eth0", 1400, []netip.Addr{v6}},
	} {
		if c.del != "" {
			h.Must("ip", "address", "del", c.del, "dev", "eth0")
		}
		if c.add != "" {
			h.Must("ip", "address", "add", c.add, "dev", "eth0")
		}
		var got Status
		s.do(func() error { got = s.Status(); return nil })
		if got.UnderlayInterface != c.name || got.UnderlayMTU != c.mtu || !slices.Equal(got.Away, c.away) {
			t.Errorf("without %v: on %q, MTU %d, away %v", c.away, got.UnderlayInterface, got.UnderlayMTU, got.Away)
		}
	}
}

// An IPv6 address that was moved to an interface that is down is tentative for as long as that is so, and nothing is sent from it, however fast it was moved.
func TestNothingFromTentative(t *testing.T) {
	t.Parallel()
	s := newScene6(t, 1, nil)
	local := s.config.Local
	s.set(VNIConfig{VNI: 42, Learning: true}, s.remotes[0].addr)
	s.port("p0", 42)
	s.Host.Must("ip", "address", "add", "2001:db8::77/64", "dev", "eth0", "nodad")
	s.Host.Must("ip", "link", "add", "dum0", "type", "veth", "peer", "name", "dum1")
	s.Host.Must("sysctl", "-qw", "net.ipv6.conf.dum0.disable_ipv6=0", "net.ipv6.conf.dum0.accept_dad=1", "net.ipv6.conf.dum0.dad_transmits=1")
	s.Host.Must("sh", "-c", fmt.Sprintf("printf 'address del %s/64 dev eth0\\naddress add %s/128 dev dum0\\n' | ip -batch -", local, local))
	why := awayText("", local, tentative)
	eventually(t, "it is tentative", func() bool { return s.Peers()[0].NoRoute == why })
	eventually(t, "nothing is sent from it", func() bool {
		dropped := s.dropped(NoRoute)
		s.Inject("p0", frameOf(station(1), broadcast))
		s.rest()
		return s.dropped(NoRoute) == dropped+1
	})
	time.Sleep(pathPoll + pathPoll/4) // it stays so when it is looked at again
	s.drops(1, NoRoute, func() { s.Inject("p0", frameOf(station(1), broadcast)) })
}
