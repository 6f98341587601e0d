package model

import (
	"hash/maphash"
	"iter"
	"maps"
)

// tableFan is the width of both levels of a Table: 4096 leaves, of 25 values each when there are 100,000.
const tableFan = 64

// Table is a map. Tables that came of one another share what they have in common, so that copying one, changing a value in the copy and finding out what
// differs cost the same with ten values as with a hundred thousand, or after them. The zero value is empty. Copy a table with clone; the one that was
// copied must not be changed any more.
type Table[K, V comparable] struct {
	root  *tableRoot[K, V]
	owner *tableOwner // nodes with this owner belong to the table alone
	count int
}

type (
	tableOwner                 struct{ _ byte }
	tableRoot[K, V comparable] struct {
		owner *tableOwner
		nodes [tableFan]*tableNode[K, V]
	}
	tableNode[K, V comparable] struct {
		owner  *tableOwner
		leaves [tableFan]*tableLeaf[K, V]
	}
	tableLeaf[K, V comparable] struct {
		owner  *tableOwner
		values map[K]V
	}
)

// tableSeed is one for all tables: those that are compared must have their values at the same places.
var tableSeed = maphash.MakeSeed()

// place is where a key lives: its node in the root and its leaf in the node.
func place[K comparable](k K) (node, leaf uint64) {
	h := maphash.Comparable(tableSeed, k)
	return h >> 58, h >> 52 % tableFan
}

// clone is a table to change.
func (t Table[K, V]) clone() Table[K, V] {
	t.owner = new(tableOwner)
	return t
}

// Len counts the values.
func (t *Table[K, V]) Len() int { return t.count }

// Get finds a value.
func (t *Table[K, V]) Get(k K) (v V, ok bool) {
	if t.root == nil {
		return v, false
	}
	i, j := place(k)
	n := t.root.nodes[i]
	if n == nil || n.leaves[j] == nil {
		return v, false
	}
	v, ok = n.leaves[j].values[k]
	return v, ok
}

// At is the value of a key, the zero value when there is none.
func (t *Table[K, V]) At(k K) V {
	v, _ := t.Get(k)
	return v
}

// Has says whether there is a value.
func (t *Table[K, V]) Has(k K) bool {
	_, ok := t.Get(k)
	return ok
}

// Put adds a value, or replaces the one that is there.
func (t *Table[K, V]) Put(k K, v V) {
	node, j := t.own(k)
	values := node.leaves[j].values
	before := len(values)
	values[k] = v
	t.count += len(values) - before
}

// Delete removes a value if it is there.
func (t *Table[K, V]) Delete(k K) {
	if !t.Has(k) {
		return
	}
	node, j := t.own(k)
	values := node.leaves[j].values
	delete(values, k)
	if len(values) == 0 {
		node.leaves[j] = nil
	}
	t.count--
}

// own makes the leaf of a key the table's own, and the way there.
func (t *Table[K, V]) own(k K) (node *tableNode[K, V], j uint64) {
	if t.owner == nil {
		t.owner = new(tableOwner)
	}
	i, j := place(k)
	root := t.root
	switch {
	case root == nil:
		root = &tableRoot[K, V]{}
	case root.owner != t.owner:
		root = &tableRoot[K, V]{nodes: root.nodes}
	}
	root.owner, t.root = t.owner, root
	node = root.nodes[i]
	switch {
	case node == nil:
		node = &tableNode[K, V]{}
	case node.owner != t.owner:
		node = &tableNode[K, V]{leaves: node.leaves}
	}
	node.owner, root.nodes[i] = t.owner, node
	leaf := node.leaves[j]
	switch {
	case leaf == nil:
		leaf = &tableLeaf[K, V]{values: make(map[K]V)}
	case leaf.owner != t.owner:
		leaf = &tableLeaf[K, V]{values: maps.Clone(leaf.values)}
	}
	leaf.owner, node.leaves[j] = t.owner, leaf
	return node, j
}

// All lists keys and values in no order. No key may come or go meanwhile.
func (t *Table[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if t.root == nil {
			return
		}
		for _, n := range t.root.nodes {
			if n == nil {
				continue
			}
			for _, l := range n.leaves {
				if l == nil {
					continue
				}
				for k, v := range l.values {
					if !yield(k, v) {
						return
					}
				}
			}
		}
	}
}

// Keys lists the keys in no order. None may come or go meanwhile.
func (t *Table[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		for k := range t.All() {
			if !yield(k) {
				return
			}
		}
	}
}

// Since lists the keys under which the two tables hold something different, or only one of them something, in no order.
func (t *Table[K, V]) Since(old *Table[K, V]) []K {
	if t.root == old.root {
		return nil
	}
	var keys []K
	now, was := t.root.orEmpty(), old.root.orEmpty()
	for i := range tableFan {
		if now.nodes[i] == was.nodes[i] {
			continue
		}
		a, b := now.nodes[i].orEmpty(), was.nodes[i].orEmpty()
		for j := range tableFan {
			if a.leaves[j] != b.leaves[j] {
				keys = differing(keys, a.leaves[j], b.leaves[j])
			}
		}
	}
	return keys
}

func (r *tableRoot[K, V]) orEmpty() *tableRoot[K, V] {
	if r == nil {
		return &tableRoot[K, V]{}
	}
	return r
}

func (n *tableNode[K, V]) orEmpty() *tableNode[K, V] {
	if n == nil {
		return &tableNode[K, V]{}
	}
	return n
}

func differing[K, V comparable](keys []K, a, b *tableLeaf[K, V]) []K {
	if a == nil {
		a = &tableLeaf[K, V]{}
	}
	if b == nil {
		b = &tableLeaf[K, V]{}
	}
	for k, v := range a.values {
		if w, ok := b.values[k]; !ok || v != w {
			keys = append(keys, k)
		}
	}
	for k := range b.values {
		if _, ok := a.values[k]; !ok {
			keys = append(keys, k)
		}
	}
	return keys
}
