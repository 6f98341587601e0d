package fdb

import "fmt"

// vniState is what the table knows of a VNI. All with the lock held.
type vniState struct {
	id              uint32
	config          VNIConfig
	dynamic, static int                // entries; sticky ones count as static
	byState         [2]ranking[*group] // dynamic, static and sticky
}

// destState is what the table knows of a destination that has entries or a
// limit. All with the lock held.
type destState struct {
	id              Dest
	limit           int // of dynamic entries; 0: none
	dynamic, static int
	byState         [2]ranking[*group]
	pos             int32 // in Table.dests
}

func (d *destState) size() int                       { return d.dynamic }
func (d *destState) position(axis) *int32            { return &d.pos }
func (d *destState) groups(s State) *ranking[*group] { return &d.byState[rankingOf(s)] }
func (v *vniState) groups(s State) *ranking[*group]  { return &v.byState[rankingOf(s)] }

// rankingOf keeps dynamic groups by themselves: they alone are candidates for eviction.
func rankingOf(s State) int {
	if s == Dynamic {
		return 0
	}
	return 1
}

// SetVNI makes a VNI known, or changes what is set for it. A new ageing time
// holds for the entries that are there, from the next lookup on. Where there
// are more dynamic entries than c.MaxDynamic, the surplus is evicted before
// SetVNI returns. The error is [ErrVNI].
func (t *Table) SetVNI(vni uint32, c VNIConfig) error {
	if vni < MinVNI || vni > MaxVNI {
		return fmt.Errorf("%w: %d", ErrVNI, vni)
	}
	t.mu.Lock()
	v := t.vnis[vni]
	if v == nil {
		v = &vniState{id: vni}
		for i := range v.byState {
			v.byState[i].axis = onVNI
		}
		t.vnis[vni] = v
	}
	v.config = c
	for _, g := range v.groups(Dynamic).members {
		t.groupWord(g.id).Store(g.word())
	}
	t.mu.Unlock()
	t.inSlices(func() bool {
		// Looked up anew each time: the VNI may be deleted between slices.
		v := t.vnis[vni]
		if v == nil || v.config.MaxDynamic <= 0 || v.dynamic <= v.config.MaxDynamic {
			return false
		}
		t.evict(v.groups(Dynamic).top(), neverExpired)
		return true
	})
	return nil
}

// DelVNI forgets a VNI. All its entries, static ones too, are gone when it
// returns; it returns how many they were. The work is one step for each group,
// none for an entry.
func (t *Table) DelVNI(vni uint32) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.vnis[vni]
	if v == nil {
		return 0
	}
	n := 0
	for i := range v.byState {
		n += t.killAll(&v.byState[i], FlushFilter{States: AllStates})
	}
	delete(t.vnis, vni)
	return n
}

// SetDestLimit bounds the dynamic entries of a destination in all VNIs; 0 takes
// the bound away. A surplus is evicted before SetDestLimit returns.
func (t *Table) SetDestLimit(d Dest, maxDynamic int) {
	if !d.valid() {
		return
	}
	t.mu.Lock()
	s := t.destFor(d)
	s.limit = max(maxDynamic, 0)
	t.dropDestIfIdle(s)
	t.mu.Unlock()
	t.inSlices(func() bool {
		s := t.byDest[d]
		if s == nil || s.limit == 0 || s.dynamic <= s.limit {
			return false
		}
		t.evict(s.groups(Dynamic).top(), neverExpired)
		return true
	})
}

// destFor returns the state of a destination, made if need be. Lock held.
func (t *Table) destFor(d Dest) *destState {
	s := t.byDest[d]
	if s == nil {
		s = &destState{id: d}
		for i := range s.byState {
			s.byState[i].axis = onDest
		}
		t.byDest[d] = s
		t.dests.add(s)
	}
	return s
}

// dropDestIfIdle forgets a destination without entries and limit. Lock held.
func (t *Table) dropDestIfIdle(s *destState) {
	if s.limit == 0 && len(s.byState[0].members) == 0 && len(s.byState[1].members) == 0 {
		t.dests.drop(s)
		delete(t.byDest, s.id)
	}
}

// sliceLen is how many steps are done in one hold of the lock: some ten
// microseconds, which a worker that wants to learn can wait.
const sliceLen = 128

// inSlices calls step with the lock held until it returns false, and lets the
// lock go from time to time.
func (t *Table) inSlices(step func() bool) {
	for more := true; more; {
		t.mu.Lock()
		for i := 0; more && i < sliceLen; i++ {
			more = step()
		}
		t.mu.Unlock()
	}
}
