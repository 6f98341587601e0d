package fdb

// Touch notes that a frame from mac came in from d at the tick seen, which may
// be past, when somebody else than the caller of Learn saw it. It is Learn at
// that tick, save that it never makes, moves or revives an entry: it makes a
// dynamic entry younger that is there with this destination, was there at that
// tick and was last seen before it. It says whether it did. It takes no lock.
//
// The compare-and-swap is as safe as that of Learn: should the record have been
// given to another MAC since it was read, that MAC was learned at a tick no
// earlier than seen, and the old value does not match.
func (t *Table) Touch(vni uint32, mac MAC, d Dest, seen Tick) bool {
	if !mac.valid() || mac.IsMulticast() || d == None {
		return false
	}
	key := makeKey(vni, mac)
	h := t.hash(vni, key)
	for {
		ref, val, word := t.find(vni, key, h)
		if word == 0 || wordDest(word) != d || wordState(word) != Dynamic {
			return false
		}
		was := valSeen(val)
		if seen <= was || expired(was, wordAgeing(word), seen) {
			return false
		}
		if t.record(ref).val.CompareAndSwap(val, uint64(seen)<<valSeenShift|val&(valUsed-1)|valUsed) {
			return true
		}
	}
}
