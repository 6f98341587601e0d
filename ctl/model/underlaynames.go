package model

import "vtepd/dataplane"

// underlayNames refuses a port one of whose ends has the name, in vtepd's own namespace, of an interface that the underlay needs.
func (v *validation) underlayNames(path, name string, p *Port) {
	g := &v.m.Global
	// A TAP, too, that goes to another namespace: the slip is likelier than the wish.
	if name == g.Interface {
		v.add(Invalid(path, "port %s is the interface that the underlay address comes from (interface: %s): the host would not hear its peers any more", name, name))
	}
	here := p.Type == dataplane.PortNetdev || p.nearEnd(name) == end{"", name}
	if here && name == g.GroupInterface {
		v.add(Invalid(path, "port %s is the interface that multicast groups are joined on (group-interface: %s): the host would not hear them there: name another interface, or rename the port", name, name))
	}
	if here && name == g.VRF {
		v.add(Invalid(path, "port %s has the name of the VRF that the underlay is in (vrf: %s): rename the port, or write the VRF's name", name, name))
	}
	e := p.workloadEnd()
	if e.netns != "" || e.name == "" {
		return
	}
	for _, of := range []struct{ key, name, what string }{
		{"interface", g.Interface, "the interface that the underlay address comes from"},
		{"group-interface", g.GroupInterface, "the interface that multicast groups are joined on"},
		{"vrf", g.VRF, "the VRF that the underlay is in"},
	} {
		if e.name == of.name {
			v.add(Invalid(path+"/ifname", "port %s: its end in %s is to be called %s, as %s (%s: %s): choose another ifname", name, e.where(), e.name, of.what, of.key, of.name))
			return // the others are the same name
		}
	}
}
