package dataplane

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestTickBudget(t *testing.T) {
	var b tickBudget
	for i, c := range []struct {
		tick, budget uint32
		want         bool
	}{
		{7, 0, false}, {7, 2, true}, {7, 2, true}, {7, 2, false},
		{8, 2, true},                // a new tick, a new budget
		{7, 2, true}, {7, 2, false}, // who is late has what the new one has left
		{8, 2, false}, {9, 1, true}, {9, 1, false},
		{1<<32 - 1, 1, true}, {1<<32 - 1, 1, false},
	} {
		if got := b.take(c.tick, c.budget); got != c.want {
			t.Errorf("step %d: tick %d of %d: %v", i, c.tick, c.budget, got)
		}
	}
}

// However two workers meet at the turn of a tick, it yields what it has, neither more nor less.
func TestTickBudgetShared(t *testing.T) {
	const ticks, budget = 5_000, 3
	var b tickBudget
	var clock, finished, taken atomic.Uint32
	// Every other tick is not used up: what is left of it must not count for the next.
	asked := func(tick uint32) int { return 1 + int(tick%2)*(budget-1) }
	work := func(tick uint32) {
		for range asked(tick) {
			if b.take(tick, budget) {
				taken.Add(1)
			}
		}
	}
	// Neither sleeps: they are to meet within nanoseconds.
	until := func(v *atomic.Uint32, tick uint32) {
		for spins := 0; v.Load() < tick; spins++ {
			if spins > 1000 {
				runtime.Gosched()
			}
		}
	}
	var other sync.WaitGroup
	other.Go(func() {
		for tick := uint32(1); tick <= ticks; tick++ {
			until(&clock, tick)
			work(tick)
			finished.Store(tick)
		}
	})
	wrong := 0
	for tick := uint32(1); tick <= ticks; tick++ {
		taken.Store(0)
		clock.Store(tick)
		work(tick)
		until(&finished, tick)
		if int(taken.Load()) != min(2*asked(tick), budget) {
			wrong++
		}
	}
	other.Wait()
	if wrong > 0 {
		t.Errorf("%d of %d ticks yielded more or less than they had", wrong, ticks)
	}
}
