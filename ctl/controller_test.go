package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vtepd/ctl/config"
	"vtepd/ctl/ctltest"
	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

const baseFile = `
local: 192.0.2.1
vlans: [{vid: 10, vni: 10010}, {vid: 20, vni: 10020}]
vnis:
- {vni: 42, peers: [192.0.2.2, 192.0.2.3]}
- {vni: 43, ageing: 60s}
ports:
- {name: tap0, vni: 42}
- {name: tap1, access: 10}
- {name: tap2, trunk: [10, 20], native: 10}
static:
- {mac: 02:00:00:00:00:09, vni: 42, dst: 192.0.2.2}
- {mac: 02:00:00:00:00:0a, vni: 42, port: tap0, state: sticky}
`

func parse(tb testing.TB, text string) *model.Model {
	tb.Helper()
	f, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return f.Model
}

func start(tb testing.TB, text string) (*Controller, *ctltest.Switch) {
	tb.Helper()
	m := parse(tb, text)
	sw := ctltest.New(m.SwitchConfig())
	c, err := New(context.Background(), sw, m, nil)
	if err != nil {
		tb.Fatal(err)
	}
	sw.Ops()
	return c, sw
}

var errTest = errors.New("the switch refuses")

// edits are commands on baseFile, each with the operations that it takes.
var edits = []struct {
	name string
	edit func(m *model.Model) error
	ops  []string
}{
	{"vni add", func(m *model.Model) error { return addVNI(m, 44, &model.VNI{}) }, []string{"set vni 44"}},
	{"vni declared by a VLAN", func(m *model.Model) error { return addVNI(m, 10010, &model.VNI{}) }, nil},
	{"vni set", func(m *model.Model) error {
		return setVNI(m, 43, func(v *model.VNI) error { v.Settings.Ageing = model.Opt[time.Duration]{}; return nil })
	}, []string{"set vni 43"}},
	{"vni del with statics", func(m *model.Model) error { _ = delPort(m, "tap0"); return delVNI(m, 42) },
		[]string{"del 42 02:00:00:00:00:09", "del 42 02:00:00:00:00:0a", "del port tap0", "del vni 42"}},
	{"peer add", func(m *model.Model) error { return addPeer(m, 42, netip.MustParseAddrPort("192.0.2.4:4789")) }, []string{"set vni 42"}},
	{"peer add to a VLAN's VNI", func(m *model.Model) error {
		return addPeer(m, 10020, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.4"), 0))
	}, []string{"set vni 10020"}},
	{"peer del", func(m *model.Model) error { return delPeer(m, 0, netip.MustParseAddrPort("192.0.2.2:4789")) }, []string{"set vni 42"}},
	{"vlan add", func(m *model.Model) error { return addVLAN(m, 30, 10030) }, []string{"set vni 10030"}},
	{"port add", func(m *model.Model) error { return addPort(m, "tap3", &model.Port{Type: dataplane.PortTAP, VNI: 43}) }, []string{"add port tap3"}},
	{"port to a new VLAN at once", func(m *model.Model) error {
		_ = addVLAN(m, 30, 10030)
		return setPort(m, "tap1", func(p *model.Port) error { p.Access = 30; return nil })
	}, []string{"set vni 10030", "set port tap1"}},
	{"port into a namespace", func(m *model.Model) error {
		return setPort(m, "tap0", func(p *model.Port) error { p.NetNS = "/proc/self/ns/net"; return nil })
	}, []string{"del 42 02:00:00:00:00:0a", "del port tap0", "add port tap0", "put 42 02:00:00:00:00:0a"}},
	{"port to another VNI, static entry to a peer", func(m *model.Model) error {
		m.Statics.Put(model.StaticKey{VNI: 42, MAC: 0x02000000000a}, model.Static{Dst: netip.MustParseAddrPort("192.0.2.3:4789"), State: fdb.Static})
		return setPort(m, "tap0", func(p *model.Port) error { p.VNI = 43; return nil })
	}, []string{"put 42 02:00:00:00:00:0a", "set port tap0"}},
	{"port to another VNI without its static entry", func(m *model.Model) error {
		m.Statics.Delete(model.StaticKey{VNI: 42, MAC: 0x02000000000a})
		_ = delVNI(m, 43)
		_ = addVNI(m, 50, &model.VNI{})
		return setPort(m, "tap0", func(p *model.Port) error { p.VNI = 50; return nil })
	}, []string{"set vni 50", "del 42 02:00:00:00:00:0a", "set port tap0", "del vni 43"}},
	{"port del", func(m *model.Model) error { return delPort(m, "tap0") }, []string{"del 42 02:00:00:00:00:0a", "del port tap0"}},
	{"static moved off a port that goes", func(m *model.Model) error {
		_ = delPort(m, "tap0")
		m.Statics.Put(model.StaticKey{VNI: 42, MAC: 0x02000000000a}, model.Static{Dst: netip.MustParseAddrPort("192.0.2.3:4789"), State: fdb.Static})
		return nil
	}, []string{"put 42 02:00:00:00:00:0a", "del port tap0"}},
	{"global ageing", func(m *model.Model) error {
		return model.SettingByName("ageing").Parse(&m.Global.Settings, "7s")
	}, []string{"set vni 42", "set vni 10010", "set vni 10020"}},
	{"everything", func(m *model.Model) error {
		_ = delPort(m, "tap0")
		_ = delPort(m, "tap1")
		_ = delPort(m, "tap2")
		_ = delVLAN(m, 10)
		_ = delVLAN(m, 20)
		_ = delVNI(m, 42)
		_ = addVNI(m, 50, &model.VNI{})
		return addPort(m, "tap9", &model.Port{Type: dataplane.PortTAP, VNI: 50})
	}, []string{
		"set vni 50", "add port tap9", "del 42 02:00:00:00:00:09", "del 42 02:00:00:00:00:0a", "del port tap0", "del port tap1", "del port tap2",
		"del vni 42", "del vni 10010", "del vni 10020",
	}},
}

func TestChange(t *testing.T) {
	for _, e := range edits {
		t.Run(e.name, func(t *testing.T) {
			c, sw := start(t, baseFile)
			if err := c.Change(e.edit); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e.ops, sw.Ops()); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			// What was reached step by step must be what a start from there makes.
			fresh := ctltest.New(sw.Config)
			if _, err := New(context.Background(), fresh, c.Model(), nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(fresh.State(), sw.State()); diff != "" {
				t.Errorf("state (-start +change):\n%s", diff)
			}
		})
	}
}

// TestRefusedChangesNothing fails every operation of every edit in turn: switch and model must be as before.
func TestRefusedChangesNothing(t *testing.T) {
	for _, e := range edits {
		for _, failing := range e.ops {
			t.Run(e.name+", "+failing, func(t *testing.T) {
				c, sw := start(t, baseFile)
				// A port's learned entries go with it; bringing it back cannot bring them back. Until a port leaves, nothing learned may be lost.
				if i := slices.Index(e.ops, failing); !slices.Contains(e.ops[:i], "del port tap2") {
					sw.Learn(dataplane.FDBEntry{VNI: 42, MAC: 0x020000000001, Port: "tap2"})
				}
				before, model := sw.State(), c.Model()
				failed := false
				sw.Fail(func(op string) error {
					if op == failing && !failed {
						failed = true
						return errTest
					}
					return nil
				})
				if err := c.Change(e.edit); !errors.Is(err, errTest) {
					t.Fatalf("error %v", err)
				}
				if after := sw.State(); after != before {
					t.Errorf("the switch changed:\n%s", cmp.Diff(before, after))
				}
				if c.Model() != model {
					t.Error("the model changed")
				}
				sw.Fail(nil)
				if err := c.Change(e.edit); err != nil {
					t.Errorf("again, without failure: %v", err)
				}
			})
		}
	}
}

// TestUndoFails: what cannot be undone is told.
func TestUndoFails(t *testing.T) {
	c, sw := start(t, baseFile)
	sw.Fail(func(op string) error {
		if op == "add port tap9" || op == "del vni 50" {
			return fmt.Errorf("%s: %w", op, errTest)
		}
		return nil
	})
	err := c.Change(func(m *model.Model) error {
		_ = addVNI(m, 50, &model.VNI{})
		return addPort(m, "tap9", &model.Port{Type: dataplane.PortTAP, VNI: 50})
	})
	const want = "add port tap9: the switch refuses; and vni add 50 could not be undone: del vni 50: the switch refuses"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestInvalidTouchesNothing: what validation refuses does not reach the switch.
func TestInvalidTouchesNothing(t *testing.T) {
	c, sw := start(t, baseFile)
	before := c.Model()
	for name, edit := range map[string]func(m *model.Model) error{
		"vni in use":    func(m *model.Model) error { return delVNI(m, 42) },
		"vni by vlan":   func(m *model.Model) error { return delVNI(m, 10010) },
		"vlan in use":   func(m *model.Model) error { return delVLAN(m, 20) },
		"port nowhere":  func(m *model.Model) error { return addPort(m, "tap9", &model.Port{Type: dataplane.PortTAP, VNI: 99}) },
		"twice":         func(m *model.Model) error { return addPort(m, "tap0", &model.Port{Type: dataplane.PortTAP, VNI: 42}) },
		"peer is local": func(m *model.Model) error { return addPeer(m, 42, netip.MustParseAddrPort("192.0.2.1:1")) },
	} {
		if err := c.Change(edit); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if ops := sw.Ops(); len(ops) > 0 {
		t.Errorf("operations: %v", ops)
	}
	if c.Model() != before {
		t.Error("the model changed")
	}
}

// TestStartFails: a start that is refused undoes nothing: whoever ends the switch knows what a former process left of it.
func TestStartFails(t *testing.T) {
	m := parse(t, baseFile)
	sw := ctltest.New(m.SwitchConfig())
	sw.Fail(func(op string) error {
		if op == "put 42 02:00:00:00:00:0a" {
			return errTest
		}
		return nil
	})
	if _, err := New(context.Background(), sw, m, nil); !errors.Is(err, errTest) {
		t.Fatalf("error %v", err)
	}
	for _, op := range sw.Ops() {
		if strings.HasPrefix(op, "del ") {
			t.Errorf("undone: %s", op)
		}
	}
	if sw.State() == "" {
		t.Error("nothing was done: this test proves nothing")
	}
}

// withoutNetNS is a switch whose host lacks the namespace of a port.
func withoutNetNS(sw *ctltest.Switch, port string) {
	sw.Fail(func(op string) error {
		if op == "add port "+port {
			return fmt.Errorf("port %s: %w", port, dataplane.ErrNoNetNS)
		}
		return nil
	})
}

// TestNamespaceMissing: at the start a namespace that is not there stops nothing, later it refuses what names it, and a port that waits for it stays.
func TestNamespaceMissing(t *testing.T) {
	m := parse(t, baseFile)
	sw := ctltest.New(m.SwitchConfig())
	withoutNetNS(sw, "tap0")
	c, err := New(context.Background(), sw, m, nil)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	state := sw.State()
	if !strings.Contains(state, "Name:tap0") {
		t.Fatalf("the port is not there:\n%s", state)
	}
	if ops, err := c.Reload(parse(t, baseFile)); err != nil || len(ops) > 0 {
		t.Errorf("the same file again: %v, %v", ops, err)
	}
	if err := c.Change(func(m *model.Model) error {
		return setPort(m, "tap0", func(p *model.Port) error { p.MTU = 1400; return nil })
	}); err != nil {
		t.Errorf("port set: %v", err)
	}
	state = sw.State()
	anew := func(m *model.Model) error {
		return setPort(m, "tap0", func(p *model.Port) error { p.NetNS = "/proc/self/ns/net"; return nil })
	}
	if err := c.Change(anew); !errors.Is(err, dataplane.ErrNoNetNS) || strings.Contains(err.Error(), "could not be undone") {
		t.Errorf("port set netns: %v", err)
	}
	if diff := cmp.Diff(state, sw.State()); diff != "" {
		t.Errorf("a refused change left (-before +after):\n%s", diff)
	}
	withoutNetNS(sw, "tap9")
	if err := c.Change(func(m *model.Model) error { return addPort(m, "tap9", &model.Port{Type: dataplane.PortTAP, VNI: 43}) }); !errors.Is(err, dataplane.ErrNoNetNS) {
		t.Errorf("port add: %v", err)
	}
	if _, err := c.Reload(parse(t, strings.Replace(baseFile, "ports:\n", "ports:\n- {name: tap9, vni: 43}\n", 1))); !errors.Is(err, dataplane.ErrNoNetNS) {
		t.Errorf("reload with one more port: %v", err)
	}
}

// TestCopiesAreApart: an edit never shines through to the model before it.
func TestCopiesAreApart(t *testing.T) {
	for _, e := range edits {
		m := parse(t, baseFile)
		kept := parse(t, baseFile)
		next := m.Clone()
		if err := e.edit(next); err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		next.Normalize()
		if !reflect.DeepEqual(m, kept) {
			t.Errorf("%s wrote into the model that it was a copy of", e.name)
		}
	}
}

func TestReload(t *testing.T) {
	addPort9 := func(m *model.Model) error { return addPort(m, "tap9", &model.Port{Type: dataplane.PortTAP, VNI: 43}) }
	for _, c := range []struct {
		name string
		// runtime is what happened before the reload; from and to are replaced in the file.
		runtime  []func(m *model.Model) error
		replaces []string
		ops      []string
		check    func(m *model.Model) bool
		err      string
	}{
		{name: "nothing", ops: nil},
		{name: "peer added, run-time peer stays", runtime: []func(m *model.Model) error{
			func(m *model.Model) error { return addPeer(m, 42, netip.MustParseAddrPort("192.0.2.9:4789")) },
			func(m *model.Model) error { return delPeer(m, 42, netip.MustParseAddrPort("192.0.2.3:4789")) },
		}, replaces: []string{"192.0.2.3]", "192.0.2.3, 192.0.2.4]"}, ops: []string{"set vni 42"},
			check: func(m *model.Model) bool {
				return slices.Equal(m.VNIs.At(42).Peers, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:4789"), netip.MustParseAddrPort("192.0.2.4:4789"), netip.MustParseAddrPort("192.0.2.9:4789")})
			}},
		{name: "group in the file, group-ttl at run time", runtime: []func(m *model.Model) error{
			func(m *model.Model) error {
				return setVNI(m, 43, func(v *model.VNI) error { v.Settings.GroupTTL = model.Some(uint8(9)); return nil })
			},
		}, replaces: []string{"ageing: 60s", "ageing: 60s, group: 239.1.1.1"}, ops: []string{"set vni 43"},
			check: func(m *model.Model) bool {
				c := m.VNIConfig(43)
				return c.Group == netip.MustParseAddrPort("239.1.1.1:4789") && c.GroupTTL == 9
			}},
		{name: "run-time group stays", runtime: []func(m *model.Model) error{
			func(m *model.Model) error { return addPeer(m, 43, netip.MustParseAddrPort("239.1.1.1:0")) },
		}, replaces: []string{"ageing: 60s", "ageing: 90s"}, ops: []string{"set vni 43"},
			check: func(m *model.Model) bool {
				return m.VNIs.At(43).Group == netip.MustParseAddrPort("239.1.1.1:4789") && m.VNIs.At(43).Settings.Ageing.V.Seconds() == 90
			}},
		{name: "setting changed at run time and not in the file", runtime: []func(m *model.Model) error{
			func(m *model.Model) error {
				return setVNI(m, 43, func(v *model.VNI) error { v.Settings.Learning = model.Some(false); return nil })
			},
		}, replaces: []string{"ageing: 60s", "ageing: 90s"}, ops: []string{"set vni 43"},
			check: func(m *model.Model) bool {
				return !m.VNIs.At(43).Settings.Learning.V && m.VNIs.At(43).Settings.Ageing.V.Seconds() == 90
			}},
		{name: "run-time port stays", runtime: []func(m *model.Model) error{addPort9},
			replaces: []string{"- {name: tap1, access: 10}\n", ""}, ops: []string{"del port tap1"},
			check: func(m *model.Model) bool { return m.Ports.At("tap9") != nil && m.Ports.At("tap1") == nil }},
		{name: "port moved at run time, moved again by the file", runtime: []func(m *model.Model) error{
			func(m *model.Model) error {
				return setPort(m, "tap1", func(p *model.Port) error { p.Access, p.VNI, p.MTU = 0, 43, 1300; return nil })
			},
		}, replaces: []string{"tap1, access: 10", "tap1, access: 20"}, ops: []string{"set port tap1"},
			check: func(m *model.Model) bool {
				p := m.Ports.At("tap1")
				return p.Access == 20 && p.VNI == 0 && p.MTU == 1300
			}},
		{name: "what the file adds is there already", runtime: []func(m *model.Model) error{addPort9},
			replaces: []string{"- {name: tap1", "- {name: tap9, vni: 43, mtu: 1400}\n- {name: tap1"}, ops: []string{"set port tap9"},
			check: func(m *model.Model) bool { return m.Ports.At("tap9").MTU == 1400 }},
		{name: "what the file drops is gone already", runtime: []func(m *model.Model) error{func(m *model.Model) error { return delPort(m, "tap1") }},
			replaces: []string{"- {name: tap1, access: 10}\n", ""}, ops: nil},
		{name: "run-time static does not hold a port of the file", runtime: []func(m *model.Model) error{
			func(m *model.Model) error {
				m.Statics.Put(model.StaticKey{VNI: 10010, MAC: 0x0200000000ff}, model.Static{Port: "tap1", State: fdb.Static})
				return nil
			},
		}, replaces: []string{"- {name: tap1, access: 10}\n", ""}, ops: []string{"del 10010 02:00:00:00:00:ff", "del port tap1"}},
		{name: "run-time port holds a VNI of the file", runtime: []func(m *model.Model) error{addPort9},
			replaces: []string{"- {vni: 43, ageing: 60s}\n", ""}, err: "port tap9 names undeclared VNI 43 (did you mean \"42\"?): declare it under vnis, or with vtepctl vni add; the port was added at run time: port del tap9 lets the file through"},
		{name: "VLAN renumbered under its ports", replaces: []string{"{vid: 10, vni: 10010}", "{vid: 10, vni: 10011}"},
			ops: []string{"set vni 10011", "set port tap1", "set port tap2", "del vni 10010"}},
		{name: "static changed", replaces: []string{"vni: 42, dst: 192.0.2.2}", "vni: 42, dst: 192.0.2.3}"}, ops: []string{"put 42 02:00:00:00:00:09"}},
		{name: "top level", replaces: []string{"local: 192.0.2.1", "local: 192.0.2.1\nttl: 5"}, ops: []string{"set vni 42", "set vni 43", "set vni 10010", "set vni 10020"}},

		{name: "local", replaces: []string{"local: 192.0.2.1", "local: 192.0.2.11"}, err: "local changed from 192.0.2.1 to 192.0.2.11, which a running vtepd cannot follow: restart vtepd, or change it back"},
		{name: "second local", replaces: []string{"local: 192.0.2.1", "local: [192.0.2.1, '2001:db8::1']"}, err: "local changed from 192.0.2.1 to 192.0.2.1 and 2001:db8::1, which"},
		{name: "dstport", replaces: []string{"\nvlans", "\ndstport: 1\nvlans"}, err: "dstport changed from 4789 to 1, which"},
		{name: "vrf", replaces: []string{"\nvlans", "\nvrf: blue\nvlans"}, err: "vrf changed from none to blue, which"},
		{name: "group-interface", replaces: []string{"\nvlans", "\ngroup-interface: eth9\nvlans"}, err: "group-interface changed from none to eth9, which"},
		{name: "listen", replaces: []string{"\nvlans", "\nlisten: [8472]\nvlans"}, err: "listen changed from [] to [8472], which"},
		{name: "flow-label", replaces: []string{"\nvlans", "\nflow-label: flow\nvlans"}, err: "flow-label changed from port to flow, which"},
		{name: "source-ports", replaces: []string{"\nvlans", "\nsource-ports: 50000-50099\nvlans"}, err: "source-ports changed from 49152-65535 to 50000-50099, which"},
		{name: "socket", replaces: []string{"\nvlans", "\nsocket: /x\nvlans"}, err: "socket changed from /run/vtepd/vtepd.sock to /x, which"},
		{name: "workers", replaces: []string{"\nvlans", "\nworkers: 9\nvlans"}, err: "workers changed from 0 to 9, which"},
		{name: "offload", replaces: []string{"\nvlans", "\noffload: off\nvlans"}, err: "offload changed from auto to off, which"},
		{name: "cpu-latency", replaces: []string{"\nvlans", "\ncpu-latency: off\nvlans"}, err: "cpu-latency changed from auto to off, which"},
		{name: "fastpath", replaces: []string{"\nvlans", "\nfastpath: off\nvlans"}, ops: []string{"fastpath off"}},
		{name: "fastpath set at run time, the file says nothing new", runtime: []func(m *model.Model) error{
			func(m *model.Model) error { m.Global.FastPath = model.FastPathOn; return nil },
		}, replaces: []string{"tap1, access: 10", "tap1, access: 20"}, ops: []string{"set port tap1"},
			check: func(m *model.Model) bool { return m.Global.FastPath == model.FastPathOn }},
		{name: "max-macs", replaces: []string{"\nvlans", "\nmax-macs: 7\nvlans"}, err: "max-macs changed from 262144 to 7, which"},
		{name: "defaults written out", replaces: []string{"\nvlans", "\nsource-ports: 49152-65535\nmax-macs: 262144\nworkers: 0\noffload: auto\ncpu-latency: auto\nflow-label: port\ndstport: 4789\nvlans"}},
		{name: "udp6-zero-checksum", replaces: []string{"\nvlans", "\nudp6-zero-checksum: rx\nvlans"}, err: "udp6-zero-checksum changed from not receiving to receiving, which"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctl, sw := start(t, baseFile)
			for _, edit := range c.runtime {
				if err := ctl.Change(edit); err != nil {
					t.Fatal(err)
				}
			}
			sw.Ops()
			before, state := ctl.Model(), sw.State()
			text := strings.NewReplacer(c.replaces...).Replace(baseFile)
			file := parse(t, text)
			_, err := ctl.Reload(file)
			if c.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.err) {
					t.Fatalf("got %v\nwant %s", err, c.err)
				}
				if ctl.Model() != before || sw.State() != state {
					t.Error("a refused reload changed something")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.ops, sw.Ops()); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			if c.check != nil && !c.check(ctl.Model()) {
				t.Errorf("the model is not as it should be: %+v", ctl.Model())
			}
			if _, err := ctl.Reload(parse(t, text)); err != nil {
				t.Errorf("again: %v", err)
			}
			if ops := sw.Ops(); len(ops) > 0 {
				t.Errorf("the same file again did %v", ops)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	for want, ops := range map[string][]string{
		"nothing changed":                                  nil,
		"1 port added, 2 ports made anew":                  {"port del a", "port del b", "port add b", "port add c", "port add a"},
		"1 port added, 1 port changed":                     {"port add a", "port set b", "port set a"},
		"1 VNI added, 2 ports changed, 1 static entry put": {"vni add 4", "port set a", "port set b", "port set a", "fdb put 02:00:00:00:00:01 vni 4"},
	} {
		if got := Summary(ops); got != want {
			t.Errorf("%v: %q, want %q", ops, got, want)
		}
	}
}

// TestDynamicReplacesStatic: a dynamic entry in the place of a static one ends the static one for good.
func TestDynamicReplacesStatic(t *testing.T) {
	c, sw := start(t, baseFile)
	mac := fdb.MAC(0x020000000009)
	e := dataplane.FDBEntry{VNI: 42, MAC: mac, Port: "tap0", State: fdb.Dynamic}
	if err := c.putEntry(e, fdb.Add); !errors.Is(err, dataplane.ErrExists) {
		t.Fatalf("add over a static entry: %v", err)
	}
	sw.Fail(func(string) error { return errTest })
	if err := c.putEntry(e, fdb.Replace); !errors.Is(err, errTest) {
		t.Fatal(err)
	}
	if !c.Model().Statics.Has(model.StaticKey{VNI: 42, MAC: mac}) {
		t.Fatal("a refused replace took the static entry out of the model")
	}
	sw.Fail(nil)
	if err := c.putEntry(e, fdb.Replace); err != nil {
		t.Fatal(err)
	}
	if c.Model().Statics.Has(model.StaticKey{VNI: 42, MAC: mac}) {
		t.Error("the static entry is still in the model")
	}
	if got, _ := sw.FDBGet(42, mac); got.State != fdb.Dynamic || got.Port != "tap0" {
		t.Errorf("entry %+v", got)
	}
}

// TestUndoBringsDynamicBack: a static entry that displaced a learned one gives it back when a later operation fails.
func TestUndoBringsDynamicBack(t *testing.T) {
	c, sw := start(t, baseFile)
	learned := dataplane.FDBEntry{VNI: 42, MAC: 0x020000000001, Port: "tap0"}
	sw.Learn(learned)
	before := sw.State()
	failed := false
	sw.Fail(func(op string) error {
		if strings.HasPrefix(op, "put 42 02:00:00:00:00:02") && !failed {
			failed = true
			return errTest
		}
		return nil
	})
	err := c.Change(func(m *model.Model) error {
		for mac := fdb.MAC(0x020000000001); mac <= 0x020000000002; mac++ {
			m.Statics.Put(model.StaticKey{VNI: 42, MAC: mac}, model.Static{Dst: netip.MustParseAddrPort("192.0.2.2:4789"), State: fdb.Static})
		}
		return nil
	})
	if !errors.Is(err, errTest) {
		t.Fatal(err)
	}
	if after := sw.State(); after != before {
		t.Errorf("the switch changed:\n%s", cmp.Diff(before, after))
	}
}

// TestNoSuchNamespace: a port is not taken away for a namespace that does not exist.
func TestNoSuchNamespace(t *testing.T) {
	c, sw := start(t, baseFile)
	err := c.Change(func(m *model.Model) error {
		return setPort(m, "tap0", func(p *model.Port) error { p.NetNS = "no-such-namespace"; return nil })
	})
	const want = "port tap0: network namespace no-such-namespace does not exist: see `ip netns list`, or make it with `ip netns add no-such-namespace`"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if ops := sw.Ops(); len(ops) > 0 {
		t.Errorf("operations: %v", ops)
	}
}

// TestCannotBeMadeAnew: a port whose device cannot be made elsewhere stays what it is, device and learned entries included.
func TestCannotBeMadeAnew(t *testing.T) {
	c, sw := start(t, baseFile)
	sw.Learn(dataplane.FDBEntry{VNI: 42, MAC: 0x020000000001, Port: "tap0"})
	before := sw.State()
	sw.Fail(func(op string) error {
		if op == "check port tap0" {
			return fmt.Errorf("port tap0: the name is taken there: %w", dataplane.ErrNotTAP)
		}
		return nil
	})
	w := call(Handler(c), "PATCH", "/v1/ports/tap0", `{"netns":"/proc/self/ns/net"}`)
	if w.Code != 409 || !strings.Contains(w.Body.String(), "the name is taken there") {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	if ops := sw.Ops(); len(ops) > 0 || sw.State() != before {
		t.Errorf("operations %v, state\n%s", ops, cmp.Diff(before, sw.State()))
	}
}

// TestNoRoom: a full table is told with its remedy.
func TestNoRoom(t *testing.T) {
	c, sw := start(t, baseFile)
	sw.Fail(func(op string) error {
		if strings.HasPrefix(op, "put") {
			return fmt.Errorf("put: %w", fdb.ErrFull)
		}
		return nil
	})
	for _, state := range []fdb.State{fdb.Static, fdb.Dynamic} {
		err := c.putEntry(dataplane.FDBEntry{VNI: 42, MAC: 0x0200000000ee, Port: "tap0", State: state}, fdb.Add)
		if !errors.Is(err, dataplane.ErrLimit) || err.Error() != "no room for 02:00:00:00:00:ee in VNI 42: flush entries, or raise max-macs" {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// A change that goes on is no reason to be taken for stuck; one that stands still is.
func TestPing(t *testing.T) {
	c, _ := start(t, baseFile)
	c.mu.Lock()
	done := make(chan error)
	go func() { done <- c.Ping(200 * time.Millisecond) }()
	for range 20 {
		c.progress.Add(1)
		time.Sleep(20 * time.Millisecond)
	}
	if err := <-done; err != nil {
		t.Errorf("a change that goes on: %v", err)
	}
	if err := c.Ping(20 * time.Millisecond); err == nil {
		t.Error("a change that stands still is nothing")
	}
	c.mu.Unlock()
	if err := c.Ping(time.Minute); err != nil {
		t.Error(err)
	}
}
