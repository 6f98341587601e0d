package dataplane

import (
	"errors"
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
