package model

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"vtepd/fdb"
)

// StaticKey names a forwarding entry.
type StaticKey struct {
	VNI uint32
	MAC fdb.MAC
}

// CompareStatics orders keys by VNI, then MAC.
func CompareStatics(a, b StaticKey) int {
	return cmp.Or(cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.MAC, b.MAC))
}

// staticFan is the width of both levels of a StaticSet: 4096 leaves, of 25 entries each when there are 100,000.
const staticFan = 64

// StaticSet holds static entries by key. Sets that came of one another share what they have in common, so that copying one, changing an entry in the copy
// and finding out what differs cost the same with ten entries as with a hundred thousand. The zero value is empty. Copy a set with clone; the
// one that was copied must not be changed any more.
type StaticSet struct {
	root  *staticRoot
	owner *staticOwner // nodes with this owner belong to the set alone
	count int
}

type (
	staticOwner struct{ _ byte }
	staticRoot  struct {
		owner *staticOwner
		nodes [staticFan]*staticNode
	}
	staticNode struct {
		owner  *staticOwner
		leaves [staticFan]*staticLeaf
	}
	staticLeaf struct {
		owner   *staticOwner
		entries map[StaticKey]Static
	}
)

// place is where a key lives: its node in the root and its leaf in the node.
func (k StaticKey) place() (node, leaf uint64) {
	// Fibonacci hashing: neighbouring MACs go to different leaves.
	h := (uint64(k.MAC) ^ uint64(k.VNI)<<40) * 0x9e3779b97f4a7c15
	return h >> 58, h >> 52 % staticFan
}

// clone is a set to change.
func (s StaticSet) clone() StaticSet {
	s.owner = new(staticOwner)
	return s
}

// Len counts the entries.
func (s *StaticSet) Len() int { return s.count }

// Get finds an entry.
func (s *StaticSet) Get(k StaticKey) (Static, bool) {
	if s.root == nil {
		return Static{}, false
	}
	i, j := k.place()
	n := s.root.nodes[i]
	if n == nil || n.leaves[j] == nil {
		return Static{}, false
	}
	e, ok := n.leaves[j].entries[k]
	return e, ok
}

// Has says whether there is an entry.
func (s *StaticSet) Has(k StaticKey) bool {
	_, ok := s.Get(k)
	return ok
}

// Put adds an entry, or replaces the one that is there.
func (s *StaticSet) Put(k StaticKey, e Static) {
	entries := s.own(k)
	before := len(entries)
	entries[k] = e
	s.count += len(entries) - before
}

// Delete removes an entry if it is there.
func (s *StaticSet) Delete(k StaticKey) {
	if s.Has(k) {
		delete(s.own(k), k)
		s.count--
	}
}

// own makes the leaf of a key the set's own, and the way there.
func (s *StaticSet) own(k StaticKey) map[StaticKey]Static {
	if s.owner == nil {
		s.owner = new(staticOwner)
	}
	i, j := k.place()
	root := s.root
	switch {
	case root == nil:
		root = &staticRoot{}
	case root.owner != s.owner:
		root = &staticRoot{nodes: root.nodes}
	}
	root.owner, s.root = s.owner, root
	node := root.nodes[i]
	switch {
	case node == nil:
		node = &staticNode{}
	case node.owner != s.owner:
		node = &staticNode{leaves: node.leaves}
	}
	node.owner, root.nodes[i] = s.owner, node
	leaf := node.leaves[j]
	switch {
	case leaf == nil:
		leaf = &staticLeaf{entries: make(map[StaticKey]Static)}
	case leaf.owner != s.owner:
		leaf = &staticLeaf{entries: maps.Clone(leaf.entries)}
	}
	leaf.owner, node.leaves[j] = s.owner, leaf
	return leaf.entries
}

// All lists the entries in no order. The set must not be changed meanwhile.
func (s *StaticSet) All() iter.Seq2[StaticKey, Static] {
	return func(yield func(StaticKey, Static) bool) {
		if s.root == nil {
			return
		}
		for _, n := range s.root.nodes {
			if n == nil {
				continue
			}
			for _, l := range n.leaves {
				if l == nil {
					continue
				}
				for k, e := range l.entries {
					if !yield(k, e) {
						return
					}
				}
			}
		}
	}
}

// Keys lists the keys by VNI, then MAC.
func (s *StaticSet) Keys() []StaticKey {
	keys := make([]StaticKey, 0, s.count)
	for k := range s.All() {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, CompareStatics)
	return keys
}

// Since lists the keys under which the two sets hold something different, or only one of them something, by VNI, then MAC.
func (s *StaticSet) Since(old *StaticSet) []StaticKey {
	if s.root == old.root {
		return nil
	}
	var keys []StaticKey
	now, was := s.rootOrEmpty(), old.rootOrEmpty()
	for i := range staticFan {
		if now.nodes[i] == was.nodes[i] {
			continue
		}
		a, b := now.nodes[i].orEmpty(), was.nodes[i].orEmpty()
		for j := range staticFan {
			if a.leaves[j] != b.leaves[j] {
				keys = differing(keys, a.leaves[j], b.leaves[j])
			}
		}
	}
	slices.SortFunc(keys, CompareStatics)
	return keys
}

func (s *StaticSet) rootOrEmpty() *staticRoot {
	if s.root == nil {
		return &staticRoot{}
	}
	return s.root
}

func (n *staticNode) orEmpty() *staticNode {
	if n == nil {
		return &staticNode{}
	}
	return n
}

func differing(keys []StaticKey, a, b *staticLeaf) []StaticKey {
	if a == nil {
		a = &staticLeaf{}
	}
	if b == nil {
		b = &staticLeaf{}
	}
	for k, e := range a.entries {
		if f, ok := b.entries[k]; !ok || e != f {
			keys = append(keys, k)
		}
	}
	for k := range b.entries {
		if _, ok := a.entries[k]; !ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// Equal says whether two sets hold the same.
func (s StaticSet) Equal(other StaticSet) bool {
	return s.count == other.count && len(s.Since(&other)) == 0
}
