package dataplane

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// waysAsked bounds the peers that are asked about where it matters which interfaces their routes lead over, about 20 microseconds each: those of a fabric
// share theirs.
const waysAsked = 128

// checkUnderlay refuses a port on the interface that the underlay runs over: it would receive nothing for the host any more, nor for what stands on it.
func (s *Switch) checkUnderlay(c *PortConfig) error {
	if c.Type != PortNetdev {
		return nil
	}
	err := s.atHome(func() error {
		name := c.Name
		l, err := netlink.LinkByName(name)
		var missing netlink.LinkNotFoundError
		switch {
		case errors.As(err, &missing):
			return nil // it carries nothing; ports that wait for theirs ask often
		case err == nil:
			name = l.Attrs().Name // which may have been an alternative one
		}
		for family := range families {
			if err := s.checkCarriers(name, family); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return invalidError{err}
	}
	return nil
}

// checkCarriers refuses an interface that the underlay of an address family runs over. An underlay that is nowhere now, or down, is no reason: the routes may
// lead anywhere meanwhile.
func (s *Switch) checkCarriers(name string, family int) error {
	local := s.config.localOf(family)
	carriers, _, err := s.paths.holders(family)
	if err != nil {
		return err
	}
	up := false
	for _, c := range carriers {
		switch {
		case c.Name == name:
			return fmt.Errorf("%s carries the underlay address %s: the host would not hear its peers any more, so take another one", name, local)
		case standsOn(c.Name, name):
			return fmt.Errorf("%s, which carries the underlay address %s, stands on %s: the host would not hear its peers any more, so take another one",
				c.Name, local, name)
		}
		up = up || running(c)
	}
	if !up {
		return nil
	}
	return s.checkWays(name, family) // which pass by an address on lo, a dummy or another card
}

// checkWays refuses an interface that a route to a peer or group of an address family leads over, or one that it stands on.
func (s *Switch) checkWays(name string, family int) error {
	asked := make(map[int]bool)
	for to, links := range s.paths.ways(s.peers.named(), family) {
		for _, i := range links {
			if asked[i] {
				continue
			}
			asked[i] = true
			l, err := netlink.LinkByIndex(i)
			if err != nil {
				continue // gone since, and its routes with it
			}
			switch via := l.Attrs().Name; {
			case via == name:
				return fmt.Errorf("the route to %s leads over %s: the host would not hear its peers any more, so take another one", to, name)
			case standsOn(via, name):
				return fmt.Errorf("the route to %s leads over %s, which stands on %s: the host would not hear its peers any more, so take another one", to, via, name)
			}
		}
	}
	return nil
}

// ways lists the ifindexes of the interfaces that the routes to peers of a family lead over, all of those that a route has several next hops on.
func (s *paths) ways(peers []*peer, family int) map[netip.Addr][]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ways := make(map[netip.Addr][]int)
	if s.netlink == nil {
		return ways
	}
	for _, p := range peers {
		to := p.addr.Addr()
		if p.family != family || ways[to] != nil {
			continue
		}
		if len(ways) == waysAsked {
			break
		}
		if i := p.dest.Interface(); i != 0 { // of a group
			ways[to] = []int{i}
			continue
		}
		if links := waysTo(s.netlink, s.vrf, s.local[family], to); links != nil {
			ways[to] = links
		}
	}
	return ways
}

// waysTo lists the ifindexes of the interfaces that the route to a peer leads over, all of those that it has several next hops on.
func waysTo(h *netlink.Handle, in vrf, local, to netip.Addr) (links []int) {
	options := netlink.RouteGetOptions{SrcAddr: local.AsSlice(), OifIndex: in.index, FIBMatch: true}
	routes, err := h.RouteGetWithOptions(to.AsSlice(), &options)
	if err != nil || len(routes) == 0 {
		return nil
	}
	if routes[0].LinkIndex != 0 {
		links = append(links, routes[0].LinkIndex)
	}
	for _, hop := range routes[0].MultiPath {
		links = append(links, hop.LinkIndex)
	}
	if links != nil {
		return links
	}
	// With net.ipv4.nexthop_compat_mode 0 the entry names nothing but a nexthop object; of a group this is the one that is taken.
	options.FIBMatch = false
	if routes, err = h.RouteGetWithOptions(to.AsSlice(), &options); err != nil || len(routes) == 0 {
		return nil
	}
	return []int{routes[0].LinkIndex}
}

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
