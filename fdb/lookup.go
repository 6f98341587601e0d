package fdb

import "math/bits"

// Why a lookup never returns the entry of another VNI or MAC, though records
// are used again while it reads them without a lock:
//
// A reader loads, in this order: an index word, then of the record ver, key and
// val, then the word of the group that val names, then ver again. It believes
// what it read only if key and the VNI bits of val are those it wants and both
// loads of ver agree. The writer, alone under the lock, changes a record in
// three ways, and each has a bump of ver in a certain place:
//
//	remove   val = 0; bump; (only now may the group be freed, and the record)
//	install  key = new; bump; val = new; (only now the index word)
//	regroup  val = new by compare-and-swap; bump; (only now may the group be freed)
//
//  1. val belongs to key. Say the reader saw the key of entry A and a val of
//     another entry B. If B came after A, B was installed between the two
//     loads, and its bump lies between its store of key, which the reader's
//     load of key preceded, and its store of val, which the reader's load of
//     val followed: so it lies between the two loads of ver, and they differ.
//     If B came before A, the reader loaded val before A's val was stored and
//     after A's key was; but B's val became zero before A's key was stored.
//  2. The group's word belongs to val. A group is given to others only when its
//     count is zero. So if the word that was read is that of a later owner, the
//     record had left the group after the load of val and before that of the
//     word, and the bump of its remove or regroup lies there too.
//  3. An index word may be stale: it leads to a record that holds another key by
//     now, or none. Then the key differs, or the bumps of 1 show.
//
// A reader that misses because of a change has a moment within its call at
// which the entry was not there: an entry neither changes its record while it
// lives, nor its place in the index; a split copies words and leaves the old
// segment as it was.
//
// The reader waits for nobody. It starts again only when a writer changed the
// very record it was reading; that writer has made progress.

// find returns the record of a key, what it held, and the word of its group.
// ref is 0 when there is none. The word is 0 when the entry is dead.
func (t *Table) find(vni uint32, key, h uint64) (ref uint32, val, word uint64) {
again:
	d := t.dir.Load()
	s := d.segs[h>>d.shift].Load()
	b := firstBucket(h)
	for range 2 {
		w := &s[b]
		// A bit for each word that is of h, without a branch: in which word an
		// entry is is random, and would be predicted wrongly about once a lookup.
		m := same(w[0].Load(), h) | same(w[1].Load(), h)<<1 | same(w[2].Load(), h)<<2 | same(w[3].Load(), h)<<3 |
			same(w[4].Load(), h)<<4 | same(w[5].Load(), h)<<5 | same(w[6].Load(), h)<<6 | same(w[7].Load(), h)<<7
		for ; m != 0; m &= m - 1 {
			ref = uint32(w[bits.TrailingZeros8(m)].Load() & refMask)
			r := t.record(ref)
			ver := r.ver.Load()
			interleave()
			if r.key.Load() != key {
				continue
			}
			interleave()
			val = r.val.Load()
			g := valGroup(val)
			if g == 0 || uint32(val&valHighMask) != vni>>16 {
				continue
			}
			interleave()
			word = t.groupWord(g).Load()
			interleave()
			if r.ver.Load() != ver {
				goto again
			}
			return ref, val, word
		}
		b = secondBucket(h)
	}
	return 0, 0, 0
}

// Lookup returns where frames for mac go, or false when that is not known: the
// entry was never there, or is flushed, or expired, swept or not. It takes no
// lock, writes nothing and allocates nothing. It does not make an entry
// younger: only received frames do ([Table.Learn]).
func (t *Table) Lookup(vni uint32, mac MAC, now Tick) (Dest, bool) {
	if mac > macMask {
		return None, false
	}
	key := makeKey(vni, mac)
	_, val, word := t.find(vni, key, t.hash(vni, key))
	if word == 0 || expired(valSeen(val), wordAgeing(word), now) {
		return None, false
	}
	return wordDest(word), true
}

// Get returns the entry of a key. It costs as little as Lookup.
func (t *Table) Get(vni uint32, mac MAC, now Tick) (Entry, bool) {
	if mac > macMask {
		return Entry{}, false
	}
	key := makeKey(vni, mac)
	h := t.hash(vni, key)
	for {
		ref, _, _ := t.find(vni, key, h)
		if ref == 0 {
			return Entry{}, false
		}
		e, word := t.read(t.record(ref))
		if e.VNI != vni || e.MAC != mac {
			continue // the record was used again since
		}
		if word == 0 || expired(e.Seen, wordAgeing(word), now) {
			return Entry{}, false
		}
		return e, true
	}
}

// read copies a record without the lock. For a free record, and one whose
// group is dead, the word is zero.
func (t *Table) read(r *record) (e Entry, word uint64) {
	for {
		ver := r.ver.Load()
		interleave()
		key := r.key.Load()
		interleave()
		val := r.val.Load()
		interleave()
		if g := valGroup(val); g != 0 {
			word = t.groupWord(g).Load()
		}
		interleave()
		if r.ver.Load() != ver {
			word = 0
			continue
		}
		return Entry{
			VNI:   keyVNI(key, val),
			MAC:   keyMAC(key),
			Dest:  wordDest(word),
			State: wordState(word),
			Seen:  valSeen(val),
			Moves: uint32(ver & movesMask),
		}, word
	}
}

// Walk calls yield for every entry that is neither flushed nor expired, in no
// particular order, until yield returns false. No lock is held, so yield may
// call the table. Each entry is consistent in itself. An entry that is there
// and unchanged from beginning to end is seen exactly once; one that comes,
// goes or moves meanwhile may be seen as before, as after, or not at all.
func (t *Table) Walk(now Tick, yield func(Entry) bool) {
	for ref := uint32(1); ref <= t.used.Load(); ref++ {
		e, word := t.read(t.record(ref))
		if word == 0 || expired(e.Seen, wordAgeing(word), now) {
			continue
		}
		if !yield(e) {
			return
		}
	}
}

// same returns 1 if a word is of the hash h, else 0.
func same(word, h uint64) uint8 {
	var hit uint8
	if (word^h)>>refBits == 0 {
		hit = 1
	}
	return hit
}
