package fdb

import (
	"fmt"
	"testing"
)

// present counts the MACs first..first+n-1 that can be looked up.
func present(t *Table, vni uint32, first MAC, n int, now Tick) (found int) {
	for i := range n {
		if _, ok := t.Lookup(vni, first+MAC(i), now); ok {
			found++
		}
	}
	return found
}

const (
	friends = MAC(0x020000000000)
	foes    = MAC(0x060000000000)
)

// TestFloodEvictsItself: whoever floods under a limit of any scope loses his
// own entries, and whoever has less than he keeps all.
func TestFloodEvictsItself(t *testing.T) {
	const limit, flood = 1000, 50_000
	attacker := PeerDest(666)
	for _, tt := range []struct {
		name    string
		setup   func(*testing.T, *Table)
		dests   int // friends, each with 50 entries in both VNIs
		foeVNIs int
	}{
		{"table", func(*testing.T, *Table) {}, 5, 1},
		{"table, many friends", func(*testing.T, *Table) {}, 8, 2},
		{"vni", func(t *testing.T, table *Table) {
			mustSetVNI(t, table, 1, VNIConfig{MaxDynamic: 300})
		}, 5, 1},
		{"destination", func(_ *testing.T, table *Table) { table.SetDestLimit(attacker, 100) }, 5, 2},
	} {
		table := newTable(t, Config{MaxDynamic: limit}, 0)
		mustSetVNI(t, table, 2, VNIConfig{})
		tt.setup(t, table)
		for i := range tt.dests * 50 {
			for vni := uint32(1); vni <= 2; vni++ {
				table.Learn(vni, friends+MAC(i), PortDest(uint32(i%tt.dests)), 0)
			}
		}
		for i := range flood {
			if v := table.Learn(uint32(i%tt.foeVNIs)+1, foes+MAC(i), attacker, 1); v != Learned {
				t.Fatalf("%s: address %d: %v", tt.name, i, v)
			}
		}
		for vni := uint32(1); vni <= 2; vni++ {
			if n := present(table, vni, friends, tt.dests*50, 1); n != tt.dests*50 {
				t.Errorf("%s: vni %d: %d of %d friends left", tt.name, vni, n, tt.dests*50)
			}
		}
		if n := table.Stats().Dynamic; n > limit {
			t.Errorf("%s: %d entries, limit %d", tt.name, n, limit)
		}
		if err := table.verify(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestEvenShares: several who flood end with the same number of entries each.
func TestEvenShares(t *testing.T) {
	const limit, n = 1200, 4
	table := newTable(t, Config{MaxDynamic: limit}, 0)
	table.Learn(1, friends, PortDest(9), 0)
	for i := range 40_000 {
		// One of them is ten times as fast.
		d := PeerDest(uint32(max(0, i%13-9)))
		table.Learn(1, foes+MAC(i), d, 1)
	}
	if _, ok := table.Lookup(1, friends, 1); !ok {
		t.Error("the quiet one lost its only entry")
	}
	for d := range uint32(n) {
		if c := table.CountDest(PeerDest(d)); c < limit/n-1 || c > limit/n+1 {
			t.Errorf("flooder %d has %d, want %d", d, c, limit/n)
		}
	}
}

// TestTenantsShare: a trunk or peer with a limit that carries several VNIs loses
// entries where it has the most, so a flood in one VNI leaves the others alone.
func TestTenantsShare(t *testing.T) {
	table := newTable(t, Config{}, 0)
	mustSetVNI(t, table, 2, VNIConfig{})
	trunk := PortDest(1)
	table.SetDestLimit(trunk, 200)
	for i := range 50 {
		table.Learn(2, friends+MAC(i), trunk, 0)
	}
	for i := range 10_000 {
		table.Learn(1, foes+MAC(i), trunk, 1)
	}
	if n := present(table, 2, friends, 50, 1); n != 50 {
		t.Errorf("%d of 50 left in the quiet VNI", n)
	}
	if a, b := table.Count(1), table.Count(2); a != 150 || b != 50 {
		t.Errorf("counts %d and %d, want 150 and 50", a, b)
	}
}

// TestOldestGoes: in a group, what was not refreshed goes before what was.
func TestOldestGoes(t *testing.T) {
	const limit = 100
	table := newTable(t, Config{MaxDynamic: limit}, 0)
	d := PortDest(1)
	for i := range limit {
		table.Learn(1, friends+MAC(i), d, Tick(i))
	}
	// Nothing was refreshed: strictly the oldest.
	for i := range 20 {
		table.Learn(1, foes+MAC(i), d, 200)
		if _, ok := table.Lookup(1, friends+MAC(i), 200); ok {
			t.Fatalf("entry %d is older than what was evicted for address %d", i, i)
		}
	}
	if n := present(table, 1, friends, limit, 200); n != limit-20 {
		t.Fatalf("%d left, want %d", n, limit-20)
	}
	// Ten of the next are seen again: they outlive those behind them.
	for i := range 10 {
		table.Learn(1, friends+20+MAC(i), d, 201)
	}
	for i := range 70 {
		table.Learn(1, foes+100+MAC(i), d, 202)
	}
	if a, b := present(table, 1, friends+20, 10, 202), present(table, 1, friends+30, limit-30, 202); a != 10 || b != 0 {
		t.Errorf("%d of 10 that were refreshed are left, and %d of those that were not", a, b)
	}
	// One refresh is one more round, not life everlasting.
	for i := range 35 {
		table.Learn(1, foes+200+MAC(i), d, 203)
	}
	if n := present(table, 1, friends+20, 10, 203); n != 0 {
		t.Errorf("%d of 10 that were refreshed once are left after two rounds", n)
	}
}

// TestAllRefreshed: where every entry was refreshed, eviction still finds one,
// in bounded work, and takes the oldest of those it looked at.
func TestAllRefreshed(t *testing.T) {
	const limit = 1000
	table := newTable(t, Config{MaxDynamic: limit}, 0)
	d := PortDest(1)
	for i := range limit {
		table.Learn(1, friends+MAC(i), d, 0)
	}
	for i := range limit {
		table.Learn(1, friends+MAC(i), d, Tick(2000-(i*7)%limit))
	}
	oldest := 0
	for i := range maxSecondChances {
		if (i*7)%limit > (oldest*7)%limit {
			oldest = i
		}
	}
	table.Learn(1, foes, d, 2001)
	if _, ok := table.Lookup(1, friends+MAC(oldest), 2001); ok || table.Stats().Evicted != 1 {
		t.Errorf("entry %d is still there; %+v", oldest, table.Stats())
	}
}

// TestLowerLimits: a limit that is lowered holds when the call returns.
func TestLowerLimits(t *testing.T) {
	table := newTable(t, Config{}, 0)
	for i := range 5000 {
		table.Learn(1, friends+MAC(i), PortDest(uint32(i%4)), Tick(i))
	}
	table.SetDestLimit(PortDest(0), 100)
	mustSetVNI(t, table, 1, VNIConfig{MaxDynamic: 400})
	var got []int
	for d := range uint32(4) {
		got = append(got, table.CountDest(PortDest(d)))
	}
	if s := fmt.Sprint(got); s != "[100 100 100 100]" {
		t.Errorf("entries %s, want 100 each", s)
	}
	// The youngest are left.
	if n := present(table, 1, friends+4600, 400, 5000); n != 400 {
		t.Errorf("%d of the 400 youngest are left", n)
	}
	table.SetDestLimit(PortDest(0), 0)
	mustSetVNI(t, table, 1, VNIConfig{})
	for i := range 5000 {
		table.Learn(1, foes+MAC(i), PortDest(0), 5000)
	}
	if n := table.CountDest(PortDest(0)); n != 5100 {
		t.Errorf("%d entries without limits, want 5100", n)
	}
}

// TestMoveIntoLimit: moving to a destination that is full evicts there.
func TestMoveIntoLimit(t *testing.T) {
	table := newTable(t, Config{}, 0)
	table.SetDestLimit(PortDest(1), 3)
	for i := range 3 {
		table.Learn(1, friends+MAC(i), PortDest(1), 0)
	}
	table.Learn(1, foes, PortDest(2), 0)
	if v := table.Learn(1, foes, PortDest(1), 1); v != Moved {
		t.Errorf("%v", v)
	}
	if a, b := table.CountDest(PortDest(1)), present(table, 1, friends, 3, 1); a != 3 || b != 2 {
		t.Errorf("%d entries, %d of the old ones; want 3 and 2", a, b)
	}
}

// TestExpiredVictim: one that is past its time counts as expired, not as evicted.
func TestExpiredVictim(t *testing.T) {
	table := newTable(t, Config{MaxDynamic: 2}, 10)
	table.Learn(1, friends, PortDest(1), 0)
	table.Learn(1, friends+1, PortDest(1), 20)
	table.Learn(1, friends+2, PortDest(1), 20)
	if s := table.Stats(); s.Expired != 1 || s.Evicted != 0 || s.Dynamic != 2 {
		t.Errorf("%+v", s)
	}
}

// TestPutDynamicMakesRoom: a static entry that becomes dynamic counts in all
// three limits, and the limits hold.
func TestPutDynamicMakesRoom(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(*testing.T, *Table)
		total int
	}{
		{"table", func(*testing.T, *Table) {}, 6},
		{"vni", func(t *testing.T, table *Table) { mustSetVNI(t, table, 1, VNIConfig{MaxDynamic: 4}) }, 4},
		{"destination", func(_ *testing.T, table *Table) { table.SetDestLimit(PortDest(1), 3) }, 3},
	} {
		table := newTable(t, Config{MaxDynamic: 6}, 0)
		tt.setup(t, table)
		mustPut(t, table, Entry{VNI: 1, MAC: macA, Dest: PortDest(1), State: Static}, 0)
		for i := range 10 {
			table.Learn(1, friends+MAC(i), PortDest(1), 0)
		}
		mustPut(t, table, Entry{VNI: 1, MAC: macA, Dest: PortDest(1)}, 0)
		e, ok := table.Get(1, macA, 0)
		if s := table.Stats(); s.Dynamic != tt.total || s.Static != 0 || !ok || e.State != Dynamic {
			t.Errorf("%s: %+v, want %d dynamic; %+v, %v", tt.name, s, tt.total, e, ok)
		}
	}
}
