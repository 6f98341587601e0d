package fdb

// The changes of entries, all with the lock held. Their order of stores is
// what lookup.go relies on.

// add makes an entry for a key that has none; false when there is no room.
// Limits on static entries are the caller's business.
func (t *Table) add(v *vniState, mac MAC, d Dest, state State, now Tick, h uint64) bool {
	if state == Dynamic {
		t.makeDestRoom(d, now)
		t.makeVNIRoom(v, d, now)
		t.makeTableRoom(d, now)
	}
	t.reap(reapPerAdd)
	ref := t.takeRecord()
	if ref == 0 {
		return false
	}
	key := makeKey(v.id, mac)
	r := t.record(ref)
	// Installed before it can be found, but so that a reader with a stale
	// index word is not misled either.
	g := t.groupFor(v, d, state)
	r.key.Store(key)
	interleave()
	r.bumpFresh()
	interleave()
	r.val.Store(makeVal(v.id, g.id, now))
	t.join(g, ref)
	if !t.enter(h, ref) && !(t.clearBucket(h, now) && t.enter(h, ref)) {
		t.remove(ref)
		return false
	}
	t.notify(Event{Kind: Added, Entry: t.entry(ref), Count: 1, Full: state == Dynamic && t.full(v, d)})
	return true
}

// regroup gives an entry another destination or state, and sets its age to zero.
func (t *Table) regroup(ref uint32, v *vniState, d Dest, state State, now Tick) {
	r := t.record(ref)
	old := t.groups[valGroup(r.val.Load())]
	from := old.dest.id
	g := t.groupFor(v, d, state)
	fresh := makeVal(v.id, g.id, now)
	for {
		// Learn and Touch may refresh seen meanwhile, nobody anything else.
		if val := r.val.Load(); r.val.CompareAndSwap(val, fresh) {
			break
		}
	}
	interleave()
	ev := Event{Kind: Changed, Count: 1}
	if from != d {
		r.bumpMoved()
		t.stats.Moved++
		t.remember(ref, Move{From: from, To: d, At: now})
		ev.Kind, ev.From = EntryMoved, from
	} else {
		r.bump()
	}
	t.part(old, ref)
	t.join(g, ref)
	ev.Entry = t.entry(ref)
	ev.Full = ev.Kind == EntryMoved && state == Dynamic && t.full(v, d)
	t.notify(ev)
}

// remove takes a record out of everything it is in, and frees it.
func (t *Table) remove(ref uint32) {
	t.discard(ref, t.record(ref).val.Swap(0))
}

// discard is remove for a record whose val is zero already, and was val.
func (t *Table) discard(ref uint32, val uint64) {
	r := t.record(ref)
	interleave()
	r.bump()
	interleave()
	key := r.key.Load()
	vni := keyVNI(key, val)
	t.leave(t.hash(vni, key), ref)
	t.forget(ref)
	t.part(t.groups[valGroup(val)], ref)
	t.giveRecord(ref)
}

// expire removes an entry that is past its time, unless it was refreshed since
// val was read.
func (t *Table) expire(ref uint32, val uint64) bool {
	e := t.entry(ref)
	if !t.record(ref).val.CompareAndSwap(val, 0) {
		return false
	}
	t.discard(ref, val)
	t.stats.Expired++
	t.notify(Event{Kind: Expired, Entry: e, Count: 1})
	return true
}

// entry returns a copy of an entry that is not dead.
func (t *Table) entry(ref uint32) Entry {
	e, _ := t.read(t.record(ref))
	return e
}

func (t *Table) notify(e Event) {
	if t.config.Notify != nil {
		t.config.Notify(e)
	}
}
