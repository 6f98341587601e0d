package underlay

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// As a little-endian machine prints them.
const (
	procIGMP = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n" +
		"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
		"12\teth0      :     2      V2\n\t\t\t\t010101EF     1 0:00000000\t\t1\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
		"2\teth1      :     1      V3\n\t\t\t\t020101EF     1 0:00000000\t\t0\n"
	procIGMP6 = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n" +
		"12   eth0            ff0e0000000000000000000000000100     1 00000004 0\n" +
		"12   eth0            ff020000000000000000000000000001     1 0000000C 0\n"
)

func TestParseMemberships(t *testing.T) {
	for _, tc := range []struct {
		is6   bool
		table string
		index int
		want  []string
	}{
		{false, procIGMP, 12, []string{"224.0.0.1", "239.1.1.1"}},
		{false, procIGMP, 1, []string{"224.0.0.1"}},
		{false, procIGMP, 2, []string{"239.1.1.2"}},
		{false, procIGMP, 3, nil},
		{false, "12\n\t\n\t0101\n \n\n", 12, nil},
		{true, procIGMP6, 12, []string{"ff02::1", "ff0e::100"}},
		{true, procIGMP6, 2, nil},
		{true, "12 eth0 ff02\n12\n", 12, nil},
	} {
		got := make(map[netip.Addr]bool)
		parse := parseIGMP
		if tc.is6 {
			parse = parseIGMP6
		}
		if err := parse(strings.NewReader(tc.table), tc.index, got); err != nil {
			t.Error(err)
		}
		var texts []string
		for _, a := range slices.SortedFunc(maps.Keys(got), netip.Addr.Compare) {
			texts = append(texts, a.String())
		}
		if diff := cmp.Diff(tc.want, texts); diff != "" {
			t.Errorf("interface %d in\n%s%s", tc.index, tc.table, diff)
		}
	}
}

func FuzzMemberships(f *testing.F) {
	f.Add(procIGMP)
	f.Add(procIGMP6)
	f.Fuzz(func(t *testing.T, table string) {
		four, six := make(map[netip.Addr]bool), make(map[netip.Addr]bool)
		_, _ = parseIGMP(strings.NewReader(table), 12, four), parseIGMP6(strings.NewReader(table), 12, six)
		for a := range four {
			if !a.Is4() {
				t.Errorf("%v is no IPv4 address", a)
			}
		}
		for a := range six {
			if a.Is4() {
				t.Errorf("%v is no IPv6 address", a)
			}
		}
	})
}
