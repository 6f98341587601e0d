package main_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStartWithoutNamespace kills a vtepd, deletes the namespace of one of its ports, and starts it again: the other ports are there as before, and the one
// comes when its namespace does.
//
//	blue {198.51.100.77} ──┐
//	                       ├── vtepd on a {eth0} ══ {eth0} vtepd on b {vtep0 198.51.100.2}
//	 web {198.51.100.78} ──┘
func TestStartWithoutNamespace(t *testing.T) {
	for _, kind := range []string{"veth", "tap"} {
		for _, fastpath := range []string{"off", "on"} {
			t.Run(kind+", fastpath "+fastpath, func(t *testing.T) {
				t.Parallel()
				startWithoutNamespace(t, kind, fastpath)
			})
		}
	}
}

func startWithoutNamespace(t *testing.T, kind, fastpath string) {
	l, ha, hb, _ := pair(t)
	web, blue := l.Host("web"), newNamespace(t, l, ha)
	config := fmt.Sprintf("local: %v\nfastpath: %s\nvnis:\n- {vni: 42, peers: [%v]}\nports:\n"+
		"- {name: blue0, type: %s, vni: 42, netns: %s, addresses: [198.51.100.77/24]}\n"+
		"- {name: web0, type: veth, vni: 42, netns: %s, addresses: [198.51.100.78/24]}\n", ha.Underlay4(), fastpath, hb.Underlay4(), kind, blue.name, web.Name())
	before := links(t, ha)
	a := start(t, l, ha, config)
	b := start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	far := b.host.Overlay4()
	reach(t, web, far)
	soon(t, "an answer into the namespace", func() bool { return blue.reaches(far.String()) })
	pair := web.Index("eth0")

	if err := a.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.Done()
	blue.del()
	a.run(t)
	why := fmt.Sprintf("netns %q: no such network namespace", blue.name)
	if p := a.list(t, "port", "show", "blue0")[0]; p["state"] != "missing" || !strings.Contains(fmt.Sprint(p["reason"]), why) {
		t.Errorf("without its namespace: %v", p)
	}
	if got := a.tell(t, "port", "show", "blue0"); !strings.Contains(got, "missing: ") || !strings.Contains(got, why) {
		t.Errorf("port show: %s", got)
	}
	if got := a.portState(t, "web0"); got != "up" || web.Index("eth0") != pair {
		t.Errorf("the other port is %s, its pair had ifindex %d and has %d", got, pair, web.Index("eth0"))
	}
	reach(t, web, far)
	if line := a.reload(t, config+"- {name: tap1, type: tap, vni: 42}\n"); !strings.Contains(line, "1 port added") {
		t.Errorf("reload while a namespace is missing: %s", line)
	}
	if got := a.ask(t, "port", "add", "more0", "type", kind, "vni", "42", "netns", "vtepd-no-such"); got.code != 1 || !strings.Contains(got.stderr, "no such network namespace") {
		t.Errorf("port add while somebody reads the answer: %+v", got)
	}
	var warnings []string
	for line := range strings.Lines(a.Output()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "port=blue0") {
			warnings = append(warnings, line)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "its network namespace is missing: it comes up as soon as that is there") || !strings.Contains(warnings[0], blue.name) {
		t.Errorf("warnings: %q", warnings)
	}

	blue.add()
	soon(t, "port up", func() bool { return a.portState(t, "blue0") == "up" })
	soon(t, "an answer into the new namespace", func() bool { return blue.reaches(far.String()) })
	reach(t, web, far)
	if kind == "veth" && fastpath == "on" {
		soon(t, "the fast path has the port", func() bool { return a.list(t, "port", "show", "blue0")[0]["fastpath"] == true })
	}
	leavesNothing := func(when string) {
		t.Helper()
		a.stop(t, syscall.SIGTERM)
		if d := cmp.Diff(before, links(t, ha)); d != "" {
			t.Errorf("left behind %s (-before +after):\n%s", when, d)
		}
		if got := fmt.Sprint(links(t, web)); got != "[lo]" {
			t.Errorf("left with the other workload %s: %s", when, got)
		}
	}
	leavesNothing("after the namespace came")
	for _, kind := range []string{"tun", "veth"} {
		if out := blue.via.Must("ip", "-n", blue.name, "-brief", "link", "show", "type", kind); out != "" {
			t.Errorf("left in the namespace: %s", out)
		}
	}
	blue.del()
	a.run(t)
	if got := a.portState(t, "blue0"); got != "missing" {
		t.Errorf("state %s", got)
	}
	leavesNothing("while the namespace was missing")
}
