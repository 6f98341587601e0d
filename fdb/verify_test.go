package fdb

import (
	"errors"
	"fmt"
)

func isErr(err, want error) bool { return (err == nil) == (want == nil) && errors.Is(err, want) }

// verify walks everything and checks that the parts of the table agree: every
// record is free or in exactly one list and one index word, all counts are sums,
// rankings are heaps, and no number of a group is both free and in use.
func (t *Table) verify() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.used.Load()
	where := make([]int8, used+1) // 1 free, 2 in a group
	free := 0
	for ref := t.freeRecord; ref != 0; ref = t.record(ref).next() {
		if where[ref] != 0 || t.record(ref).val.Load() != 0 {
			return fmt.Errorf("record %d is free twice or not empty", ref)
		}
		where[ref] = 1
		free++
	}
	var dynamic, static, dead, live int
	for id, g := range t.groups {
		if g == nil || g.count == 0 {
			if g != nil && (t.groupWord(uint32(id)).Load() != 0 || g.vni != nil) {
				return fmt.Errorf("group %d is empty and not free", id)
			}
			continue
		}
		n, prev := 0, uint32(0)
		for ref := g.head; ref != 0; ref = t.record(ref).next() {
			r := t.record(ref)
			val := r.val.Load()
			if where[ref] != 0 || r.prev() != prev || valGroup(val) != uint32(id) || keyVNI(r.key.Load(), val) != g.vni.id {
				return fmt.Errorf("record %d in the list of group %d is out of place", ref, id)
			}
			where[ref] = 2
			prev = ref
			n++
		}
		if n != g.count || g.tail != prev || g.id != uint32(id) {
			return fmt.Errorf("group %d: count %d, list of %d, tail %d, last %d", id, g.count, n, g.tail, prev)
		}
		word := t.groupWord(g.id).Load()
		switch {
		case g.dead:
			dead += n
			if word != 0 || t.dead[g.pos[0]] != g {
				return fmt.Errorf("dead group %d: word %#x", id, word)
			}
			continue
		case word != g.word() || t.byKey[g.key()] != g || t.vnis[g.vni.id] != g.vni || t.byDest[g.dest.id] != g.dest:
			return fmt.Errorf("group %d: word %#x, or not known by its key", id, word)
		case g.vni.groups(g.state).members[g.pos[onVNI]] != g || g.dest.groups(g.state).members[g.pos[onDest]] != g:
			return fmt.Errorf("group %d is not where it thinks in a ranking", id)
		case g.state == Dynamic:
			dynamic += n
		default:
			static += n
		}
		live++
	}
	if s := t.stats; s.Dynamic != dynamic || s.Static != static || s.Dead != dead || free+dynamic+static+dead != int(used) {
		return fmt.Errorf("stats %+v, counted dynamic %d static %d dead %d free %d of %d", s, dynamic, static, dead, free, used)
	}
	if live != len(t.byKey) {
		return fmt.Errorf("%d live groups, %d keys", live, len(t.byKey))
	}
	if err := heapError(&t.dests); err != nil || len(t.dests.members) != len(t.byDest) {
		return fmt.Errorf("destinations: %v, %d and %d", err, len(t.dests.members), len(t.byDest))
	}
	inRankings := 0
	for _, v := range t.vnis {
		for i := range v.byState {
			inRankings += len(v.byState[i].members)
			if err := heapError(&v.byState[i]); err != nil {
				return err
			}
		}
	}
	for _, d := range t.byDest {
		if d.limit == 0 && len(d.byState[0].members)+len(d.byState[1].members) == 0 {
			return fmt.Errorf("%v has neither entries nor a limit, and is remembered", d.id)
		}
		for i := range d.byState {
			inRankings += len(d.byState[i].members)
			if err := heapError(&d.byState[i]); err != nil {
				return err
			}
		}
	}
	if inRankings != 2*live {
		return fmt.Errorf("%d places in rankings for %d live groups", inRankings, live)
	}
	return t.verifyIndex(dynamic + static + dead)
}

func (t *Table) verifyIndex(want int) error {
	d := t.dir.Load()
	n := 0
	for i := range d.segs {
		s := d.segs[i].Load()
		if i > 0 && d.segs[i-1].Load() == s {
			continue
		}
		for b := range s {
			for w := range s[b] {
				word := s[b][w].Load()
				if word == 0 {
					continue
				}
				n++
				r := t.record(uint32(word & refMask))
				h := t.hash(keyVNI(r.key.Load(), r.val.Load()), r.key.Load())
				if h>>refBits != word>>refBits || d.segs[h>>d.shift].Load() != s || int(firstBucket(h)) != b && int(secondBucket(h)) != b {
					return fmt.Errorf("index word %#x is in bucket %d, its hash is %#x", word, b, h)
				}
			}
		}
	}
	if n != want {
		return fmt.Errorf("%d index words for %d records", n, want)
	}
	return nil
}

func heapError[T rankable](k *ranking[T]) error {
	for i, m := range k.members {
		if int(*m.position(k.axis)) != i {
			return fmt.Errorf("member %d thinks it is at %d", i, *m.position(k.axis))
		}
		if i > 0 && k.members[(i-1)/2].size() < m.size() {
			return fmt.Errorf("member %d is larger than its parent", i)
		}
	}
	return nil
}
