package dataplane

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// standsOn says whether what an interface receives comes through another one of the calling thread's namespace: a VLAN, a macvlan or a tunnel from the
// device below, a bridge or a bond from what belongs to it, and so on down.
func standsOn(upper, lower string) bool {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return false
	}
	below := []int{} // what is known to carry the upper one; it grows while it is walked
	target := 0
	for _, l := range links {
		switch a := l.Attrs(); a.Name {
		case upper:
			below = append(below, a.Index)
		case lower:
			target = a.Index
		}
	}
	seen := make(map[int]bool)
	for i := 0; i < len(below); i++ {
		at := below[i]
		if seen[at] {
			continue
		}
		seen[at] = true
		if at == target {
			return true
		}
		for _, l := range links {
			a := l.Attrs()
			// The link of a pair is its other end, and one with a namespace is a number of that namespace.
			if a.Index == at && a.ParentIndex != 0 && a.NetNsID < 0 && l.Type() != "veth" && l.Type() != "netkit" {
				below = append(below, a.ParentIndex)
			}
			if a.MasterIndex == at {
				below = append(below, a.Index)
			}
		}
	}
	return false
}
