package fdb

// Foresee says what Learn would say, and changes nothing. With Learned and Moved, evicts says that another entry would make room. That
// a new entry is Refused because the index has no place for it is not foreseen; see Learn.
func (t *Table) Foresee(vni uint32, mac MAC, d Dest, now Tick) (v Verdict, evicts bool) {
	if !mac.valid() || mac.IsMulticast() || !d.valid() {
		return Refused, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.vnis[vni]
	if state == nil {
		return Refused, false
	}
	e, ok := t.Get(vni, mac, now)
	switch {
	case !ok:
		return Learned, t.full(state, d)
	case e.Dest != d && e.State == Static:
		return Elsewhere, false
	case e.Dest != d && e.State == Sticky:
		return Held, false
	case e.Dest != d:
		s := t.byDest[d]
		return Moved, s != nil && s.limit > 0 && s.dynamic >= s.limit
	case e.State != Dynamic || now <= e.Seen:
		return Known, false
	}
	return Refreshed, false
}
