package dataplane

import "sync/atomic"

// tickBudget is a budget a tick (a second) that workers share. The zero value is unspent.
//
// The tick and what was used of it are one word: as two, the worker that begins a tick gives back what another has used of it meanwhile, and
// one that was held up between reading the clock and asking begins its old tick anew.
type tickBudget struct {
	state atomic.Uint64 // tick << 32 | used
}

// take uses one of what the tick has, and says whether there was one left. A tick that is over counts as the latest.
func (b *tickBudget) take(tick, budget uint32) bool {
	for {
		was := b.state.Load()
		now := max(was, uint64(tick)<<32)
		if uint32(now) >= budget {
			return false
		}
		if b.state.CompareAndSwap(was, now+1) {
			return true
		}
	}
}
