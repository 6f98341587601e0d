package ctl

import (
	"cmp"
	"slices"

	"vtepd/dataplane"
)

// A vidMap says what VLAN IDs mean on a port, 0 being untagged.
type vidMap map[uint16]uint32

func vidsOf(c dataplane.PortConfig) vidMap {
	v := vidMap{}
	if c.Untagged != 0 {
		v[0], v[c.NativeVID] = c.Untagged, c.Untagged
	}
	for _, m := range c.Tagged {
		v[m.VID] = m.VNI
	}
	return v
}

// vnis are those that a port is in. A trunk has thousands: who asks for each of them asks a set.
func (v vidMap) vnis() map[uint32]bool {
	set := make(map[uint32]bool, len(v))
	for _, n := range v {
		set[n] = true
	}
	return set
}

// newIn lists the VNIs that stations of v are in and were not in before. One whose VLAN has but got another ID is not new.
func (v vidMap) newIn(before vidMap) (vnis []uint32) {
	var had map[uint32]bool
	for vid, n := range v {
		if before[vid] == n {
			continue
		}
		if had == nil {
			had = before.vnis()
		}
		if before[vid] != 0 || !had[n] {
			vnis = append(vnis, n)
		}
	}
	return vnis
}

// who are the ports that come to a VNI, or leave it: a thousand trunks may, and all that is asked of them is whether there is more than the one.
type who struct {
	first string
	more  bool
}

// lookForStrangers finds the VNIs that some ports come to and others leave. Ports change one after another, and who comes must not meet who leaves: neither
// model has them together. A port that is deleted is in its VNIs until it goes.
func (p *planner) lookForStrangers() {
	coming, parting := map[uint32]who{}, map[uint32]who{}
	note := func(to map[uint32]who, vnis []uint32, name string) {
		for _, n := range vnis {
			switch w := to[n]; {
			case w.first == "":
				to[n] = who{first: name}
			case w.first != name && !w.more:
				to[n] = who{w.first, true}
			}
		}
	}
	for _, c := range p.ports {
		before, next := vidsOf(c.before), vidsOf(c.next)
		note(coming, next.newIn(before), c.name)
		note(parting, before.newIn(next), c.name)
	}
	p.contested = map[uint32]bool{}
	for n, come := range coming {
		if part, ok := parting[n]; ok && (come.more || part.more || come.first != part.first) {
			p.contested[n] = true
		}
	}
}

// without is c but for the VLANs of contested VNIs that keep does not have as well. A VLAN that is native in one of the two and tagged in the other stays with its
// tag: who sends with it is in the VNI before and after.
func (p *planner) without(c, keep dataplane.PortConfig) dataplane.PortConfig {
	if len(p.contested) == 0 {
		return c
	}
	kept := vidsOf(keep)
	stays := func(vid uint16, vni uint32) bool { return !p.contested[vni] || kept[vid] == vni }
	tagged := slices.DeleteFunc(slices.Clone(c.Tagged), func(m dataplane.VIDMap) bool { return !stays(m.VID, m.VNI) })
	native := c.NativeVID != 0 && stays(c.NativeVID, c.Untagged)
	switch untagged := stays(0, c.Untagged); {
	case untagged && !native:
		c.NativeVID = 0
	case !untagged && native:
		tagged = append(tagged, dataplane.VIDMap{VID: c.NativeVID, VNI: c.Untagged})
		slices.SortFunc(tagged, func(a, b dataplane.VIDMap) int { return cmp.Compare(a.VID, b.VID) }) // as in the file: no second change of the order
		fallthrough
	case !untagged:
		c.Untagged, c.NativeVID = 0, 0
	}
	if c.Tagged = tagged; len(tagged) == 0 {
		c.Tagged = nil
	}
	return c
}

// portsPart has ports leave contested VNIs before others come to them. Nothing is refused from here on that a host could refuse.
func (p *planner) portsPart() {
	if len(p.contested) == 0 {
		return
	}
	for _, c := range p.ports {
		if !c.inPlace() {
			continue
		}
		parted := p.without(*c.now, c.next)
		stays := vidsOf(parted).vnis()
		for _, k := range p.staticsAt(c.name) {
			if p.contested[k.VNI] && !stays[k.VNI] {
				p.staticLeaves(k)
			}
		}
		p.portBecomes(c, &parted)
	}
}
