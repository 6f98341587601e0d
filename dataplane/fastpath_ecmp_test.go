package dataplane

import (
	"net/netip"
	"testing"

	"vtepd/bench/lab"
)

// twoLinks are two switches whose addresses are on lo, each the other's peer over two links.
//
//	w0 ── switch 203.0.113.1 ─┬─ eth0 ══ eth0 ─┬─ switch 203.0.113.2 ── w1
//	                          └─ eth1 ══ eth1 ─┘
func twoLinks(t *testing.T) (nodes [2]*node, workloads [2]*lab.Host) {
	t.Helper()
	l := lab.New(t)
	hosts := [2]*lab.Host{l.Host("a"), l.Host("b")}
	l.Link(hosts[0], hosts[1], lab.LinkOptions{Addressing: lab.Bare})
	l.Link(hosts[0], hosts[1], lab.LinkOptions{Addressing: lab.Bare})
	local := [2]netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}
	for i, h := range hosts {
		h.Addr("lo", netip.PrefixFrom(local[i], 32))
		h.Addr("eth0", netip.MustParsePrefix([2]string{"192.0.2.1/30", "192.0.2.2/30"}[i]))
		h.Addr("eth1", netip.MustParsePrefix([2]string{"192.0.2.5/30", "192.0.2.6/30"}[i]))
	}
	for i, h := range hosts {
		via := [2][2]string{{"192.0.2.2", "192.0.2.6"}, {"192.0.2.1", "192.0.2.5"}}[i]
		h.Must("ip", "route", "add", local[1-i].String(), "nexthop", "via", via[0], "nexthop", "via", via[1])
		for _, name := range []string{"all", "eth0", "eth1"} {
			if err := h.Sysctl("net/ipv4/conf/"+name+"/rp_filter", "0"); err != nil {
				t.Fatal(err)
			}
		}
		n := startNode(t, h, func(c *Config) { c.Local, c.FastPath = local[i], FastPathOn })
		n.vni(42, local[1-i])
		nodes[i], workloads[i] = n, n.packetPort(l, PortVeth, []string{"port0", "port1"}[i], 42, 1400, nil)
	}
	return nodes, workloads
}

// hooked says by interface of the underlay how datagrams are taken from it, "" for not at all.
func (n *node) hooked() map[string]string {
	by := make(map[string]string)
	for _, a := range n.Status().FastPath.Attachments {
		if a.Port == "" {
			by[a.Interface] = a.Kind
		}
	}
	return by
}

// TestFastPathFromEveryLink: datagrams of a peer behind several equal routes are carried whichever link they come by, for the peer chooses that.
func TestFastPathFromEveryLink(t *testing.T) {
	t.Parallel()
	nodes, w := twoLinks(t)
	eventually(t, "datagrams are taken from both links", func() bool { by := nodes[0].hooked(); return by["eth0"] != "" && by["eth1"] != "" })
	for _, via := range []string{"192.0.2.1", "192.0.2.5"} { // b sends by one, then by the other
		nodes[1].Must("ip", "route", "replace", "203.0.113.1", "via", via)
		carriedPings(t, w[0], w[1].Overlay4(), nodes[0])
	}
	nodes[0].Must("ip", "route", "replace", "203.0.113.2", "via", "192.0.2.2")
	eventually(t, "a link that no route leads over is left", func() bool { by := nodes[0].hooked(); _, there := by["eth1"]; return by["eth0"] != "" && !there })
}

// TestFastPathReversePath: where the kernel's reverse path filter is strict and datagrams may come by several links, it is asked about each.
func TestFastPathReversePath(t *testing.T) {
	t.Parallel()
	nodes, w := twoLinks(t)
	a := nodes[0]
	carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
	strict := func(name, value string) {
		if err := a.Sysctl("net/ipv4/conf/"+name+"/rp_filter", value); err != nil {
			t.Fatal(err)
		}
	}
	strict("eth1", "1")
	eventually(t, "the one that is strict is left to the kernel", func() bool { by := a.hooked(); return by["eth0"] != "" && by["eth1"] == "" })
	strict("all", "1")
	eventually(t, "both are left to the kernel", func() bool { by := a.hooked(); return by["eth0"] == "" && by["eth1"] == "" })
	pings(t, w[0], w[1].Overlay4(), 10)
	// The kernel goes by the greater of the two (ip-sysctl.rst).
	strict("eth0", "2")
	eventually(t, "the one that is loose is carried", func() bool { by := a.hooked(); return by["eth0"] != "" && by["eth1"] == "" })
	strict("eth1", "2")
	eventually(t, "both are carried", func() bool { by := a.hooked(); return by["eth0"] != "" && by["eth1"] != "" })

	// With one link there is no other that a datagram could have come by.
	strict("eth0", "0")
	a.Must("ip", "route", "replace", "203.0.113.2", "via", "192.0.2.2")
	nodes[1].Must("ip", "route", "replace", "203.0.113.1", "via", "192.0.2.1")
	eventually(t, "the only one is carried", func() bool { by := a.hooked(); _, there := by["eth1"]; return by["eth0"] != "" && !there })
	carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)

	// A peer that is reached by none, as one whose interface went, might come by any.
	a.vni(42, netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("198.51.100.99"))
	eventually(t, "the only one is left to the kernel again", func() bool { return a.hooked()["eth0"] == "" })
	a.vni(42, netip.MustParseAddr("203.0.113.2"))
	eventually(t, "the only one is carried again", func() bool { return a.hooked()["eth0"] != "" })

	// An interface that has the address and leads to no peer is listened on only where the filter is not strict.
	a.Must("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
	a.Must("ip", "link", "set", "d1", "up")
	a.Must("ip", "link", "set", "d0", "up")
	a.Addr("d0", netip.MustParsePrefix("203.0.113.1/32"))
	strict("all", "0")
	strict("d0", "0")
	eventually(t, "both that have the address or a way are carried", func() bool { by := a.hooked(); return by["eth0"] != "" && by["d0"] != "" })
	strict("d0", "1")
	eventually(t, "the one without a way is left", func() bool { by := a.hooked(); _, there := by["d0"]; return by["eth0"] != "" && !there })
}
