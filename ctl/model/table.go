package model

import (
	"hash/maphash"
	"iter"
	"slices"
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
	// tableLeaf holds values in the order in which their keys came. They are few: to look through them takes no longer than to hash, and to copy them, or
	// walk over all leaves, a fraction of what it does with maps.
	tableLeaf[K, V comparable] struct {
		owner  *tableOwner
		keys   []K
		values []V
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
	return n.leaves[j].get(k)
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
	l := node.leaves[j]
	if i := slices.Index(l.keys, k); i >= 0 {
		l.values[i] = v
		return
	}
	l.keys, l.values = append(l.keys, k), append(l.values, v)
	t.count++
}

// Delete removes a value if it is there.
func (t *Table[K, V]) Delete(k K) {
	if !t.Has(k) {
		return
	}
	node, j := t.own(k)
	l := node.leaves[j]
	i := slices.Index(l.keys, k)
	l.keys, l.values = slices.Delete(l.keys, i, i+1), slices.Delete(l.values, i, i+1)
	if len(l.keys) == 0 {
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
		leaf = &tableLeaf[K, V]{}
	case leaf.owner != t.owner:
		n := len(leaf.keys) + 1 // most often one is put
		leaf = &tableLeaf[K, V]{keys: append(make([]K, 0, n), leaf.keys...), values: append(make([]V, 0, n), leaf.values...)}
	}
	leaf.owner, node.leaves[j] = t.owner, leaf
	return node, j
}

// All lists keys and values in no order. No key may come or go meanwhile.
func (t *Table[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for l := range t.leaves() {
			for i, k := range l.keys {
				if !yield(k, l.values[i]) {
					return
				}
			}
		}
	}
}

// Keys lists the keys in no order. None may come or go meanwhile.
func (t *Table[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		for l := range t.leaves() {
			for _, k := range l.keys {
				if !yield(k) {
					return
				}
			}
		}
	}
}

func (t *Table[K, V]) leaves() iter.Seq[*tableLeaf[K, V]] {
	return func(yield func(*tableLeaf[K, V]) bool) {
		if t.root == nil {
			return
		}
		for _, n := range t.root.nodes {
			if n == nil {
				continue
			}
			for _, l := range n.leaves {
				if l != nil && !yield(l) {
					return
				}
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

func (l *tableLeaf[K, V]) get(k K) (v V, ok bool) {
	if i := slices.Index(l.keys, k); i >= 0 {
		return l.values[i], true
	}
	return v, false
}

func differing[K, V comparable](keys []K, a, b *tableLeaf[K, V]) []K {
	var x, y tableLeaf[K, V]
	if a != nil {
		x = *a
	}
	if b != nil {
		y = *b
	}
	// Of leaves that came of one another the beginnings and the ends are alike.
	from, m, n := 0, len(x.keys), len(y.keys)
	for from < min(m, n) && x.keys[from] == y.keys[from] && x.values[from] == y.values[from] {
		from++
	}
	for from < min(m, n) && x.keys[m-1] == y.keys[n-1] && x.values[m-1] == y.values[n-1] {
		m, n = m-1, n-1
	}
	x.keys, x.values = x.keys[from:m], x.values[from:m]
	y.keys, y.values = y.keys[from:n], y.values[from:n]
	for i, k := range x.keys {
		if w, ok := y.get(k); !ok || x.values[i] != w {
			keys = append(keys, k)
		}
	}
	for _, k := range y.keys {
		if !slices.Contains(x.keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}
