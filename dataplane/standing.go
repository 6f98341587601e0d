package dataplane

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// standsOn says whether what an interface receives comes through another one of the calling thread's namespace: a VLAN, a macvlan or a tunnel from the
// device below, a bridge or a bond from what belongs to it, and so on down.
func standsOn(upper, lower string) bool {
	top, err := netlink.LinkByName(upper)
	if err != nil || standsAlone(top) {
		return false
	}
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return false
	}
	var carriers []int // of the upper one, itself first; it grows while it is walked
	target := 0
	for _, l := range links {
		switch a := l.Attrs(); a.Name {
		case upper:
			carriers = append(carriers, a.Index)
		case lower:
			target = a.Index
		}
	}
	seen := make(map[int]bool)
	for i := 0; i < len(carriers); i++ {
		at := carriers[i]
		if seen[at] {
			continue
		}
		seen[at] = true
		if at == target {
			return true
		}
		for _, l := range links {
			a := l.Attrs()
			if a.Index == at && hasParent(l) {
				carriers = append(carriers, a.ParentIndex)
			}
			if a.MasterIndex == at {
				carriers = append(carriers, a.Index)
			}
		}
	}
	return false
}

// hasParent says whether an interface has another one below it in its namespace. The link of a pair is its other end, and one with a namespace is a number of
// that namespace.
func hasParent(l netlink.Link) bool {
	a := l.Attrs()
	return a.ParentIndex != 0 && a.NetNsID < 0 && !isPair(l)
}

func isPair(l netlink.Link) bool { return l.Type() == "veth" || l.Type() == "netkit" }

// standsAlone spares the list of all interfaces, of which there are as many as ports, for those that nothing can be below of: cards, pairs and TAPs.
func standsAlone(l netlink.Link) bool {
	return !hasParent(l) && (l.Type() == "device" || isPair(l) || l.Type() == "tuntap")
}
