package ctl

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// namespaces makes what passes for network namespaces here: files that are no others.
func namespaces(tb testing.TB, names ...string) (paths []string) {
	tb.Helper()
	dir := tb.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			tb.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// alias is another path to a namespace.
func alias(tb testing.TB, path string) string {
	tb.Helper()
	other := path + ".alias"
	if err := os.Symlink(path, other); err != nil {
		tb.Fatal(err)
	}
	return other
}

const orderFile = `
local: 192.0.2.1
vlans: [{vid: 10, vni: 10010}, {vid: 20, vni: 10020}, {vid: 30, vni: 10030}]
vnis:
- {vni: 42, peers: [192.0.2.2, 192.0.2.3]}
- {vni: 43, peers: [192.0.2.2], max-macs: 100}
- {vni: 44, group: 239.1.1.1}
ports:
- {name: tap0, vni: 42, addresses: [198.51.100.1/24], mtu: 1400}
- {name: tap1, trunk: [10, 20]}
- {name: v0, type: veth, vni: 42, netns: RED}
- {name: v1, type: veth, vni: 42, netns: BLUE}
- {name: v2, type: veth, vni: 42, ifname: w2}
- {name: tap5, vni: 43, isolated: on}
- {name: tap6, vni: 43, mac: 02:00:00:00:00:77}
static:
- {mac: 02:00:00:00:00:09, vni: 42, dst: 192.0.2.2}
- {mac: 02:00:00:00:00:0a, vni: 42, port: tap0}
- {mac: 02:00:00:00:00:0b, vni: 42, port: v0}
- {mac: 02:00:00:00:00:0c, vni: 10010, port: tap1}
`

// orders are reloads of orderFile, each with what it does to the switch; "check port" stands where a check does.
var orders = []struct {
	name     string
	replaces []string
	ops      []string
}{
	{"peers only come", []string{"192.0.2.3]", "192.0.2.3, 192.0.2.4]"}, []string{"set vni 42"}},
	{"peers only leave, a port comes", []string{"192.0.2.2, 192.0.2.3]", "192.0.2.2]", "- {name: tap1", "- {name: tap9, vni: 42}\n- {name: tap1"},
		[]string{"add port tap9", "set vni 42"}},
	{"peers come and leave, a port comes", []string{"192.0.2.2, 192.0.2.3]", "192.0.2.2, 192.0.2.4]", "- {name: tap1", "- {name: tap9, vni: 42}\n- {name: tap1"},
		[]string{"set vni 42", "add port tap9", "set vni 42"}},
	{"another UDP port of a peer", []string{"192.0.2.3]", "'192.0.2.3:4790']"}, []string{"set vni 42"}},
	{"less room, a port comes", []string{"max-macs: 100", "max-macs: 10", "- {name: tap1", "- {name: tap9, vni: 43}\n- {name: tap1"}, []string{"add port tap9", "set vni 43"}},
	{"another group, and peers beside it", []string{"group: 239.1.1.1", "group: 239.1.1.2, peers: [192.0.2.2]"}, []string{"set vni 44", "set vni 44"}},
	{"a group on a port of its own, and no learning", []string{"max-macs: 100", "max-macs: 100, learning: off, group: '239.1.1.2:8472'"}, []string{"set vni 43"}},
	{"a group on a port of its own instead of another, no learning, a port comes", []string{"group: 239.1.1.1", "group: '239.1.1.2:8472', learning: off", "- {name: tap1", "- {name: tap9, vni: 43}\n- {name: tap1"},
		[]string{"add port tap9", "set vni 44"}},
	{"a VNI leaves, a port comes", []string{"- {vni: 44, group: 239.1.1.1}\n", "", "- {name: tap1", "- {name: tap9, vni: 43}\n- {name: tap1"}, []string{"add port tap9", "del vni 44"}},
	{"a port comes to a new VNI", []string{"- {vni: 44", "- {vni: 45}\n- {vni: 44", "- {name: tap1", "- {name: tap9, vni: 45}\n- {name: tap1"}, []string{"set vni 45", "add port tap9"}},
	{"VLANs come", []string{"trunk: [10, 20]", "trunk: [10, 20, 30]"}, []string{"set port tap1"}},
	{"VLANs leave, with a static entry; a port comes", []string{"trunk: [10, 20]", "trunk: [20]", "- {mac: 02:00:00:00:00:0c, vni: 10010, port: tap1}\n", "", "- {name: tap0", "- {name: tap9, vni: 43}\n- {name: tap0"},
		[]string{"add port tap9", "del 10010 02:00:00:00:00:0c", "set port tap1"}},
	{"VLANs come and leave, a static entry follows", []string{"trunk: [10, 20]", "trunk: [20, 30]", "vni: 10010, port: tap1", "vni: 10030, port: tap1"},
		[]string{"set port tap1", "put 10030 02:00:00:00:00:0c", "del 10010 02:00:00:00:00:0c", "set port tap1"}},
	{"a tagged VLAN becomes the native one", []string{"trunk: [10, 20]", "trunk: [10, 20], native: 10"}, []string{"set port tap1"}},
	{"a port moves, its static entry with it", []string{"tap0, vni: 42", "tap0, vni: 43", "vni: 42, port: tap0", "vni: 43, port: tap0"},
		[]string{"del 42 02:00:00:00:00:0a", "set port tap0", "put 43 02:00:00:00:00:0a"}},
	{"a port comes to a VNI that another leaves", []string{"tap0, vni: 42", "tap0, access: 20", "trunk: [10, 20]", "trunk: [10], native: 30", "- {mac: 02:00:00:00:00:0a, vni: 42, port: tap0}\n", ""},
		[]string{"set port tap1", "set port tap1", "del 42 02:00:00:00:00:0a", "set port tap0"}},
	{"a new port comes to a VNI that another leaves", []string{"trunk: [10, 20]", "trunk: [10]", "- {name: tap1", "- {name: tap9, access: 20}\n- {name: tap1"},
		[]string{"add port tap9", "set port tap1", "set port tap9"}},
	{"VLANs swap their names", []string{"{vid: 10, vni: 10010}, {vid: 20, vni: 10020}", "{vid: 10, vni: 10020}, {vid: 20, vni: 10010}", "vni: 42, ifname: w2", "trunk: [10, 20], ifname: w2"},
		[]string{"del 10010 02:00:00:00:00:0c", "set port tap1", "set port tap1", "set port v2", "put 10010 02:00:00:00:00:0c"}},
	{"another address, a lower MTU, a port comes", []string{"198.51.100.1/24], mtu: 1400", "198.51.100.2/24], mtu: 1300", "- {name: tap1", "- {name: tap9, vni: 43}\n- {name: tap1"},
		[]string{"add port tap9", "set port tap0", "set port tap0"}},
	{"an address moves to another port", []string{"addresses: [198.51.100.1/24], ", "", "trunk: [10, 20]", "trunk: [10, 20], addresses: [198.51.100.1/24]"}, []string{"set port tap0", "set port tap1"}},
	{"an address moves to a port that comes", []string{"addresses: [198.51.100.1/24], ", "", "- {name: tap1", "- {name: a9, vni: 42, addresses: [198.51.100.9/24, 198.51.100.1/24]}\n- {name: tap1"},
		[]string{"add port a9", "set port tap0", "set port a9"}},
	{"an address moves to a port that is looked at before", []string{"addresses: [198.51.100.1/24], ", "addresses: [198.51.100.2/24], ", "tap5, vni: 43, isolated: on", "a5, vni: 43, addresses: [198.51.100.1/24]"},
		[]string{"add port a5", "set port tap0", "set port tap0", "del port tap5", "set port a5"}},
	{"a port of another name comes with its address", []string{"tap0, vni: 42, addresses", "a0, vni: 42, addresses", "port: tap0", "port: a0"},
		[]string{"add port a0", "put 42 02:00:00:00:00:0a", "del port tap0", "set port a0"}},
	{"two ports trade an address", []string{"vni: 42, ifname: w2", "vni: 42, addresses: [198.51.100.1/25], ifname: w2", "198.51.100.1/24", "198.51.100.2/24"}, []string{"set port tap0", "set port tap0", "set port v2"}},
	{"a larger MTU", []string{"mtu: 1400", "mtu: 1500"}, []string{"set port tap0"}},
	{"another MAC", []string{"mtu: 1400", "mtu: 1400, mac: 02:00:00:00:00:77"}, []string{"set port tap0"}},
	{"all at once", []string{
		"192.0.2.2, 192.0.2.3]", "192.0.2.3, 192.0.2.4]", "max-macs: 100", "max-macs: 10", "trunk: [10, 20]", "trunk: [20, 30]", "vni: 10010, port: tap1", "vni: 10030, port: tap1",
		"netns: RED", "netns: GREEN", "- {name: v1, type: veth, vni: 42, netns: BLUE}\n", "", "- {name: tap1", "- {name: tap9, vni: 43}\n- {name: tap1", "dst: 192.0.2.2}", "dst: 192.0.2.4}",
	}, []string{
		"set vni 42", "check port v0", "add port tap9", "set port tap1", "put 42 02:00:00:00:00:09", "put 10030 02:00:00:00:00:0c",
		"del 42 02:00:00:00:00:0b", "del port v0", "add port v0", "put 42 02:00:00:00:00:0b",
		"del 10010 02:00:00:00:00:0c", "set port tap1", "set vni 42", "set vni 43", "del port v1",
	}},
	{"two ports made anew", []string{"netns: RED", "netns: GREEN", "ifname: w2", "ifname: w3"},
		[]string{"check port v0", "check port v2", "del 42 02:00:00:00:00:0b", "del port v0", "add port v0", "del port v2", "add port v2", "put 42 02:00:00:00:00:0b"}},
	{"two ports swap namespaces", []string{"netns: RED", "netns: BLUE", "netns: BLUE", "netns: RED"},
		[]string{"check port v0", "check port v1", "del 42 02:00:00:00:00:0b", "del port v0", "del port v1", "add port v0", "add port v1", "put 42 02:00:00:00:00:0b"}},
	{"a port leaves, another takes its place", []string{"- {name: v1,", "- {name: v7,"}, []string{"check port v7", "del port v1", "add port v7"}},
	{"a port leaves, another takes its host end's name", []string{"- {name: v2, type: veth, vni: 42, ifname: w2}", "- {name: v7, type: veth, vni: 42, ifname: v2}"},
		[]string{"check port v7", "del port v2", "add port v7"}},
	{"a port leaves, a TAP takes its other end's name", []string{"- {name: v2, type: veth, vni: 42, ifname: w2}", "- {name: w2, vni: 42}"}, []string{"check port w2", "del port v2", "add port w2"}},
	{"a port leaves, a netdev port takes its other end's name", []string{"- {name: v2, type: veth, vni: 42, ifname: w2}", "- {name: w2, type: netdev, vni: 42}"},
		[]string{"check port w2", "del port v2", "add port w2"}},
	{"a TAP takes the name from the other end of a pair that gets another", []string{"ifname: w2}", "ifname: w3}\n- {name: w2, vni: 42}"},
		[]string{"check port v2", "check port w2", "del port v2", "add port v2", "add port w2"}},
	{"a port leaves, another is made anew in its place", []string{"netns: RED", "netns: BLUE", "- {name: v1, type: veth, vni: 42, netns: BLUE}\n", ""},
		[]string{"check port v0", "del 42 02:00:00:00:00:0b", "del port v0", "del port v1", "add port v0", "put 42 02:00:00:00:00:0b"}},
	{"a port leaves, another comes beside it", []string{"- {name: v1, type: veth, vni: 42, netns: BLUE}", "- {name: v7, type: veth, vni: 42, netns: GREEN}"}, []string{"add port v7", "del port v1"}},
	{"a port is isolated no more, another is", []string{"vni: 43, isolated: on", "vni: 43", "v0, type: veth", "v0, isolated: on, type: veth"}, []string{"set port tap5", "set port v0"}},
	{"an isolated port moves and is so no more", []string{"vni: 43, isolated: on", "vni: 42"}, []string{"set port tap5", "set port tap5"}},
	{"a port is isolated no more, another leaves", []string{"vni: 43, isolated: on", "vni: 43", "- {name: v1, type: veth, vni: 42, netns: BLUE}\n", ""}, []string{"del port v1", "set port tap5"}},
	{"an isolated port is made anew and is so no more", []string{"vni: 43, isolated: on", "vni: 43, type: veth, ifname: w5"}, []string{"check port tap5", "del port tap5", "add port tap5", "set port tap5"}},
	{"an isolated port comes", []string{"- {name: tap1", "- {name: tap9, vni: 43, isolated: on}\n- {name: tap1"}, []string{"add port tap9"}},
	{"a port of another name comes with its MAC", []string{"name: tap6", "name: t6"}, []string{"check port t6", "del port tap6", "add port t6"}},
	{"a port that moves to a namespace takes the MAC of one that leaves", []string{"- {name: tap6, vni: 43, mac: 02:00:00:00:00:77}\n", "", "vni: 42, netns: BLUE", "vni: 43, netns: GREEN, mac: 02:00:00:00:00:77"},
		[]string{"check port v1", "del port v1", "del port tap6", "add port v1"}},
	{"a port comes with the MAC of one of another VNI", []string{"name: tap6, vni: 43", "name: t6, vni: 42"}, []string{"add port t6", "del port tap6"}},
	{"another kind of the same name", []string{"name: v1, type: veth", "name: v1, type: tap"}, []string{"check port v1", "del port v1", "add port v1"}},
}

// TestOrder does what orders say, and fails every operation of theirs in turn.
func TestOrder(t *testing.T) {
	ns := namespaces(t, "red", "blue", "green")
	place := strings.NewReplacer("RED", ns[0], "BLUE", ns[1], "GREEN", ns[2])
	for _, c := range orders {
		t.Run(c.name, func(t *testing.T) {
			old := parse(t, place.Replace(orderFile))
			next := parse(t, place.Replace(strings.NewReplacer(c.replaces...).Replace(orderFile)))
			r := walk(t, old, next, -1)
			if r.err != nil {
				t.Fatal(r.err)
			}
			if diff := cmp.Diff(c.ops, r.ops); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			for i := range r.ops {
				r := walk(t, old, next, i)
				if !errors.Is(r.err, errTest) {
					t.Fatalf("%s fails: error %v", r.ops[i], r.err)
				}
			}
		})
	}
}

// TestRefusedBeforeTheFirstDeletion: what can be found wrong with any port to be made is found before one is taken away for it. That two ports want one name
// in a namespace the model knows already, unless they call the namespace differently.
func TestRefusedBeforeTheFirstDeletion(t *testing.T) {
	ns := namespaces(t, "red", "blue", "green")
	place := strings.NewReplacer("RED", ns[0], "BLUE", ns[1], "GREEN", ns[2], "VERDANT", alias(t, ns[2]))
	for _, c := range []struct {
		name     string
		replaces []string
		err      string
	}{
		{"no such namespace", []string{"netns: RED", "netns: GREEN", "netns: BLUE", "netns: no-such-namespace"}, "port v1: network namespace no-such-namespace does not exist"},
		{"the loopback's name", []string{"netns: RED", "netns: GREEN", "ifname: w2", "ifname: lo"}, "port v2: lo"},
		{"the name of another that is made anew", []string{"netns: RED", "netns: GREEN", "netns: BLUE", "netns: VERDANT"}, "port v0: interface eth0 is to be that of port v1 as well"},
		{"the name of one that comes", []string{"netns: RED", "netns: GREEN", "- {name: v2", "- {name: v7, type: veth, vni: 42, netns: VERDANT}\n- {name: v2"}, "port v0: interface eth0 is to be that of port v7 as well"},
		{"in place of one that leaves", []string{"- {name: v1, type: veth, vni: 42, netns: BLUE}", "- {name: v7, type: veth, vni: 42, netns: BLUE, ifname: lo}\n- {name: v8, type: veth, vni: 42, netns: BLUE}"}, "port v7: lo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := parse(t, place.Replace(orderFile))
			r := walk(t, old, parse(t, place.Replace(strings.NewReplacer(c.replaces...).Replace(orderFile))), -1)
			if r.err == nil || !strings.HasPrefix(r.err.Error(), c.err) {
				t.Errorf("error %v, want %s", r.err, c.err)
			}
			if slices.ContainsFunc(r.ops, func(op string) bool { return old.Ports.At(strings.TrimPrefix(op, "del port ")) != nil }) {
				t.Errorf("a port was taken away: %v", r.ops)
			}
		})
	}
}
