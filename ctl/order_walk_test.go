package ctl

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/ctl/ctltest"
	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// walked is what came of a change.
type walked struct {
	err error
	// ops are the operations that were tried, and the checks of ports.
	ops []string
}

// walk brings a switch from one model to another, and fails the operation at an index; -1: none. It fails the test unless a refused change has left
// everything as it was, and at every moment everything there that has to be.
func walk(t *testing.T, old, next *model.Model, failing int) (r walked) {
	t.Helper()
	sw := ctltest.New(old.SwitchConfig())
	c, err := New(context.Background(), sw, old, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := sw.State()
	learnEverywhere(sw, old)
	learned := sw.State()
	var moments []ctltest.Moment
	sw.Watch(func(op string, m ctltest.Moment) { r.ops, moments = append(r.ops, op), append(moments, m) })
	failed := ""
	sw.Fail(func(op string) error {
		if len(r.ops) == failing+1 && failed == "" && failing >= 0 {
			failed = op
			return errTest
		}
		return nil
	})
	r.err = c.Change(func(m *model.Model) error { *m = *next.Clone(); return nil })
	sw.Watch(nil)
	sw.Fail(nil)

	d := changesOf(old, next)
	name, adds := strings.CutPrefix(failed, "add port ")
	displaces := adds && d.displaces(name)
	nothing := r.err != nil && failing < 0 || adds && !displaces || strings.HasPrefix(failed, "check ")
	bound := d.meanwhile
	if nothing {
		bound = d.untouched
	} else if displaces {
		bound = d.displaced
	}
	for i, m := range moments {
		if missing := bound(moments[0], m); missing != "" {
			t.Fatalf("before operation %d of %v, %q failing: %s", i, r.ops, failed, missing)
		}
		if met := d.strangers(m); met != "" {
			t.Fatalf("before operation %d of %v, %q failing: %s", i, r.ops, failed, met)
		}
		if wrong := d.isolation(m); wrong != "" {
			t.Fatalf("before operation %d of %v, %q failing: %s", i, r.ops, failed, wrong)
		}
		if twice := d.twice(m); twice != "" {
			t.Fatalf("before operation %d of %v, %q failing: %s", i, r.ops, failed, twice)
		}
	}
	if r.err == nil {
		fresh := ctltest.New(sw.Config)
		if _, err := New(context.Background(), fresh, next, nil); err != nil {
			t.Fatal(err)
		}
		before = fresh.State()
	} else if nothing {
		before = learned
	}
	if before != learned {
		if _, err := sw.FDBFlush(dataplane.FDBFilter{Dynamic: true}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, sw.State()); diff != "" {
		t.Fatalf("%v, %q failing (-want +got):\n%s", r.ops, failed, diff)
	}
	return r
}

// learnEverywhere puts a learned entry behind every port and peer, in each of their VNIs.
func learnEverywhere(sw *ctltest.Switch, m *model.Model) {
	mac := fdb.MAC(0x020000001000)
	for _, name := range m.PortNames() {
		for _, n := range m.PortVNIs(m.Ports.At(name)) {
			mac++
			sw.Learn(dataplane.FDBEntry{VNI: n, MAC: mac, Port: name})
		}
	}
	for _, n := range m.Declared() {
		for _, p := range m.VNIConfig(n).Peers {
			mac++
			sw.Learn(dataplane.FDBEntry{VNI: n, MAC: mac, Dst: p})
		}
	}
}

// difference says what may be missing on the way from one model to another.
type difference struct {
	old, next *model.Model
	// devices are the ports whose devices leave: deleted, or made anew.
	devices map[string]bool
}

func changesOf(old, next *model.Model) difference {
	d := difference{old, next, map[string]bool{}}
	for name, o := range old.Ports.All() {
		n := next.Ports.At(name)
		d.devices[name] = n == nil || o.Type != n.Type || o.NetNS != n.NetNS || o.IfName != n.IfName
	}
	return d
}

// displaces says whether a port needs the name of an interface of one that leaves, or its MAC in the same VNI, and may be refused only when that one is gone.
func (d difference) displaces(name string) bool {
	c := d.next.PortConfig(name)
	for other, leaves := range d.devices {
		o := d.old.PortConfig(other)
		if leaves && (other == name || len(c.MAC) > 0 && slices.Equal(c.MAC, o.MAC) && meet(c, o) || slices.ContainsFunc(c.Interfaces(), func(i dataplane.Interface) bool { return slices.Contains(o.Interfaces(), i) })) {
			return true
		}
	}
	return false
}

// untouched wants all that there was.
func (d difference) untouched(was, now ctltest.Moment) string {
	return d.lacks(was, now, func(string) bool { return false }, d.old)
}

// displaced wants it save for what left with devices.
func (d difference) displaced(was, now ctltest.Moment) string {
	return d.lacks(was, now, func(port string) bool { return d.devices[port] }, d.old)
}

// meanwhile wants what both models have, save for what left with devices.
func (d difference) meanwhile(was, now ctltest.Moment) string {
	return d.lacks(was, now, func(port string) bool { return d.devices[port] }, d.next)
}

// lacks says what is missing of what was and is in a model as well, but for ports that are excused.
func (d difference) lacks(was, now ctltest.Moment, excused func(port string) bool, wanted *model.Model) string {
	whole := wanted == d.old
	for n, v := range was.VNIs {
		if !wanted.HasVNI(n) {
			continue
		}
		got, next := now.VNIs[n], wanted.VNIConfig(n)
		for _, p := range v.Peers {
			if slices.Contains(next.Peers, p) && !slices.Contains(got.Peers, p) {
				return fmt.Sprintf("VNI %d lacks peer %s", n, p)
			}
		}
		if v.Group == next.Group && v.Group.IsValid() && got.Group != v.Group {
			return fmt.Sprintf("VNI %d lacks its group", n)
		}
		if whole && v.Policy == dataplane.Learn && got.Policy != v.Policy {
			return fmt.Sprintf("VNI %d shuts out who is no peer", n)
		}
		if room := min(unbounded(v.MaxMACs), unbounded(next.MaxMACs)); unbounded(got.MaxMACs) < room {
			return fmt.Sprintf("VNI %d has room for %d MACs", n, got.MaxMACs)
		}
	}
	for name, p := range was.Ports {
		if excused(name) || wanted.Ports.At(name) == nil {
			continue
		}
		got, next := now.Ports[name], wanted.PortConfig(name)
		for vid, vni := range wire(p) {
			if vni != 0 && wire(next)[vid] == vni && wire(got)[vid] != vni {
				return fmt.Sprintf("port %s lacks VLAN %d", name, vid)
			}
		}
		for _, a := range p.Addresses {
			if slices.Contains(next.Addresses, a) && !slices.Contains(got.Addresses, a) {
				return fmt.Sprintf("port %s lacks address %s", name, a)
			}
		}
		if p.MTU != 0 && next.MTU != 0 && got.MTU != 0 && got.MTU < min(p.MTU, next.MTU) {
			return fmt.Sprintf("port %s has MTU %d", name, got.MTU)
		}
	}
	for _, e := range was.Entries {
		k := model.StaticKey{VNI: e.VNI, MAC: e.MAC}
		static := e.State != fdb.Dynamic
		if s, _ := wanted.Statics.Get(k); e.Port != "" && (excused(e.Port) || d.renames(e)) || static && staticEntry(k, s) != e || !static && !whole {
			continue
		}
		if !slices.ContainsFunc(now.Entries, func(x dataplane.FDBEntry) bool { return x.VNI == e.VNI && x.MAC == e.MAC }) {
			return fmt.Sprintf("%s in VNI %d is forgotten", e.MAC, e.VNI)
		}
	}
	return ""
}

// unbounded makes bounds comparable.
func unbounded(n int) int {
	if n == 0 {
		return 1 << 30
	}
	return n
}

// renames says whether the port of an entry calls its VNI otherwise afterwards: it may leave the VNI meanwhile.
func (d difference) renames(e dataplane.FDBEntry) bool {
	if d.old.Ports.At(e.Port) == nil || d.next.Ports.At(e.Port) == nil {
		return false
	}
	next := wire(d.next.PortConfig(e.Port))
	for vid, n := range wire(d.old.PortConfig(e.Port)) {
		if n == e.VNI && next[vid] != n {
			return true
		}
	}
	return false
}

// strangers says who meets in a VNI though neither model has them together: one who comes from another VNI, or to a port that was not in this one, and one who
// leaves in the same way. Ports that are deleted are excused.
func (d difference) strangers(now ctltest.Moment) string {
	comes, leaves := map[uint32]string{}, map[uint32]string{}
	for name, p := range now.Ports {
		var was, is map[uint16]uint32
		if d.old.Ports.At(name) != nil {
			was = wire(d.old.PortConfig(name))
		}
		if d.next.Ports.At(name) == nil {
			continue
		}
		is = wire(d.next.PortConfig(name))
		isNew := func(a map[uint16]uint32, vid uint16, n uint32) bool {
			return a[vid] != n && (a[vid] != 0 || !slices.Contains(slices.Collect(maps.Values(a)), n))
		}
		for vid, n := range wire(p) {
			if n == 0 {
				continue
			}
			if isNew(was, vid, n) {
				comes[n] = name
			}
			if isNew(is, vid, n) {
				leaves[n] = name
			}
		}
	}
	for n, name := range comes {
		if other, ok := leaves[n]; ok && other != name {
			return fmt.Sprintf("port %s comes to VNI %d before port %s has left it", name, n, other)
		}
	}
	return ""
}

// isolation says which ports of a VNI meet that neither model lets meet, and which are kept apart that both let.
func (d difference) isolation(now ctltest.Moment) string {
	shares := func(a, b dataplane.PortConfig) bool {
		for _, n := range wire(a) {
			if n != 0 && slices.Contains(slices.Collect(maps.Values(wire(b))), n) {
				return true
			}
		}
		return false
	}
	// meet: 1 when they share a VNI and may, -1 when they share one and may not.
	meet := func(a, b dataplane.PortConfig) int {
		switch {
		case !shares(a, b):
			return 0
		case a.Isolated && b.Isolated:
			return -1
		}
		return 1
	}
	in := func(m *model.Model, a, b string) int {
		if m.Ports.At(a) == nil || m.Ports.At(b) == nil {
			return 0
		}
		return meet(m.PortConfig(a), m.PortConfig(b))
	}
	for a, p := range now.Ports {
		for b, q := range now.Ports {
			if a >= b {
				continue
			}
			was, is := in(d.old, a, b), in(d.next, a, b)
			switch meet(p, q) {
			case 1:
				if was < 0 && is <= 0 {
					return fmt.Sprintf("ports %s and %s meet, which were isolated", a, b)
				}
			case -1:
				if was > 0 && is > 0 {
					return fmt.Sprintf("ports %s and %s are kept apart, which may meet before and after", a, b)
				}
			}
		}
	}
	return ""
}

// twice says which address two ports have that neither model gives to both.
func (d difference) twice(now ctltest.Moment) string {
	has := func(m *model.Model, name string, a netip.Addr) bool {
		return m.Ports.At(name) != nil && hasAddr(m.Ports.At(name).Addresses, a)
	}
	for one, p := range now.Ports {
		for other, q := range now.Ports {
			for _, a := range p.Addresses {
				a := a.Addr()
				if one < other && hasAddr(q.Addresses, a) && !(has(d.old, one, a) && has(d.old, other, a)) && !(has(d.next, one, a) && has(d.next, other, a)) {
					return fmt.Sprintf("ports %s and %s both have %s", one, other, a)
				}
			}
		}
	}
	return ""
}

// wire is what frames of a port mean by VLAN ID; 0 is no tag.
func wire(c dataplane.PortConfig) map[uint16]uint32 {
	m := map[uint16]uint32{0: c.Untagged, c.NativeVID: c.Untagged}
	for _, t := range c.Tagged {
		m[t.VID] = t.VNI
	}
	return m
}
