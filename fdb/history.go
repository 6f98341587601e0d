package fdb

// histories remembers the last moves of the entries that moved most recently.
// All with the lock of the table held.
type histories struct {
	limit int
	byRef map[uint32]*history

	// A ring through all of them, least recently moved first.
	ring history
}

type history struct {
	ref        uint32
	count      int // moves noted; the last HistoryLen of them are in moves
	moves      [HistoryLen]Move
	prev, next *history
}

func (hs *histories) init(limit int) {
	hs.limit = limit
	hs.byRef = make(map[uint32]*history)
	hs.ring.prev, hs.ring.next = &hs.ring, &hs.ring
}

func (h *history) unlink() { h.prev.next, h.next.prev = h.next, h.prev }

func (hs *histories) note(ref uint32, m Move) {
	h := hs.byRef[ref]
	switch {
	case h != nil:
		h.unlink()
	case len(hs.byRef) >= hs.limit:
		h = hs.ring.next
		h.unlink()
		delete(hs.byRef, h.ref)
		*h = history{ref: ref}
		hs.byRef[ref] = h
	default:
		h = &history{ref: ref}
		hs.byRef[ref] = h
	}
	h.moves[h.count%HistoryLen] = m
	h.count++
	last := hs.ring.prev
	h.prev, h.next = last, &hs.ring
	last.next, hs.ring.prev = h, h
}

func (hs *histories) drop(ref uint32) {
	if len(hs.byRef) == 0 {
		return
	}
	if h := hs.byRef[ref]; h != nil {
		h.unlink()
		delete(hs.byRef, ref)
	}
}

func (h *history) list() []Move {
	n := min(h.count, HistoryLen)
	list := make([]Move, 0, n)
	for i := h.count - n; i < h.count; i++ {
		list = append(list, h.moves[i%HistoryLen])
	}
	return list
}

func (t *Table) remember(ref uint32, m Move) { t.histories.note(ref, m) }
func (t *Table) forget(ref uint32)           { t.histories.drop(ref) }

// History returns the last moves of an entry, at most [HistoryLen], oldest
// first. It is nil for an entry that never moved or is not there, and for one
// that was forgotten because [Config.MaxHistories] others moved since. The slice
// is the caller's.
func (t *Table) History(vni uint32, mac MAC) []Move {
	if mac > macMask {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := makeKey(vni, mac)
	ref, _, word := t.find(vni, key, t.hash(vni, key))
	if word == 0 {
		return nil
	}
	if h := t.histories.byRef[ref]; h != nil {
		return h.list()
	}
	return nil
}
