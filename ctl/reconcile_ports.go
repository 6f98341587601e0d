package ctl

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"

	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// portChange is a port that comes or changes.
type portChange struct {
	name string
	// old is nil for a port that comes.
	old, new *model.Port
	// before becomes wide, which has all of it, then reshaped, which the device may refuse, then next. Those between are for ports that change in place.
	before, wide, reshaped, next dataplane.PortConfig
	// now is what the port is after the operations that are planned so far; nil while there is none, and for one that is to be made anew.
	now *dataplane.PortConfig
}

// anew says that the device must be made again: its type, its namespace or the name of its other end changes.
func (c *portChange) anew() bool {
	return c.old != nil && (c.old.Type != c.new.Type || c.old.NetNS != c.new.NetNS || c.old.IfName != c.new.IfName)
}

// inPlace says that the port stays.
func (c *portChange) inPlace() bool { return c.old != nil && !c.anew() }

func (p *planner) lookAtPorts() {
	names := slices.Concat(p.changes.Ports, p.new.PortsNaming(p.changes.VLANs))
	slices.SortFunc(names, model.CompareNames)
	names = slices.Compact(names)
	for _, name := range names {
		c := &portChange{name: name, old: p.old.Ports.At(name), new: p.new.Ports.At(name), next: p.new.PortConfig(name)}
		if c.old != nil {
			c.before = p.old.PortConfig(name)
			if reflect.DeepEqual(c.before, c.next) {
				continue
			}
		}
		p.ports = append(p.ports, c)
	}
	p.lookForStrangers()
	p.lookForAddresses()
	for _, c := range p.ports {
		if c.inPlace() {
			c.wide = p.widerPort(c.before, c.next)
			c.reshaped = reshapedPort(c.wide, c.next)
			c.now = &c.before
		}
	}
}

// widerPort is before with what next adds: VLANs, addresses, a larger MTU, room for MACs.
func (p *planner) widerPort(before, next dataplane.PortConfig) dataplane.PortConfig {
	w := p.without(widerVLANs(before, next), before)
	for _, a := range next.Addresses {
		same := func(b netip.Prefix) bool { return a.Addr() == b.Addr() }
		// Two ports with one address would find each other (RFC 4862 section 5.4), and none would have it.
		if !slices.ContainsFunc(w.Addresses, same) && !p.elsewhere(before.Name, same) {
			w.Addresses = append(slices.Clip(w.Addresses), a)
		}
	}
	if len(w.Addresses) == len(next.Addresses) && !slices.ContainsFunc(w.Addresses, func(a netip.Prefix) bool { return !slices.Contains(next.Addresses, a) }) {
		w.Addresses = next.Addresses // they may come in another order
	}
	if before.MTU != 0 && next.MTU > before.MTU {
		w.MTU = next.MTU
	}
	if before.MaxMACs != 0 && (next.MaxMACs == 0 || next.MaxMACs > before.MaxMACs) {
		w.MaxMACs = next.MaxMACs
	}
	return w
}

// elsewhere says whether another port has had such an address.
func (p *planner) elsewhere(name string, such func(netip.Prefix) bool) bool {
	for other, o := range p.old.Ports.All() {
		if other != name && slices.ContainsFunc(o.Addresses, such) {
			return true
		}
	}
	return false
}

// widerVLANs is before with the VLANs of next that it has room for: a VLAN ID means one VNI, and a VNI has one on a port.
func widerVLANs(before, next dataplane.PortConfig) dataplane.PortConfig {
	w := before
	vids, vnis := map[uint16]uint32{}, map[uint32]bool{before.Untagged: true}
	for _, m := range before.Tagged {
		vids[m.VID], vnis[m.VNI] = m.VNI, true
	}
	kept := 0
	for _, m := range next.Tagged {
		if vids[m.VID] == m.VNI {
			kept++
		}
	}
	if kept == len(before.Tagged) && (before.Untagged == 0 || before.Untagged == next.Untagged) && (before.NativeVID == 0 || before.NativeVID == next.NativeVID) {
		w.Untagged, w.NativeVID, w.Tagged = next.Untagged, next.NativeVID, next.Tagged
		return w
	}
	vids[before.NativeVID] = before.Untagged // 0 is no VLAN
	free := func(vid uint16, vni uint32) bool { return vids[vid] == 0 && !vnis[vni] }
	if before.Untagged == 0 && free(next.NativeVID, next.Untagged) {
		w.Untagged, w.NativeVID = next.Untagged, next.NativeVID
		vids[w.NativeVID], vnis[w.Untagged] = w.Untagged, true
	}
	w.Tagged = slices.Clip(w.Tagged)
	for _, m := range next.Tagged {
		if free(m.VID, m.VNI) {
			w.Tagged = append(w.Tagged, m)
		}
	}
	return w
}

// reshapedPort is wide with what the device may refuse of next. An MTU that is known to be lower is not refused, and waits.
func reshapedPort(wide, next dataplane.PortConfig) dataplane.PortConfig {
	wide.MAC = next.MAC
	if next.MTU == 0 || next.MTU > wide.MTU {
		wide.MTU = next.MTU
	}
	return wide
}

// portsCome adds ports that nobody has to make room for.
func (p *planner) portsCome() {
	for _, c := range p.ports {
		if c.old == nil && p.devices.room[c.name] == nil {
			p.portComes(c)
		}
	}
}

func (p *planner) portComes(c *portChange) {
	first := p.without(c.next, c.before)
	first.Isolated, first.Addresses = c.isolatedSoFar(), p.addressesSoFar(c)
	p.portOp("add", c.name,
		func() error { return atPort(c.name, p.sw.AddPort(first)) },
		func() error { return p.sw.DelPort(c.name) })
	c.now = &first
}

// portsWiden gives to ports what they get and lack so far.
func (p *planner) portsWiden() {
	for _, c := range p.ports {
		if c.inPlace() {
			p.portBecomes(c, &c.wide)
		}
	}
}

// portsReshape changes at ports what is neither more nor less, and may be refused.
func (p *planner) portsReshape() {
	for _, c := range p.ports {
		if c.inPlace() {
			p.portBecomes(c, &c.reshaped)
		}
	}
}

// portsNarrow brings ports into their final form. The switch forgets the entries of a VNI that a port leaves, so static ones are deleted before: whatever
// undoes the change brings them back behind it.
func (p *planner) portsNarrow() {
	for _, c := range p.ports {
		next := c.next
		next.Isolated, next.Addresses = c.isolatedSoFar(), p.addressesSoFar(c)
		if reflect.DeepEqual(*c.now, next) {
			continue
		}
		stays := p.new.PortVNIs(c.new)
		for _, k := range p.staticsAt(c.name) {
			if !slices.Contains(stays, k.VNI) {
				p.staticLeaves(k)
			}
		}
		p.portBecomes(c, &next)
	}
}

// isolatedSoFar says whether the port is isolated until portsComplete.
func (c *portChange) isolatedSoFar() bool {
	if c.old != nil {
		return c.old.Isolated
	}
	return c.new.Isolated
}

// portsComplete brings ports out of isolation, and then others into it, and gives them addresses that others had. It comes when all have left that are to: those of a VNI
// whom a port was kept from may be among them. So nobody meets whom neither model has together, and who may meet by both is not kept apart meanwhile.
func (p *planner) portsComplete() {
	for _, to := range []bool{false, true} {
		for _, c := range p.ports {
			if c.next.Isolated == to {
				p.portBecomes(c, &c.next)
			}
		}
	}
}

func (p *planner) portBecomes(c *portChange, next *dataplane.PortConfig) {
	before := *c.now
	if reflect.DeepEqual(before, *next) {
		return
	}
	p.portOp("set", c.name,
		func() error { return atPort(c.name, p.sw.SetPort(*next)) },
		func() error { return p.sw.SetPort(before) })
	c.now = next
}

// atPort says which port an error of the switch is about, so that the file's line can be named.
func atPort(name string, err error) error {
	var located *model.Error
	if err == nil || errors.As(err, &located) {
		return err
	}
	return &model.Error{Path: portPath(name, err), Msg: err.Error(), Kind: err}
}

// portsLeave deletes the ports that made room for nobody.
func (p *planner) portsLeave() {
	for _, name := range p.changes.PortsGone {
		if !p.devices.gone[name] {
			p.portLeaves(name)
		}
	}
}

func (p *planner) portLeaves(name string) {
	before := p.old.PortConfig(name)
	p.portOp("del", name,
		func() error { return gone(p.sw.DelPort(name)) },
		func() error { return p.sw.AwaitPort(before) }) // it may have been missing for its namespace
}
