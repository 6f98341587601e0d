package fdb

// Eviction. Where one more dynamic entry would pass a limit, one other goes
// first:
//
//	limit of      who loses an entry
//	destination   that destination, from the VNI where it has the most
//	VNI           the destination that has the most in the VNI
//	table         the destination that has the most of all, from the VNI where it has the most
//
// When the destination that wants the entry has as many as the one with the
// most, it is itself the one. So a destination that floods the table with
// addresses takes from others only until it has as many as the largest of them,
// and then only from itself; and whoever has less than an even share loses
// nothing. Exact are the counts and with them the choice of the group.
//
// The victim within the group is nearly the oldest. The list of a group is in
// the order in which entries came; a refresh does not move them, since that
// would need the lock, but leaves a mark. An entry at the head with a mark
// loses the mark and goes to the tail, up to maxSecondChances of them; the first
// one without a mark goes (the clock algorithm). It is the oldest exactly when
// no entry was refreshed; else one that was not refreshed since it was last at
// the head, and if there is none among those looked at, the oldest of these.

// maxSecondChances bounds the work of an eviction: at most so many records are
// read, each perhaps a cache miss.
const maxSecondChances = 16

// neverExpired is a now at which no entry is expired: a victim counts as evicted.
const neverExpired Tick = 0

func (t *Table) makeDestRoom(d Dest, now Tick) {
	if s := t.byDest[d]; s != nil && s.limit > 0 && s.dynamic >= s.limit {
		t.evict(s.groups(Dynamic).top(), now)
	}
}

func (t *Table) makeVNIRoom(v *vniState, d Dest, now Tick) {
	if v.config.MaxDynamic <= 0 || v.dynamic < v.config.MaxDynamic {
		return
	}
	g := v.groups(Dynamic).top()
	if own := t.byKey[groupKey{v.id, d, Dynamic}]; own != nil && own.count == g.count {
		g = own
	}
	t.evict(g, now)
}

func (t *Table) makeTableRoom(d Dest, now Tick) {
	if t.stats.Dynamic < t.config.MaxDynamic {
		return
	}
	s := t.dests.top()
	if own := t.byDest[d]; own != nil && own.dynamic == s.dynamic {
		s = own
	}
	t.evict(s.groups(Dynamic).top(), now)
}

// full says whether another dynamic entry of a VNI and destination would cost one its
// place. Lock held.
func (t *Table) full(v *vniState, d Dest) bool {
	s := t.byDest[d]
	return s != nil && s.limit > 0 && s.dynamic >= s.limit || v.config.MaxDynamic > 0 && v.dynamic >= v.config.MaxDynamic ||
		t.stats.Dynamic >= t.config.MaxDynamic
}

// evict removes one entry of a group. Lock held.
func (t *Table) evict(g *group, now Tick) {
	ref := t.victim(g)
	val := t.record(ref).val.Load()
	if expired(valSeen(val), wordAgeing(t.groupWord(g.id).Load()), now) && t.expire(ref, val) {
		return
	}
	e := t.entry(ref)
	t.remove(ref)
	t.stats.Evicted++
	t.notify(Event{Kind: Evicted, Entry: e, Count: 1})
}

func (t *Table) victim(g *group) uint32 {
	oldest, oldestSeen := g.head, Tick(0)
	for i := range maxSecondChances {
		ref := g.head
		r := t.record(ref)
		val := r.val.Load()
		if val&valUsed == 0 {
			return ref
		}
		if seen := valSeen(val); i == 0 || seen < oldestSeen {
			oldest, oldestSeen = ref, seen
		}
		// Where this fails, it was refreshed again and keeps its mark.
		r.val.CompareAndSwap(val, val&^valUsed)
		t.unlink(g, ref)
		t.link(g, ref)
	}
	return oldest
}

// clearBucket evicts the oldest dynamic entry of the two buckets of a hash, for
// the case that they are full and the index is as large as it may be. With a
// secret seed that does not happen by chance; false when all are static. Lock held.
func (t *Table) clearBucket(h uint64, now Tick) bool {
	d := t.dir.Load()
	s := d.segs[h>>d.shift].Load()
	var victim uint32
	var victimSeen Tick
	for _, b := range [...]uint8{firstBucket(h), secondBucket(h)} {
		for i := range s[b] {
			w := s[b][i].Load()
			ref := uint32(w & refMask)
			if ref == 0 {
				continue
			}
			val := t.record(ref).val.Load()
			g := t.groups[valGroup(val)]
			if g.dead {
				t.remove(ref)
				return true
			}
			if seen := valSeen(val); g.state == Dynamic && (victim == 0 || seen < victimSeen) {
				victim, victimSeen = ref, seen
			}
		}
	}
	if victim == 0 {
		return false
	}
	e := t.entry(victim)
	t.remove(victim)
	t.stats.Evicted++
	t.notify(Event{Kind: Evicted, Entry: e, Count: 1})
	return true
}
