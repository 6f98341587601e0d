package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"vtepd/bench/lab"
)

// TestPortsInTheWay: what stands in the way of a port's device has a sentinel, whatever package meets it, and says how to mend it.
//
//	switch on h: lo   br0 ── m0 ══ m1   eth0 ══ eth0 (far)
//	          w: taken ══ other
func TestPortsInTheWay(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h, w := l.Host("h"), l.Host("w")
	l.Link(h, l.Host("far"), lab.LinkOptions{})
	n := startNode(t, h, nil)
	n.Must("ip", "link", "add", "br0", "type", "bridge")
	n.Must("ip", "link", "add", "m0", "type", "veth", "peer", "name", "m1")
	n.Must("ip", "link", "set", "m0", "master", "br0")
	if err := n.SetVNI(VNIConfig{VNI: 42}); err != nil {
		t.Fatal(err)
	}
	w.Must("ip", "link", "add", "taken", "type", "veth", "peer", "name", "other")
	// A child that another test has just forked may hold a TAP that was refused until it runs its program.
	add := func(add func(PortConfig) error, c PortConfig) (err error) {
		eventually(t, "nobody else holds "+c.Name, func() bool {
			err = add(c)
			return !errors.Is(err, ErrBusy)
		})
		return err
	}
	for _, c := range []struct {
		name string
		port PortConfig
		is   error
		says string
	}{
		{"loopback", PortConfig{Name: "lo", Type: PortNetdev}, ErrUnfit, "loopback"},
		{"bridge member", PortConfig{Name: "m0", Type: PortNetdev}, ErrUnfit, "`ip link set m0 nomaster` first"},
		{"veth over another interface", PortConfig{Name: "m1", Type: PortVeth, IfName: "x0"}, ErrUnfit, "choose another name"},
		{"ifname taken", PortConfig{Name: "v0", Type: PortVeth, NetNS: w.Name(), IfName: "taken"}, ErrUnfit, "choose another ifname"},
		{"no TAP", PortConfig{Name: "m1", Type: PortTAP}, ErrNotTAP, "choose another name"},
		{"veth to no namespace", PortConfig{Name: "v0", Type: PortVeth, NetNS: "vtepd-none"}, ErrNoNetNS, "`ip netns add vtepd-none`"},
		{"TAP to no namespace", PortConfig{Name: "t0", Type: PortTAP, NetNS: "vtepd-none"}, ErrNoNetNS, "`ip netns add vtepd-none`"},
		{"namespace by a path that is not there", PortConfig{Name: "t0", Type: PortTAP, NetNS: "/none/x"}, ErrNoNetNS, "write the path of one that is there"},
		{"namespace that is none", PortConfig{Name: "t0", Type: PortTAP, NetNS: "/etc/passwd"}, ErrOption, "not a network namespace"},
		{"MTU that IPv6 cannot have", PortConfig{Name: "t0", Type: PortTAP, MTU: 1000, Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:5::1/64")}}, ErrOption, "raise mtu"},
	} {
		c.port.Untagged = 42
		err := add(n.AddPort, c.port)
		if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v, want %v and %q", c.name, err, c.is, c.says)
		}
		if len(n.Ports()) > 0 {
			t.Errorf("%s: refused, and yet there is a port", c.name)
		}
		err = add(n.AwaitPort, c.port)
		if c.is != ErrNoNetNS {
			if !errors.Is(err, c.is) {
				t.Errorf("%s, at the start: %v, want %v", c.name, err, c.is)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s, at the start: %v", c.name, err)
			continue
		}
		if got := n.portInfo(c.port.Name); got.State != PortMissing || !strings.Contains(got.Reason, c.says) {
			t.Errorf("%s, at the start: %s, %q", c.name, got.State, got.Reason)
		}
		if err := n.DelPort(c.port.Name); err != nil {
			t.Error(err)
		}
	}
	n.Must("ip", "link", "add", "narrow", "link", "m1", "type", "macvlan")
	if err := n.AddPort(PortConfig{Name: "narrow", Type: PortNetdev, Untagged: 42, MTU: 9000}); !errors.Is(err, ErrOption) || !strings.Contains(fmt.Sprint(err), "maxmtu") {
		t.Errorf("an MTU larger than the interface takes: %v", err)
	}
}
