package fdb

import (
	"slices"
	"testing"
)

func TestFlushTakesWhatItNames(t *testing.T) {
	port, peer := PortDest(3), PeerDest(3)
	for _, tt := range []struct {
		name  string
		flush func(*Table) int
		want  int // of 12: two VNIs, two destinations, three states
	}{
		{"default", func(t *Table) int { return t.Flush(FlushFilter{}) }, 4},
		{"static", func(t *Table) int { return t.Flush(FlushFilter{States: StaticSet}) }, 4},
		{"all", func(t *Table) int { return t.Flush(FlushFilter{States: AllStates}) }, 12},
		{"port", func(t *Table) int { return t.FlushDest(port, FlushFilter{}) }, 2},
		{"port, all", func(t *Table) int { return t.FlushDest(port, FlushFilter{States: AllStates}) }, 6},
		{"peer in vni", func(t *Table) int { return t.FlushDest(peer, FlushFilter{VNI: 2, States: AllStates}) }, 3},
		{"vni", func(t *Table) int { return t.FlushVNI(2, FlushFilter{}) }, 2},
		{"vni, fixed", func(t *Table) int { return t.FlushVNI(2, FlushFilter{States: StaticSet | StickySet}) }, 4},
		{"vni and port", func(t *Table) int { return t.FlushVNI(2, FlushFilter{Dest: port}) }, 1},
		{"none", func(t *Table) int { return t.FlushDest(None, FlushFilter{States: AllStates}) }, 0},
		{"vni 0", func(t *Table) int { return t.FlushVNI(0, FlushFilter{States: AllStates}) }, 0},
		{"unknown", func(t *Table) int {
			return t.FlushVNI(9, FlushFilter{}) + t.FlushDest(PortDest(9), FlushFilter{}) + t.DelVNI(9)
		}, 0},
		{"delete vni", func(t *Table) int { return t.DelVNI(1) }, 6},
	} {
		table := newTable(t, Config{}, 0)
		mustSetVNI(t, table, 2, VNIConfig{})
		mac := friends
		for vni := uint32(1); vni <= 2; vni++ {
			for _, d := range []Dest{port, peer} {
				for s := range State(numStates) {
					mac++
					mustPut(t, table, Entry{VNI: vni, MAC: mac, Dest: d, State: s}, 0)
				}
			}
		}
		got, left := tt.flush(table), 0
		table.Walk(0, func(Entry) bool { left++; return true })
		if got != tt.want || left != 12-tt.want {
			t.Errorf("%s: returned %d, left %d; want %d gone of 12", tt.name, got, left, tt.want)
		}
		if err := table.verify(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestDestsOfVNI(t *testing.T) {
	table := newTable(t, Config{}, 0)
	mustSetVNI(t, table, 2, VNIConfig{})
	want := func(what string, vni uint32, want ...Dest) {
		t.Helper()
		got := table.Dests(vni)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	for i, d := range []Dest{PortDest(3), PeerDest(3), PeerDest(4), PeerDest(3)} {
		mustPut(t, table, Entry{VNI: 1, MAC: friends + MAC(i), Dest: d}, 0)
	}
	mustPut(t, table, Entry{VNI: 1, MAC: friends + 9, Dest: PeerDest(9), State: Static}, 0)
	want("entries of one VNI", 1, PortDest(3), PeerDest(3), PeerDest(4))
	want("of none", 2)
	want("unknown", 9)
	table.Flush(FlushFilter{VNI: 1, Dest: PeerDest(3)})
	want("flushed", 1, PortDest(3), PeerDest(4))
}

// TestNothingResurfaces gives the number of a destination to another owner over
// and over, without ever sweeping, and with versions about to wrap.
func TestNothingResurfaces(t *testing.T) {
	const macs = 50
	table := newTable(t, Config{MaxDynamic: 200, MaxStatic: 200}, 0)
	for i := range uint32(401) {
		if c := &table.records[i/chunkLen]; c.Load() == nil {
			c.Store(new(recordChunk))
		}
		table.record(i).ver.Store(^uint64(0) &^ movesMask)
	}
	d := PeerDest(1)
	for round := range 3000 {
		n := round%macs + 1
		for i := range n {
			e := Entry{VNI: 1, MAC: friends + MAC(i), Dest: d, State: State((round + i) % numStates)}
			if err := table.Put(e, Add, Tick(round)); err != nil {
				t.Fatal(err)
			}
			e.Seen = Tick(round)
			if got, ok := table.Get(1, e.MAC, Tick(round)); !ok || got != e {
				t.Fatalf("round %d: %+v, %v; want %+v", round, got, ok, e)
			}
		}
		var gone int
		switch round % 3 {
		case 0:
			gone = table.FlushDest(d, FlushFilter{States: AllStates})
		case 1:
			gone = table.FlushVNI(1, FlushFilter{States: AllStates})
		case 2:
			gone = table.DelVNI(1)
			mustSetVNI(t, table, 1, VNIConfig{})
		}
		if gone != n {
			t.Fatalf("round %d: %d gone, want %d", round, gone, n)
		}
		// The number has a new owner, with an entry of his own.
		if v := table.Learn(1, foes, d, Tick(round)); v != Learned {
			t.Fatalf("round %d: %v", round, v)
		}
		if n := present(table, 1, friends, macs, Tick(round)); n != 0 || table.CountDest(d) != 1 {
			t.Fatalf("round %d: %d of the old entries are back, count %d", round, n, table.CountDest(d))
		}
		if _, err := table.Delete(1, foes); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(table.groups); n > 200 {
		t.Errorf("%d groups: their numbers are not given out again", n)
	}
	table.Sweep(3000, 0)
	if s := table.Stats(); s.Dead != 0 || s.Dynamic+s.Static != 0 {
		t.Errorf("%+v", s)
	}
	if err := table.verify(); err != nil {
		t.Error(err)
	}
}

// TestDeadMakeRoom: flushed entries that nobody swept do not keep new ones out.
func TestDeadMakeRoom(t *testing.T) {
	const limit = 500
	table := newTable(t, Config{MaxDynamic: limit, MaxStatic: 1}, 0)
	for round := range 20 {
		for i := range limit {
			if v := table.Learn(1, friends+MAC(round*limit+i), PortDest(uint32(i%3)), 0); v != Learned {
				t.Fatalf("round %d, entry %d: %v", round, i, v)
			}
		}
		if s := table.Stats(); s.Dynamic != limit || s.Evicted != 0 {
			t.Fatalf("round %d: %+v", round, s)
		}
		table.Flush(FlushFilter{})
	}
	if table.used.Load() > limit+1 {
		t.Errorf("%d records", table.used.Load())
	}
}

// TestFlushIsIndependentOfEntries: the work of a flush is the number of groups.
// It is measured by what it leaves behind: no record was touched.
func TestFlushIsIndependentOfEntries(t *testing.T) {
	table := filled(t, 50_000)
	before := make([]uint64, table.used.Load()+1)
	for ref := range before {
		before[ref] = table.record(uint32(ref)).val.Load()
	}
	if n := table.FlushDest(PeerDest(3), FlushFilter{}); n != 50_000/benchPeers {
		t.Fatalf("flushed %d", n)
	}
	for ref, val := range before {
		if table.record(uint32(ref)).val.Load() != val {
			t.Fatalf("record %d was touched", ref)
		}
	}
	for i := range 50_000 {
		vni, mac := benchKey(i)
		if _, ok := table.Lookup(vni, mac, benchNow); ok == (i%benchPeers == 3) {
			t.Fatalf("entry %d: found %v", i, ok)
		}
	}
}

func TestSweepBudget(t *testing.T) {
	const n = 1000
	table := newTable(t, Config{}, 10)
	for i := range n {
		table.Learn(1, friends+MAC(i), PortDest(uint32(i%2)), Tick(i%2*20))
	}
	// Half of them expire; ten calls of a tenth see each record once.
	got := 0
	for range 10 {
		got += table.Sweep(25, n/10)
	}
	if got != n/2 || table.Count(1) != n/2 {
		t.Errorf("expired %d, left %d, want %d each", got, table.Count(1), n/2)
	}
	table.Flush(FlushFilter{})
	for range 5 {
		table.Sweep(25, n/10)
	}
	if s := table.Stats(); s.Dead != 0 || s.Expired != n/2 || s.Flushed != n/2 {
		t.Errorf("%+v", s)
	}
}
