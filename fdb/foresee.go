package fdb

// Foresee says what Learn would say, and changes nothing. With Learned and Moved, leave are the entries that would make room. That
// a new entry is Refused because the index has no place for it is not foreseen; see Learn.
func (t *Table) Foresee(vni uint32, mac MAC, d Dest, now Tick) (v Verdict, leave []Entry) {
	if !mac.valid() || mac.IsMulticast() || !d.valid() {
		return Refused, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.vnis[vni]
	if state == nil {
		return Refused, nil
	}
	e, ok := t.Get(vni, mac, now)
	switch {
	case !ok:
		return Learned, t.leaving(state, mac, d)
	case e.Dest != d && e.State == Static:
		return Elsewhere, nil
	case e.Dest != d && e.State == Sticky:
		return Held, nil
	case e.Dest != d:
		if s := t.byDest[d]; s != nil && s.limit > 0 && s.dynamic >= s.limit {
			leave = append(leave, t.next(s.groups(Dynamic).top()))
		}
		return Moved, leave
	case e.State != Dynamic || now <= e.Seen:
		return Known, nil
	}
	return Refreshed, nil
}

// leaving are the entries that would make room for a new one: see add. Lock held.
func (t *Table) leaving(v *vniState, mac MAC, d Dest) (list []Entry) {
	// What is left of an expired entry of the address goes before, and counts no more.
	key := makeKey(v.id, mac)
	former, left := None, 0
	if _, _, word := t.find(v.id, key, t.hash(v.id, key)); word != 0 {
		former, left = wordDest(word), 1
	}
	inVNI := v.dynamic - left
	if s := t.byDest[d]; s != nil && s.limit > 0 && (s.dynamic > s.limit || s.dynamic == s.limit && former != d) {
		list = append(list, t.next(s.groups(Dynamic).top()))
		left++
		if list[0].VNI == v.id {
			inVNI--
		}
	}
	if v.config.MaxDynamic > 0 && inVNI >= v.config.MaxDynamic {
		g := v.groups(Dynamic).top()
		if own := t.byKey[groupKey{v.id, d, Dynamic}]; own != nil && own.count == g.count {
			g = own
		}
		list = append(list, t.next(g))
		left++
	}
	if t.stats.Dynamic-left >= t.config.MaxDynamic {
		s := t.dests.top()
		if own := t.byDest[d]; own != nil && own.dynamic == s.dynamic {
			s = own
		}
		list = append(list, t.next(s.groups(Dynamic).top()))
	}
	return list
}

// next is the entry that victim would choose. Lock held.
func (t *Table) next(g *group) Entry {
	ref, oldest, oldestSeen := g.head, g.head, Tick(0)
	for i := range maxSecondChances {
		if ref == 0 { // all had a mark, and lost it: it is the first one's turn again
			return t.entry(g.head)
		}
		r := t.record(ref)
		val := r.val.Load()
		if val&valUsed == 0 {
			return t.entry(ref)
		}
		if seen := valSeen(val); i == 0 || seen < oldestSeen {
			oldest, oldestSeen = ref, seen
		}
		ref = r.next()
	}
	return t.entry(oldest)
}
