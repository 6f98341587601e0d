package main_test

import (
	"fmt"
	"testing"

	"vtepd/bench/lab"
)

// TestGroups joins two hosts by a multicast group alone, over either family, changes groups at run time, and lets the underlay's interface be deleted and
// come back.
//
//	a: vtep0 ── group ── b: vtep0
func TestGroups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		group string
		local func(*lab.Host) fmt.Stringer
	}{
		{"239.1.1.1", func(h *lab.Host) fmt.Stringer { return h.Underlay4() }},
		{"ff05::100", func(h *lab.Host) fmt.Stringer { return h.Underlay6() }},
	} {
		t.Run(c.group, func(t *testing.T) {
			l, ha, hb, link := pair(t)
			run := func(h *lab.Host) *daemon {
				return start(t, l, h, fmt.Sprintf("local: %s\nvnis:\n- {vni: 42, group: %q}\nports:\n- {name: vtep0, vni: 42, addresses: [%s]}\n",
					c.local(h), c.group, h.OverlayPrefixes()[0]))
			}
			a, b := run(ha), run(hb)
			reach(t, ha, hb.Overlay4())
			shown := func(d *daemon) string {
				v := d.list(t, "vni", "show", "42")[0]
				return fmt.Sprint(v["group"], " ", v["group_interface"], " ", v["group_ttl"], " ", v["peer_policy"])
			}
			if got, want := shown(a), c.group+" eth0 1 learn"; got != want {
				t.Errorf("vni show: %s, want %s", got, want)
			}
			flood := a.list(t, "fdb", "show", "vni", "42", "mac", "00:00:00:00:00:00")
			if len(flood) != 1 || flood[0]["dst"] != c.group || flood[0]["state"] != "flood" {
				t.Errorf("flood list %v, want the group alone", flood)
			}

			// Without a group they do not find each other; with it they do again.
			a.tell(t, "vni", "set", "42", "group", "none")
			a.tell(t, "fdb", "flush")
			b.tell(t, "fdb", "flush")
			if ping(t, ha, hb.Overlay4()) {
				t.Error("an answer without a group")
			}
			a.tell(t, "fdb", "append", "00:00:00:00:00:00", "vni", "42", "dst", c.group)
			reach(t, ha, hb.Overlay4())

			ha.Must("ip", "link", "del", link.A.Name)
			soon(t, "the group is given up with its interface", func() bool { return shown(a) == c.group+" <nil> 1 learn" })
			l.Link(ha, hb, lab.LinkOptions{NameA: link.A.Name, NameB: link.B.Name})
			for _, d := range []*daemon{a, b} {
				soon(t, "the group is joined again", func() bool { return shown(d) == c.group+" eth0 1 learn" })
			}
			a.tell(t, "fdb", "flush")
			b.tell(t, "fdb", "flush")
			ha.Must("ip", "neigh", "flush", "dev", "vtep0")
			soon(t, "the hosts reach each other again", func() bool { return ping(t, ha, hb.Overlay4()) })
		})
	}
}
