package fdb

import "testing"

// TestTouch: an age comes down where the entry is the one that was seen, and nothing else happens.
func TestTouch(t *testing.T) {
	const vni, ageing = 7, 10
	mac := MAC(0x020000000001)
	here, there := PeerDest(1), PortDest(1)
	for _, c := range []struct {
		name  string
		state State
		vni   uint32
		mac   MAC
		dest  Dest
		seen  Tick // the entry was seen at 100
		want  Tick // 0: no entry under that key
		did   bool
	}{
		{"younger", Dynamic, vni, mac, here, 105, 105, true},
		{"same tick", Dynamic, vni, mac, here, 100, 100, false},
		{"older", Dynamic, vni, mac, here, 95, 100, false},
		{"at the ageing time", Dynamic, vni, mac, here, 100 + ageing, 100 + ageing, true},
		{"had expired by then", Dynamic, vni, mac, here, 101 + ageing, 100, false},
		{"elsewhere", Dynamic, vni, mac, there, 105, 100, false},
		{"no place", Dynamic, vni, mac, None, 105, 100, false},
		{"static", Static, vni, mac, here, 105, 100, false},
		{"sticky", Sticky, vni, mac, here, 105, 100, false},
		{"another VNI", Dynamic, 8, mac, here, 105, 0, false},
		{"the same bits of the VNI", Dynamic, vni | 1<<16, mac, here, 105, 0, false},
		{"another MAC", Dynamic, vni, mac + 1, here, 105, 0, false},
		{"no MAC", Dynamic, vni, 0, here, 105, 0, false},
		{"more than a MAC", Dynamic, vni, mac | 1<<48, here, 105, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			events := 0
			table := New(Config{Seed: 1, Notify: func(Event) { events++ }})
			mustSetVNI(t, table, vni, VNIConfig{Ageing: ageing})
			mustSetVNI(t, table, 8, VNIConfig{Ageing: ageing})
			if err := table.Put(Entry{VNI: vni, MAC: mac, Dest: here, State: c.state}, Add, 100); err != nil {
				t.Fatal(err)
			}
			events = 0
			if did := table.Touch(c.vni, c.mac, c.dest, c.seen); did != c.did {
				t.Errorf("touched: %v, want %v", did, c.did)
			}
			e, ok := table.Get(c.vni, c.mac, 100)
			if ok != (c.want != 0) || e.Seen != c.want {
				t.Errorf("entry %+v, %v; want it seen at %d", e, ok, c.want)
			}
			if events != 0 || table.Stats().Dynamic+table.Stats().Static != 1 {
				t.Errorf("%d events, %+v: an age is no change", events, table.Stats())
			}
		})
	}
}

func TestTouchDoesNotAllocate(t *testing.T) {
	table := New(Config{Seed: 1})
	mustSetVNI(t, table, 1, VNIConfig{})
	table.Learn(1, 0x020000000001, PeerDest(1), 0)
	now := Tick(0)
	if n := testing.AllocsPerRun(100, func() {
		now++
		if !table.Touch(1, 0x020000000001, PeerDest(1), now) {
			t.Fatal("not touched")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
