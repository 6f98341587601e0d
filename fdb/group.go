package fdb

import "sync/atomic"

// group is all entries of one VNI, one destination and one state. What its
// entries have in common is in one word, which readers load:
//
//	 63                  32 31   26 25  24 23              0
//	+----------------------+-------+------+-----------------+
//	|       ageing         |   0   | state|      dest       |   0: free or dead
//	+----------------------+-------+------+-----------------+
//
// To flush a group is to store zero there: all its entries are invisible at
// once, and the next Learn of their addresses makes a new group under another
// number. The number of a group is given out again only when no record names it
// any more, so there is no generation that could wrap and bring old entries back.
type group struct {
	id    uint32
	state State
	vni   *vniState
	dest  *destState
	dead  bool

	// The list of its records: longest listed at the head.
	count      int
	head, tail uint32

	// Where it is in the rankings of its VNI and its destination; when it is
	// dead, the first is where it is in Table.dead.
	pos [2]int32
}

const (
	groupChunkLen = 1024 // words allocated together: 8 KiB

	wordStateShift  = destBits
	wordStateMask   = 3
	wordAgeingShift = 32
)

type groupChunk [groupChunkLen]atomic.Uint64

type groupKey struct {
	vni   uint32
	dest  Dest
	state State
}

func makeWord(d Dest, s State, ageing Tick) uint64 {
	return uint64(ageing)<<wordAgeingShift | uint64(s)<<wordStateShift | uint64(d)
}

func wordDest(w uint64) Dest   { return Dest(w & (1<<destBits - 1)) }
func wordState(w uint64) State { return State(w >> wordStateShift & wordStateMask) }
func wordAgeing(w uint64) Tick { return Tick(w >> wordAgeingShift) }

func (g *group) size() int              { return g.count }
func (g *group) position(a axis) *int32 { return &g.pos[a] }
func (g *group) key() groupKey          { return groupKey{g.vni.id, g.dest.id, g.state} }

func (g *group) word() uint64 {
	if g.state == Dynamic {
		return makeWord(g.dest.id, Dynamic, g.vni.config.Ageing)
	}
	return makeWord(g.dest.id, g.state, 0)
}

// groupWord returns the word of a group. Its chunk is there: it was published
// before any record named the group.
func (t *Table) groupWord(id uint32) *atomic.Uint64 {
	return &t.words[id/groupChunkLen].Load()[id%groupChunkLen]
}

// groupFor returns the group for new entries, made if need be. The caller puts
// an entry into it before the lock is released. Lock held.
func (t *Table) groupFor(v *vniState, d Dest, s State) *group {
	key := groupKey{v.id, d, s}
	if g := t.byKey[key]; g != nil {
		return g
	}
	var g *group
	if n := len(t.freeGroups); n > 0 {
		g = t.freeGroups[n-1]
		t.freeGroups = t.freeGroups[:n-1]
	} else {
		g = &group{id: uint32(len(t.groups))}
		t.groups = append(t.groups, g)
		if c := &t.words[g.id/groupChunkLen]; c.Load() == nil {
			c.Store(new(groupChunk))
		}
	}
	*g = group{id: g.id, state: s, vni: v, dest: t.destFor(d)}
	t.byKey[key] = g
	v.groups(s).add(g)
	g.dest.groups(s).add(g)
	t.groupWord(g.id).Store(g.word())
	return g
}

// join puts a record at the tail of the list of a live group. Lock held.
func (t *Table) join(g *group, ref uint32) {
	t.link(g, ref)
	g.count++
	t.resize(g, 1)
}

// part takes a record out of its group, which is freed with the last one. Lock held.
func (t *Table) part(g *group, ref uint32) {
	t.unlink(g, ref)
	g.count--
	if g.dead {
		t.stats.Dead--
		if g.count == 0 {
			last := len(t.dead) - 1
			t.dead[g.pos[0]] = t.dead[last]
			t.dead[g.pos[0]].pos[0] = g.pos[0]
			t.dead[last] = nil
			t.dead = t.dead[:last]
			t.freeGroup(g)
		}
		return
	}
	t.resize(g, -1)
	if g.count == 0 {
		t.detach(g)
		t.freeGroup(g)
	}
}

// kill makes all entries of a group invisible, and leaves its records to reap. Lock held.
func (t *Table) kill(g *group) {
	ev := Event{
		Kind:  Flushed,
		Entry: Entry{VNI: g.vni.id, Dest: g.dest.id, State: g.state},
		Count: g.count,
	}
	n := g.count
	t.groupWord(g.id).Store(0)
	t.tally(g, -n)
	t.detach(g)
	g.dead = true
	g.pos[0] = int32(len(t.dead))
	t.dead = append(t.dead, g)
	t.stats.Dead += n
	t.stats.Flushed += uint64(n)
	t.notify(ev)
}

// resize counts n entries more in everything that counts them, and keeps the
// rankings. Lock held.
func (t *Table) resize(g *group, n int) {
	t.tally(g, n)
	g.vni.groups(g.state).fix(g)
	g.dest.groups(g.state).fix(g)
}

func (t *Table) tally(g *group, n int) {
	if g.state == Dynamic {
		t.stats.Dynamic += n
		g.vni.dynamic += n
		g.dest.dynamic += n
		t.dests.fix(g.dest)
		return
	}
	t.stats.Static += n
	g.vni.static += n
	g.dest.static += n
}

// detach makes a group unknown to its VNI and its destination. Lock held.
func (t *Table) detach(g *group) {
	delete(t.byKey, g.key())
	g.vni.groups(g.state).drop(g)
	g.dest.groups(g.state).drop(g)
	t.dropDestIfIdle(g.dest)
}

// freeGroup gives the number of a group without records back. Lock held.
func (t *Table) freeGroup(g *group) {
	t.groupWord(g.id).Store(0)
	*g = group{id: g.id}
	t.freeGroups = append(t.freeGroups, g)
}

func (t *Table) link(g *group, ref uint32) {
	t.record(ref).setLinks(g.tail, 0)
	if g.tail != 0 {
		t.record(g.tail).setNext(ref)
	} else {
		g.head = ref
	}
	g.tail = ref
}

func (t *Table) unlink(g *group, ref uint32) {
	r := t.record(ref)
	prev, next := r.prev(), r.next()
	if prev != 0 {
		t.record(prev).setNext(next)
	} else {
		g.head = next
	}
	if next != 0 {
		t.record(next).setPrev(prev)
	} else {
		g.tail = prev
	}
}

// reapPerAdd is how many dead records every new entry takes back: more than one,
// so that the dead become fewer even while the table is busy.
const reapPerAdd = 2

// reap frees up to n dead records, and returns how many. Lock held.
func (t *Table) reap(n int) (freed int) {
	for freed < n && len(t.dead) > 0 {
		t.remove(t.dead[len(t.dead)-1].head)
		freed++
	}
	return freed
}
