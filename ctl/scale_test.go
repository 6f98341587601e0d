package ctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/ctl/ctltest"
	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// putStatic puts the i-th of many entries.
func putStatic(m *model.Model, i int) {
	m.Statics.Put(model.StaticKey{VNI: 42, MAC: fdb.MAC(0x020001000000 + uint64(i))}, model.Static{Dst: netip.MustParseAddrPort("192.0.2.2:4789"), State: fdb.Static})
}

// manyEntries fills a controller with static entries by one reload.
func manyEntries(tb testing.TB, n int) *Controller {
	tb.Helper()
	c, _ := start(tb, baseFile)
	file := parse(tb, baseFile)
	for i := range n {
		putStatic(file, i)
	}
	if _, err := c.Reload(file); err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestManyChanges is a walk of random commands, one or several at a time: what the switch then does is what a switch does that is started with the model.
func TestManyChanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	c, sw := start(t, baseFile)
	done := map[bool]int{}
	for range 3000 {
		err := c.Change(func(m *model.Model) error {
			for range 1 + rng.IntN(4) {
				randomCommand(rng, m)
			}
			return nil
		})
		done[err == nil]++
		fresh := ctltest.New(c.Model().SwitchConfig())
		if _, err := New(context.Background(), fresh, c.Model(), nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fresh.State(), sw.State()); diff != "" {
			t.Fatalf("after %v (-started +changed):\n%s", sw.Ops(), diff)
		}
		sw.Ops()
	}
	if done[true] < 500 || done[false] < 500 {
		t.Errorf("%d changes were done and %d refused: the walk is too narrow", done[true], done[false])
	}
}

// randomCommand edits a model as a command may; what it makes need not be valid.
func randomCommand(rng *rand.Rand, m *model.Model) {
	vni, vid, name := uint32(41+rng.IntN(4)), uint16(10*(1+rng.IntN(3))), fmt.Sprintf("tap%d", rng.IntN(4))
	peer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + rng.IntN(4))}), 0)
	key := model.StaticKey{VNI: vni, MAC: fdb.MAC(0x020000000000 + uint64(rng.IntN(6)))}
	switch rng.IntN(12) {
	case 0:
		_ = addVNI(m, vni, &model.VNI{})
	case 1:
		_ = delVNI(m, vni)
	case 2:
		_ = addPeer(m, vni, peer)
	case 3:
		_ = delPeer(m, 0, peer)
	case 4:
		_ = addVLAN(m, vid, 10000+uint32(vid))
	case 5:
		_ = delVLAN(m, vid)
	case 6:
		m.VLANs.Put(vid, 10000+10*uint32(1+rng.IntN(3)))
	case 7:
		p := &model.Port{Type: dataplane.PortTAP}
		switch rng.IntN(3) {
		case 0:
			p.VNI = vni
		case 1:
			p.Access = vid
		case 2:
			p.Trunk = []uint16{10, 20}
			if rng.IntN(2) == 0 {
				p.Native = vid
			}
		}
		if rng.IntN(4) == 0 {
			p.NetNS = "blue"
		}
		m.Ports.Put(name, p)
	case 8:
		_ = delPort(m, name)
	case 9, 10:
		s := model.Static{State: fdb.Static}
		if rng.IntN(2) == 0 {
			s.Dst = peer
		} else {
			s.Port = name
		}
		m.Statics.Put(key, s)
	case 11:
		m.Statics.Delete(key)
	}
}

// BenchmarkCommand is what one command costs beside a number of static entries.
func BenchmarkCommand(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprintf("fdb replace/entries=%d", n), func(b *testing.B) {
			c := manyEntries(b, n)
			e := dataplane.FDBEntry{VNI: 42, MAC: 0x020000000009, State: fdb.Static}
			i := 0
			for b.Loop() {
				i++
				e.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + i%2)}), 4789)
				if err := c.putEntry(e, fdb.Replace); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("peer add and del/entries=%d", n), func(b *testing.B) {
			c := manyEntries(b, n)
			p := netip.MustParseAddrPort("192.0.2.77:4789")
			for b.Loop() {
				if err := c.putEntry(dataplane.FDBEntry{VNI: 42, Dst: p, State: fdb.Static}, fdb.Add); err != nil {
					b.Fatal(err)
				}
				if err := c.delEntry(42, 0, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDeleteBeside is what one of a hundred deletions in a batch costs beside a number of static entries.
func BenchmarkDeleteBeside(b *testing.B) {
	for _, n := range []int{10, 200_000} {
		c := manyEntries(b, n)
		for _, name := range []string{"port", "vni"} {
			b.Run(fmt.Sprintf("%s/entries=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if err := c.batch(100, func(i int, ed editor) error { return pairs[name](ed, i) }); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100, "µs/change")
			})
		}
	}
}

// BenchmarkTrunks is what it costs to plan a reload that changes the VLANs of long trunks, a port.
func BenchmarkTrunks(b *testing.B) {
	const ports = 10
	trunks := func(vlans, shift int) *model.Model {
		m := parse(b, baseFile)
		p := model.Port{Type: dataplane.PortTAP}
		for vid := range model.MaxVID {
			m.VLANs.Put(uint16(1+vid), uint32(100_000+(vid+shift)%model.MaxVID))
		}
		for vid := range vlans {
			p.Trunk = append(p.Trunk, uint16(1+vid))
		}
		for i := range ports {
			m.Ports.Put(fmt.Sprintf("trunk%d", i), &p)
		}
		return m
	}
	for _, c := range []struct {
		name     string
		old, new *model.Model
	}{
		{"more VLANs", trunks(2000, 0), trunks(4000, 0)},
		{"other VNIs", trunks(4000, 0), trunks(4000, 1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			changes := c.new.Since(c.old)
			for b.Loop() {
				p := &planner{old: c.old, new: c.new, changes: changes}
				p.plan()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/ports, "µs/port")
		})
	}
}

// manyObjects fills a controller with VNIs, VLANs and ports by one reload.
func manyObjects(tb testing.TB, vnis, vlans, ports int) *Controller {
	tb.Helper()
	c, _ := start(tb, baseFile)
	file := parse(tb, baseFile)
	for i := range vnis {
		n := uint32(100_000 + i)
		file.VNIs.Put(n, &model.VNI{Peers: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + i%100)}), 4789)}})
	}
	for i := range vlans {
		file.VLANs.Put(uint16(100+i), uint32(200_000+i))
	}
	for i := range ports {
		file.Ports.Put(fmt.Sprintf("vnet%d", i), &model.Port{Type: dataplane.PortTAP, VNI: 43})
	}
	if _, err := c.Reload(file); err != nil {
		tb.Fatal(err)
	}
	return c
}

// pairs are changes with those that take them back.
var pairs = map[string]func(ed editor, i int) error{
	"fdb": func(ed editor, i int) error {
		e := dataplane.FDBEntry{VNI: 42, MAC: fdb.MAC(0x020001000000 + uint64(i)), Dst: netip.MustParseAddrPort("192.0.2.2:4789"), State: fdb.Static}
		return errors.Join(ed.putEntry(e, fdb.Add), ed.delEntry(e.VNI, e.MAC, netip.AddrPort{}))
	},
	"peer": func(ed editor, i int) error {
		p := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 4789)
		return errors.Join(ed.Change(func(m *model.Model) error { return addPeer(m, 42, p) }), ed.Change(func(m *model.Model) error { return delPeer(m, 42, p) }))
	},
	"vni": func(ed editor, i int) error {
		n := uint32(1 + i)
		return errors.Join(ed.Change(func(m *model.Model) error { return addVNI(m, 1000+n, &model.VNI{}) }), ed.Change(func(m *model.Model) error { return delVNI(m, 1000+n) }))
	},
	"vlan": func(ed editor, i int) error {
		vid := uint16(30 + i%50)
		return errors.Join(ed.Change(func(m *model.Model) error { return addVLAN(m, vid, 1000) }), ed.Change(func(m *model.Model) error { return delVLAN(m, vid) }))
	},
	"port": func(ed editor, i int) error {
		name := fmt.Sprint("tap", 100+i)
		return errors.Join(ed.Change(func(m *model.Model) error { return addPort(m, name, &model.Port{Type: dataplane.PortTAP, VNI: 43}) }),
			ed.Change(func(m *model.Model) error { return delPort(m, name) }))
	},
}

// TestBesideMany: a change does not take more memory for how many VNIs, VLANs and ports there are, alone or in a batch.
func TestBesideMany(t *testing.T) {
	few, many := manyObjects(t, 0, 0, 0), manyObjects(t, 10_000, 3_000, 100) // the switch of tests asks every port for its interfaces
	for name, pair := range pairs {
		alone := func(c *Controller) {
			for i := range 100 {
				if err := pair(c, i); err != nil {
					t.Fatal(err)
				}
			}
		}
		together := func(c *Controller) {
			if err := c.batch(100, func(i int, ed editor) error { return pair(ed, i) }); err != nil {
				t.Fatal(err)
			}
		}
		for how, run := range map[string]func(*Controller){"alone": alone, "together": together} {
			if small, large := allocated(few, run), allocated(many, run); large > 2*small {
				t.Errorf("%s, %s: %d bytes, and %d beside many", name, how, small, large)
			}
		}
	}
}

// allocated counts the bytes that a run takes.
func allocated(c *Controller, run func(c *Controller)) uint64 {
	run(c)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run(c)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// BenchmarkBatch is what a change and another that takes it back cost in a batch of a thousand beside a number of VNIs.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		c := manyObjects(b, n, 0, 0)
		for _, name := range slices.Sorted(maps.Keys(pairs)) {
			b.Run(fmt.Sprintf("%s/vnis=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if err := c.batch(1000, func(i int, ed editor) error { return pairs[name](ed, i) }); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
