package fdb

import "fmt"

// Put makes an entry of e.VNI, e.MAC, e.Dest and e.State, seen now; e.Seen and
// e.Moves are ignored. mode says what becomes of an entry that the key has
// already; one that is expired does not count. A dynamic entry may evict another
// one, as Learn does; a static or sticky one never does.
//
// Replacing keeps the moves and the history of the entry, and another
// destination is one move more.
//
// Errors: [ErrEntry], [ErrUnknownVNI], [ErrExists], [ErrFull]. After an error
// nothing has changed, but for entries that were expired or, with ErrFull, evicted.
func (t *Table) Put(e Entry, mode PutMode, now Tick) error {
	if err := check(e); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.vnis[e.VNI]
	if v == nil {
		return fmt.Errorf("%w: %d", ErrUnknownVNI, e.VNI)
	}
	h := t.hash(e.VNI, makeKey(e.VNI, e.MAC))
	ref, g := t.current(e.VNI, e.MAC, now, h)
	if ref != 0 && mode == Add {
		return fmt.Errorf("%w: %v vni %d at %v, %v", ErrExists, e.MAC, e.VNI, g.dest.id, g.state)
	}
	if ref != 0 && g.dest.id == e.Dest && g.state == e.State {
		t.touch(t.record(ref), now)
		return nil
	}
	if e.State != Dynamic && (ref == 0 || g.state == Dynamic) && t.stats.Static >= t.config.MaxStatic {
		return fmt.Errorf("%w: %d static and sticky entries", ErrFull, t.stats.Static)
	}
	if ref == 0 {
		if !t.add(v, e.MAC, e.Dest, e.State, now, h) {
			return fmt.Errorf("%w: %v vni %d: its buckets hold static entries only", ErrFull, e.MAC, e.VNI)
		}
		return nil
	}
	if e.State == Dynamic {
		if g.dest.id != e.Dest || g.state != Dynamic {
			t.makeDestRoom(e.Dest, now)
		}
		if g.state != Dynamic {
			t.makeVNIRoom(v, e.Dest, now)
			t.makeTableRoom(e.Dest, now)
		}
	}
	t.regroup(ref, v, e.Dest, e.State, now)
	return nil
}

// check finds what is wrong with an entry by itself.
func check(e Entry) error {
	switch {
	case !e.MAC.valid():
		return fmt.Errorf("%w: mac %#x", ErrEntry, uint64(e.MAC))
	case !e.Dest.valid():
		return fmt.Errorf("%w: %v: destination %#x", ErrEntry, e.MAC, uint32(e.Dest))
	case e.State >= numStates:
		return fmt.Errorf("%w: %v: %v", ErrEntry, e.MAC, e.State)
	case e.State == Dynamic && e.MAC.IsMulticast():
		return fmt.Errorf("%w: %v: a group address cannot be dynamic", ErrEntry, e.MAC)
	}
	return nil
}

// Delete removes an entry of any state and returns what it was. An entry that
// is expired and not yet swept can be deleted. The error is [ErrNotFound].
func (t *Table) Delete(vni uint32, mac MAC) (Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ref uint32
	var word uint64
	if mac <= macMask {
		key := makeKey(vni, mac)
		ref, _, word = t.find(vni, key, t.hash(vni, key))
	}
	if word == 0 {
		return Entry{}, fmt.Errorf("%w: %v vni %d", ErrNotFound, mac, vni)
	}
	e := t.entry(ref)
	t.remove(ref)
	t.stats.Deleted++
	t.notify(Event{Kind: Deleted, Entry: e, Count: 1})
	return e, nil
}
