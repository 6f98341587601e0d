package fdb

import "slices"

// Flush removes what the filter chooses, and returns how many entries that
// were, those expired and not yet swept included. They are invisible when it
// returns. The work is one step for each group (VNI, destination and state)
// concerned, none for an entry; Sweep and Learn take the records back later.
// There is one event for each group.
func (t *Table) Flush(f FlushFilter) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	switch {
	case f.VNI != 0 && f.Dest != None:
		for s := range State(numStates) {
			if g := t.byKey[groupKey{f.VNI, f.Dest, s}]; g != nil && f.States.Has(s) {
				n += g.count
				t.kill(g)
			}
		}
	case f.VNI != 0:
		if v := t.vnis[f.VNI]; v != nil {
			n = t.killBoth(&v.byState, f)
		}
	case f.Dest != None:
		if d := t.byDest[f.Dest]; d != nil {
			n = t.killBoth(&d.byState, f)
		}
	default:
		for _, v := range t.vnis {
			n += t.killBoth(&v.byState, f)
		}
	}
	return n
}

// FlushDest is [Table.Flush] for one port or peer; f.Dest is ignored.
func (t *Table) FlushDest(d Dest, f FlushFilter) int {
	if d == None {
		return 0
	}
	f.Dest = d
	return t.Flush(f)
}

// FlushVNI is [Table.Flush] for one VNI; f.VNI is ignored.
func (t *Table) FlushVNI(vni uint32, f FlushFilter) int {
	if vni == 0 {
		return 0
	}
	f.VNI = vni
	return t.Flush(f)
}

func (t *Table) killBoth(byState *[2]ranking[*group], f FlushFilter) int {
	return t.killAll(&byState[0], f) + t.killAll(&byState[1], f)
}

// killAll kills the groups of a ranking whose state the filter chooses. Lock held.
func (t *Table) killAll(k *ranking[*group], f FlushFilter) int {
	n := 0
	for _, g := range slices.Clone(k.members) { // kill reorders the ranking
		if f.States.Has(g.state) {
			n += g.count
			t.kill(g)
		}
	}
	return n
}
