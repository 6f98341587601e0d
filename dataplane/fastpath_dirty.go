package dataplane

import (
	"sync"

	"vtepd/fdb"
)

// Bounds of what is noted between two rounds. Beyond them the whole table is compared, which costs more and means the same.
const (
	dirtyKeys    = 8192
	dirtyFlushes = 64
)

// fdbKey names a forwarding entry.
type fdbKey struct {
	vni uint32
	mac fdb.MAC
}

// flushKey names what a flush took: zero fields stand for any.
type flushKey struct {
	vni  uint32
	dest fdb.Dest
}

// dirtySet is what has changed in the forwarding table since the last round. It holds names, not states: a round reads the truth of that moment, so
// that neither the order nor the number of changes matters, and memory is bounded.
type dirtySet struct {
	mu      sync.Mutex
	keys    []fdbKey
	flushes []flushKey
	whole   bool // compare everything
	spare   changes
}

// changes are what a dirtySet gathered. They belong to whoever took them until the next take.
type changes struct {
	keys    []fdbKey
	flushes []flushKey
	whole   bool
}

// note is told of a change by the forwarding table, under its lock: it is short.
func (d *dirtySet) note(e *fdb.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.whole:
	case e.Kind == fdb.Flushed:
		if len(d.flushes) == dirtyFlushes {
			d.whole = true
			return
		}
		d.flushes = append(d.flushes, flushKey{e.Entry.VNI, e.Entry.Dest})
	default:
		d.add(fdbKey{e.Entry.VNI, e.Entry.MAC})
	}
}

// again notes a key that a round could not settle.
func (d *dirtySet) again(k fdbKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.whole {
		d.add(k)
	}
}

func (d *dirtySet) add(k fdbKey) {
	if len(d.keys) == dirtyKeys {
		d.whole = true
		return
	}
	if d.keys == nil {
		d.keys = make([]fdbKey, 0, dirtyKeys)
	}
	d.keys = append(d.keys, k)
}

// all makes the next round compare everything.
func (d *dirtySet) all() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.whole = true
}

// take hands over what was noted and begins anew.
func (d *dirtySet) take() changes {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := changes{d.keys, d.flushes, d.whole}
	d.keys, d.flushes, d.whole = d.spare.keys[:0], d.spare.flushes[:0], false
	d.spare = c
	return c
}

// clear throws away what was noted.
func (d *dirtySet) clear() { d.take() }
