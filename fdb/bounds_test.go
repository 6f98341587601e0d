package fdb

import (
	"runtime"
	"testing"
)

// TestNoAllocs holds the promise of the hot paths, the flood included.
func TestNoAllocs(t *testing.T) {
	table := filled(t, 2000)
	mustNotAge(t, table)
	now, i := benchNow, 0
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"lookup hit", func() { table.Lookup(1, 0x020000000000, now) }},
		{"lookup miss", func() { table.Lookup(1, 0x060000000000, now) }},
		{"get", func() { table.Get(1, 0x020000000000, now) }},
		{"known", func() { table.Learn(1, 0x020000000000, PeerDest(0), benchNow) }},
		{"refreshed", func() { now++; table.Learn(1, 0x020000000000, PeerDest(0), now) }},
		{"flood", func() { i++; table.Learn(1, 0x060000000000|MAC(i), PortDest(0), now) }},
		{"sweep", func() { table.Sweep(now, 100) }},
		{"walk", func() {
			left := 50
			table.Walk(now, func(Entry) bool { left--; return left > 0 })
		}},
	} {
		for range 3000 {
			tt.f() // the flood: the index has its final size, and the group its place
		}
		if n := testing.AllocsPerRun(1000, tt.f); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// heapNow returns the bytes in use after two collections.
func heapNow() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory: at most 64 bytes an entry at a million, all in, at the worst fill
// of the index too; and little when idle.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a million entries")
	}
	before := heapNow()
	idle := New(Config{})
	if n := heapNow() - before; n > 128<<10 {
		t.Errorf("an empty table takes %d bytes, want at most 128 KiB", n)
	}
	runtime.KeepAlive(idle)

	for _, tt := range []struct {
		entries, peers, vnis int
	}{
		{1_000_000, 16, 100},
		{1_000_000, 1000, 20}, // 20,000 groups
		{860_000, 16, 100},    // just after all segments were split
	} {
		before := heapNow()
		table := New(Config{MaxDynamic: tt.entries, Seed: 1})
		for v := range tt.vnis {
			mustSetVNI(t, table, uint32(v)+1, VNIConfig{Ageing: 300})
		}
		for i := range tt.entries {
			if v := table.Learn(uint32(i%tt.vnis)+1, 0x020000000000|MAC(i), PeerDest(uint32(i/tt.vnis%tt.peers)), 0); v != Learned {
				t.Fatalf("entry %d: %v", i, v)
			}
		}
		per := float64(heapNow()-before) / float64(tt.entries)
		t.Logf("%d entries of %d peers in %d vnis: %.1f bytes each, %d segments", tt.entries, tt.peers, tt.vnis, per, len(table.dir.Load().segs))
		if per > 64 {
			t.Errorf("%d entries: %.1f bytes each, want at most 64", tt.entries, per)
		}
		if got := table.Stats().Dynamic; got != tt.entries {
			t.Errorf("%d entries, want %d", got, tt.entries)
		}
		runtime.KeepAlive(table)
	}
}

// TestMemoryUnderFlood sends many times more random addresses at a table than
// it may hold: it does not grow once it is full, moves and flushes included.
func TestMemoryUnderFlood(t *testing.T) {
	const limit = 10_000
	flood := 600_000
	if testing.Short() {
		flood = 100_000
	}
	table := New(Config{MaxDynamic: limit, MaxHistories: 100, Seed: 1})
	mustSetVNI(t, table, 1, VNIConfig{Ageing: 300})
	send := func(from, to int) {
		for i := from; i < to; i++ {
			mac := 0x020000000000 | MAC(i)*0x9e3779b1&0xffffffff
			if v := table.Learn(1, mac, PeerDest(uint32(i%7)), Tick(i/1000)); v != Learned {
				t.Fatalf("address %d: %v", i, v)
			}
			table.Learn(1, mac, PeerDest(uint32((i+1)%7)), Tick(i/1000))
			if i%5000 == 0 {
				table.FlushDest(PeerDest(uint32(i%7)), FlushFilter{})
			}
		}
	}
	send(0, flood/2)
	half, used := heapNow(), table.used.Load()
	send(flood/2, flood)
	if grown := int64(heapNow()) - int64(half); grown > 64<<10 {
		t.Errorf("grew by %d bytes in the second half of the flood", grown)
	}
	if table.used.Load() != used || used > limit+limit/10 {
		t.Errorf("%d records in use, %d before; limit %d", table.used.Load(), used, limit)
	}
	if n := len(table.histories.byRef); n > 100 {
		t.Errorf("%d histories, want at most 100", n)
	}
	if err := table.verify(); err != nil {
		t.Error(err)
	}
}

// TestSmallIndex forbids the index to grow, so that buckets run full.
func TestSmallIndex(t *testing.T) {
	table := New(Config{MaxDynamic: 5000, MaxStatic: 5000, Seed: 1})
	table.maxDepth = 1
	mustSetVNI(t, table, 1, VNIConfig{})
	for i := range 5000 {
		if v := table.Learn(1, 0x020000000000|MAC(i), PeerDest(uint32(i%7)), Tick(i)); v != Learned {
			t.Fatalf("entry %d: %v", i, v)
		}
		if d, ok := table.Lookup(1, 0x020000000000|MAC(i), Tick(i)); !ok || d != PeerDest(uint32(i%7)) {
			t.Fatalf("entry %d not there when learned", i)
		}
	}
	s := table.Stats()
	if s.Evicted == 0 || s.Dynamic+int(s.Evicted) != 5000 || s.Dynamic > 2*segmentWords || s.Dynamic < 2*segmentWords*8/10 {
		t.Errorf("%+v, want up to %d entries, and the others evicted", s, 2*segmentWords)
	}
	full := 0
	for i := range 5000 {
		err := table.Put(Entry{VNI: 1, MAC: 0x060000000000 | MAC(i), Dest: PortDest(1), State: Static}, Add, 0)
		switch {
		case isErr(err, ErrFull):
			full++
		case err != nil:
			t.Fatal(err)
		}
	}
	if s := table.Stats(); full == 0 || s.Static+full != 5000 {
		t.Errorf("%d refused, %+v", full, s)
	}
	if err := table.verify(); err != nil {
		t.Error(err)
	}
}

// TestSmallIndexReusesDead: flushed entries do not count in a full bucket.
func TestSmallIndexReusesDead(t *testing.T) {
	for _, state := range []State{Dynamic, Static} {
		table := New(Config{MaxDynamic: 5000, MaxStatic: 5000, Seed: 1})
		table.maxDepth = 0
		mustSetVNI(t, table, 1, VNIConfig{})
		n := 0
		for i := 0; table.Put(Entry{VNI: 1, MAC: 0x060000000000 | MAC(i), Dest: PortDest(1), State: state}, Add, 0) == nil; i++ {
			if table.Stats().Evicted != 0 {
				break
			}
			n++
		}
		table.Flush(FlushFilter{States: AllStates})
		evicted := table.Stats().Evicted
		for i := range n / 2 {
			if v := table.Learn(1, 0x020000000000|MAC(i), PeerDest(1), 0); v != Learned {
				t.Fatalf("%v: entry %d of %d: %v", state, i, n, v)
			}
		}
		if s := table.Stats(); s.Evicted != evicted || s.Dynamic != n/2 {
			t.Errorf("%v: %+v, want nothing evicted", state, s)
		}
		if err := table.verify(); err != nil {
			t.Error(err)
		}
	}
}

// TestOneMACEverywhere: the VNI spreads entries as the MAC does, its upper bits too.
func TestOneMACEverywhere(t *testing.T) {
	table := New(Config{Seed: 1})
	for i := range uint32(255) {
		mustSetVNI(t, table, i<<16|1, VNIConfig{})
		if v := table.Learn(i<<16|1, macA, PortDest(i), 0); v != Learned {
			t.Fatalf("vni %#x: %v", i<<16|1, v)
		}
	}
	for i := range uint32(255) {
		if d, ok := table.Lookup(i<<16|1, macA, 0); !ok || d != PortDest(i) {
			t.Errorf("vni %#x: %v, %v", i<<16|1, d, ok)
		}
	}
	if n := len(table.dir.Load().segs); n != 1 {
		t.Errorf("%d segments for 255 entries", n)
	}
}

// TestEqualHashes forges a seed for which two VNIs have the same hash of a MAC:
// the entries are told apart by what they hold.
func TestEqualHashes(t *testing.T) {
	const other = 0x010001
	table := New(Config{Seed: 1})
	table.seed[0] = makeKey(1, macA) // a factor of zero
	for _, vni := range []uint32{1, other} {
		mustSetVNI(t, table, vni, VNIConfig{})
	}
	if k := makeKey(1, macA); k != makeKey(other, macA) || table.hash(1, k) != table.hash(other, k) {
		t.Fatal("the hashes differ, so nothing is tested")
	}
	table.Learn(1, macA, PortDest(1), 0)
	if d, ok := table.Lookup(other, macA, 0); ok {
		t.Errorf("found %v of another VNI", d)
	}
	table.Learn(other, macA, PortDest(2), 0)
	a, _ := table.Lookup(1, macA, 0)
	b, _ := table.Lookup(other, macA, 0)
	if a != PortDest(1) || b != PortDest(2) {
		t.Errorf("%v and %v", a, b)
	}
}

// TestDirectoryBound: however unequal segments fill, the directory stays within
// what New decided.
func TestDirectoryBound(t *testing.T) {
	for _, c := range []uint32{1, 1000, 1 << 18, 1 << 20, 2 * MaxLimit} {
		words := uint64(segmentWords) << maxDepthFor(c)
		if words < 2*uint64(c) || words > 16*uint64(c)+2*segmentWords {
			t.Errorf("capacity %d: up to %d index words", c, words)
		}
	}
	if c := uint64(2*MaxLimit) + 1; c > valGroupMask || c > refMask {
		t.Error("the largest table has records or groups without a number")
	}
	table := New(Config{MaxDynamic: 1 << 30, MaxStatic: 1 << 30})
	if table.capacity != 2*MaxLimit {
		t.Errorf("capacity %d", table.capacity)
	}
}
