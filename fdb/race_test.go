package fdb

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// interleaveForTest, set in race builds, makes readers and writers yield
// between the accesses whose order matters.
var interleaveForTest func(on bool)

// TestConcurrent runs readers, learners, flushers, sweepers and control against
// one small table, so that records and groups are used again all the time. What
// readers hold the table to: a key has a fixed set of destinations that it may
// ever have, and no two keys that can share a record share a destination. So an
// answer that belongs to another VNI or MAC shows.
func TestConcurrent(t *testing.T) {
	const (
		macs = 64
		vnis = 4
	)
	ids := [vnis]uint32{1, 0x010001, 0x020001, 2}
	right := func(v, m int, side uint32) Dest { return PeerDest(uint32(v*macs+m)*2 + side) }
	table := New(Config{MaxDynamic: 40, MaxStatic: 8, Seed: 3})
	for _, v := range ids {
		mustSetVNI(t, table, v, VNIConfig{Ageing: 3})
	}
	var clock atomic.Uint32
	now := func() Tick { return Tick(clock.Load()) }
	if interleaveForTest != nil {
		interleaveForTest(true)
		defer interleaveForTest(false)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(f func(r *rand.Rand)) {
		seed := rand.Uint64()
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for {
				select {
				case <-stop:
					return
				default:
					f(r)
				}
			}
		})
	}
	var hits, misses, known atomic.Int64
	for range 3 {
		loop(func(r *rand.Rand) {
			v, m := r.IntN(vnis), r.IntN(macs)
			d, ok := table.Lookup(ids[v], 0x020000000000|MAC(m), now())
			if !ok {
				misses.Add(1)
				return
			}
			hits.Add(1)
			if d != right(v, m, 0) && d != right(v, m, 1) {
				t.Errorf("vni %d mac %d: %v, which is not its own", ids[v], m, d)
			}
		})
		loop(func(r *rand.Rand) {
			v, m := r.IntN(vnis), r.IntN(macs)
			switch table.Learn(ids[v], 0x020000000000|MAC(m), right(v, m, r.Uint32()&1), now()) {
			case Known, Refreshed:
				known.Add(1)
			case Refused:
				if v != 3 { // the one that is deleted now and then
					t.Errorf("vni %d mac %d refused", ids[v], m)
				}
			}
		})
	}
	loop(func(r *rand.Rand) {
		v, m := r.IntN(vnis), r.IntN(macs)
		mac := 0x020000000000 | MAC(m)
		switch r.IntN(8) {
		case 0:
			table.FlushDest(right(v, m, 0), FlushFilter{States: StateSet(r.IntN(8))})
		case 1:
			table.FlushVNI(ids[v], FlushFilter{})
		case 2:
			table.DelVNI(ids[3])
			table.SetVNI(ids[3], VNIConfig{Ageing: 2})
		case 3:
			table.Put(Entry{VNI: ids[v], MAC: mac, Dest: right(v, m, 1), State: State(r.IntN(3))}, Replace, now())
		case 4:
			table.Delete(ids[v], mac)
		case 5:
			table.Sweep(now(), 16)
		case 6:
			table.SetVNI(ids[v], VNIConfig{Ageing: 3, MaxDynamic: r.IntN(16)})
		case 7:
			table.SetDestLimit(right(v, m, 0), r.IntN(3))
			table.History(ids[v], mac)
		}
	})
	loop(func(r *rand.Rand) {
		table.Walk(now(), func(e Entry) bool {
			i := e.Dest.Index() / 2
			if e.VNI != ids[i/macs] || e.MAC != 0x020000000000|MAC(i%macs) {
				t.Errorf("walk shows %+v", e)
			}
			return true
		})
		v, m := r.IntN(vnis), r.IntN(macs)
		if e, ok := table.Get(ids[v], 0x020000000000|MAC(m), now()); ok && (e.VNI != ids[v] || e.Dest.Index()/2 != uint32(v*macs+m)) {
			t.Errorf("get shows %+v", e)
		}
	})
	loop(func(r *rand.Rand) {
		v, m := r.IntN(vnis), r.IntN(macs)
		table.Touch(ids[v], 0x020000000000|MAC(m), right(v, m, r.Uint32()&1), now())
	})
	loop(func(*rand.Rand) {
		time.Sleep(time.Millisecond)
		clock.Add(1)
	})
	time.Sleep(time.Second)
	close(stop)
	wg.Wait()
	if hits.Load() == 0 || misses.Load() == 0 || known.Load() == 0 {
		t.Errorf("hits %d, misses %d, known %d: nothing was tested", hits.Load(), misses.Load(), known.Load())
	}
	if err := table.verify(); err != nil {
		t.Error(err)
	}
}

// TestReadersDuringGrowth holds that an entry which is there is found at every
// moment while the index grows around it.
func TestReadersDuringGrowth(t *testing.T) {
	const kept, added = 500, 60_000
	table := New(Config{MaxDynamic: kept + added, Seed: 5})
	mustSetVNI(t, table, 1, VNIConfig{})
	for i := range kept {
		table.Learn(1, 0x020000000000|MAC(i), PeerDest(uint32(i)), 0)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i = (i + 1) % kept {
				select {
				case <-done:
					return
				default:
				}
				if d, ok := table.Lookup(1, 0x020000000000|MAC(i), 0); !ok || d != PeerDest(uint32(i)) {
					t.Errorf("entry %d: %v, %v", i, d, ok)
					return
				}
			}
		})
	}
	for i := range added {
		if v := table.Learn(1, 0x060000000000|MAC(i), PortDest(0), 0); v != Learned {
			t.Fatalf("entry %d: %v", i, v)
		}
	}
	close(done)
	wg.Wait()
	if n := len(table.dir.Load().segs); n < 16 {
		t.Errorf("%d segments: the index did not grow", n)
	}
}

// TestConcurrentLearnersAgree lets all learn the same addresses in the same
// ticks: each is learned once, and refreshed at most once a tick.
func TestConcurrentLearnersAgree(t *testing.T) {
	const macs, ticks, learners = 200, 20, 4
	table := New(Config{Seed: 1})
	mustSetVNI(t, table, 1, VNIConfig{})
	var counts [Refused + 1]atomic.Int64
	for now := range Tick(ticks) {
		var wg sync.WaitGroup
		for range learners {
			wg.Go(func() {
				for i := range macs {
					counts[table.Learn(1, 0x020000000000|MAC(i), PortDest(1), now)].Add(1)
				}
			})
		}
		wg.Wait()
	}
	if l, r, k := counts[Learned].Load(), counts[Refreshed].Load(), counts[Known].Load(); l != macs || r != macs*(ticks-1) || k != macs*ticks*(learners-1) {
		t.Errorf("learned %d, refreshed %d, known %d; want %d, %d, %d", l, r, k, macs, macs*(ticks-1), macs*ticks*(learners-1))
	}
}
