package model

import (
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vtepd/dataplane"
	"vtepd/fdb"
)

// fill puts values into a table.
func fill[K comparable, V any](into interface{ Put(K, V) }, values map[K]V) {
	for k, v := range values {
		into.Put(k, v)
	}
}

func TestDiff(t *testing.T) {
	peer := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	key := StaticKey{VNI: 42, MAC: 0x020000000009}
	old := New()
	fill(&old.VLANs, map[uint16]uint32{10: 10010, 20: 10020})
	fill(&old.VNIs, map[uint32]*VNI{
		42: {Peers: []netip.AddrPort{peer("192.0.2.2:4789"), peer("192.0.2.3:4790")}, Settings: Settings{Ageing: Some(10 * time.Minute)}},
		43: {}, 44: {Peers: []netip.AddrPort{peer("192.0.2.2:4789"), peer("192.0.2.3:4789")}},
	})
	fill(&old.Ports, map[string]*Port{"tap2": {Type: dataplane.PortTAP, VNI: 42}, "tap10": {Type: dataplane.PortTAP, VNI: 42, MTU: 1400}, "tap3": {Type: dataplane.PortTAP, VNI: 42}})
	old.Statics.Put(key, Static{Dst: peer("192.0.2.2:4789"), State: fdb.Static})

	next := old.Clone()
	if d := next.Diff(old); len(d) > 0 {
		t.Errorf("a clone differs: %+v", d)
	}
	next.Global.FastPath = FastPathOff
	next.Global.Settings.Learning = Some(false)
	next.VLANs.Delete(20)
	fill(&next.VLANs, map[uint16]uint32{10: 10011, 30: 10030})
	next.VNIs.Delete(43)
	fill(&next.VNIs, map[uint32]*VNI{
		42: {Peers: []netip.AddrPort{peer("192.0.2.3:4790"), peer("[2001:db8::2]:4789")}, Group: peer("239.1.1.1:4789"), Settings: Settings{Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}},
		44: {Peers: []netip.AddrPort{peer("192.0.2.3:4789"), peer("192.0.2.2:4789")}}, 9: {},
	})
	next.Ports.Put("tap10", &Port{
		Type: dataplane.PortVeth, Trunk: []uint16{10, 20, 21, 22}, Native: 10, NetNS: "blue", IfName: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}, MSSClamp: dataplane.MSSOff, StormControl: &dataplane.StormControl{Broadcast: dataplane.Rate{N: 5}}, Isolated: true, MaxMACs: 5, GBPID: 7, GBPDrop: []dataplane.GBPRange{{First: 1, Last: 3}},
	})
	next.Ports.Put("tap1", &Port{Type: dataplane.PortTAP, Access: 10})
	same := *old.Ports.At("tap3")
	next.Ports.Put("tap3", &same)
	next.Ports.Delete("tap2")
	next.Statics.Put(key, Static{Port: "tap1", State: fdb.Sticky})

	value := func(name, from, to string) ValueDifference { return ValueDifference{Name: name, From: from, To: to} }
	want := []Difference{
		{Change, "settings", "", []ValueDifference{value("fastpath", "auto", "off"), value("learning", "", "off")}},
		{Change, "vlan", "10", []ValueDifference{value("vni", "10010", "10011")}},
		{Delete, "vlan", "20", nil},
		{Add, "vlan", "30", []ValueDifference{value("vni", "", "10030")}},
		{Add, "vni", "9", nil},
		{Change, "vni", "42", []ValueDifference{
			{Name: "peers", Added: []string{"2001:db8::2"}, Removed: []string{"192.0.2.2"}}, value("group", "", "239.1.1.1"), value("ageing", "10m", ""), {Name: "allow", Added: []string{"203.0.113.0/24"}},
		}},
		{Delete, "vni", "43", nil},
		{Change, "vni", "44", []ValueDifference{{Name: "peers"}}},
		{Add, "port", "tap1", []ValueDifference{value("type", "", "tap"), value("access", "", "10")}},
		{Delete, "port", "tap2", nil},
		{Change, "port", "tap10", []ValueDifference{
			value("type", "tap", "veth"), value("vni", "42", ""), value("trunk", "", "10,20-22"), value("native", "", "10"), value("mtu", "1400", ""), value("netns", "", "blue"),
			value("ifname", "", "eth0"), value("mac", "", "02:00:00:00:00:01"), {Name: "addresses", Added: []string{"198.51.100.1/24"}}, value("max-macs", "", "5"),
			value("mss-clamp", "", "off"), value("storm-control", "", "broadcast=5pps"), value("isolated", "", "on"), value("gbp-id", "", "7"), value("gbp-drop", "", "1-3"),
		}},
		{Change, "fdb", "02:00:00:00:00:09 vni 42", []ValueDifference{value("dst", "192.0.2.2", ""), value("port", "", "tap1"), value("state", "static", "sticky")}},
	}
	if diff := cmp.Diff(want, next.Diff(old)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDiffFindsAll: two models differ where their contents do, and the way back names the same objects.
func TestDiffFindsAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	m := New()
	equal := 0
	for i := range 20000 {
		next := m.Clone()
		edit := randomEdit(rng, next)
		there, back := next.Diff(m), m.Diff(next)
		same := reflect.DeepEqual(m.Global.Settings, next.Global.Settings) && reflect.DeepEqual(maps.Collect(m.VLANs.All()), maps.Collect(next.VLANs.All())) &&
			reflect.DeepEqual(maps.Collect(m.VNIs.All()), maps.Collect(next.VNIs.All())) && reflect.DeepEqual(maps.Collect(m.Ports.All()), maps.Collect(next.Ports.All())) &&
			maps.Equal(maps.Collect(m.Statics.All()), maps.Collect(next.Statics.All()))
		if same != (len(there) == 0) || len(there) != len(back) {
			t.Fatalf("edit %d, %s: equal %v, differences %+v and back %+v", i, edit, same, there, back)
		}
		for j := range there {
			if a, b := there[j], back[j]; a.Object != b.Object || a.Name != b.Name || (a.Action == Add) != (b.Action == Delete) {
				t.Fatalf("edit %d, %s: %+v and back %+v", i, edit, a, b)
			}
		}
		if same {
			equal++
		}
		m = next
	}
	if equal < 100 || equal > 19000 {
		t.Errorf("%d of 20000 edits changed nothing: the walk is too narrow", equal)
	}
}
