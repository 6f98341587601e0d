package main_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/bench/lab"
)

// anyPorts is a configuration with a veth port in a namespace and a netdev port.
func anyPorts(ha, hb, work *lab.Host) string {
	return fmt.Sprintf("local: %v\nvnis:\n- {vni: 42, peers: [%v]}\nports:\n"+
		"- {name: web0, type: veth, vni: 42, netns: %s, addresses: [198.51.100.1/24], mac: \"02:00:00:00:00:01\"}\n"+
		"- {name: nic0, type: netdev, vni: 42}\n", ha.Underlay4(), hb.Underlay4(), work.Name())
}

// A veth and a netdev port carry traffic to another host; the netdev's interface comes after the start; a stop gives everything back.
//
//	eth0 198.51.100.1 (work) ══ web0 ──┐
//	                                   ├ vtepd ── eth0 ══ eth0 ── vtepd ── vtep0 198.51.100.2
//	far0 198.51.100.9 (segment) ══ nic0┘
func TestPortsOnAnyInterface(t *testing.T) {
	l, ha, hb, _ := pair(t)
	work, segment := l.Host("work"), l.Host("segment")
	d := prepare(t, l, ha, anyPorts(ha, hb, work))
	awaitCarrier(t, ha, "eth0")
	before := traces(t, d, work)
	if got := execute(t, ha, vtepdPath, "--config", d.file, "--check"); got.code != 0 {
		t.Errorf("check of a port that waits for its interface: %+v", got)
	}
	d.run(t)
	b := start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	reach(t, work, b.host.Overlay4())

	web := d.list(t, "port", "show", "web0")[0]
	if web["state"] != "up" || web["type"] != "veth" || web["netns"] != work.Name() || web["ifname"] != "eth0" || web["mac"] != "02:00:00:00:00:01" || web["mtu"] != 1450.0 {
		t.Errorf("veth port: %v", web)
	}
	nic := d.list(t, "port", "show", "nic0")[0]
	if nic["state"] != "missing" || !strings.Contains(fmt.Sprint(nic["reason"]), "no such interface") {
		t.Errorf("netdev port without interface: %v", nic)
	}
	ha.Must("ip", "link", "add", "nic0", "type", "veth", "peer", "name", "far0", "netns", segment.Name())
	segment.Addr("far0", segment.OverlayPrefixes()...)
	segment.MTU("far0", 1450)
	soon(t, "the interface is taken", func() bool { return d.portState(t, "nic0") == "up" })
	reach(t, segment, b.host.Overlay4())
	reach(t, segment, ha.Overlay4())
	soon(t, "MACs behind both ports", func() bool {
		at := map[any]bool{}
		for _, e := range d.list(t, "fdb", "show", "vni", "42") {
			at[e["port"]] = true
		}
		return at["web0"] && at["nic0"]
	})
	if got := d.ask(t, "port", "add", "eth0", "type", "netdev", "vni", "42"); got.code != 1 || !strings.Contains(got.stderr, "carries the underlay address") {
		t.Errorf("the underlay's interface as a port: %+v", got)
	}
	if got := d.ask(t, "port", "set", "nic0", "netns", work.Name()); got.code != 1 || !strings.Contains(got.stderr, "taken where vtepd runs") {
		t.Errorf("netns of a netdev: %+v", got)
	}
	// Another name at the workload's end makes the pair anew.
	d.tell(t, "port", "set", "web0", "ifname", "net0")
	if list := links(t, work); !slices.Contains(list, "net0") || slices.Contains(list, "eth0") {
		t.Errorf("links of the workload: %v", list)
	}
	reach(t, work, b.host.Overlay4())

	ha.Must("ip", "link", "set", "web0", "down")
	ha.Must("ip", "link", "set", "web0", "name", "web9", "up")
	soon(t, "both ends are named", func() bool {
		shown := d.tell(t, "port", "show", "web0")
		return strings.Contains(shown, "the workload's end is net0\n") && strings.Contains(shown, "now called web9\n")
	})
	ha.Must("ip", "link", "del", "nic0")
	soon(t, "the interface is let go", func() bool { return d.portState(t, "nic0") == "missing" })
	d.stop(t, syscall.SIGTERM)
	if diff := cmp.Diff(before, traces(t, d, work)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// After a kill the workload of a veth port keeps its interface and its connections, and the next vtepd takes up both ports.
//
//	work {eth0} ═════ {web0} ──┐
//	                           ├── vtepd on a {eth0} ══ {eth0} vtepd on b {vtep0}
//	segment {far0} ══ {nic0} ──┘
func TestKillKeepsThePair(t *testing.T) {
	l, ha, hb, _ := pair(t)
	work, segment := l.Host("work"), l.Host("segment")
	ha.Must("ip", "link", "add", "nic0", "type", "veth", "peer", "name", "far0", "netns", segment.Name())
	segment.Addr("far0", segment.OverlayPrefixes()...)
	segment.MTU("far0", 1450)
	a := start(t, l, ha, anyPorts(ha, hb, work))
	b := start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	reach(t, work, b.host.Overlay4())
	reach(t, segment, b.host.Overlay4())
	index := work.Index("eth0")
	f := startFlow(t, work, b.host, b.host.Overlay4())
	if err := a.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.Done()
	a.run(t)
	if got := work.Index("eth0"); got != index {
		t.Errorf("the workload's interface is another: index %d, was %d", got, index)
	}
	soon(t, "both ports", func() bool { return a.portState(t, "web0") == "up" && a.portState(t, "nic0") == "up" })
	reach(t, work, b.host.Overlay4())
	reach(t, segment, b.host.Overlay4())
	f.end(t, soonTimeout)
	a.stop(t, syscall.SIGTERM)
	if slices.Contains(links(t, work), "eth0") {
		t.Error("the pair is left")
	}
	if out := ha.Must("ip", "-d", "link", "show", "nic0"); !strings.Contains(out, "promiscuity 0") {
		t.Errorf("given back: %s", out)
	}
}
