package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"testing"

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
		n.do(func() error { return n.CheckPort(c) })
	}
	n.do(func() error {
		return n.AddPort(PortConfig{Name: "v0", Type: PortVeth, NetNS: workload.Name(), Untagged: 42})
	})
	n.do(func() error { return n.CheckPort(PortConfig{Name: "v0", Type: PortTAP, Untagged: 42}) })
	n.do(func() error { return n.DelPort("v0") })
	if now := h.Must("ip", "-o", "link", "show", "p0"); now != there {
		t.Errorf("p0 was\n%sand is\n%s", there, now)
	}
	if len(n.Ports()) != 1 {
		t.Error("checking made a port")
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
