package ctl

import (
	"slices"

	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// devices are those of ports for which another has to go first.
type devices struct {
	// room lists for a port that comes or is made anew the ports that are deleted before, because an interface of theirs has a name that it wants, or in a VNI of
	// its own the MAC. One that is made anew is in its own list. A port without a list has to wait for nobody.
	room map[string][]string
	// rival names for such a port another one that wants the same name, and does not leave.
	rival map[string]rival
	// gone are the ports that have been deleted by the operations that are planned so far.
	gone map[string]bool
}

// rival is a port that wants an interface as well.
type rival struct {
	port  string
	wants dataplane.Interface
}

func (p *planner) lookAtDevices() {
	p.devices = devices{room: map[string][]string{}, rival: map[string]rival{}, gone: map[string]bool{}}
	leaving, stations := map[dataplane.Interface][]string{}, map[string][]dataplane.PortConfig{}
	leave := func(name string) {
		c := p.old.PortConfig(name)
		for _, i := range c.Interfaces() {
			leaving[i] = append(leaving[i], name)
		}
		if c.MAC != nil {
			stations[c.MAC.String()] = append(stations[c.MAC.String()], c)
		}
	}
	for _, name := range p.changes.PortsGone {
		leave(name)
	}
	for _, c := range p.ports {
		if c.anew() {
			leave(c.name)
		}
	}
	if len(leaving) == 0 {
		return
	}
	coming := map[dataplane.Interface]string{}
	for _, c := range p.ports {
		if c.inPlace() {
			continue
		}
		if c.anew() {
			p.devices.room[c.name] = []string{c.name}
		}
		for _, station := range stations[c.next.MAC.String()] {
			// An interface with the MAC of another has the same link-local address, which duplicate address detection takes from it for good (RFC 4862 section 5.4.5).
			if station.Name != c.name && meet(station, c.next) {
				p.devices.room[c.name] = append(p.devices.room[c.name], station.Name)
			}
		}
		for _, i := range c.next.Interfaces() {
			for _, name := range leaving[i] {
				if name != c.name {
					p.devices.room[c.name] = append(p.devices.room[c.name], name)
				}
			}
			if c.next.Type == dataplane.PortNetdev {
				continue // it takes what others make
			}
			if first, taken := coming[i]; taken && first != c.name {
				p.devices.rival[c.name], p.devices.rival[first] = rival{first, i}, rival{c.name, i}
			}
			coming[i] = c.name
		}
	}
}

// meet says whether two ports are in a VNI together.
func meet(a, b dataplane.PortConfig) bool {
	vnis := vidsOf(b).vnis()
	for n := range vidsOf(a).vnis() {
		if vnis[n] {
			return true
		}
	}
	return false
}

// devicesChecked looks for reasons why a device cannot be made, before any is taken away for it: undoing would make that one again, but it would be another
// device, and the connections of its workload would be lost.
func (p *planner) devicesChecked() {
	for _, c := range p.ports {
		leaving := p.devices.room[c.name]
		if leaving == nil {
			continue
		}
		p.portOp("check", c.name,
			func() error {
				if err := checkNetNS(c.next); err != nil {
					return err
				}
				if r, ok := p.devices.rival[c.name]; ok {
					return model.Exists("ports/"+c.name, "port %s: interface %s is to be that of port %s as well: give one of them another name", c.name, r.wants.Name, r.port)
				}
				return atPort(c.name, p.sw.CheckPort(c.next, leaving...))
			},
			func() error { return nil })
	}
}

// devicesChange makes room for ports, and makes them, one by one: none is away longer than it must be.
func (p *planner) devicesChange() {
	for _, c := range p.ports {
		leaving := p.devices.room[c.name]
		if leaving == nil {
			continue
		}
		for _, name := range leaving {
			if p.devices.gone[name] {
				continue
			}
			p.devices.gone[name] = true
			for _, k := range p.staticsAt(name) {
				p.staticLeaves(k)
			}
			p.portLeaves(name)
		}
		p.portComes(c)
	}
}

// carries says whether a port that is to have an entry in a VNI is there by now, and in the VNI, and does not part from it for others: the entry would be lost.
func (p *planner) carries(name string, vni uint32) bool {
	i, changes := slices.BinarySearchFunc(p.ports, name, func(c *portChange, name string) int { return model.CompareNames(c.name, name) })
	if !changes {
		return true
	}
	c := p.ports[i]
	if c.now == nil {
		return false
	}
	now := vidsIn(*c.now, vni)
	if !p.contested[vni] {
		return len(now) > 0
	}
	next := vidsIn(c.next, vni)
	return slices.ContainsFunc(now, func(vid uint16) bool { return slices.Contains(next, vid) })
}

// vidsIn are the VLAN IDs that mean a VNI on a port, 0 being untagged.
func vidsIn(c dataplane.PortConfig, vni uint32) []uint16 {
	if c.Untagged == vni {
		return []uint16{0, c.NativeVID}
	}
	for _, m := range c.Tagged {
		if m.VNI == vni {
			return []uint16{m.VID}
		}
	}
	return nil
}
