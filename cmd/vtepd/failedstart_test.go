package main_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// TestFailedStartAfterKill: a start that fails at its ports leaves what a killed vtepd left: known traffic goes on, and the next good start takes it over.
//
//	red {eth0 198.51.100.11, eth1} ══ {aa0, ac0} vtepd on a {eth0} ══ {eth0} vtepd on b {vtep0 198.51.100.2}
func TestFailedStartAfterKill(t *testing.T) {
	l, ha, hb, _ := pair(t)
	red := l.Host("red")
	veth := func(name, ifname, more string) string {
		return fmt.Sprintf("- {name: %s, type: veth, vni: 42, netns: %s, ifname: %s%s}\n", name, red.Name(), ifname, more)
	}
	kept, gone := veth("aa0", "eth0", ", addresses: [198.51.100.11/24]"), veth("ac0", "eth1", "")
	config := func(ports ...string) string {
		return fmt.Sprintf("local: %v\nvnis:\n- {vni: 42, peers: [%v]}\nports:\n%s", ha.Underlay4(), hb.Underlay4(), strings.Join(ports, ""))
	}
	b := start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	a := start(t, l, ha, config(kept, gone))
	if !strings.Contains(a.Output(), "fastpath=true") || len(a.pins(t)) == 0 {
		t.Skip("no fast path that outlives vtepd")
	}
	// Nobody answers ARP while there is no vtepd.
	known := func(at *lab.Host, dev, address, mac string) {
		at.Must("ip", "neigh", "replace", address, "lladdr", mac, "dev", dev, "nud", "permanent")
	}
	meet := func() { known(red, "eth0", hb.Overlay4().String(), hb.MAC("vtep0").String()) }
	meet()
	known(hb, "vtep0", "198.51.100.11", red.MAC("eth0").String())
	reach(t, red, hb.Overlay4())
	soon(t, "the fast path carries", func() bool {
		ping(t, red, hb.Overlay4())
		return !strings.Contains(a.tell(t, "status"), "carried 0 frames to peers")
	})
	if err := a.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.Done()

	carries := func(when string) {
		t.Helper()
		lost := 0
		for range 3 {
			if !ping(t, red, hb.Overlay4()) {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("%s: %d of 3 pings without an answer", when, lost)
		}
	}
	state := func() string {
		return fmt.Sprint("aa0 ", ha.Index("aa0"), " ", mtuOf(t, ha, "aa0"), ", ac0 ", ha.Index("ac0"), ", eth0 ", red.Index("eth0"), " ", mtuOf(t, red, "eth0"),
			" ", red.MAC("eth0"), "\n", red.Must("ip", "-4", "-o", "address", "show", "dev", "eth0"), links(t, ha), links(t, red))
	}
	carries("killed")
	before := state()
	// What a start has changed of it goes back, too.
	changed := strings.ReplaceAll(kept, "addresses: [", "mtu: 1300, mac: \"02:00:00:00:00:77\", addresses: [198.51.100.12/24, ")
	for what, ports := range map[string][]string{
		"the loopback interface":  {kept, gone, veth("ab0", "eth7", ""), "- {name: lo, type: netdev, vni: 42}\n"},
		"an ifname that is taken": {kept, veth("ab0", "eth7", ""), veth("zz1", "lo", "")},
		"changed, and a bad TAP":  {changed, veth("ab0", "eth7", ""), "- {name: eth0, type: tap, vni: 42}\n"},
	} {
		a.write(t, config(ports...))
		a.launch(t)
		select {
		case <-a.Done():
		case <-time.After(startTimeout):
			t.Fatalf("%s: vtepd does not end: %s", what, a.Output())
		}
		var exit *exec.ExitError
		if err := a.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%s: %v, want exit code 1: %s", what, err, a.Output())
		}
		if n := strings.Count(a.Output(), "what a killed vtepd left is kept"); n != 1 {
			t.Errorf("%s: %d lines say what is kept: %s", what, n, a.Output())
		}
		if got := state(); got != before {
			t.Errorf("%s: left\n%s\nas it was found:\n%s", what, got, before)
		}
		meet() // a change of its MAC costs an interface its neighbours
		carries(what)
	}

	a.write(t, config(kept))
	a.run(t)
	if out := a.Output(); !strings.Contains(out, "fast path taken over from a former process") {
		t.Errorf("nothing was taken over: %s", out)
	}
	carries("started again")
	if got := links(t, ha); strings.Contains(fmt.Sprint(got), "ac0") {
		t.Errorf("a pair stays that no port is for: %v", got)
	}
	a.stop(t, syscall.SIGTERM)
	b.stop(t, syscall.SIGTERM)
	if pins := a.pins(t); len(pins) > 0 {
		t.Errorf("left behind: %v", pins)
	}
	if left := links(t, red); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func mtuOf(t *testing.T, h *lab.Host, name string) int {
	t.Helper()
	link, err := h.Netlink().LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().MTU
}
