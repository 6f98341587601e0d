package fdb

import (
	"math/bits"
	"sync/atomic"
)

// The index leads from a hash to a record. It is a directory of segments
// (extendible hashing); a segment is 256 buckets of 8 words, a bucket is one
// cache line, and an entry is in one of two buckets of one segment. So a lookup
// reads at most two cache lines of the index whatever an attacker sends, and
// growth is the splitting of one segment: a copy of 16 KiB.
//
// A word carries the 40 bits of the hash that say where it belongs, which makes
// a wrong record very rarely looked at, and lets a split work without records:
//
//	 63                    40 39      32 31      24 23             0
//	+------------------------+----------+----------+----------------+
//	|       directory        |  step to |  first   |     record     |   0: empty
//	|                        |  second  |  bucket  |                |
//	+------------------------+----------+----------+----------------+
//
// A segment that was split is never written again. A reader that still holds
// it sees the table as it was when the reader began.
type segment [segmentBuckets]bucket

type bucket [bucketWords]atomic.Uint64

const (
	bucketWords    = 8   // 64 bytes, a cache line
	segmentBuckets = 256 // 16 KiB, a size class of the allocator
	segmentWords   = segmentBuckets * bucketWords

	firstShift = 24
	stepShift  = 32

	// firstFill is how many words the first bucket takes before the emptier of
	// the two is chosen. A higher one lets more hits end in the first bucket, a
	// lower one fills segments further before they split. Measured at 5: 91 % of
	// the entries in their first bucket when a segment is half full, and a split
	// at 79 %; at 0, 70 % and 82 %; at 7, 96 % and 68 %.
	firstFill = 5
)

// directory is immutable but for the pointers in segs, which a split replaces.
type directory struct {
	shift uint8 // 64 less the depth of the directory
	segs  []atomic.Pointer[segment]
	depth []uint8 // of each segment; read and written with the lock held
}

func newDirectory() *directory {
	d := &directory{shift: 64, segs: make([]atomic.Pointer[segment], 1), depth: make([]uint8, 1)}
	d.segs[0].Store(new(segment))
	return d
}

// maxDepthFor bounds the directory for so many entries: four times the
// segments that are needed when they are full to the half.
func maxDepthFor(capacity uint32) uint8 {
	return uint8(bits.Len32(capacity/(segmentWords/2))) + 1
}

// hash spreads a key over 64 bits by two folded multiplications with secret
// factors. No output of it leaves the process, so an attacker can neither
// choose nor observe collisions; what he hits by chance is bounded by the two
// buckets.
func (t *Table) hash(vni uint32, key uint64) uint64 {
	hi, lo := bits.Mul64(key^t.seed[0], uint64(vni)^t.seed[1])
	hi, lo = bits.Mul64(hi^lo^t.seed[2], t.seed[3])
	return hi ^ lo
}

func firstBucket(h uint64) uint8 { return uint8(h >> firstShift) }

// secondBucket is never the first: the step is 1..255.
func secondBucket(h uint64) uint8 {
	step := uint8(h >> stepShift)
	return uint8(h>>firstShift) + 1 + uint8(uint16(step)*(segmentBuckets-1)>>8)
}

// enter puts a record into the index; false when both its buckets are full and
// the index may not grow. Lock held.
func (t *Table) enter(h uint64, ref uint32) bool {
	for {
		d := t.dir.Load()
		s := d.segs[h>>d.shift].Load()
		b, b2 := &s[firstBucket(h)], &s[secondBucket(h)]
		slot, n := b.vacancy()
		if n >= firstFill {
			if slot2, n2 := b2.vacancy(); n2 < n {
				b, slot = b2, slot2
			}
		}
		if slot >= 0 {
			b[slot].Store(h&^refMask | uint64(ref))
			return true
		}
		if !t.split(d, h) {
			return false
		}
	}
}

// vacancy returns an empty word, or -1, and the number of words in use.
func (b *bucket) vacancy() (slot, used int) {
	slot = -1
	for i := range b {
		if b[i].Load() == 0 {
			slot = i
		} else {
			used++
		}
	}
	return slot, used
}

// leave takes a record out of the index. Lock held.
func (t *Table) leave(h uint64, ref uint32) {
	d := t.dir.Load()
	s := d.segs[h>>d.shift].Load()
	word := h&^refMask | uint64(ref)
	for _, b := range [...]uint8{firstBucket(h), secondBucket(h)} {
		for i := range s[b] {
			if s[b][i].Load() == word {
				s[b][i].Store(0)
				return
			}
		}
	}
}

// split replaces the segment of h by two; false when it is as deep as it may
// be. The next bit of the directory field chooses the half, bucket and word
// stay the same. Lock held.
func (t *Table) split(d *directory, h uint64) bool {
	i := h >> d.shift
	depth := d.depth[i]
	if depth >= t.maxDepth {
		return false
	}
	if depth == 64-d.shift {
		d = d.double()
		t.dir.Store(d)
		i = h >> d.shift
	}
	old := d.segs[i].Load()
	var half [2]*segment
	half[0], half[1] = new(segment), new(segment)
	for b := range old {
		for w := range old[b] {
			word := old[b][w].Load()
			half[word>>(63-depth)&1][b][w].Store(word)
		}
	}
	// All pointers to the old segment are 2^n in a row, aligned to 2^n.
	n := uint64(1) << (64 - d.shift - depth)
	start := i &^ (n - 1)
	for j := range n {
		d.segs[start+j].Store(half[j/(n/2)])
		d.depth[start+j] = depth + 1
	}
	return true
}

// double returns a directory with every pointer twice.
func (d *directory) double() *directory {
	n := &directory{
		shift: d.shift - 1,
		segs:  make([]atomic.Pointer[segment], 2*len(d.segs)),
		depth: make([]uint8, 2*len(d.depth)),
	}
	for i := range n.segs {
		n.segs[i].Store(d.segs[i/2].Load())
		n.depth[i] = d.depth[i/2]
	}
	return n
}
