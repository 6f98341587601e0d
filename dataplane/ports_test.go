package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vtepd/bench/lab"
)

// Whether a port can be made elsewhere is told without touching the one that is there.
//
//	p0 ── switch        p0 (a veth) in another namespace
func TestCheckPort(t *testing.T) {
	l := lab.New(t)
	h, other := l.Host("sw"), l.Host("other")
	l.Link(h, l.Host("wire"), lab.LinkOptions{})
	n := startNode(t, h, nil)
	n.vni(42)
	n.tap("p0", 42, nil)
	other.Must("ip", "link", "add", "p0", "type", "veth", "peer", "name", "p0-peer")
	there := h.Must("ip", "-o", "link", "show", "p0")
	for _, c := range []struct {
		name string
		port PortConfig
		want error
	}{
		{"taken there", PortConfig{Name: "p0", NetNS: other.Name()}, ErrNotTAP},
		{"held here, by the port itself", PortConfig{Name: "p0"}, ErrBusy},
		{"no namespace", PortConfig{Name: "p0", NetNS: "/proc/self/ns/uts"}, ErrOption},
		{"no such VNI", PortConfig{Name: "p1", Untagged: 43}, ErrNotFound},
		{"free", PortConfig{Name: "p1", NetNS: other.Name()}, nil},
	} {
		c.port.Type = PortTAP
		if c.port.Untagged == 0 {
			c.port.Untagged = 42
		}
		n.do(func() error {
			if err := n.CheckPort(c.port); !errors.Is(err, c.want) {
				t.Errorf("%s: error %v, want %v", c.name, err, c.want)
			}
			return nil
		})
	}
	// What the port is made of now goes before another is made.
	workload := l.Host("workload")
	for _, c := range []PortConfig{
		{Name: "p0", Type: PortVeth, NetNS: workload.Name(), Untagged: 42},
		{Name: "p0", Type: PortVeth, IfName: "p0-inner", Untagged: 42},
		{Name: "p0", Type: PortNetdev, Untagged: 42},
	} {
		n.do(func() error { return n.CheckPort(c, "p0") })
	}
	n.do(func() error {
		return n.AddPort(PortConfig{Name: "v0", Type: PortVeth, NetNS: workload.Name(), Untagged: 42})
	})
	n.do(func() error { return n.CheckPort(PortConfig{Name: "v0", Type: PortTAP, Untagged: 42}, "v0") })
	n.do(func() error { return n.DelPort("v0") })
	if now := h.Must("ip", "-o", "link", "show", "p0"); now != there {
		t.Errorf("p0 was\n%sand is\n%s", there, now)
	}
	if len(n.Ports()) != 1 {
		t.Error("checking made a port")
	}
}

// What a veth port's other end may be called is told before the pair is taken apart; names of ports that leave as well are free.
//
//	a0 ══ eth0 (red)    b0 ══ eth0 (blue)    t0 (a TAP in green)
func TestCheckVethPort(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h, red, blue, green := l.Host("sw"), l.Host("red"), l.Host("blue"), l.Host("green")
	l.Link(h, l.Host("wire"), lab.LinkOptions{})
	n := startNode(t, h, nil)
	n.vni(42)
	veth := func(name string, ns *lab.Host, ifname string) PortConfig {
		return PortConfig{Name: name, Type: PortVeth, NetNS: ns.Name(), IfName: ifname, Untagged: 42}
	}
	here := func(name, ifname string) PortConfig {
		return PortConfig{Name: name, Type: PortVeth, IfName: ifname, Untagged: 42}
	}
	tap := func(name string, ns *lab.Host) PortConfig {
		return PortConfig{Name: name, Type: PortTAP, NetNS: ns.Name(), Untagged: 42}
	}
	for _, c := range []PortConfig{veth("a0", red, ""), veth("b0", blue, ""), tap("t0", green)} {
		n.do(func() error { return n.AddPort(c) })
	}
	six := func(c PortConfig) PortConfig {
		c.Addresses = []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64")}
		return c
	}
	without := l.Host("without")
	for host, off := range map[*lab.Host]string{without: "1", red: "0", green: "0"} {
		if err := host.Sysctl("net/ipv6/conf/default/disable_ipv6", off); err != nil {
			t.Fatal(err)
		}
	}
	before := n.Ports()
	for _, c := range []struct {
		what    string
		port    PortConfig
		leaving []string
		want    error
	}{
		{"the loopback's name", veth("a0", red, "lo"), []string{"a0"}, ErrUnfit},
		{"another name", veth("a0", red, "net0"), []string{"a0"}, nil},
		{"another name and an IPv6 address", six(veth("a0", red, "net0")), []string{"a0"}, nil},
		{"to where IPv6 is off", six(veth("a0", without, "")), []string{"a0"}, ErrNoIPv6},
		{"a TAP to where IPv6 is off", six(tap("t0", without)), []string{"t0"}, ErrNoIPv6},
		{"a new TAP where IPv6 is off", six(tap("t1", without)), nil, ErrNoIPv6},
		{"its own name", veth("a0", red, "eth0"), []string{"a0"}, nil},
		{"the namespace by its path", PortConfig{Name: "c0", Type: PortVeth, NetNS: red.Path(), Untagged: 42}, []string{"a0"}, nil},
		{"our own namespace by its path", PortConfig{Name: "c0", Type: PortVeth, NetNS: h.Path(), IfName: "b0", Untagged: 42}, []string{"b0"}, nil},
		{"taken by a port that stays", veth("a0", blue, ""), []string{"a0"}, ErrUnfit},
		{"taken by a port that leaves", veth("a0", blue, ""), []string{"a0", "b0"}, nil},
		{"new, taken by a port that stays", veth("c0", red, "eth0"), nil, ErrUnfit},
		{"new, taken by a port that leaves", veth("c0", red, "eth0"), []string{"a0"}, nil},
		{"taken by a TAP that stays", veth("a0", green, "t0"), []string{"a0"}, ErrUnfit},
		{"taken by a TAP that leaves", veth("a0", green, "t0"), []string{"a0", "t0"}, nil},
		{"a TAP, taken by a pair that stays", tap("eth0", blue), nil, ErrNotTAP},
		{"a TAP, taken by a pair that leaves", tap("eth0", blue), []string{"b0"}, nil},
		{"the other end of a host end that stays", here("c0", "b0"), nil, ErrUnfit},
		{"the other end of a host end that leaves", here("c0", "b0"), []string{"b0"}, nil},
		{"the underlay's name", here("c0", "eth0"), []string{"a0", "b0", "t0"}, ErrUnfit},
	} {
		n.do(func() error {
			if err := n.CheckPort(c.port, c.leaving...); !errors.Is(err, c.want) {
				t.Errorf("%s: error %v, want %v", c.what, err, c.want)
			}
			return nil
		})
	}
	// Their kernels speak up when they like, for IPv6, and are learned.
	if diff := cmp.Diff(before, n.Ports(), cmpopts.IgnoreFields(PortInfo{}, "MACs")); diff != "" {
		t.Errorf("checking changed the ports:\n%s", diff)
	}
}

// A change that is refused leaves the MAC as it was; without a wish a port has the MAC of its kind again.
//
//	tap0, veth0, card0 ── switch
func TestPortMAC(t *testing.T) {
	l := lab.New(t)
	h, w := l.Host("sw"), l.Host("workload")
	l.Link(h, l.Host("wire"), lab.LinkOptions{})
	h.Must("ip", "link", "add", "card0", "type", "veth", "peer", "name", "far0")
	found := h.MAC("card0").String()
	n := startNode(t, h, nil)
	n.vni(42)
	own, wanted := net.HardwareAddr{2, 0, 0, 0, 0, 0x61}, net.HardwareAddr{2, 0, 0, 0, 0, 0x62}
	for _, c := range []PortConfig{{Name: "tap0", Type: PortTAP}, {Name: "veth0", Type: PortVeth, NetNS: w.Name()}, {Name: "card0", Type: PortNetdev}} {
		mac := func() string {
			for _, p := range n.Ports() {
				if p.Config.Name == c.Name {
					return p.MAC.String()
				}
			}
			return "none"
		}
		c.Untagged = 42
		n.do(func() error { return n.AddPort(c) })
		first := mac()
		refused := c
		refused.MAC = wanted
		if refused.Addresses = []netip.Prefix{netip.MustParsePrefix("::1/128")}; c.Type == PortNetdev {
			refused.Addresses, refused.MTU = nil, maxMTU // which a veth cannot have with an Ethernet header
			refused.MAC = net.HardwareAddr{1, 0, 0, 0, 0, 1}
		}
		if err := n.SetPort(refused); err == nil {
			t.Fatalf("%s: %+v is taken", c.Name, refused)
		}
		if got := mac(); got != first {
			t.Errorf("%s: MAC %s after a refused change, was %s", c.Name, got, first)
		}
		set := c
		set.MAC = own
		n.do(func() error { return n.SetPort(set) })
		if got := mac(); got != own.String() {
			t.Errorf("%s: MAC %s, want %s", c.Name, got, own)
		}
		n.do(func() error { return n.SetPort(c) })
		if got := mac(); got == own.String() || c.Type == PortNetdev && got != found {
			t.Errorf("%s: MAC %s without a wish, was %s", c.Name, got, first)
		}
	}
}

// A change that is refused leaves the MTU as it was, though somebody else had given it to the interface, and the IPv6 addresses that the kernel takes with a small one.
//
//	tap0, veth0 ── switch
func TestRefusedMTU(t *testing.T) {
	l := lab.New(t)
	h, w := l.Host("sw"), l.Host("workload")
	l.Link(h, l.Host("wire"), lab.LinkOptions{})
	for _, host := range []*lab.Host{h, w} {
		if err := host.Sysctl("net/ipv6/conf/default/disable_ipv6", "0"); err != nil {
			t.Fatal(err)
		}
	}
	n := startNode(t, h, nil)
	n.vni(42)
	held := netip.MustParsePrefix("2001:db8::1/64")
	for _, c := range []struct {
		port PortConfig
		host *lab.Host
		dev  string
	}{
		{PortConfig{Name: "tap0", Type: PortTAP}, h, "tap0"},
		{PortConfig{Name: "veth0", Type: PortVeth, NetNS: w.Name()}, w, "eth0"},
	} {
		c.port.Untagged, c.port.Addresses = 42, []netip.Prefix{held}
		n.do(func() error { return n.AddPort(c.port) })
		state := func() string {
			return c.host.Must("sh", "-c", fmt.Sprintf("ip link show %s | grep -o 'mtu [0-9]*'; ip -6 -o address show dev %s scope global | grep -o 'inet6 [^ ]*'; true", c.dev, c.dev))
		}
		c.host.Must("ip", "link", "set", c.dev, "mtu", "1400")
		before := state()
		refused := c.port
		refused.MTU, refused.Addresses = 1200, []netip.Prefix{held, netip.MustParsePrefix("2001:db8::2/64")}
		if err := n.SetPort(refused); err == nil {
			t.Fatalf("%s: %+v is taken", c.port.Name, refused)
		}
		if got := state(); got != before {
			t.Errorf("%s: MTU and address %q after a refused change, were %q", c.port.Name, got, before)
		}
	}
}
