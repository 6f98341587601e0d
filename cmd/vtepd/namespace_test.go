package main_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vtepd/bench/lab"
)

// namespace is a named network namespace that nothing but its name keeps alive, so that it can be deleted under a port. Its name is one of the lab's, which
// has it swept away when the test is killed.
type namespace struct {
	name string
	via  *lab.Host // where `ip netns` runs
}

func newNamespace(t *testing.T, l *lab.Lab, via *lab.Host) *namespace {
	n := &namespace{"vtepd-lab-" + l.Suffix() + "-blue", via}
	n.add()
	t.Cleanup(func() { _, _ = via.Command("ip", "netns", "del", n.name) })
	return n
}

func (n *namespace) add() {
	n.via.Must("ip", "netns", "add", n.name)
	n.via.Must("ip", "-n", n.name, "link", "set", "lo", "up")
}

func (n *namespace) del() { n.via.Must("ip", "netns", "del", n.name) }

// reaches says whether an echo request from inside is answered.
func (n *namespace) reaches(address string) bool {
	_, err := n.via.Command("ip", "netns", "exec", n.name, "ping", "-c", "1", "-W", "1", address)
	return err == nil
}

// TestPortInNamespace deletes the namespace of a port under a running vtepd, and brings it back.
//
//	blue {tap0 198.51.100.1} ──┐
//	                           ├── vtepd on a {eth0} ══ {eth0} vtepd on b {vtep0 198.51.100.2}
//	   a {tap1 198.51.100.3} ──┘
func TestPortInNamespace(t *testing.T) {
	t.Parallel()
	l, ha, hb, _ := pair(t)
	blue := newNamespace(t, l, ha)
	a := start(t, l, ha, fmt.Sprintf("local: %v\nvnis:\n- {vni: 42, peers: [%v]}\nports:\n"+
		"- {name: tap0, type: tap, vni: 42, netns: %s, mac: \"02:00:00:00:00:01\", addresses: [198.51.100.1/24]}\n"+
		"- {name: tap1, type: tap, vni: 42, addresses: [198.51.100.3/24]}\n", ha.Underlay4(), hb.Underlay4(), blue.name))
	b := start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	far := b.host.Overlay4().String()
	soon(t, "an answer into the namespace", func() bool { return blue.reaches(far) })
	if slices.Contains(links(t, ha), "tap0") {
		t.Error("tap0 is in vtepd's own namespace too")
	}
	if p := a.list(t, "port", "show", "tap0")[0]; p["netns"] != blue.name || p["mac"] != "02:00:00:00:00:01" || p["state"] != "up" {
		t.Errorf("port: %v", p)
	}

	f := startFlow(t, b.host, a.host, ha.OverlayPrefixes()[0].Addr().Next().Next())
	blue.del()
	soon(t, "port missing", func() bool { return a.portState(t, "tap0") == "missing" })
	if got := a.portState(t, "tap1"); got != "up" {
		t.Errorf("the other port is %s", got)
	}
	for _, e := range a.list(t, "fdb", "show", "dynamic") {
		if e["port"] == "tap0" {
			t.Errorf("entry of a port that is gone: %v", e)
		}
	}
	blue.add()
	soon(t, "port up again", func() bool { return a.portState(t, "tap0") == "up" })
	soon(t, "an answer into the new namespace", func() bool { return blue.reaches(far) })
	f.end(t, stall)
	out := blue.via.Must("ip", "netns", "exec", blue.name, "ip", "-brief", "link", "show", "tap0")
	if !strings.Contains(out, "02:00:00:00:00:01") {
		t.Errorf("the new device: %s", out)
	}
	a.stop(t, syscall.SIGTERM)
	if out := blue.via.Must("ip", "netns", "exec", blue.name, "ip", "-brief", "link", "show"); strings.Contains(out, "tap0") {
		t.Errorf("left in the namespace: %s", out)
	}
}

// TestDeviceDeleted deletes a TAP under a running vtepd: it is made again.
func TestDeviceDeleted(t *testing.T) {
	t.Parallel()
	a, b := overlayPair(t)
	reach(t, a.host, b.host.Overlay4())
	index := a.host.Index("vtep0")
	a.host.Must("ip", "link", "del", "vtep0")
	soon(t, "a new device", func() bool {
		return slices.Contains(links(t, a.host), "vtep0") && a.host.Index("vtep0") != index && a.portState(t, "vtep0") == "up"
	})
	reach(t, a.host, b.host.Overlay4())
}
