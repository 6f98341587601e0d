package fdb

// ranking is a binary heap, largest first, whose members know their position,
// so that one that grows or shrinks by an entry is set right in O(log n) and
// mostly O(1). Members are groups by axis onVNI and onDest, and destinations by
// axis onTable: each axis is a position of its own in the member.
type ranking[T rankable] struct {
	axis    axis
	members []T
}

type axis uint8

const (
	onVNI axis = iota
	onDest
	onTable = onVNI // of destinations
)

type rankable interface {
	size() int
	position(axis) *int32
}

// top returns the largest member; the ranking must not be empty.
func (k *ranking[T]) top() T { return k.members[0] }

func (k *ranking[T]) add(m T) {
	*m.position(k.axis) = int32(len(k.members))
	k.members = append(k.members, m)
	k.up(len(k.members) - 1)
}

func (k *ranking[T]) drop(m T) {
	i := int(*m.position(k.axis))
	last := len(k.members) - 1
	k.swap(i, last)
	clear(k.members[last:])
	k.members = k.members[:last]
	if i < last {
		k.fixAt(i)
	}
}

// fix puts a member right after its size changed.
func (k *ranking[T]) fix(m T) { k.fixAt(int(*m.position(k.axis))) }

func (k *ranking[T]) fixAt(i int) {
	if !k.up(i) {
		k.down(i)
	}
}

func (k *ranking[T]) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if k.members[parent].size() >= k.members[i].size() {
			break
		}
		k.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (k *ranking[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(k.members) {
			return
		}
		if r := child + 1; r < len(k.members) && k.members[r].size() > k.members[child].size() {
			child = r
		}
		if k.members[child].size() <= k.members[i].size() {
			return
		}
		k.swap(i, child)
		i = child
	}
}

func (k *ranking[T]) swap(i, j int) {
	a, b := k.members[i], k.members[j]
	k.members[i], k.members[j] = b, a
	*a.position(k.axis), *b.position(k.axis) = int32(j), int32(i)
}
