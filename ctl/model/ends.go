package model

import (
	"slices"

	"vtepd/dataplane"
	"vtepd/dataplane/device"
	"vtepd/dataplane/netdev"
)

// end is one end of a port's device: a name in a network namespace, "" for vtepd's own.
type end struct {
	netns, name string
}

func (e end) where() string {
	if e.netns == "" {
		return "the namespace of vtepd"
	}
	return "network namespace " + e.netns
}

// workloadEnd is the far end of a veth; the zero value where the port has none, or not yet a name for it.
func (p *Port) workloadEnd() end {
	if p.Type != dataplane.PortVeth || p.NetNS == "" && p.IfName == "" {
		return end{}
	}
	name := p.IfName
	if name == "" {
		name = netdev.DefaultIfName
	}
	return end{netNSWord(p.NetNS), name}
}

// nearEnd is the end that is made and called as the port; the zero value where one is taken that is there.
func (p *Port) nearEnd(name string) end {
	switch p.Type {
	case dataplane.PortTAP:
		return end{netNSWord(p.NetNS), name}
	case dataplane.PortNetdev:
		return end{}
	}
	return end{"", name}
}

func netNSWord(netns string) string {
	if netns == "" {
		return ""
	}
	return device.NetNSWord(netns)
}

// ends refuses workloads' ends that would be called as the end of another port in the same namespace. It is about all ports at once, whichever changed.
func (v *validation) ends() {
	var veths []string
	for name, p := range v.m.Ports.All() {
		if p.workloadEnd() != (end{}) {
			veths = append(veths, name)
		}
	}
	if len(veths) == 0 {
		return
	}
	slices.SortFunc(veths, CompareNames)
	taken := make(map[end]string, v.m.Ports.Len()+len(veths))
	for name, p := range v.m.Ports.All() {
		taken[p.nearEnd(name)] = name
	}
	for _, name := range veths {
		e := v.m.Ports.At(name).workloadEnd()
		switch other, twice := taken[e]; {
		case !twice:
			taken[e] = name
		case other != name: // else both ends are this port's, which is said where it is looked at
			v.add(Exists("ports/"+name+"/ifname", "port %s: its end in %s is to be called %s, as one of port %s is there: choose another ifname", name, e.where(), e.name, other))
		}
	}
}
