package main_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vtepd/bench/lab"
)

// TestChangedAfterKill: what a killed vtepd left of its veth ports does not stand in the way of a file that was changed meanwhile, and what the file still
// asks for stays.
//
//	red {eth0 to eth5} ══ {name0, kind0, peer0, move0, swap0, swap1} vtepd on a {eth0} ══ b
//	blue {eth0} ═════════ {kept0}
func TestChangedAfterKill(t *testing.T) {
	l, h, other, _ := pair(t)
	red, blue := l.Host("red"), l.Host("blue")
	veth := func(name, netns, ifname string) string {
		return fmt.Sprintf("- {name: %s, type: veth, vni: 42, netns: %s, ifname: %s}\n", name, netns, ifname)
	}
	config := func(ports ...string) string {
		return overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes(), ports...)
	}
	d := start(t, l, h, config(
		veth("name0", red.Name(), "eth0"),
		veth("kind0", red.Name(), "eth1"),
		veth("peer0", red.Name(), "eth2"),
		veth("move0", red.Name(), "eth3"),
		veth("swap0", red.Name(), "eth4"),
		veth("swap1", red.Name(), "eth5"),
		veth("kept0", blue.Name(), "eth0"),
	))
	kept := blue.Index("eth0")
	blue.Must("ip", "address", "add", "198.51.100.99/24", "dev", "eth0")
	if err := d.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-d.Done()
	red.Must("ip", "link", "show", "eth0") // or this test proves nothing
	// One that was killed over a new pair leaves this.
	h.Must("ip", "link", "add", "vtepd-0000beef", "type", "veth", "peer", "name", "eth6", "netns", red.Name())
	d.write(t, config(
		veth("name1", red.Name(), "eth0"),
		"- {name: kind0, type: tap, vni: 42}\n",
		veth("peer0", red.Name(), "eth9"),
		veth("move0", blue.Name(), "eth3"),
		veth("swap0", red.Name(), "eth5"),
		veth("swap1", red.Name(), "eth4"),
		veth("kept0", blue.Name(), "eth0"),
		veth("next0", red.Name(), "eth6"),
	))
	d.run(t)
	for _, p := range d.list(t, "port", "show") {
		if p["state"] != "up" {
			t.Errorf("port %v", p)
		}
	}
	sorted := func(h *lab.Host) string {
		names := links(t, h)
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	for _, c := range []struct {
		at   *lab.Host
		want string
	}{
		{h, "eth0 kept0 kind0 lo move0 name1 next0 peer0 swap0 swap1 vtep0"},
		{red, "eth0 eth4 eth5 eth6 eth9 lo"},
		{blue, "eth0 eth3 lo"},
	} {
		if got := sorted(c.at); got != c.want {
			t.Errorf("interfaces on %s: %s, want %s", c.at.Name(), got, c.want)
		}
	}
	if out := blue.Must("ip", "-4", "address", "show", "dev", "eth0"); blue.Index("eth0") != kept || !strings.Contains(out, "198.51.100.99") {
		t.Errorf("the end that was still wanted is another: ifindex was %d, is %d: %s", kept, blue.Index("eth0"), out)
	}
	d.stop(t, syscall.SIGTERM)
	if left := append(links(t, red), links(t, blue)...); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}
