package model

import "vtepd/dataplane"

// portKind checks what a port's type is, and what goes with it.
func (v *validation) portKind(path, name string, p *Port) {
	v.underlayNames(path, name, p)
	switch p.Type {
	case dataplane.PortTAP:
		if p.IfName != "" {
			v.add(Invalid(path+"/ifname", "port %s: ifname goes with type veth: a TAP has one end, which is called %s: leave it away (vtepctl: ifname default)", name, name))
		}
	case dataplane.PortNetdev:
		switch {
		case p.IfName != "":
			v.add(Invalid(path+"/ifname", "port %s: ifname goes with type veth: a netdev port is called as the interface that it takes", name))
		case p.NetNS != "":
			v.add(Invalid(path+"/netns", "port %s: netns goes with types tap and veth: an interface is taken where vtepd runs", name))
		case len(p.Addresses) > 0:
			v.add(Invalid(path+"/addresses/"+p.Addresses[0].String(),
				"port %s: addresses go with types tap and veth: the host does not hear what arrives at an interface that is a port, so give them to the workload", name))
		}
	case dataplane.PortVeth:
		switch {
		case p.IfName == "" && p.NetNS == "":
			v.add(Invalid(path, "port %s: a veth needs netns, where the workload's end goes, or ifname, what it is called", name))
		case p.IfName == name && p.NetNS == "":
			v.add(Invalid(path+"/ifname", "port %s: both ends of the pair cannot be called %s in one namespace: choose another ifname", name, name))
		}
	default:
		if _, err := ParsePortType(string(p.Type)); err != nil {
			v.add(Invalid(path+"/type", "port %s: %v", name, err))
		}
	}
}
