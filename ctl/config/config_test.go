package config

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/encap"
	"vtepd/fdb"
)

// equal compares models with the types of net/netip.
var equal = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Transformer("map", func(t model.VLANTable) map[uint16]uint32 { return maps.Collect(t.All()) }),
	cmp.Transformer("map", func(t model.VNITable) map[uint32]*model.VNI { return maps.Collect(t.All()) }),
	cmp.Transformer("map", func(t model.Table[string, *model.Port]) map[string]*model.Port { return maps.Collect(t.All()) }),
	cmp.Transformer("map", func(t model.Table[model.StaticKey, model.Static]) map[model.StaticKey]model.Static {
		return maps.Collect(t.All())
	}),
}

func peers(texts ...string) []netip.AddrPort {
	var list []netip.AddrPort
	for _, t := range texts {
		list = append(list, netip.MustParseAddrPort(t))
	}
	return list
}

// fill puts values into a table.
func fill[K comparable, V any](into interface{ Put(K, V) }, values map[K]V) {
	for k, v := range values {
		into.Put(k, v)
	}
}

// TestEveryKey reads a file with every key there is.
func TestEveryKey(t *testing.T) {
	f, err := Parse("all.yaml", []byte(`# every key
local: 192.0.2.1
dstport: 8472
socket: /run/x/../x.sock
fastpath: off
offload: off
cpu-latency: off
workers: 3
ageing: 5m
learning: false
peer-policy: learn
allow: [203.0.113.0/24, 192.0.2.77]
max-macs: 1000
ttl: inherit
dscp: 46
ecn: linux
udp-checksum: off
udp6-zero-checksum: both
reserved-bits: strict
inner-vlan: keep
mss-clamp: off
spoof-guard: off
gbp: on
gpe: off
gbp-drop: [10-20, 5, 6]
vlans:
- {vid: 10, vni: 10010}
- vid: 20
  vni: 10020
vnis:
- vni: 42
  peers: [192.0.2.2, "192.0.2.3:4789"]
  ageing: 0
  learning: on
  peer-policy: strict
  allow: [198.51.100.0/24]
  max-macs: 10
  ttl: 7
  dscp: inherit
  ecn: rfc6040
  udp-checksum: on
  udp6-zero-checksum: rx
  reserved-bits: ignore
  inner-vlan: drop
  mss-clamp: 900
  spoof-guard: on
  gbp: off
  gpe: on
  gbp-drop: []
ports:
- {name: tap0, type: tap, vni: 42}
- {name: tap1, access: 10}
- name: tap2
  trunk: [20, 10]
  native: 10
  mtu: 1400
  netns: blue
  mac: 02-00-00-00-00-01
  addresses: [198.51.100.1/24, "2001:db8::1/64"]
  max-macs: 5

  mss-clamp: 1300
  gbp-id: 65535
  gbp-drop: [0, 7-9]
static:
- {mac: 02:00:00:00:00:09, vni: 42, dst: 192.0.2.9, dport: 4790}
- {mac: 02:00:00:00:00:0a, vni: 42, port: tap0, state: sticky}
- {mac: 00:00:00:00:00:00, vni: 10010, dst: 192.0.2.5}
`))
	if err != nil {
		t.Fatal(err)
	}
	some := model.Some[bool]
	want := &model.Model{
		Global: model.Global{
			Local: netip.MustParseAddr("192.0.2.1"), DstPort: 8472, Socket: "/run/x.sock", FastPath: model.FastPathOff, CPULatency: model.CPULatencyOff, Workers: 3,
			Settings: model.Settings{
				Ageing: model.Some(5 * time.Minute), Learning: some(false), Policy: model.Some(dataplane.Learn), MaxMACs: model.Some(1000),
				Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("192.0.2.77/32")},
				TTL:   model.Some(model.HeaderByte{Inherit: true}), DSCP: model.Some(model.HeaderByte{N: 46}), ECN: model.Some(encap.ECNLinux),
				UDPChecksum: model.Some(dataplane.ChecksumOff), UDP6Zero: model.Some(model.ZeroChecksum{Rx: true, Tx: true}),
				StrictReserved: some(true), KeepInnerVLAN: some(true), MSSClamp: model.Some(dataplane.MSSOff), SpoofGuard: some(false), GBP: some(true), GPE: some(false),
				GBPDrop: model.Some([]dataplane.GBPRange{{First: 5, Last: 6}, {First: 10, Last: 20}}),
			},
		},
	}
	fill(&want.VLANs, map[uint16]uint32{10: 10010, 20: 10020})
	fill(&want.VNIs, map[uint32]*model.VNI{
		42: {
			Peers: peers("192.0.2.2:8472", "192.0.2.3:4789"),
			Settings: model.Settings{
				Ageing: model.Some(time.Duration(0)), Learning: some(true), Policy: model.Some(dataplane.Strict), MaxMACs: model.Some(10),
				Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
				TTL:   model.Some(model.HeaderByte{N: 7}), DSCP: model.Some(model.HeaderByte{Inherit: true}), ECN: model.Some(encap.ECNRFC6040),
				UDPChecksum: model.Some(dataplane.ChecksumOn), UDP6Zero: model.Some(model.ZeroChecksum{Rx: true}),
				StrictReserved: some(false), KeepInnerVLAN: some(false), MSSClamp: model.Some(dataplane.MSSClamp(900)), SpoofGuard: some(true), GBP: some(false), GPE: some(true), GBPDrop: model.Some([]dataplane.GBPRange{}),
			},
		},
		10010: {Peers: peers("192.0.2.5:8472")},
	})
	fill(&want.Ports, map[string]*model.Port{
		"tap0": {Type: dataplane.PortTAP, VNI: 42},
		"tap1": {Type: dataplane.PortTAP, Access: 10},
		"tap2": {
			Type: dataplane.PortTAP, Trunk: []uint16{10, 20}, Native: 10, MTU: 1400, NetNS: "blue", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
			Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("2001:db8::1/64")}, MaxMACs: 5, MSSClamp: 1300,
			GBPID: 65535, GBPDrop: []dataplane.GBPRange{{}, {First: 7, Last: 9}},
		},
	})
	fill(&want.Statics, map[model.StaticKey]model.Static{
		{VNI: 42, MAC: 0x020000000009}: {Dst: netip.MustParseAddrPort("192.0.2.9:4790"), State: fdb.Static},
		{VNI: 42, MAC: 0x02000000000a}: {Port: "tap0", State: fdb.Sticky},
	})
	if diff := cmp.Diff(want, f.Model, equal); diff != "" {
		t.Errorf("model (-want +got):\n%s", diff)
	}
}

func TestDefaults(t *testing.T) {
	f, err := Parse("x", []byte("interface: eth0\n"))
	if err != nil {
		t.Fatal(err)
	}
	g := f.Model.Global
	if g.DstPort != 4789 || g.Socket != "/run/vtepd/vtepd.sock" || g.FastPath != model.FastPathAuto || !g.Offload || g.Workers != 0 || g.Interface != "eth0" {
		t.Errorf("defaults: %+v", g)
	}
	v := f.Model.VNIConfig(1)
	if !v.Learning || !v.SpoofGuard || v.MSSClamp != dataplane.MSSAuto || v.Ageing != 300*time.Second || v.Policy != dataplane.Strict || v.Header.TTL != 64 || v.Header.DSCP != 0 || v.Header.ECN != encap.ECNRFC6040 ||
		v.Header.UDPChecksum != dataplane.ChecksumAuto || v.Header.StrictReserved || v.Header.KeepInnerVLAN || v.Header.GBP || v.Header.GPE || len(v.GBPDrop) > 0 || v.Header.UDP6ZeroChecksumTx {
		t.Errorf("defaults of a VNI: %+v", v)
	}
	if c := f.Model.SwitchConfig(); c.MaxMACs != 262144 || c.UDP6ZeroChecksumRx || !c.Offload {
		t.Errorf("defaults of the switch: %+v", c)
	}
}

// TestGroups: where the groups of VNIs come from, and their TTL: group-ttl, else the ttl that somebody set, else 1 as the kernel's device.
func TestGroups(t *testing.T) {
	f, err := Parse("f", []byte(`local: 192.0.2.1
dstport: 8472
listen: [4789]
group-interface: eth1
vnis:
- {vni: 1, group: 239.1.1.1}
- {vni: 2, group: 239.1.1.1:4789, group-ttl: 5, ttl: 9, peers: [192.0.2.2]}
- {vni: 3, group: 239.1.1.1, ttl: 9}
- {vni: 4, group: 239.1.1.1, ttl: inherit}
- {vni: 5}
static:
- {mac: 00:00:00:00:00:00, vni: 5, dst: 239.1.1.5}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Model.SwitchConfig().GroupInterface; got != "eth1" {
		t.Errorf("group interface %q, want eth1", got)
	}
	for vni, want := range map[uint32]struct {
		group string
		ttl   uint8
	}{1: {"239.1.1.1:8472", 1}, 2: {"239.1.1.1:4789", 5}, 3: {"239.1.1.1:8472", 0}, 4: {"239.1.1.1:8472", 0}, 5: {"239.1.1.5:8472", 1}} {
		if c := f.Model.VNIConfig(vni); c.Group.String() != want.group || c.GroupTTL != want.ttl {
			t.Errorf("VNI %d: group %s with TTL %d, want %s with %d", vni, c.Group, c.GroupTTL, want.group, want.ttl)
		}
	}
}

// TestGroupPorts: a group may have a UDP port of its own where this host listens on it, or learns nothing that is answered there.
func TestGroupPorts(t *testing.T) {
	for _, text := range []string{
		"listen: [8472]\nvnis: [{vni: 42, group: '239.1.1.1:8472'}]\n",
		"dstport: 8472\nvnis: [{vni: 42, group: '239.1.1.1:8472'}]\n",
		"vnis: [{vni: 42, group: '239.1.1.1:8472', learning: off}]\n",
		"learning: off\nvnis: [{vni: 42, group: '239.1.1.1:8472'}]\n",
	} {
		if _, err := Parse("f", []byte("local: 192.0.2.1\n"+text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestLocals: one address stays what it was; with one of each family, peers and groups of both are taken.
func TestLocals(t *testing.T) {
	for text, want := range map[string]string{
		"local: 192.0.2.1":                   "192.0.2.1",
		"local: [192.0.2.1]":                 "192.0.2.1",
		"local: [2001:db8::1, 192.0.2.1]":    "2001:db8::1 and 192.0.2.1",
		"local:\n- 192.0.2.1\n- 2001:db8::1": "192.0.2.1 and 2001:db8::1",
	} {
		f, err := Parse("f", []byte(text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Model.Global.LocalsText(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	f, err := Parse("f", []byte("local: [192.0.2.1, '2001:db8::1']\nvnis:\n- {vni: 1, peers: [192.0.2.2, '2001:db8::2'], group: 'ff05::100'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c := f.Model.SwitchConfig(); c.Local.String() != "192.0.2.1" || c.OtherLocal.String() != "2001:db8::1" {
		t.Errorf("the switch gets %v and %v", c.Local, c.OtherLocal)
	}
}

// TestPorts: what is listened on and sent from.
func TestPorts(t *testing.T) {
	f, err := Parse("f", []byte("local: 192.0.2.1\ndstport: 8472\nlisten: [4789, 8472]\nsource-ports: 50000-50999\nflow-label: \"flow\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c := f.Model.SwitchConfig(); c.DstPort != 8472 || !slices.Equal(c.Listen, []uint16{4789, 8472}) || c.SourcePorts != [2]uint16{50000, 50999} || !c.FlowLabels {
		t.Errorf("the switch gets %d, %v, %v", c.DstPort, c.Listen, c.SourcePorts)
	}
	if f, err = Parse("f", []byte("local: 192.0.2.1\nsource-ports: 50000\n")); err != nil || f.Model.Global.SourcePorts != [2]uint16{50000, 50000} {
		t.Errorf("one port: %v", err)
	}
}

// TestFlood: what a VNI does not say it takes from the top level, and an empty list is none.
func TestFlood(t *testing.T) {
	f, err := Parse("f", []byte("local: 192.0.2.1\nflood: [unknown, broadcast]\nvnis:\n- {vni: 1}\n- {vni: 2, flood: []}\n- {vni: 3, flood: [multicast]}\n"+
		"- {vni: 4, flood: [multicast, broadcast, unknown]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for vni, want := range map[uint32]dataplane.FloodKinds{
		1: dataplane.FloodMulticast, 2: dataplane.FloodAll, 3: dataplane.FloodUnknown | dataplane.FloodBroadcast, 4: 0,
	} {
		if got := f.Model.VNIConfig(vni).NoFlood; got != want {
			t.Errorf("VNI %d does not flood %b, want %b", vni, got, want)
		}
	}
}

// TestStormControl: one rate is for all kinds, a mapping names them, what a VNI does not say it takes from the top level, and a port's replaces it.
func TestStormControl(t *testing.T) {
	f, err := Parse("f", []byte("local: 192.0.2.1\nstorm-control: 1kpps\nvnis:\n- {vni: 1}\n- {vni: 2, storm-control: off}\n- {vni: 3, storm-control: {broadcast: 100pps, multicast: 20mbit}}\n"+
		"- vni: 4\n  storm-control:\n    unknown: 5pps\n- {vni: 5, storm-control: 'unknown=1gbit,broadcast=off'}\n"+
		"ports:\n- {name: a, vni: 1}\n- {name: b, vni: 1, storm-control: off}\n- {name: c, vni: 1, storm-control: {broadcast: 7pps}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for vni, want := range map[uint32]string{1: "1kpps", 2: "off", 3: "broadcast=100pps,multicast=20mbit", 4: "unknown=5pps", 5: "unknown=1gbit"} {
		if got := f.Model.VNIConfig(vni).StormControl.String(); got != want {
			t.Errorf("VNI %d: %s, want %s", vni, got, want)
		}
	}
	if c := f.Model.PortConfig("a").StormControl; c != nil {
		t.Errorf("a: %s", c)
	}
	for port, want := range map[string]string{"b": "off", "c": "broadcast=7pps"} {
		if got := f.Model.PortConfig(port).StormControl.String(); got != want {
			t.Errorf("%s: %s, want %s", port, got, want)
		}
	}
}

// TestNamesElsewhere: what a port is called in another namespace is nothing to the interfaces that the underlay needs.
func TestNamesElsewhere(t *testing.T) {
	const head = "interface: eth0\nvrf: red\ngroup-interface: eth1\nvnis: [{vni: 1}]\nports:\n"
	for _, port := range []string{
		"- {name: a, type: veth, vni: 1, netns: blue, ifname: eth0}\n",
		"- {name: a, type: veth, vni: 1, netns: blue}\n",
		"- {name: a, type: veth, vni: 1, netns: blue, ifname: red}\n",
		"- {name: eth1, type: tap, vni: 1, netns: blue}\n",
	} {
		if _, err := Parse("f", []byte(head+port)); err != nil {
			t.Errorf("%s: %v", port, err)
		}
	}
}

// TestErrors holds every mistake against its exact line, column and words.
func TestErrors(t *testing.T) {
	const local = "local: 192.0.2.1\n"
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "neither local nor interface is set: say which address of this host the underlay uses"},
		{"comment only", "# nothing\n", "neither local nor interface is set: say which address of this host the underlay uses"},
		{"a list", "- a\n", "1:1: the file is a list: expected KEY: VALUE pairs"},
		{"a word", "vtepd\n", "1:1: the file is a single value: expected KEY: VALUE pairs"},
		{"unknown key", "locla: 192.0.2.1\n", `1:1: unknown key "locla" (did you mean "local"?)`},
		{"unknown key, near nothing", local + "vlans: [{vid: 1, vni: 1, colour: red}]\n", `2:26: unknown key "colour": expected one of vid, vni`},
		{"doubled key", local + "ageing: 1s\nageing: 2s\n", `3:1: key "ageing" is doubled: first on line 2, so remove one`},
		{"doubled key in flow", local + "vnis: [{vni: 1, vni: 2}]\n", `2:17: key "vni" is doubled: first on line 2, so remove one`},
		{"no value", local + "ageing:\n", "2:1: ageing has no value: write one, or remove the key"},
		{"null", local + "ageing: ~\n", "2:1: ageing has no value: write one, or remove the key"},
		{"wrong type", local + "vnis: 42\n", "2:7: vnis is a single value: expected a list"},
		{"mapping for list", local + "vnis:\n  vni: 42\n", "3:3: vnis is a mapping: expected a list"},
		{"list for value", local + "dstport: [4789]\n", "2:10: dstport is a list: expected one value"},
		{"group too large", local + "vnis: [{vni: 1, gbp: on, gbp-drop: [5, 65536]}]\n", "2:40: gbp-drop: 65536 is out of range: a group policy ID is a number from 0 to 65535"},
		{"gbp and gpe", local + "gbp: on\ngpe: on\n", "3:6: gbp and gpe exclude each other: set one of them off here, and on in the VNIs that need it"},
		{"gbp and gpe in a VNI", local + "vnis: [{vni: 1, gpe: on, gbp: on}]\n", "2:22: VNI 1 has both gbp and gpe, which exclude each other: set gbp off"},
		{"gbp above gpe", local + "gbp: on\nvnis: [{vni: 1, gpe: on}]\n", "3:22: VNI 1 has both gbp and gpe, which exclude each other: set gbp off"},
		{"gpe above gbp", local + "gpe: on\nvnis: [{vni: 1, gbp: on}]\n", "3:22: VNI 1 has both gbp and gpe, which exclude each other: set gpe off"},
		{"groups without gbp", local + "vnis: [{vni: 1, gbp-drop: [5]}]\n", "2:27: VNI 1 has gbp-drop, but its frames carry no group: set gbp on, or take gbp-drop away"},
		{"groups above, and gbp nowhere", local + "gbp-drop: [5]\nvnis: [{vni: 1}, {vni: 2, gbp: off}]\n", "2:11: gbp-drop: no VNI carries groups, so nothing would be dropped: set gbp on here, or in the VNIs that it is for"},
		{"a port's groups without gbp", local + "vnis: [{vni: 1}, {vni: 2, gbp: on}]\nports: [{name: t0, vni: 1, gbp-drop: [5]}]\n",
			"3:38: port t0 has gbp-drop, but no VNI of it carries groups, so nothing would be dropped: set gbp on in the VNI, or take gbp-drop away"},
		{"quoted number", local + "workers: \"2\"\n", `2:10: workers: "2" is quoted, which makes it text: write 2`},
		{"two documents", local + "---\n" + local, "3:1: a second document: a configuration is one document, so remove the --- and merge them"},
		{"anchor", "local: &a 192.0.2.1\n", "1:8: anchors and aliases are not part of this file's language: write the value out"},
		{"alias", local + "ageing: *a\n", "2:9: anchors and aliases are not part of this file's language: write the value out"},
		{"tag", "local: !!str 192.0.2.1\n", "1:8: tags are not part of this file's language: remove the tag"},
		{"tag alone", "!", "1:1: tags are not part of this file's language: remove the tag"},
		{"tag at the very end", local + "!x", "2:1: tags are not part of this file's language: remove the tag"},
		{"merge key", local + "<<: {a: b}\n", "2:1: merge keys are not part of this file's language: write the values out"},
		{"block text", "local: |\n  192.0.2.1\n", "1:8: a block of text: no key takes one, so write the value on one line"},
		{"deep", local + strings.Repeat("[", 100), "2:9: brackets nested too deep: no key takes more than a list of mappings"},
		{"deep block", local + "vnis:\n" + strings.Repeat("- ", 100) + "1\n", "3:17: lists nested too deep: no key takes more than a list of mappings"},
		{"deep mappings", local + strings.Repeat("a: ", 100) + "1\n", "2:26: mappings nested too deep: no key takes more than a list of mappings"},
		{"many keys", local + strings.Repeat("a: 1\n", 100), "65:2: too many keys in one mapping: no mapping of this file has so many"},
		{"many keys in braces", local + "vnis: [{" + strings.Repeat("a: 1, ", 100) + "}]\n", "2:394: too many keys in one mapping: no mapping of this file has so many"},
		{"many empty elements", local + "vnis:\n" + strings.Repeat("-\n", 100), "3:2: vnis has an empty element: remove it"},
		{"control byte", local + "age\x00ing: 3\n", "2:4: byte 0x00 does not belong into a text file: write UTF-8"},
		{"not UTF-8", local + "\xff\n", "2:1: byte 0xff does not belong into a text file: write UTF-8"},
		{"tab", local + "\tageing: 3s\n", "2:1: syntax: tabs cannot indent YAML: use spaces"},
		{"tab before the first key", "\t" + local, "1:1: syntax: tabs cannot indent YAML: use spaces"},
		{"tab before a list", local + "vnis:\n\t- {vni: 1}\n", "3:1: syntax: tabs cannot indent YAML: use spaces"},
		{"tab behind spaces", local + "vnis:\n- vni: 1\n \tttl: 3\n", "4:2: syntax: tabs cannot indent YAML: use spaces"},
		{"tab behind a dash", local + "vnis:\n- \tvni: 1\n", "3:3: syntax: tabs cannot indent YAML: use spaces"},
		{"tab in brackets, and another mistake", local + "vnis: [\n\t{vni: 1]\n", "3:9: syntax: ',' or '}' must be specified"},
		{"a key too far right", local + "vnis:\n- vni: 42\n   peers: [192.0.2.2]\n", "3:8: syntax: mapping value is not allowed in this context: the keys of one element start in one column: compare this line with the next and the one before"},
		{"a key too far left", local + "vnis:\n- vni: 42\n peers:\n - 192.0.2.2\n", "4:2: syntax: value is not allowed in this context: the keys of one element start in one column: compare this line with the next and the one before"},
		{"open bracket", local + "vnis: [{vni: 1}\n", "2:7: syntax: sequence end token ']' not found"},

		{"one end twice", local + "vnis: [{vni: 1}]\nports:\n- {name: a, vni: 1, type: veth, netns: blue}\n- {name: b, vni: 1, type: veth, netns: /run/netns/blue, ifname: eth0}\n",
			"5:65: port b: its end in network namespace blue is to be called eth0, as one of port a is there: choose another ifname"},
		{"end called as a TAP", local + "vnis: [{vni: 1}]\nports:\n- {name: a, vni: 1, type: veth, netns: blue, ifname: b}\n- {name: b, vni: 1, netns: blue}\n",
			"4:54: port a: its end in network namespace blue is to be called b, as one of port b is there: choose another ifname"},
		{"end called as a port here", local + "vnis: [{vni: 1}]\nports:\n- {name: a, vni: 1, type: veth, ifname: b}\n- {name: b, vni: 1, type: veth, netns: blue}\n",
			"4:41: port a: its end in the namespace of vtepd is to be called b, as one of port b is there: choose another ifname"},
		{"MTU without IPv6", local + "vnis: [{vni: 1}]\nports: [{name: t0, vni: 1, mtu: 1279, addresses: [198.51.100.1/24, '2001:db8::5/64']}]\n",
			"3:68: port t0: address 2001:db8::5/64 with mtu 1279: IPv6 needs 1280 at least: raise mtu, or leave the address away"},
		{"no address", "local: eth0\n", `1:8: local: "eth0" is not an IP address: write one, such as 192.0.2.1 or 2001:db8::1`},
		{"empty address", "local: ''\n", `1:8: local: "" is not an IP address: write one, such as 192.0.2.1 or 2001:db8::1`},
		{"address with port", "local: 192.0.2.1:4789\n", `1:8: local: "192.0.2.1:4789" has a UDP port, which has no place here: write 192.0.2.1`},
		{"address with length", "local: 192.0.2.1/24\n", `1:8: local: "192.0.2.1/24" has a prefix length, and an address has none: write 192.0.2.1`},
		{"address in brackets", "local: '[2001:db8::1]'\n", `1:8: local: "[2001:db8::1]" has brackets, which are for an address with a UDP port: write 2001:db8::1`},
		{"white space", "local: '192.0.2.1 '\n", `1:8: local: "192.0.2.1 " has white space around it: write 192.0.2.1`},
		{"peer's port too large", local + "vnis: [{vni: 1, peers: ['192.0.2.2:65536']}]\n",
			`2:25: peers: "192.0.2.2:65536": the UDP port behind 192.0.2.2: 65536 is out of range: a UDP port is a number from 1 to 65535`},
		{"peer's port a word", local + "vnis: [{vni: 1, peers: ['[2001:db8::2]:vxlan']}]\n",
			`2:25: peers: "[2001:db8::2]:vxlan": the UDP port behind 2001:db8::2: "vxlan" is not a UDP port: expected a number from 1 to 65535`},
		{"peer without port behind its colon", local + "vnis: [{vni: 1, peers: ['192.0.2.2:']}]\n",
			`2:25: peers: "192.0.2.2:": the UDP port behind 192.0.2.2: "" is not a UDP port: expected a number from 1 to 65535`},
		{"no interface", "interface: ''\n", `1:12: interface: "" is empty: write the name of an interface, such as eth0`},

		{"colons in a list", local + "vnis: [{vni: 1, peers: [2001:db8::2]}]\n", `2:25: peers: 2001:db8::2 is a mapping here, for its colons: quote it: "2001:db8::2"`},
		{"colons in a second element", local + "vnis: [{vni: 1, peers: ['2001:db8::3', 2001:db8::2]}]\n", `2:40: peers: 2001:db8::2 is a mapping here, for its colons: quote it: "2001:db8::2"`},
		{"a colon at the end", local + "vnis:\n- vni: 1\n  peers:\n  - 2001:db8::2: # the other one\n", `5:5: peers: 2001:db8::2 is a mapping here, for its colons: quote it: "2001:db8::2"`},
		{"colons at the end", local + "vnis:\n- vni: 1\n  peers:\n  - 2001:db8::\n", `5:5: peers: 2001:db8:: is a mapping here, for its colons: quote it: "2001:db8::"`},
		{"a port in a list", local + "vnis:\n- {vni: 1, peers: [192.0.2.2:4790]}\n", `3:20: peers: 192.0.2.2:4790 is a mapping here, for its colons: quote it: "192.0.2.2:4790"`},
		{"a prefix in a list", local + "vnis: [{vni: 1}]\nports: [{name: t0, vni: 1, addresses: [2001:db8::1/64]}]\n",
			`3:40: addresses: 2001:db8::1/64 is a mapping here, for its colons: quote it: "2001:db8::1/64"`},
		{"brackets and port", local + "vnis:\n- vni: 1\n  peers:\n  - [2001:db8::2]:4790\n",
			`5:18: syntax: value is not allowed in this context, for the colons of [2001:db8::2]:4790: quote it: "[2001:db8::2]:4790"`},
		{"brackets and port in a list", local + "vnis: [{vni: 1, peers: [[2001:db8::2]:4790]}]\n",
			`2:38: syntax: found an invalid key for this map, for the colons of [2001:db8::2]:4790: quote it: "[2001:db8::2]:4790"`},
		{"colons at the beginning", local + "vnis:\n- {vni: 1, peers: [::2, ::3]}\n", `3:20: syntax: found an invalid key for this map, for the colons of ::2: quote it: "::2"`},
		{"an address that ends in colons", "local: 2001:db8::\n", `1:8: syntax: mapping value is not allowed in this context, for the colons of 2001:db8::: quote it: "2001:db8::"`},
		{"another mistake beside colons", local + "vnis:\n- {vni: 1, peers: ['192.0.2.2', 192.0.2.3:4790}\n", `3:47: syntax: value is not allowed in this context. map key-value is pre-defined`},
		{"unspecified", "local: 0.0.0.0\n", "1:8: 0.0.0.0 is not the address of a host: write an address of this host"},
		{"loopback", "local: ::1\n", "1:8: ::1 is a loopback address, which no other host reaches: write an address of this host"},
		{"zone", "local: fe80::1%eth0\n", `1:8: local: "fe80::1%eth0" has a zone: only addresses that are valid on every interface can be used`},
		{"link-local", "local: fe80::1\n", "1:8: fe80::1 is link-local, which needs an interface to be unique: write a global or unique local address"},
		{"tap of the underlay", "interface: eth0\nvnis: [{vni: 42}]\nports:\n- {name: eth0, vni: 42}\n",
			"4:10: port eth0 is the interface that the underlay address comes from (interface: eth0): the host would not hear its peers any more"},
		{"netdev of the underlay", "interface: eth0\nvnis: [{vni: 42}]\nports:\n- {name: eth0, type: netdev, vni: 42}\n",
			"4:10: port eth0 is the interface that the underlay address comes from (interface: eth0): the host would not hear its peers any more"},
		{"workload's end called as the interface", "interface: eth0\nvnis: [{vni: 1}]\nports: [{name: a, type: veth, vni: 1, ifname: eth0}]\n",
			"3:47: port a: its end in the namespace of vtepd is to be called eth0, as the interface that the underlay address comes from (interface: eth0): choose another ifname"},
		{"group-interface is a port", local + "group-interface: a\nvnis: [{vni: 1}]\nports: [{name: b, vni: 1}, {name: a, vni: 1}]\n",
			"4:35: port a is the interface that multicast groups are joined on (group-interface: a): the host would not hear them there: name another interface, or rename the port"},
		{"group-interface is a netdev port", local + "group-interface: a\nvnis: [{vni: 1}]\nports: [{name: a, type: netdev, vni: 1}]\n",
			"4:16: port a is the interface that multicast groups are joined on (group-interface: a): the host would not hear them there: name another interface, or rename the port"},
		{"group-interface is a workload's end", local + "group-interface: w\nvnis: [{vni: 1}]\nports: [{name: a, type: veth, vni: 1, ifname: w}]\n",
			"4:47: port a: its end in the namespace of vtepd is to be called w, as the interface that multicast groups are joined on (group-interface: w): choose another ifname"},
		{"vrf is a port", local + "vrf: a\nvnis: [{vni: 1}]\nports: [{name: a, vni: 1}]\n",
			"4:16: port a has the name of the VRF that the underlay is in (vrf: a): rename the port, or write the VRF's name"},
		{"vrf is a workload's end", local + "vrf: w\nvnis: [{vni: 1}]\nports: [{name: a, type: veth, vni: 1, ifname: w}]\n",
			"4:47: port a: its end in the namespace of vtepd is to be called w, as the VRF that the underlay is in (vrf: w): choose another ifname"},
		{"both", local + "interface: eth0\n", "2:12: both local and interface are set: keep the one that says it better"},
		{"port 0", local + "dstport: 0\n", "2:10: dstport: 0 is out of range: a UDP port is a number from 1 to 65535"},
		{"port too big", local + "dstport: 65536\n", "2:10: dstport: 65536 is out of range: a UDP port is a number from 1 to 65535"},
		{"port huge", local + "dstport: 99999999999999999999999\n", `2:10: dstport: "99999999999999999999999" is out of range: a UDP port is a number from 1 to 65535`},
		{"port in hex", local + "dstport: 0x12b5\n", `2:10: dstport: "0x12b5" is not a UDP port: expected a number from 1 to 65535`},
		{"number with a zero in front", local + "vnis: [{vni: 010}]\n", `2:14: vni: "010" begins with a zero, which some programs read as octal: write 10, or 8 where that is meant`},
		{"peer's port with a zero in front", local + "vnis: [{vni: 1, peers: ['192.0.2.2:04790']}]\n", `2:25: peers: "192.0.2.2:04790": the UDP port behind 192.0.2.2: "04790" begins with a zero, which some programs read as octal: write 4790`},
		{"loopback prefix", local + "allow: [192.0.2.0/24, 127.0.0.0/8]\n",
			`2:23: allow: "127.0.0.0/8" holds loopback addresses, which no datagram from another host has: write the underlay addresses of VTEPs`},
		{"loopback prefix of a VNI", local + "vnis: [{vni: 1, allow: ['::1/128']}]\n",
			`2:25: allow: "::1/128" holds loopback addresses, which no datagram from another host has: write the underlay addresses of VTEPs`},
		{"relative socket", local + "socket: vtepd.sock\n", `2:9: socket: "vtepd.sock" is not an absolute path, such as /run/vtepd/vtepd.sock`},
		{"socket with a slash behind it", local + "socket: /run/vtepd/\n", `2:9: socket: "/run/vtepd/" names a directory: write the path of the socket itself, such as /run/vtepd/vtepd.sock`},
		{"socket of dots", local + "socket: /run/..\n", `2:9: socket: "/run/.." names a directory: write the path of the socket itself, such as /run/vtepd/vtepd.sock`},
		{"socket at the root", local + "socket: /\n", `2:9: socket: "/" names a directory: write the path of the socket itself, such as /run/vtepd/vtepd.sock`},
		{"socket with a zero byte", local + "socket: \"/tmp/a\\0b\"\n", `2:9: socket: "/tmp/a\x00b" has a zero byte in it, where the kernel takes a path to end`},
		{"long socket", local + "socket: /" + strings.Repeat("x", 107) + "\n", `2:9: socket: "/` + strings.Repeat("x", 60) + `..." has 108 bytes: the path of a unix socket has at most 107`},
		{"fastpath", local + "fastpath: of\n", `2:11: fastpath: "of" is not one of off, auto, on (did you mean "off"?)`},
		{"fastpath no", local + "fastpath: no\n", `2:11: fastpath: "no" is not one of off, auto, on (did you mean "off"?)`},
		{"offload", local + "offload: on\n", `2:10: offload: "on" is not one of off, auto`},
		{"cpu-latency", local + "cpu-latency: 5\n", `2:14: cpu-latency: "5" is not one of off, auto, on`},
		{"workers", local + "workers: -1\n", `2:10: workers: "-1" is not a number of workers: expected a number from 0 to 256`},
		{"no unit", local + "ageing: 300\n", `2:9: ageing: "300" has no unit: write 300s for seconds`},
		{"negative ageing", local + "ageing: -3s\n", `2:9: ageing: "-3s" is negative: expected 0 (never) or more`},
		{"long ageing", local + "ageing: 100000h\n", `2:9: ageing: "100000h" is longer than ten years: write 0 for never`},
		{"learning", local + "learning: maybe\n", `2:11: learning: "maybe" is neither on nor off: write on or off, or true or false`},
		{"policy", local + "peer-policy: strickt\n", `2:14: peer-policy: "strickt" is not one of strict, learn (did you mean "strict"?)`},
		{"host bits", local + "allow: [203.0.113.5/24]\n", `2:9: allow: "203.0.113.5/24" has host bits: write 203.0.113.0/24`},
		{"max-macs", local + "max-macs: 0\n", "2:11: max-macs: 0 is out of range: a number of MACs is a number from 1 to 4194303"},
		{"ttl", local + "ttl: 256\n", "2:6: ttl: 256 is out of range: a TTL is a number from 1 to 255, or inherit"},
		{"dscp", local + "dscp: 64\n", "2:7: dscp: 64 is out of range: a DSCP is a number from 0 to 63, or inherit"},

		{"VID", local + "vlans: [{vid: 4095, vni: 1}]\n", "2:15: vid: 4095 is out of range: a VLAN ID is a number from 1 to 4094"},
		{"VLAN without vni", local + "vlans:\n- vid: 10\n", "3:3: VLAN 10 without vni: write {vid: 10, vni: N}"},
		{"VLAN without vid", local + "vlans:\n- vni: 10\n", "3:3: a VLAN without vid: write {vid: N, vni: N}"},
		{"VLAN twice", local + "vlans:\n- {vid: 10, vni: 1}\n- {vid: 10, vni: 2}\n", "4:9: VLAN 10 is declared twice: first on line 3, so remove one"},
		{"VNI 0", local + "vnis: [{vni: 0}]\n", "2:14: vni: 0 is out of range: a VNI is a number from 1 to 16777215"},
		{"VNI without number", local + "vnis:\n- peers: [192.0.2.2]\n", "3:3: a VNI without number: write vni: N"},
		{"VNI twice", local + "vnis:\n- vni: 42\n- vni: 42\n", "4:8: VNI 42 is declared twice: first on line 3, so merge them"},
		{"group", local + "vnis: [{vni: 42, group: 192.0.2.9}]\n", `2:25: group: "192.0.2.9" is no multicast group: write one, such as 239.1.1.1 or ff05::100`},
		{"group of the other family", local + "vnis: [{vni: 42, group: 'ff05::100'}]\n", "2:25: group ff05::100 is IPv6, but local 192.0.2.1 is IPv4: add an address of that family to local"},
		{"group of this host", local + "vnis: [{vni: 42, group: 'ff01::100'}]\n", `2:25: group: "ff01::100" never leaves this host (scope 1, RFC 4291 section 2.7): write a wider group, such as ff05::100`},
		{"all hosts", local + "vnis: [{vni: 42, group: 224.0.0.1}]\n", `2:25: group: "224.0.0.1" is all hosts, which nobody can join: write another group, such as 239.1.1.1 or ff05::100`},
		{"group on another port", local + "vnis: [{vni: 42, group: '239.1.1.1:8472'}]\n",
			"2:25: group 239.1.1.1:8472: its members answer at UDP port 8472, where this host does not listen, and VNI 42 learns: add 8472 to listen (a running vtepd needs a restart for that), or set learning off"},
		{"group on another port, learning in the VNI", local + "learning: off\nlisten: [4790]\nvnis: [{vni: 42, group: '239.1.1.1:8472', learning: on}]\n", "4:25: group 239.1.1.1:8472: its members answer at UDP port 8472, where this host does not listen, and VNI 42 learns: add 8472 to listen (a running vtepd needs a restart for that), or set learning off"},
		{"group on another port, as a static entry", local + "vnis: [{vni: 42}]\nstatic:\n- {mac: 00:00:00:00:00:00, vni: 42, dst: 239.1.1.2, dport: 8472}\n", "4:9: group 239.1.1.2:8472: its members answer at UDP port 8472, where this host does not listen, and VNI 42 learns: add 8472 to listen (a running vtepd needs a restart for that), or set learning off"},
		{"group twice", local + "vnis: [{vni: 42, group: 239.1.1.1}]\nstatic:\n- {mac: 00:00:00:00:00:00, vni: 42, dst: 239.1.1.2}\n", "4:9: VNI 42 has the group 239.1.1.1 already: it takes one"},
		{"listen twice", local + "listen: [8472, 4790, 8472]\n", "2:22: listen: port 8472 is listed twice: leave one away"},
		{"listen 0", local + "listen: [0]\n", "2:10: listen: 0 is out of range: a UDP port is a number from 1 to 65535"},
		{"flow-label", local + "flow-label: on\n", `2:13: flow-label: "on" is not one of port, flow`},
		{"source-ports", local + "source-ports: 9-8\n", `2:15: source-ports: "9-8" is a range that ends before it starts: write 8-9`},
		{"source-ports, listened on", local + "listen: [4790]\nsource-ports: 4789-4790\n", "3:15: source-ports 4789-4790: vtepd listens on all of them: write a wider range"},
		{"no local", "local: []\n", "1:8: an empty list: write an address of this host"},
		{"local of one family", "local: [192.0.2.1, 192.0.2.11]\n", "1:20: 192.0.2.1 and 192.0.2.11 are both IPv4: there is room for one of each family"},
		{"three locals", "local: [192.0.2.1, '2001:db8::1', 192.0.2.11]\n", "1:35: 3 addresses: there is room for one of each family, IPv4 and IPv6"},
		{"other local is no host", "local: [192.0.2.1, '::']\n", "1:8: :: is not the address of a host: write an address of this host"},
		{"other local is a peer", "local: [192.0.2.1, '2001:db8::1']\nvnis: [{vni: 42, peers: ['2001:db8::1']}]\n", "2:26: peer 2001:db8::1 is this host itself: write the address of the other VTEP"},
		{"local is a port's", local + "vnis: [{vni: 42}]\nports: [{name: t, vni: 42, addresses: [192.0.2.1/24]}]\n", "3:40: port t: address 192.0.2.1/24 is that of this host on the underlay: write one of the overlay's"},
		{"flood", local + "vnis: [{vni: 42, flood: [unicast]}]\n", `2:26: flood: "unicast" is not one of unknown, broadcast, multicast, all alone or none alone`},
		{"flood twice", local + "flood: [unknown, unknown]\n", "2:18: flood: unknown is listed twice: leave one away"},
		{"storm-control without unit", local + "storm-control: 100\n", `2:16: storm-control: "100" has no unit: write 100pps for frames a second, or 100kbit`},
		{"storm-control by a wrong kind", local + "storm-control: {unicast: 1pps}\n", `2:17: unknown key "unicast": expected one of unknown, broadcast, multicast`},
		{"storm-control by a wrong rate", local + "vnis: [{vni: 1, storm-control: {unknown: 1.5kpps}}]\n", `2:42: unknown: "1.5kpps" is not a rate: expected a whole number in front of kpps, such as 100kpps`},
		{"storm-control of nothing", local + "storm-control: 0pps\n", `2:16: storm-control: "0pps" would let nothing pass: leave the kind out of flood for that, or write off for no bound`},
		{"flood is no list", local + "flood: unknown\n", "2:8: flood is a single value: expected a list"},
		{"group-ttl", local + "group-ttl: inherit\n", `2:12: group-ttl: "inherit" is not a TTL: expected a number from 1 to 255`},
		{"peer twice", local + "vnis:\n- vni: 42\n  peers:\n  - 192.0.2.2\n  - 192.0.2.2:4789\n", "6:5: peer 192.0.2.2 is listed twice: first on line 5, so remove one"},
		{"peer of the other family", local + "vnis:\n- vni: 42\n  peers:\n  - 192.0.2.2\n  - 2001:db8::1\n", "6:5: peer 2001:db8::1 is IPv6, but local 192.0.2.1 is IPv4: add an address of that family to local"},
		{"peer is a group", local + "vnis: [{vni: 42, peers: [239.1.1.1]}]\n", "2:26: peer 239.1.1.1 is a multicast group, not a host: a group stands under group, beside the peers"},
		{"peer is local", local + "vnis: [{vni: 42, peers: [192.0.2.1]}]\n", "2:26: peer 192.0.2.1 is this host itself: write the address of the other VTEP"},
		{"peer is everybody", local + "vnis: [{vni: 42, peers: [255.255.255.255]}]\n", "2:26: peer 255.255.255.255 is not the address of a host: write the underlay address of the other VTEP"},
		{"entry behind nobody", local + "vnis: [{vni: 1}]\nstatic: [{mac: '02:00:00:00:00:01', vni: 1, dst: 0.0.0.0}]\n", "3:50: dst 0.0.0.0 is not the address of a host: write the underlay address of the other VTEP"},
		{"empty peer", local + "vnis:\n- vni: 42\n  peers:\n  -\n  - 192.0.2.2\n", "5:4: peers has an empty element: remove it"},
		{"rx per VNI", local + "vnis: [{vni: 42, udp6-zero-checksum: both}]\n", "2:38: udp6-zero-checksum both: receiving without checksum is decided for all VNIs at once when vtepd starts: write off or tx here, or change the top level and restart vtepd"},

		{"port without name", local + "ports:\n- type: tap\n", "3:3: a port without name: write name: NAME"},
		{"long name", local + "ports: [{name: averyveryverylongname, vni: 1}]\n", `2:16: name: "averyveryverylongname" has 21 bytes: an interface name has at most 15`},
		{"odd name", local + "ports: [{name: a/b, vni: 1}]\n", `2:16: name: "a/b" is not a name for an interface: it has a '/' in it`},
		{"template name", local + "ports: [{name: tap%d, vni: 1}]\n", `2:16: name: "tap%d" is not a name for an interface: it has a '%' in it`},
		{"port twice", local + "vnis: [{vni: 1}]\nports: [{name: a, vni: 1}, {name: a, vni: 1}]\n", "3:35: port a is declared twice: first on line 3, so rename or remove one"},
		{"port type", local + "ports: [{name: a, type: bridge, vni: 1}]\n", `2:25: type: "bridge" is not a port type: use tap, netdev or veth`},
		{"netdev with netns", local + "vnis: [{vni: 1}]\nports: [{name: a, type: netdev, vni: 1, netns: blue}]\n", "3:48: port a: netns goes with types tap and veth: an interface is taken where vtepd runs"},
		{"netdev with ifname", local + "vnis: [{vni: 1}]\nports: [{name: a, type: netdev, vni: 1, ifname: b}]\n", "3:49: port a: ifname goes with type veth: a netdev port is called as the interface that it takes"},
		{"netdev with addresses", local + "vnis: [{vni: 1}]\nports: [{name: a, type: netdev, vni: 1, addresses: [198.51.100.1/24]}]\n", "3:53: port a: addresses go with types tap and veth: the host does not hear what arrives at an interface that is a port, so give them to the workload"},
		{"tap with ifname", local + "vnis: [{vni: 1}]\nports: [{name: a, vni: 1, ifname: b}]\n", "3:35: port a: ifname goes with type veth: a TAP has one end, which is called a: leave it away (vtepctl: ifname default)"},
		{"veth without netns", local + "vnis: [{vni: 1}]\nports: [{name: a, type: veth, vni: 1}]\n", "3:16: port a: a veth needs netns, where the workload's end goes, or ifname, what it is called"},
		{"veth called twice", local + "vnis: [{vni: 1}]\nports: [{name: a, type: veth, vni: 1, ifname: a}]\n", "3:47: port a: both ends of the pair cannot be called a in one namespace: choose another ifname"},
		{"empty ifname", local + "vnis: [{vni: 1}]\nports: [{name: a, type: veth, vni: 1, ifname: ''}]\n", "3:47: ifname: ifname is empty: write the name of the workload's end, such as eth0"},
		{"type", local + "ports: [{name: a, type: tpa, vni: 1}]\n", `2:25: type: "tpa" is not a port type: use tap, netdev or veth`},
		{"undeclared VNI", local + "vnis: [{vni: 42}]\nports:\n- {name: tap0, vni: 43}\n", `4:21: port tap0 names undeclared VNI 43 (did you mean "42"?): declare it under vnis, or with vtepctl vni add`},
		{"undeclared VLAN", local + "ports:\n- {name: tap0, access: 10}\n", "3:24: port tap0 names undeclared VLAN 10: declare it under vlans, or with vtepctl vlan add"},
		{"undeclared in trunk", local + "vlans: [{vid: 10, vni: 1}]\nports:\n- {name: tap0, trunk: [10, 20-21]}\n", "4:28: port tap0 names undeclared VLAN 20: declare it under vlans, or with vtepctl vlan add"},
		{"nowhere", local + "ports:\n- {name: tap0}\n", "3:10: port tap0 belongs nowhere: give it one of vni, access or trunk"},
		{"two places", local + "vlans: [{vid: 10, vni: 1}]\nports:\n- {name: tap0, vni: 1, access: 10}\n", "4:32: port tap0 has both vni and access: keep one of them"},
		{"native alone", local + "vlans: [{vid: 10, vni: 1}]\nports:\n- {name: tap0, native: 10}\n", "4:24: port tap0: native without trunk: write access 10 for an untagged port, or add the trunk's VLANs"},
		{"native with access", local + "vlans: [{vid: 10, vni: 1}]\nports:\n- {name: tap0, access: 10, native: 10}\n", "4:36: port tap0: native goes with trunk only: access says already where untagged frames go"},
		{"one VNI by two VLANs", local + "vlans: [{vid: 10, vni: 1}, {vid: 11, vni: 1}]\nports:\n- {name: tap0, trunk: [10, 11]}\n", "4:28: port tap0: VLANs 10 and 11 are both VNI 1, which a trunk can call by one VLAN only: leave one away"},
		{"VLAN twice in trunk", local + "vlans: [{vid: 10, vni: 1}]\nports:\n- {name: tap0, trunk: [10, 9-10]}\n", "4:28: trunk: VLAN 10 is listed twice: leave one away"},
		{"empty trunk", local + "ports:\n- {name: tap0, trunk: []}\n", "3:23: trunk: an empty list: name its VLANs, or write vni or access"},
		{"MTU", local + "ports:\n- {name: tap0, vni: 1, mtu: 60}\n", "3:29: mtu: 60 is out of range: an MTU is a number from 68 to 65521"},
		{"group MAC", local + "ports:\n- {name: tap0, vni: 1, mac: 01:00:5e:00:00:01}\n", `3:29: mac: "01:00:5e:00:00:01" is a group address: the lowest bit of the first byte must be 0`},
		{"no prefix length", local + "ports:\n- {name: tap0, vni: 1, addresses: [198.51.100.1]}\n", `3:36: addresses: "198.51.100.1" has no prefix length: write 198.51.100.1/32, or the length of its subnet`},
		{"netns", local + "ports:\n- {name: tap0, vni: 1, netns: a/b}\n", "3:31: netns: \"a/b\" is not the name of a network namespace: see `ip netns list`"},

		{"static without mac", local + "static:\n- {vni: 1, dst: 192.0.2.2}\n", "3:3: a static entry without mac: write {mac: MAC, vni: N, dst: IP} or {mac: MAC, vni: N, port: NAME}"},
		{"static without vni", local + "static:\n- {mac: 02:00:00:00:00:01, dst: 192.0.2.2}\n", "3:3: static entry 02:00:00:00:00:01 without vni: write vni: N"},
		{"static nowhere", local + "static:\n- {mac: 02:00:00:00:00:01, vni: 1}\n", "3:3: static entry 02:00:00:00:00:01 leads nowhere: write dst: IP for a peer, or port: NAME"},
		{"static twice there", local + "static:\n- {mac: 02:00:00:00:00:01, vni: 1, dst: 192.0.2.2, port: tap0}\n", "3:3: static entry 02:00:00:00:00:01 has both dst and port: keep one of them"},
		{"static dport", local + "static:\n- {mac: 02:00:00:00:00:01, vni: 1, port: tap0, dport: 1}\n", "3:55: dport without dst: remove it, or write dst: IP"},
		{"static dport twice", local + "static:\n- {mac: 02:00:00:00:00:01, vni: 1, dst: '192.0.2.2:5', dport: 6}\n", "3:63: dport 6 contradicts the 5 of dst: keep one of them"},
		{"flood with a state", local + "static:\n- {mac: 00:00:00:00:00:00, vni: 1, dst: 192.0.2.2, state: sticky}\n", "3:59: the all-zero MAC is the flood list, whose members have no state: remove it"},
		{"all hosts as a static entry", local + "vnis: [{vni: 42}]\nstatic:\n- {mac: 00:00:00:00:00:00, vni: 42, dst: 224.0.0.1}\n", "4:9: group 224.0.0.1 is all hosts, which nobody can join: write another group, such as 239.1.1.1 or ff05::100"},
		{"port called all", local + "vnis: [{vni: 42}]\nports: [{name: all, vni: 42}]\n", `3:16: name: "all" is not a name for an interface: it stands for all of them in /proc/sys/net`},
		{"static VNI", local + "vnis: [{vni: 42}]\nstatic:\n- {mac: 02:00:00:00:00:01, vni: 43, dst: 192.0.2.2}\n", `4:33: static entry 02:00:00:00:00:01 names undeclared VNI 43 (did you mean "42"?): declare it under vnis, or with vtepctl vni add`},
		{"static port", local + "vnis: [{vni: 42}]\nports: [{name: tap0, vni: 42}]\nstatic:\n- {mac: 02:00:00:00:00:01, vni: 42, port: tpa0}\n", `5:43: static entry 02:00:00:00:00:01 names unknown port tpa0 (did you mean "tap0"?): declare it under ports, or with vtepctl port add`},
		{"static port elsewhere", local + "vnis: [{vni: 42}, {vni: 43}]\nports: [{name: tap0, vni: 43}]\nstatic:\n- {mac: 02:00:00:00:00:01, vni: 42, port: tap0}\n", "5:43: static entry 02:00:00:00:00:01: port tap0 is not in VNI 42: name a port of that VNI, put it there, or delete the entry first"},
		{"static twice", local + "vnis: [{vni: 42}]\nstatic:\n- {mac: 02:00:00:00:00:01, vni: 42, dst: 192.0.2.2}\n- {mac: 02:00:00:00:00:01, vni: 42, dst: 192.0.2.3}\n", "5:9: static entry 02:00:00:00:00:01 in VNI 42 is given twice: first on line 4, so remove one"},
		{"static group", local + "vnis: [{vni: 42}]\nstatic:\n- {mac: 01:00:5e:00:00:01, vni: 42, dst: 192.0.2.2}\n", "4:9: 01:00:5e:00:00:01 is a group address: groups are flooded, so write a unicast address"},
		{"static state", local + "static:\n- {mac: 02:00:00:00:00:01, vni: 1, dst: 192.0.2.2, state: dynamic}\n", `3:59: state: "dynamic" is not one of static, sticky`},
		{"flood of undeclared", local + "static:\n- {mac: 00:00:00:00:00:00, vni: 1, dst: 192.0.2.2}\n", "3:9: the flood list of undeclared VNI 1: declare it under vnis"},
		{"flood to a port", local + "static:\n- {mac: 00:00:00:00:00:00, vni: 1, port: tap0}\n", "3:9: the all-zero MAC is the flood list, which holds peers: write dst: IP"},
		{"the first of several", local + "ports:\n- {name: a, vni: 7}\nstatic:\n- {mac: 02:00:00:00:00:01, vni: 6, dst: 192.0.2.2}\nvnis: [{vni: 5, peers: [192.0.2.1]}]\n", "3:18: port a names undeclared VNI 7: declare it under vnis, or with vtepctl vni add"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.file))
			want := "f:" + c.want
			if !strings.Contains("123456789", c.want[:1]) {
				want = "f: " + c.want
			}
			if err == nil || err.Error() != want {
				t.Errorf("%s\ngot  %v\nwant %s", c.file, err, want)
			}
		})
	}
}

// TestInterface: with interface, the address families are compared once the address is known.
func TestInterface(t *testing.T) {
	f, err := Parse("f", []byte("interface: eth0\nvnis:\n- {vni: 42, peers: [192.0.2.2]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	f.Model.Global.Local = netip.MustParseAddr("2001:db8::1")
	const want = "f:3:21: peer 192.0.2.2 is IPv4, but local 2001:db8::1 is IPv6: add an address of that family to local"
	if err := f.Check(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestLocate: an error has the place of its value, or of its object, or none.
func TestLocate(t *testing.T) {
	f, err := Parse("f", []byte("local: 192.0.2.1\nvnis:\n- {vni: 42}\nports:\n- {name: tap0, vni: 42}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"local": "f:1:8: x", "workers": "f: x", "ports/tap0/vni": "f:5:21: x", "ports/tap0/mtu": "f:5:10: x", "ports/tap9/vni": "f: x", "vnis": "f:3:1: x",
	} {
		if got := f.Locate(model.Invalid(path, "x")).Error(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := f.Locate(os.ErrPermission).Error(); got != "f: permission denied" {
		t.Error(got)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir + "/none": "no such file or directory",
		dir:           "is a directory",
		big:           "more than 1048576 bytes",
	} {
		if _, err := Load(context.Background(), path); err == nil || !strings.HasPrefix(err.Error(), path+": "+want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

// TestShipped: the example that is installed must be valid, and so must everything in it that is commented out.
func TestShipped(t *testing.T) {
	const path = "../../cmd/vtepd/vtepd.yaml"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("vtepd.yaml", data); err != nil {
		t.Error(err)
	}
	text := strings.ReplaceAll("\n"+string(data), "\nlocal:", "\n#local:")
	text = strings.ReplaceAll(text, "\n# gbp: off", "\n# gbp: on") // what the line below it is for
	for _, uncomment := range []string{"interface", "vrf", "dstport", "group-interface", "group-ttl", "flood", "storm-control", "listen", "source-ports", "flow-label", "socket", "workers", "offload", "fastpath", "cpu-latency", "ageing", "learning", "peer-policy", "allow", "max-macs", "ttl",
		"dscp", "ecn", "udp-checksum", "udp6-zero-checksum", "reserved-bits", "inner-vlan", "mss-clamp", "spoof-guard", "gbp", "gbp-drop", "gpe", "- name", "  type", "  vni", "  mtu", "  netns", "  mac", "  addresses",
		"  max-macs", "  mss-clamp", "  storm-control", "  isolated", "  gbp-id", "  gbp-drop", "- {mac"} {
		if !strings.Contains(text, "\n# "+uncomment+":") && !strings.Contains(text, "\n#   "+strings.TrimSpace(uncomment)) {
			t.Errorf("%s is not in the example", uncomment)
		}
		text = strings.ReplaceAll(text, "\n# "+uncomment+":", "\n"+uncomment+":")
	}
	text = strings.ReplaceAll(text, "\n#   ", "\n  ")
	if _, err := Parse("vtepd.yaml, uncommented", []byte(text)); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestShippedHasKeys: the example has every key that a file may have, in its section.
func TestShippedHasKeys(t *testing.T) {
	data, err := os.ReadFile("../../cmd/vtepd/vtepd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for section, file := range map[string]string{"": "?: 1\n", "vlans": "vlans: [{?: 1}]\n", "ports": "ports: [{?: 1}]\n", "static": "static: [{?: 1}]\n"} {
		text, _, _ := strings.Cut(string(data), "\nvlans:")
		if section != "" {
			_, text, _ = strings.Cut(string(data), "\n"+section+":\n")
			text, _, _ = strings.Cut(text, "\n# ---")
		}
		_, err := Parse("f", []byte(strings.Replace(file, "?", "nothing-like-it", 1)))
		if err == nil {
			t.Fatalf("%s: accepted", file)
		}
		_, keys, _ := strings.Cut(err.Error(), "expected one of ")
		for key := range strings.SplitSeq(keys, ", ") {
			if section == "" && slices.Contains([]string{"vlans", "vnis", "ports", "static"}, key) {
				continue
			}
			if !regexp.MustCompile(`(^|[ {\n])` + key + `:`).MatchString(text) {
				t.Errorf("%s %s is not in the example", section, key)
			}
		}
	}
}

// TestManyObjects: bounds of single mappings must not bound the file.
func TestManyObjects(t *testing.T) {
	var b strings.Builder
	b.WriteString("local: 192.0.2.1\nvnis:\n")
	for i := range 5000 {
		if i%2 == 0 {
			fmt.Fprintf(&b, "- {vni: %d, ageing: 5s, learning: off}\n", i+1)
		} else {
			fmt.Fprintf(&b, "- vni: %d\n  ageing: 5s\n  learning: off\n  peers:\n  - 192.0.2.2\n", i+1)
		}
	}
	f, err := Parse("f", []byte(b.String()))
	if err != nil || f.Model.VNIs.Len() != 5000 {
		t.Fatal(err)
	}
}

// FuzzParse: no file brings the parser down; what is refused is refused on one line with the file's name, what is accepted is valid and makes configurations.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../cmd/vtepd/vtepd.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte("local: 192.0.2.1\nvnis: [{vni: 42, peers: [192.0.2.2]}]\nports:\n- {name: tap0, vni: 42, mac: 02:00:00:00:00:01}\n"))
	f.Add([]byte("interface: eth0\nvlans:\n- vid: 10\n  vni: 1\nports:\n- name: a\n  trunk: [1-4094]\n  native: 10\n"))
	f.Add([]byte("local: 2001:db8::1\nstatic:\n- {mac: 00:00:00:00:00:00, vni: 1, dst: \"[2001:db8::2]:1\"}\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	f.Add([]byte("? a\n: b\n--- |\n x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		file, err := Parse("f", data)
		if err != nil {
			if text := err.Error(); !strings.HasPrefix(text, "f:") || strings.Contains(text, "\n") {
				t.Fatalf("%q: error %q", data, text)
			}
			return
		}
		m := file.Model
		if err := m.Check(); err != nil {
			t.Fatalf("%q: accepted, but %v", data, err)
		}
		for _, n := range m.Declared() {
			m.VNIConfig(n)
		}
		for _, name := range m.PortNames() {
			m.PortConfig(name)
		}
	})
}
