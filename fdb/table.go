package fdb

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// Table is the forwarding table. Make one with [New]; it needs no closing.
type Table struct {
	// Read by every lookup, hardly ever written.
	dir     atomic.Pointer[directory]
	seed    [4]uint64
	records []atomic.Pointer[recordChunk] // fixed length; chunks come as needed
	words   []atomic.Pointer[groupChunk]  // the words of groups, likewise

	// used is the highest reference ever taken. Walk reads it.
	used atomic.Uint32

	// A cache line between what is read by all and what is written under the
	// lock: 64 bytes on every CPU this runs on.
	_ [64]byte

	mu         sync.Mutex
	config     Config
	capacity   uint32 // records
	maxDepth   uint8  // of the index
	freeRecord uint32 // head of the list of free records
	cursor     uint32 // of Sweep

	groups     []*group // by number; 0 is none
	freeGroups []*group
	byKey      map[groupKey]*group // live groups
	dead       []*group            // flushed, with records to reap

	vnis      map[uint32]*vniState
	byDest    map[Dest]*destState
	dests     ranking[*destState] // by dynamic entries
	histories histories
	stats     Stats
}

// New returns an empty table. It takes about 60 KiB until entries come.
func New(c Config) *Table {
	c.MaxDynamic = limit(c.MaxDynamic, DefaultMaxDynamic)
	c.MaxStatic = limit(c.MaxStatic, DefaultMaxStatic)
	c.MaxHistories = limit(c.MaxHistories, DefaultMaxHistories)
	t := &Table{
		config:   c,
		capacity: uint32(c.MaxDynamic + c.MaxStatic),
		groups:   []*group{nil},
		byKey:    make(map[groupKey]*group),
		vnis:     make(map[uint32]*vniState),
		byDest:   make(map[Dest]*destState),
		dests:    ranking[*destState]{axis: onTable},
	}
	t.histories.init(c.MaxHistories)
	t.maxDepth = maxDepthFor(t.capacity)
	t.records = make([]atomic.Pointer[recordChunk], t.capacity/chunkLen+1)
	// An empty index word of a bucket can match a hash whose upper bits are
	// zero; it leads to record 0, which is never used and always free.
	t.records[0].Store(new(recordChunk))
	// Every group has an entry, but the one that an entry is about to join.
	t.words = make([]atomic.Pointer[groupChunk], (t.capacity+1)/groupChunkLen+1)
	t.dir.Store(newDirectory())
	t.setSeed(c.Seed)
	return t
}

func limit(n, byDefault int) int {
	if n <= 0 {
		n = byDefault
	}
	return min(n, MaxLimit)
}

func (t *Table) setSeed(seed uint64) {
	var b [8 * len(t.seed)]byte
	if seed == 0 {
		rand.Read(b[:]) // never fails since Go 1.24
	}
	for i := range t.seed {
		// SplitMix64 (Steele, Lea, Flood 2014), so that a small seed gives full words.
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		t.seed[i] = z ^ z>>31 ^ binary.LittleEndian.Uint64(b[8*i:])
	}
	t.seed[3] |= 1 // a factor: never zero
}

// Stats returns the counters and sizes of the table.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// Records is how many records a whole Sweep looks at: as many as there were
// entries at once at most.
func (t *Table) Records() int { return int(t.used.Load()) }

// Count returns the entries of a VNI, of all states, those expired and not yet
// swept included.
func (t *Table) Count(vni uint32) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.vnis[vni]; v != nil {
		return v.dynamic + v.static
	}
	return 0
}

// Dests returns the destinations that dynamic entries of a VNI point to, in no
// order. The work is one step for each, none for an entry.
func (t *Table) Dests(vni uint32) []Dest {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.vnis[vni]
	if v == nil {
		return nil
	}
	list := make([]Dest, 0, len(v.groups(Dynamic).members))
	for _, g := range v.groups(Dynamic).members {
		list = append(list, g.dest.id)
	}
	return list
}

// CountDest returns the entries that point to d, as Count does.
func (t *Table) CountDest(d Dest) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.byDest[d]; s != nil {
		return s.dynamic + s.static
	}
	return 0
}
