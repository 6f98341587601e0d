package model

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vtepd/dataplane"
)

func TestCompareNames(t *testing.T) {
	want := []string{"br0", "tap", "tap01", "tap1", "tap2", "tap2a", "tap10", "tap10b2", "tap10b10", "veth"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, CompareNames)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzCompareNames: an order is antisymmetric, transitive, and equal for equal names only.
func FuzzCompareNames(f *testing.F) {
	f.Add("tap2", "tap10", "tap02")
	f.Add("a0", "a00", "a")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if CompareNames(a, b) != -CompareNames(b, a) || (CompareNames(a, b) == 0) != (a == b) {
			t.Fatalf("%q and %q: %d, %d", a, b, CompareNames(a, b), CompareNames(b, a))
		}
		if CompareNames(a, b) < 0 && CompareNames(b, c) < 0 && CompareNames(a, c) >= 0 {
			t.Fatalf("%q < %q < %q, but not %q < %q", a, b, c, a, c)
		}
	})
}

func TestNearest(t *testing.T) {
	words := []string{"local", "learning", "vni", "vnis", "vlans", "ports"}
	for in, want := range map[string]string{
		"locla": "local", "lerning": "learning", "vnii": "vni", "pots": "ports", "vlan": "vlans", "x": "", "": "", "interface": "", "iv": "", "vin": "vni",
	} {
		if got := Nearest(in, words); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestParseVIDs(t *testing.T) {
	for in, want := range map[string]string{
		"10": "[10]", "20-22,10": "[10 20 21 22]", "10, 11": "[10 11]", "5-5": "[5]",
		"10,10": "err", "1,1-2": "err", "1-4094,4094": "err",
		"": "err", "0": "err", "4095": "err", "3-1": "err", "1-": "err", "-1": "err", "1,,2": "err", "1-2-3": "err",
	} {
		vids, err := ParseVIDs(in)
		got := fmt.Sprint(vids)
		if err != nil {
			got = "err"
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", in, got, want, err)
		}
	}
	if vids, err := ParseVIDs("1-4094"); err != nil || len(vids) != 4094 {
		t.Errorf("all VLANs: %d, %v", len(vids), err)
	}
}

func TestParseGBPRanges(t *testing.T) {
	for in, want := range map[string]string{
		"0": "[0]", "65535": "[65535]", "5,10-20": "[5 10-20]", "10-20,5": "[5 10-20]", "1-5,3-9": "[1-9]", "1-5,6": "[1-6]", "65535,65534": "[65534-65535]",
		"0-65535,7": "[0-65535]", " 1 , 3 ": "[1 3]", "5-5": "[5]",
		"": "err", "65536": "err", "-1": "err", "9-3": "err", "1,,2": "err", "1-": "err", "1-2-3": "err", "none": "err", "0x10": "err",
	} {
		list, err := ParseGBPRanges(in)
		got := fmt.Sprint(GBPWords(list))
		if err != nil {
			got = "err"
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", in, got, want, err)
		}
	}
	if list, err := ParseGBPRangesOrNone("none"); err != nil || list == nil || len(list) != 0 {
		t.Errorf("none: %v, %v", list, err)
	}
}

func TestParsePeer(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.2": "192.0.2.2:0", "192.0.2.2:4790": "192.0.2.2:4790", "2001:db8::2": "[2001:db8::2]:0", "[2001:db8::2]:4790": "[2001:db8::2]:4790",
		"::ffff:192.0.2.2": "192.0.2.2:0", "[::ffff:192.0.2.2]:1": "192.0.2.2:1",
		"192.0.2.2:0": "err", "192.0.2.2:65536": "err", "fe80::1%eth0": "err", "host": "err", "": "err", "192.0.2.2:": "err",
	} {
		p, err := ParsePeer(in)
		got := p.String()
		if err != nil {
			got = "err"
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", in, got, want, err)
		}
	}
}

// TestSettingsInherit: a VNI's word wins over the top level's, which wins over the default; allow is the union.
func TestSettingsInherit(t *testing.T) {
	m := New()
	set := func(s *Settings, pairs ...string) {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			if err := SettingByName(pairs[i]).Parse(s, pairs[i+1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := &VNI{}
	m.VNIs.Put(1, v)
	m.VNIs.Put(2, &VNI{})
	set(&m.Global.Settings, "ageing", "10s", "learning", "off", "ttl", "inherit", "allow", "192.0.2.0/24", "max-macs", "9", "dscp", "7", "inner-vlan", "keep")
	set(&v.Settings, "ageing", "0", "learning", "on", "ttl", "3", "allow", "203.0.113.0/24,192.0.2.0/24", "max-macs", "4", "dscp", "inherit", "inner-vlan", "drop")
	one, two := m.VNIConfig(1), m.VNIConfig(2)
	if one.Ageing != 0 || !one.Learning || one.Header.TTL != 3 || one.Header.InheritTTL || len(one.Allow) != 2 || one.MaxMACs != 4 || !one.Header.InheritDSCP || one.Header.KeepInnerVLAN {
		t.Errorf("own settings: %+v", one)
	}
	if two.Ageing != 10*time.Second || two.Learning || !two.Header.InheritTTL || two.Header.TTL != 64 || len(two.Allow) != 1 || two.MaxMACs != 0 || two.Header.DSCP != 7 || !two.Header.KeepInnerVLAN {
		t.Errorf("inherited settings: %+v", two)
	}
	if m.SwitchConfig().MaxMACs != 9 {
		t.Errorf("max-macs of the switch: %d", m.SwitchConfig().MaxMACs)
	}
	for _, s := range SettingTable {
		s.Clear(&v.Settings)
	}
	if diff := cmp.Diff(Settings{}, v.Settings, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("cleared settings: %s", diff)
	}
}

// TestPortConfig: access, trunk and native in the words of the switch.
func TestPortConfig(t *testing.T) {
	m := New()
	fill(&m.VLANs, map[uint16]uint32{10: 1010, 20: 1020, 30: 1030})
	for name, c := range map[string]struct {
		port Port
		want dataplane.PortConfig
	}{
		"vni":            {Port{VNI: 5}, dataplane.PortConfig{Untagged: 5}},
		"access":         {Port{Access: 10}, dataplane.PortConfig{Untagged: 1010}},
		"trunk":          {Port{Trunk: []uint16{10, 20}}, dataplane.PortConfig{Tagged: []dataplane.VIDMap{{VID: 10, VNI: 1010}, {VID: 20, VNI: 1020}}}},
		"native inside":  {Port{Trunk: []uint16{10, 20}, Native: 10}, dataplane.PortConfig{Untagged: 1010, NativeVID: 10, Tagged: []dataplane.VIDMap{{VID: 20, VNI: 1020}}}},
		"native outside": {Port{Trunk: []uint16{20}, Native: 30}, dataplane.PortConfig{Untagged: 1030, NativeVID: 30, Tagged: []dataplane.VIDMap{{VID: 20, VNI: 1020}}}},
	} {
		m.Ports.Put(name, &c.port)
		c.want.Name = name
		if diff := cmp.Diff(c.want, m.PortConfig(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestErrorField(t *testing.T) {
	for path, want := range map[string]string{
		"dstport": "dstport", "vnis/42": "vni", "ports/tap0": "port", "vlans/10": "vid", "static/42 02:00:00:00:00:01": "mac",
		"vnis/42/peers/192.0.2.2": "peers", "ports/tap0/trunk/10": "trunk", "vnis/42/udp6-zero-checksum": "udp6-zero-checksum",
	} {
		if got := (&Error{Path: path}).Field(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestLimits: what is more than a switch takes is refused before the switch is asked.
func TestLimits(t *testing.T) {
	m := New()
	m.Global.Local = netip.MustParseAddr("192.0.2.1")
	m.VNIs.Put(1, &VNI{})
	for i := range dataplane.MaxPorts + 1 {
		m.Ports.Put(fmt.Sprint("p", i), &Port{Type: dataplane.PortTAP, VNI: 1})
	}
	if err := m.Check(); err == nil || err.Error() != "4097 ports are more than the 4096 that a switch takes: split them over several hosts" {
		t.Error(err)
	}
}

func BenchmarkValidate10000VNIs(b *testing.B) {
	m := New()
	m.Global.Local = netip.MustParseAddr("192.0.2.1")
	for n := range uint32(10000) {
		m.VNIs.Put(n+1, &VNI{Peers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:4789")}})
	}
	for b.Loop() {
		if err := m.Check(); err != nil {
			b.Fatal(err)
		}
	}
}

// Every setting is in the table: one that is not could not be written, and a reload would not change it.
func TestSettingTableIsComplete(t *testing.T) {
	fields := reflect.TypeFor[Settings]()
	reached := make([]bool, fields.NumField())
	for _, set := range SettingTable {
		var none, one, into Settings
		values := []string{"1", "300s", "auto", "on", "learn", "linux", "rx", "strict", "keep", "none", "192.0.2.0/24", "1kpps"}
		i := slices.IndexFunc(values, func(v string) bool { return set.Parse(&one, v) == nil })
		if i < 0 {
			t.Fatalf("%s takes none of %v", set.Name, values)
		}
		for _, v := range append(values, "64", "90m", "2h", "1m30s", "inherit", "5,10-20", "unknown,multicast", "off", "10mbit", "unknown=1kpps,multicast=3gbit", "all", "both", "1400", "192.0.2.0/24,2001:db8::/32") {
			var read, again Settings
			if set.Parse(&read, v) != nil {
				continue
			}
			if err := set.Parse(&again, set.Text(&read)); err != nil || !reflect.DeepEqual(read, again) {
				t.Errorf("%s %s is written %q, which is read as %+v, %v", set.Name, v, set.Text(&read), again, err)
			}
		}
		if text := set.Text(&none); text != "" {
			t.Errorf("%s is not set, and written %q", set.Name, text)
		}
		set.Merge(&into, &none, &one)
		if !reflect.DeepEqual(into, one) {
			t.Errorf("%s: merged %+v, want %+v", set.Name, into, one)
		}
		for n := range reached {
			reached[n] = reached[n] || !reflect.ValueOf(one).Field(n).IsZero()
		}
		if set.Clear(&one); !reflect.DeepEqual(one, none) {
			t.Errorf("%s: cleared to %+v", set.Name, one)
		}
	}
	for n, ok := range reached {
		if !ok {
			t.Errorf("no word sets %s", fields.Field(n).Name)
		}
	}
}
