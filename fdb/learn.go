package fdb

// Learn notes that a frame from mac came in from d, and says what became of
// it. For a known address it takes no lock and, unless the tick turned since
// the last frame from it, writes nothing; it never allocates then.
//
// The compare-and-swap of a refresh cannot touch a wrong entry's place: val
// names the group, so it succeeds only while the record is in the same group,
// with the same seen. Should the record have been given to another MAC of that
// group with that very tick in between, then that MAC was learned after this
// call began, and counts as seen at this call's now: the truth within a tick.
func (t *Table) Learn(vni uint32, mac MAC, d Dest, now Tick) Verdict {
	if !mac.valid() || mac.IsMulticast() || d == None {
		return Refused
	}
	key := makeKey(vni, mac)
	h := t.hash(vni, key)
	for {
		ref, val, word := t.find(vni, key, h)
		if word == 0 {
			break
		}
		state := wordState(word)
		if wordDest(word) != d {
			switch state {
			case Static:
				return Elsewhere
			case Sticky:
				return Held
			}
			break
		}
		seen := valSeen(val)
		if state != Dynamic || now <= seen {
			return Known
		}
		if expired(seen, wordAgeing(word), now) {
			break
		}
		fresh := uint64(now)<<valSeenShift | val&(valUsed-1) | valUsed
		if t.record(ref).val.CompareAndSwap(val, fresh) {
			return Refreshed
		}
		// Another worker refreshed or changed the entry: look again.
	}
	return t.learnChange(vni, mac, d, now, h)
}

// learnChange is Learn for an address that is new here, or elsewhere, or gone.
func (t *Table) learnChange(vni uint32, mac MAC, d Dest, now Tick, h uint64) Verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.vnis[vni]
	if v == nil || !d.valid() {
		t.stats.Refused++
		return Refused
	}
	ref, g := t.current(vni, mac, now, h)
	switch {
	case ref == 0:
		if !t.add(v, mac, d, Dynamic, now, h) {
			t.stats.Refused++
			return Refused
		}
		t.stats.Learned++
		return Learned
	case g.dest.id != d && g.state == Static:
		return Elsewhere
	case g.dest.id != d && g.state == Sticky:
		return Held
	case g.state != Dynamic:
		return Known
	case g.dest.id != d:
		t.makeDestRoom(d, now)
		t.regroup(ref, v, d, Dynamic, now)
		return Moved
	}
	// Another worker was faster with the same address.
	if t.touch(t.record(ref), now) {
		return Refreshed
	}
	return Known
}

// touch sets seen forward to now; false when it is there already. Lock held.
func (t *Table) touch(r *record, now Tick) bool {
	for {
		val := r.val.Load()
		if now <= valSeen(val) {
			return false
		}
		if r.val.CompareAndSwap(val, uint64(now)<<valSeenShift|val&(valUsed-1)|valUsed) {
			return true
		}
	}
}

// current returns the record and the group of a key, 0 and nil when there is
// none. A dead or expired entry of the key is removed first, so that what comes
// next is the same whether the sweep was here or not. Lock held.
func (t *Table) current(vni uint32, mac MAC, now Tick, h uint64) (uint32, *group) {
	ref, val, word := t.find(vni, makeKey(vni, mac), h)
	if ref == 0 {
		return 0, nil
	}
	if word == 0 {
		t.remove(ref)
		return 0, nil
	}
	if expired(valSeen(val), wordAgeing(word), now) && t.expire(ref, val) {
		return 0, nil
	}
	return ref, t.groups[valGroup(val)]
}
