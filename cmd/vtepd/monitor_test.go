package main_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// TestMonitor watches what commands and traffic change, as lines for people and as JSON.
func TestMonitor(t *testing.T) {
	a, b := overlayPair(t)
	watch := func(args ...string) *lab.Process {
		p, err := a.host.Start(vtepctlPath, append([]string{"--socket", a.socket}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	lines, objects, ports := watch("monitor"), watch("-j", "monitor", "fdb", "port", "peer"), watch("monitor", "port")
	// A monitor says nothing when it is ready: a harmless change is repeated until each has told of it.
	soon(t, "events at every monitor", func() bool {
		a.tell(t, "port", "add", "ready0", "vni", "42")
		a.tell(t, "port", "del", "ready0")
		for _, p := range []*lab.Process{lines, objects, ports} {
			if !strings.Contains(p.Output(), "ready0") {
				return false
			}
		}
		return true
	})
	began := time.Now()
	a.tell(t, "fdb", "flush", "vni", "42")
	reach(t, a.host, b.host.Overlay4())
	a.tell(t, "port", "add", "tap1", "vni", "42")
	a.tell(t, "peer", "add", "192.0.2.77", "vni", "42")
	a.tell(t, "fdb", "add", "02:00:00:00:00:09", "vni", "42", "dst", "192.0.2.77")
	a.tell(t, "fdb", "del", "02:00:00:00:00:09", "vni", "42")
	a.tell(t, "peer", "del", "192.0.2.77", "vni", "42")
	a.tell(t, "port", "del", "tap1")

	macB := b.host.MAC("vtep0").String()
	const clock = `(?m)^\d\d:\d\d:\d\d\.\d{3} `
	want := []string{
		clock + `fdb add ` + macB + ` vni 42 dst ` + b.host.Underlay4().String() + ` dynamic$`,
		clock + `port add tap1$`,
		clock + `peer add 192\.0\.2\.77 vni 42$`,
		clock + `fdb add 02:00:00:00:00:09 vni 42 dst 192\.0\.2\.77 static$`,
		clock + `fdb del 02:00:00:00:00:09 vni 42 dst 192\.0\.2\.77 static$`,
		clock + `peer del 192\.0\.2\.77 vni 42$`,
		clock + `port del tap1$`,
	}
	soon(t, "the last line", func() bool { return regexp.MustCompile(want[len(want)-1]).MatchString(lines.Output()) })
	for _, line := range want {
		if !regexp.MustCompile(line).MatchString(lines.Output()) {
			t.Errorf("no line %s in:\n%s", line, lines.Output())
		}
	}
	if out := ports.Output(); strings.Contains(out, " fdb ") || strings.Contains(out, " peer ") {
		t.Errorf("monitor port tells of other things:\n%s", out)
	}

	soon(t, "the last object", func() bool { return strings.Contains(objects.Output(), `"action":"del","port":"tap1"`) })
	seen := map[string]bool{}
	for line := range strings.Lines(objects.Output()) {
		var e struct {
			Time                                        time.Time
			Object, Action, MAC, Dst, Port, Peer, State string
			VNI                                         int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if e.Time.Before(began.Add(-soonTimeout)) || e.Time.After(time.Now()) {
			t.Errorf("time %v of %s", e.Time, line)
		}
		seen[fmt.Sprint(e.Object, " ", e.Action, " ", e.MAC, e.Port, e.Peer)] = true
	}
	for _, event := range []string{"fdb add " + macB, "port add tap1", "peer add 192.0.2.77", "fdb del 02:00:00:00:00:09", "peer del 192.0.2.77", "port del tap1"} {
		if !seen[event] {
			t.Errorf("no JSON event %q among %v", event, seen)
		}
	}
	for _, p := range []*lab.Process{lines, objects, ports} {
		if err := p.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("monitor interrupted: %v: %s", err, p.Output())
		}
	}
}
