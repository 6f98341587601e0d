package fdb

// Sweep removes expired entries, and takes back the records of flushed ones. It
// looks at up to budget records, going on where the last call stopped, and at
// each record at most once; a budget of zero or less means all. It returns how
// many entries expired. Call it about once a second with a part of the table
// such that a round takes less than the shortest ageing time: an entry that is
// expired and not yet swept cannot be looked up, but counts in all limits.
//
// The lock is let go after every sliceLen records.
func (t *Table) Sweep(now Tick, budget int) int {
	var left, reapLeft int
	t.mu.Lock()
	left, reapLeft = int(t.used.Load()), t.stats.Dead
	t.mu.Unlock()
	if budget > 0 {
		reapLeft = min(reapLeft, budget)
		left = min(left, budget-reapLeft)
	}
	t.inSlices(func() bool {
		reapLeft--
		return reapLeft >= 0 && t.reap(1) == 1
	})
	n := 0
	t.inSlices(func() bool {
		if left--; left < 0 {
			return false
		}
		if t.cursor++; t.cursor > t.used.Load() {
			t.cursor = 1
		}
		if t.sweepRecord(t.cursor, now) {
			n++
		}
		return true
	})
	return n
}

func (t *Table) sweepRecord(ref uint32, now Tick) bool {
	val := t.record(ref).val.Load()
	g := valGroup(val)
	if g == 0 {
		return false
	}
	return expired(valSeen(val), wordAgeing(t.groupWord(g).Load()), now) && t.expire(ref, val)
}
