package main_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"vtepd/bench/lab"
)

// TestKernelSelftestFDBChangelink is the kernel's test_vxlan_fdb_changelink.sh (tools/testing/selftests/net): two flood destinations are still two after
// a change of the segment that has nothing to do with them, and after naming one of them again.
//
// One case is different on purpose: the kernel's `remote` adds to the list, `vni set N peer IP` gives the whole list, so it is not said here without both.
//
//	vtepd on a {eth0 192.0.2.1} ══ b, and behind it nobody: 192.0.2.20, 192.0.2.30
func TestKernelSelftestFDBChangelink(t *testing.T) {
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	d := start(t, l, h, fmt.Sprintf("local: %v\nvnis:\n- {vni: 2000}\n", h.Underlay4()))
	remotes := func(after string) {
		t.Helper()
		var got []string
		for _, e := range d.list(t, "fdb", "show", "vni", "2000", "mac", "00:00:00:00:00:00") {
			got = append(got, fmt.Sprint(e["dst"]))
		}
		slices.Sort(got)
		if want := "192.0.2.20 192.0.2.30"; strings.Join(got, " ") != want {
			t.Errorf("remotes after %s: %v, want %s", after, got, want)
		}
	}
	for _, dst := range []string{"192.0.2.20", "192.0.2.30"} {
		d.tell(t, "fdb", "append", "00:00:00:00:00:00", "vni", "2000", "dst", dst)
	}
	remotes("fdb append")
	for _, change := range [][]string{
		{"vni", "set", "2000", "ttl", "9"},
		{"vni", "set", "2000", "learning", "off", "ageing", "30s"},
		{"vni", "set", "2000", "peer", "192.0.2.20", "peer", "192.0.2.30"},
		{"vni", "set", "2000", "peer", "192.0.2.30", "peer", "192.0.2.20"},
	} {
		d.tell(t, change...)
		remotes(strings.Join(change, " "))
	}
	// Whether naming one again is refused or idle, nothing has changed.
	for _, again := range [][]string{
		{"peer", "add", "192.0.2.30", "vni", "2000"},
		{"fdb", "append", "00:00:00:00:00:00", "vni", "2000", "dst", "192.0.2.30"},
	} {
		if a := d.ask(t, again...); a.code > 1 {
			t.Errorf("%v: exit code %d: %s", again, a.code, a.stderr)
		}
		remotes(strings.Join(again, " "))
	}
}
