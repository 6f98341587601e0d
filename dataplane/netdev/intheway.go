package netdev

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// Place is where an interface is to be: a name in a namespace, which is called as in VethOptions.
type Place struct{ NetNS, Name string }

// RemoveInTheWay is RemoveLeft for those pairs alone that have an end where another port's interface goes: an end of another pair that is wanted, or one of
// others. It is to be called before any of these is made. A pair that only differs from the one that is wanted under its name is left to OpenVeth, which looks
// first whether that can be had.
func RemoveInTheWay(instance string, wanted []VethOptions, others []Place) (removed []string, err error) {
	return removeLeft(instance, wanted, nil, func(stale []netlink.Link) []netlink.Link {
		if len(stale) == 0 {
			return nil
		}
		places := make(map[string]map[string]bool) // names by NetNSKey
		word := make(map[string]string)            // a name of each of these namespaces
		add := func(netns, name string) {
			key := device.NetNSKey(netns)
			if places[key] == nil {
				places[key] = make(map[string]bool)
			}
			places[key][name], word[key] = true, netns
		}
		add("", "")
		for _, p := range others {
			add(p.NetNS, p.Name)
		}
		var names []string
		for _, o := range wanted {
			if o.normalise() == nil { // what is wrong with it is for OpenVeth to say
				add(o.NetNS, o.IfName)
				names = append(names, o.Name)
			}
		}
		barring := make(map[int]bool)
		for _, l := range stale {
			barring[l.Attrs().Index] = places[""][l.Attrs().Name]
		}
		for _, name := range names { // only now: a host end that has one is left to OpenVeth
			add("", name)
		}
		for key, names := range places {
			for _, i := range endsIn(word[key], stale, names) {
				barring[i] = true
			}
		}
		var bar []netlink.Link
		for _, l := range stale {
			if barring[l.Attrs().Index] {
				bar = append(bar, l)
			}
		}
		return bar
	})
}

// endsIn are the indexes of pairs whose other end is in a namespace and has one of the names. A namespace that cannot be looked into has none.
func endsIn(netns string, pairs []netlink.Link, names map[string]bool) (found []int) {
	target, err := openOther(netns)
	if err != nil {
		return nil
	}
	if target >= 0 {
		defer unix.Close(target)
	}
	here, err := device.HandleIn(-1)
	if err != nil {
		return nil
	}
	defer here.Close()
	there, err := device.HandleIn(target)
	if err != nil {
		return nil
	}
	defer there.Close()
	where, err := numberOf(here, target)
	if err != nil {
		return nil
	}
	for _, l := range pairs {
		if peer, err := peerAt(there, where, l); err == nil && peer != nil && names[peer.Attrs().Name] {
			found = append(found, l.Attrs().Index)
		}
	}
	return found
}
