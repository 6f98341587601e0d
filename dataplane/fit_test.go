package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// portMTU is the MTU that a port's interface has, and the size of the largest packet that the workers take for it.
func (n *node) portMTU(name string) (interfaceMTU, judged int) {
	n.t.Helper()
	link, err := n.Netlink().LinkByName(name)
	if err != nil {
		n.t.Fatal(err)
	}
	interfaceMTU = link.Attrs().MTU
	n.mu.Lock()
	defer n.mu.Unlock()
	return interfaceMTU, n.ports[name].published.maxFrame - 14
}

// awaitPort waits until a port has an MTU, the interface and the workers alike.
func (n *node) awaitPort(name string, mtu int) {
	n.t.Helper()
	var i, j int
	for end := time.Now().Add(lab.Patience); ; time.Sleep(10 * time.Millisecond) {
		if i, j = n.portMTU(name); i == mtu && j == mtu {
			return
		}
		if time.Now().After(end) {
			n.t.Fatalf("port %s: interface %d, judged by %d, want %d", name, i, j, mtu)
		}
	}
}

// A port without an MTU of its own follows the least that the ways to its VNIs' peers carry: interfaces, routes, address families, tags that are kept,
// and all of it as it changes. Another port does not.
//
//	auto (VNI 42) fixed (VNI 42, MTU 1450) far (VNI 43) both (VNIs 42, 43 tagged) ── switch ── eth0 ══ r0, and 203.0.113.1 by a route
func TestPortsFollowTheUnderlay(t *testing.T) {
	t.Parallel()
	for _, underlay6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("underlay6=%t", underlay6), func(t *testing.T) {
			build, over, ip, behind := newScene, 50, []string{"-4"}, "203.0.113.1"
			if underlay6 {
				build, over, ip, behind = newScene6, 70, []string{"-6"}, "2001:db8:f::1"
			}
			s := build(t, 1, nil)
			via := s.remotes[0].addr.String()
			route := func(words ...string) { s.Must("ip", append(append([]string{}, ip...), words...)...) }
			route("route", "add", behind, "via", via, "mtu", "1420")
			s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
			s.set(VNIConfig{VNI: 43, Learning: true}, netip.MustParseAddr(behind))
			for _, c := range []PortConfig{{Name: "auto", Untagged: 42}, {Name: "fixed", Untagged: 42, MTU: 1450 - over + 50}, {Name: "far", Untagged: 43},
				{Name: "both", Tagged: []VIDMap{{7, 42}, {8, 43}}}} {
				c.Type = PortTAP
				s.do(func() error { return s.AddPort(c) })
			}
			s.awaitPort("auto", 1500-over)
			s.awaitPort("far", 1420-over)
			s.awaitPort("both", 1420-over)
			s.MTU("eth0", 1400)
			s.awaitPort("auto", 1400-over)
			s.awaitPort("far", 1400-over)
			s.awaitPort("fixed", 1500-over)
			s.MTU("eth0", 9000)
			s.awaitPort("auto", 9000-over)
			route("route", "change", behind, "via", via, "mtu", "1320")
			s.awaitPort("far", 1320-over)
			s.awaitPort("both", 1320-over)
			route("route", "change", behind, "via", via)
			s.awaitPort("far", 9000-over)
			s.MTU("eth0", 1500)
			s.awaitPort("both", 1500-over)

			// A VNI that keeps tags needs room for one; a VNI without peers goes by the interface.
			s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{KeepInnerVLAN: true}}, s.addrs()...)
			s.awaitPort("auto", 1500-over-4)
			s.set(VNIConfig{VNI: 42, Learning: true})
			s.awaitPort("auto", 1500-over)
			s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{KeepInnerVLAN: true}})
			s.awaitPort("auto", 1500-over-4)
			s.set(VNIConfig{VNI: 42, Learning: true})
			s.awaitPort("auto", 1500-over)
			// From fixed to following and back.
			s.do(func() error { return s.SetPort(PortConfig{Name: "auto", Type: PortTAP, Untagged: 42, MTU: 1234}) })
			s.awaitPort("auto", 1234)
			s.MTU("eth0", 1480)
			s.awaitPort("far", 1480-over)
			s.awaitPort("auto", 1234)
			s.do(func() error { return s.SetPort(PortConfig{Name: "auto", Type: PortTAP, Untagged: 42}) })
			s.awaitPort("auto", 1480-over)
		})
	}
}

// An underlay that is lost for a while leaves the ports' MTU as it is: of one address family of two, and as a whole.
//
//	auto (VNI 42) ── switch 192.0.2.1, 2001:db8::1 ── eth0 ══ r0 192.0.2.2, 2001:db8::2
func TestPortsOutlastTheUnderlay(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.OtherLocal = netip.MustParseAddr("2001:db8::1") })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.remotes[0].addr, netip.MustParseAddr("2001:db8::2"))
	s.do(func() error { return s.AddPort(PortConfig{Name: "auto", Type: PortTAP, Untagged: 42}) })
	s.MTU("eth0", 9000)
	s.awaitPort("auto", 8930)
	stays := func(when string) {
		t.Helper()
		for end := time.Now().Add(3 * linkPoll / 2); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if i, j := s.portMTU("auto"); i != 8930 || j != 8930 {
				t.Fatalf("%s: MTU %d, judged by %d", when, i, j)
			}
		}
	}
	s.Must("ip", "address", "del", "2001:db8::1/64", "dev", "eth0")
	stays("no IPv6")
	s.Must("ip", "address", "flush", "dev", "eth0")
	stays("no address")
	s.Must("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
	s.Must("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
	stays("both again")
	s.MTU("eth0", 1500)
	s.awaitPort("auto", 1430)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.remotes[0].addr)
	s.awaitPort("auto", 1450)
}

// A peer that is reached through a port of the switch itself, by mistake or while the underlay is down, says nothing about MTUs: the port would follow
// itself down to the least that there is.
//
//	vtep0 198.51.100.1 ── switch ── eth0 ══ r0
func TestPeerInsideTheOverlay(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	inside := netip.MustParseAddr("198.51.100.77")
	s.set(VNIConfig{VNI: 42, Learning: true}, append(s.addrs(), inside)...)
	s.do(func() error {
		return s.AddPort(PortConfig{Name: "vtep0", Type: PortTAP, Untagged: 42, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}})
	})
	stays := func(when string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if i, j := s.portMTU("vtep0"); i != 1450 || j != 1450 {
				t.Fatalf("%s: MTU %d, judged by %d", when, i, j)
			}
		}
	}
	stays("one peer is inside")
	if got := s.probePath(inside); got.Into != "vtep0" {
		t.Errorf("doctor does not see where the route leads: %+v", got)
	}
	s.Must("ip", "route", "add", "default", "via", "198.51.100.2")
	s.Must("ip", "addr", "flush", "dev", "eth0")
	stays("all peers are")
	s.do(func() error { return s.DelPort("vtep0") })
	if _, known := s.portLinks.Load(s.paths.over(s.peers.find(netip.AddrPortFrom(inside, s.config.DstPort)))); known {
		t.Error("a port that is gone is still in the way")
	}
}

// IPv6 addresses that the kernel takes from a port when the underlay leaves less than 1280 bytes come back with the MTU.
//
//	{eth0} workload ── port0 (veth), vtep0 (TAP) ── switch ── eth0 ══ r0
func TestIPv6AddressesComeBack(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	workload := s.l.Host("workload")
	for _, h := range []*lab.Host{s.Host, workload} {
		for _, key := range []string{"all", "default"} {
			if err := h.Sysctl("net/ipv6/conf/"+key+"/disable_ipv6", "0"); err != nil {
				t.Fatal(err)
			}
		}
	}
	add := func(c PortConfig, address string) {
		c.Untagged, c.Addresses = 42, []netip.Prefix{netip.MustParsePrefix(address)}
		s.do(func() error { return s.AddPort(c) })
	}
	add(PortConfig{Name: "vtep0", Type: PortTAP}, "2001:db8:1::1/64")
	add(PortConfig{Name: "port0", Type: PortVeth, NetNS: workload.Name(), IfName: "eth0"}, "2001:db8:1::2/64")
	has := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("addresses there: %t", want), func() bool {
			return strings.Contains(s.Must("ip", "addr", "show", "dev", "vtep0"), "2001:db8:1::1/64") == want &&
				strings.Contains(workload.Must("ip", "addr", "show", "dev", "eth0"), "2001:db8:1::2/64") == want
		})
	}
	has(true)
	s.MTU("eth0", 1300)
	s.awaitPort("vtep0", 1250)
	has(false)
	s.MTU("eth0", 1500)
	s.awaitPort("vtep0", 1450)
	has(true)
}

// A pair whose other end is elsewhere while the underlay changes follows it when that is back.
//
//	{eth0} workload ── v0 (veth) ── switch ── eth0 ══ r0
func TestPairFollowsLater(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	workload, elsewhere := s.l.Host("workload"), s.l.Host("elsewhere")
	s.do(func() error {
		return s.AddPort(PortConfig{Name: "v0", Type: PortVeth, Untagged: 42, NetNS: workload.Name()})
	})
	s.awaitPort("v0", 1450)
	workload.Must("ip", "link", "set", "eth0", "netns", elsewhere.Name())
	eventually(t, "the end is not where it was", func() bool { return s.portInfo("v0").MAC == nil })
	s.MTU("eth0", 1400)
	eventually(t, "the underlay's change is seen", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.ports["v0"].published.link.given == 1350
	})
	s.awaitPort("v0", 1450)
	elsewhere.Must("ip", "link", "set", "eth0", "netns", workload.Name())
	workload.Must("ip", "link", "set", "eth0", "up")
	s.awaitPort("v0", 1350)
	if got := workload.Must("ip", "link", "show", "eth0"); !strings.Contains(got, "mtu 1350") {
		t.Errorf("the workload's end: %s", got)
	}
}

// An MTU that somebody gives to the interface is what frames are judged by, until the underlay changes.
//
//	p0 ── switch ── eth0 ══ r0
func TestMTUFromOutside(t *testing.T) {
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 1450})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42})
	for _, name := range []string{"p0", "p1"} {
		s.MTU(name, 1000)
		s.awaitPort(name, 1000)
	}
	s.drops(1, TooBig, func() { s.remotes[0].send(42, sizedTo(station(1), 1015)) })
	s.MTU("p0", 1200)
	s.awaitPort("p0", 1200)
	s.drops(0, TooBig, func() { s.remotes[0].send(42, sizedTo(station(1), 1015)) })
	s.MTU("eth0", 1400)
	s.awaitPort("p1", 1350)
	s.awaitPort("p0", 1200)
}

// sizedTo is a frame of a number of bytes to a station.
func sizedTo(dst uint64, n int) []byte { return bigPacket(false, n-14, station(5), dst).Frame() }

// warnings counts the log lines of at least that level whose text begins so.
type warnings struct {
	slog.Handler
	prefix string
	count  *atomic.Int32
}

func (w warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w warnings) WithGroup(string) slog.Handler            { return w }
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn && strings.HasPrefix(r.Message, w.prefix) {
		w.count.Add(1)
	}
	return nil
}

// A port that takes more than the underlay carries is warned of once for each reason to: when it is made, when it is changed, when the underlay shrinks.
//
//	p0 (MTU as given) ── switch ── eth0 ══ r0
func TestTooLargePortIsWarnedOf(t *testing.T) {
	var count atomic.Int32
	s := newScene(t, 1, func(c *Config) { c.Log = slog.New(warnings{prefix: "port MTU is more", count: &count}) })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.awaitPath(s.remotes[0].addr, 1500)
	said := func(when string, want int32) {
		t.Helper()
		if got := count.Swap(0); got != want {
			t.Errorf("%s: %d warnings, want %d", when, got, want)
		}
	}
	s.do(func() error { return s.AddPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, MTU: 1450}) })
	said("a port that fits", 0)
	s.do(func() error { return s.SetPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, MTU: 1451}) })
	said("one byte more", 1)
	s.do(func() error {
		return s.SetPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, MTU: 1451, MaxMACs: 7})
	})
	said("another setting", 0)
	s.do(func() error { return s.SetPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, MTU: 1452}) })
	said("one byte more again", 1)
	s.fit()
	s.fit()
	said("nothing new", 0)
	s.MTU("eth0", 9000)
	s.awaitPath(s.remotes[0].addr, 9000)
	s.fit()
	said("a larger underlay", 0)
	s.MTU("eth0", 1400)
	s.awaitPath(s.remotes[0].addr, 1400)
	s.fit()
	s.fit()
	said("a smaller one", 1)
}
