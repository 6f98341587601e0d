package fdb

import "sync/atomic"

// record holds one entry, two to a cache line.
//
//	key   63      48 47                                    0
//	     +----------+---------------------------------------+
//	     | vni low  |                  mac                  |
//	     +----------+---------------------------------------+
//	val   63               32 31  30             8 7        0
//	     +-------------------+---+----------------+----------+
//	     |     seen (tick)   | u |     group      | vni high |   u: used since listed
//	     +-------------------+---+----------------+----------+
//	ver   63                           24 23                0
//	     +-------------------------------+-------------------+
//	     |            version            |       moves       |
//	     +-------------------------------+-------------------+
//	link  47               24 23           0
//	     +-------------------+--------------+
//	     |     previous      |     next     |   in the list of the group, or of free records
//	     +-------------------+--------------+
//
// A group of zero marks a free record. key, val and ver are read without the
// lock; link is not. All are written with the lock held, except that Learn
// and Touch write seen and u of val without it.
type record struct {
	key  atomic.Uint64
	val  atomic.Uint64
	ver  atomic.Uint64
	link uint64
}

const (
	refBits = 24 // a record is named by its position, 1..capacity
	refMask = 1<<refBits - 1

	valHighMask   = 0xff // vni bits 23..16
	valGroupShift = 8
	valGroupMask  = 1<<23 - 1
	valUsed       = 1 << 31
	valSeenShift  = 32

	// movesMask leaves 40 bits for the version. It would take 2^40 reuses of
	// one record, days of nothing else, to make a version come back while one
	// reader is between its two loads of it.
	movesMask  = 1<<24 - 1
	versionOne = 1 << 24

	chunkLen = 1024 // records allocated together: 32 KiB
)

type recordChunk [chunkLen]record

func makeKey(vni uint32, mac MAC) uint64 { return uint64(vni)<<macBits | uint64(mac) }

func makeVal(vni, group uint32, seen Tick) uint64 {
	return uint64(seen)<<valSeenShift | uint64(group)<<valGroupShift | uint64(vni>>16)
}

func valGroup(val uint64) uint32 { return uint32(val>>valGroupShift) & valGroupMask }
func valSeen(val uint64) Tick    { return Tick(val >> valSeenShift) }

func keyVNI(key, val uint64) uint32 { return uint32(val&valHighMask)<<16 | uint32(key>>macBits) }
func keyMAC(key uint64) MAC         { return MAC(key & macMask) }

// expired reports whether an entry seen at that tick is past its ageing time.
// Seen in the future, by a clock that went back or a worker whose now is a
// tick behind, counts as seen now.
func expired(seen, ageing, now Tick) bool {
	return ageing != 0 && now > seen && now-seen > ageing
}

// record returns the record of a reference taken from the index or a list. Its
// chunk is there: it was published before the reference was.
func (t *Table) record(ref uint32) *record {
	return &t.records[ref/chunkLen].Load()[ref%chunkLen]
}

// takeRecord returns a free record, or 0 when all are in use. Lock held.
func (t *Table) takeRecord() uint32 {
	if ref := t.freeRecord; ref != 0 {
		t.freeRecord = t.record(ref).next()
		return ref
	}
	ref := t.used.Load() + 1
	if ref > t.capacity {
		return 0
	}
	if c := &t.records[ref/chunkLen]; c.Load() == nil {
		c.Store(new(recordChunk))
	}
	t.used.Store(ref)
	return ref
}

// giveRecord takes back a record whose val is zero. Lock held.
func (t *Table) giveRecord(ref uint32) {
	t.record(ref).setLinks(0, t.freeRecord)
	t.freeRecord = ref
}

func (r *record) next() uint32 { return uint32(r.link & refMask) }
func (r *record) prev() uint32 { return uint32(r.link >> refBits & refMask) }

func (r *record) setLinks(prev, next uint32) { r.link = uint64(prev)<<refBits | uint64(next) }
func (r *record) setNext(next uint32)        { r.link = r.link&^refMask | uint64(next) }
func (r *record) setPrev(prev uint32)        { r.link = r.link&refMask | uint64(prev)<<refBits }

// bump marks a change that a reader between two loads of ver must notice.
// Lock held.
func (r *record) bump() { r.ver.Store(r.ver.Load() + versionOne) }

// bumpMoved is bump and one move more. Lock held.
func (r *record) bumpMoved() {
	v := r.ver.Load()
	if v&movesMask != movesMask {
		v++
	}
	r.ver.Store(v + versionOne)
}

// bumpFresh is bump and no move yet. Lock held.
func (r *record) bumpFresh() { r.ver.Store(r.ver.Load()&^movesMask + versionOne) }
