package dataplane

import (
	"fmt"

	"vtepd/encap"
)

// GroupRange is a range of group policy IDs, First and Last included.
type GroupRange struct {
	First, Last uint16
}

func checkGroups(list []GroupRange) error {
	for _, r := range list {
		if r.First > r.Last {
			return fmt.Errorf("groups %d to %d: the range ends before it starts: %w", r.First, r.Last, ErrInvalid)
		}
	}
	return nil
}

// groupSet is a set of group policy IDs, immutable: one bit each, so that looking one up costs the same however many there are.
type groupSet [1 << 16 / 64]uint64

// newGroupSet is nil for an empty list.
func newGroupSet(list []GroupRange) *groupSet {
	if len(list) == 0 {
		return nil
	}
	s := new(groupSet)
	for _, r := range list {
		for id := uint32(r.First); id <= uint32(r.Last); id++ {
			s[id>>6] |= 1 << (id & 63)
		}
	}
	return s
}

// denies says whether a frame is in the set. One to which policy has been applied is not judged again (draft-smith-vxlan-group-policy-05 2.1).
func (s *groupSet) denies(g encap.Group) bool {
	if s == nil || g.Applied() {
		return false
	}
	id := g.ID()
	return s[id>>6]&(1<<(id&63)) != 0
}

// vxlanHeader is what the VXLAN headers of the VNI have in common.
func (c *VNIConfig) vxlanHeader() encap.VXLANHeader {
	h := encap.NewVXLANHeader(c.VNI)
	if c.Header.GPE {
		h = h.WithNext(encap.GPEEthernet)
	}
	if c.Header.GBP && len(c.GroupDrop) > 0 {
		h = h.WithGroup(encap.Group(0).WithApplied()) // whatever passed the VNI's own list
	}
	return h
}

// readGroup takes the group of a frame from its header.
func (f *frame) readGroup(h encap.VXLAN) Reason {
	if f.domain.strictBits && !h.GroupReservedZero() {
		return BadVXLANHeader
	}
	f.group = h.Group()
	return ReasonNone
}

// guardGroup gives a frame from a port its group, and keeps out what may not enter the VNI.
func guardGroup(f *frame) Reason {
	d := f.domain
	if !d.gbp {
		return ReasonNone
	}
	if !f.wire {
		f.group = f.port.group
	}
	if d.groupDrop.denies(f.group) {
		return GBPDenied
	}
	return ReasonNone
}
