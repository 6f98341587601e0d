package dataplane

import (
	"fmt"

	"vtepd/encap"
)

// GBPRange is a range of group policy IDs, First and Last included.
type GBPRange struct {
	First, Last uint16
}

func checkGBPRanges(list []GBPRange) error {
	for _, r := range list {
		if r.First > r.Last {
			return fmt.Errorf("groups %d to %d: the range ends before it starts: %w", r.First, r.Last, ErrInvalid)
		}
	}
	return nil
}

// gbpSet is a set of group policy IDs, immutable: one bit each, so that looking one up costs the same however many there are.
type gbpSet [1 << 16 / 64]uint64

// newGBPSet is nil for an empty list.
func newGBPSet(list []GBPRange) *gbpSet {
	if len(list) == 0 {
		return nil
	}
	s := new(gbpSet)
	for _, r := range list {
		for id := uint32(r.First); id <= uint32(r.Last); id++ {
			s[id>>6] |= 1 << (id & 63)
		}
	}
	return s
}

// denies says whether a frame is in the set. One to which policy has been applied is not judged again (draft-smith-vxlan-group-policy-05 2.1).
func (s *gbpSet) denies(g encap.GBP) bool {
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
	if c.Header.GBP && len(c.GBPDrop) > 0 {
		h = h.WithGBP(encap.GBP(0).WithApplied()) // whatever passed the VNI's own list
	}
	return h
}

// readGBP takes the group policy ID of a frame from its header.
func (f *frame) readGBP(h encap.VXLAN) Reason {
	if f.domain.strictBits && !h.GBPReservedZero() {
		return BadVXLANHeader
	}
	f.gbp = h.GBP()
	return ReasonNone
}

// guardGBP gives a frame from a port its group policy ID, and keeps out what may not enter the VNI.
func guardGBP(f *frame) Reason {
	d := f.domain
	if !d.gbp {
		return ReasonNone
	}
	if !f.wire {
		f.gbp = f.port.gbp
	}
	if d.gbpDrop.denies(f.gbp) {
		return GBPDenied
	}
	return ReasonNone
}
