package dataplane

import (
	"errors"
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
	if now := h.Must("ip", "-o", "link", "show", "p0"); now != there {
		t.Errorf("p0 was\n%sand is\n%s", there, now)
	}
	if len(n.Ports()) != 1 {
		t.Error("checking made a port")
	}
}
