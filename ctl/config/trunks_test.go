package config

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// A mistake about one VLAN of a trunk is reported where the trunk lists it, alone or in a range.
func TestTrunkPlaces(t *testing.T) {
	const file = "local: 192.0.2.1\nvlans: [{vid: 10, vni: 1}, {vid: 20, vni: 2}, {vid: 21, vni: 3}, {vid: 40, vni: 1}]\nports:\n- {name: tap0, trunk: [%s]}\n"
	for trunk, want := range map[string]string{
		"10, 20-21":     "",
		"10, 20-22":     "f:4:28: port tap0 names undeclared VLAN 22: declare it under vlans, or with vtepctl vlan add",
		"19, 10, 20":    "f:4:24: port tap0 names undeclared VLAN 19: declare it under vlans, or with vtepctl vlan add",
		"20-21, 40, 10": "f:4:31: port tap0: VLANs 10 and 40 are both VNI 1, which a trunk can call by one VLAN only: leave one away",
		"20-21, 10, 21": "f:4:35: trunk: VLAN 21 is listed twice: leave one away",
		"10, 10-11":     "f:4:28: trunk: VLAN 10 is listed twice: leave one away",
		`"21,20-21"`:    "f:4:24: trunk: VLAN 21 is listed twice: leave one away",
	} {
		_, err := Parse("f", fmt.Appendf(nil, file, trunk))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("[%s]:\ngot  %s\nwant %s", trunk, got, want)
		}
	}
}

// A thousand trunks of every VLAN are a small file, and reading it must not take what four million places would.
func TestManyFullTrunks(t *testing.T) {
	var b strings.Builder
	b.WriteString("local: 192.0.2.1\nvlans:\n")
	for vid := 1; vid <= 4094; vid++ {
		fmt.Fprintf(&b, "- {vid: %d, vni: %d}\n", vid, 10000+vid)
	}
	b.WriteString("ports:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "- {name: tap%d, trunk: [1-4094]}\n", i)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Parse("f", []byte(b.String())); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 250 {
		t.Errorf("%d MiB allocated", mb)
	} else {
		t.Logf("%d MiB allocated", mb)
	}
}
