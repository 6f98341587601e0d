package dataplane

import (
	"cmp"
	"sync"

	"vtepd/fdb"
)

// Bounds of what is noted between two rounds. Beyond them the whole table is compared, which costs more and means the same. Of more stations that are new nothing
// is noted: they pass user space until there is time to compare, and a flood of them keeps nothing else waiting.
const (
	dirtyLeast   = 8192 // of keys; as many as the table may have dynamic entries where that is more
	dirtyNews    = 8192 // stations that are new
	dirtyFlushes = 64
	// dirtyKept bounds the keys whose memory is kept when a flood of MACs is over: 1 MiB.
	dirtyKept = 65536
)

// fdbKey names a forwarding entry.
type fdbKey struct {
	vni uint32
	mac fdb.MAC
}

func (k fdbKey) compare(with fdbKey) int {
	return cmp.Or(cmp.Compare(k.vni, with.vni), cmp.Compare(k.mac, with.mac))
}

// flushKey names what a flush took: zero fields stand for any.
type flushKey struct {
	vni  uint32
	dest fdb.Dest
}

// dirtySet is what has changed in the forwarding table since the last round. It holds names, not states: a round reads the truth of that moment, so
// that neither the order nor the number of changes matters, and memory is bounded.
type dirtySet struct {
	most int // keys

	mu      sync.Mutex
	keys    []fdbKey
	news    []fdbKey
	flushes []flushKey
	whole   bool // compare everything
	behind  bool // there were more news
	spare   changes
}

// changes are what a dirtySet gathered. They belong to whoever took them until the next take.
type changes struct {
	keys    []fdbKey
	news    []fdbKey
	flushes []flushKey
	whole   bool
	behind  bool
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
	case e.Kind == fdb.Added && e.Entry.State == fdb.Dynamic:
		if len(d.news) == dirtyNews {
			d.behind = true
			return
		}
		d.news = append(d.news, fdbKey{e.Entry.VNI, e.Entry.MAC})
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
	if len(d.keys) >= d.most {
		d.whole = true
		return
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
	c := changes{d.keys, d.news, d.flushes, d.whole, d.behind}
	d.keys, d.news, d.flushes, d.whole, d.behind = shrunk(d.spare.keys), d.spare.news[:0], d.spare.flushes[:0], false, false
	d.spare = c
	return c
}

// shrunk is an empty list with the memory of one, unless that is too much to keep.
func shrunk(list []fdbKey) []fdbKey {
	if cap(list) > dirtyKept && len(list) < dirtyKept/2 {
		return nil
	}
	return list[:0]
}

// clear throws away what was noted.
func (d *dirtySet) clear() {
	d.take()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spare = changes{}
}
