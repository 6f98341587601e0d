package ctl

import (
	"slices"

	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// devicesChange makes ports anew. Undoing makes the old port again: with another device, so what can be found wrong is looked for before that is taken away.
func (p *planner) devicesChange() {
	for _, c := range p.ports {
		if !c.anew() {
			continue
		}
		p.portOp("check", c.name,
			func() error {
				if err := checkNetNS(c.next); err != nil {
					return err
				}
				return atPort(c.name, p.sw.CheckPort(c.next, c.name))
			},
			func() error { return nil })
		for _, k := range p.staticsAt(c.name) {
			p.staticLeaves(k)
		}
		p.portLeaves(c.name)
		p.portComes(c)
	}
}

// carries says whether a port that is to have an entry in a VNI is there by now, and in the VNI.
func (p *planner) carries(name string, vni uint32) bool {
	i, changes := slices.BinarySearchFunc(p.ports, name, func(c *portChange, name string) int { return model.CompareNames(c.name, name) })
	if !changes {
		return true
	}
	c := p.ports[i]
	return c.now != nil && (c.now.Untagged == vni || slices.ContainsFunc(c.now.Tagged, func(m dataplane.VIDMap) bool { return m.VNI == vni }))
}
