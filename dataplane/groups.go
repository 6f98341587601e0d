package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"vtepd/dataplane/underlay"
)

// group is a multicast group that floods VNIs (RFC 7348 section 4.2): a destination, and a socket that hears it, however many VNIs share it.
type group struct {
	addr netip.AddrPort
	refs int   // VNIs
	peer *peer // what the flood lists of its VNIs hold
	slot int
	// joined is nil while the interface is missing.
	joined *membership
	// lost are the drops of sockets that were closed.
	lost uint64
}

// membership is a group that is joined, as the workers see it: immutable.
type membership struct {
	receiver *underlay.Receiver
	// serial tells incarnations of the same slot apart in epoll events.
	serial uint32
}

// groupLink is the interface that groups are joined on and leave by.
type groupLink struct {
	name  string
	index int       // 0: it is not there
	read  time.Time // when its memberships were last read
}

// membershipRest is the least time between two looks at the kernel's list of memberships, which is as long as there are interfaces.
const membershipRest = time.Second

// destinations lists where a VNI's frames are flooded to.
func (r *vniRecord) destinations() []*peer {
	list := slices.Clone(r.flood)
	if r.group != nil {
		list = append(list, r.group.peer)
	}
	return list
}

// checkGroup refuses what cannot be a VNI's group, and completes it.
func (s *Switch) checkGroup(c *VNIConfig) error {
	if !c.Group.Addr().IsValid() {
		c.Group = netip.AddrPort{}
		return nil
	}
	a, port := c.Group.Addr().Unmap(), c.Group.Port()
	if port == 0 {
		port = s.config.DstPort
	}
	switch {
	case !a.IsMulticast():
		return fmt.Errorf("vni %d: group %s: is no multicast address: %w", c.VNI, a, ErrInvalid)
	case s.sockets[familyOf(a)] == nil:
		return fmt.Errorf("vni %d: group %s: is not of the same address family as local %s: %w", c.VNI, a, s.config.Local, ErrInvalid)
	case c.Learning && !slices.Contains(s.config.Ports(), port):
		// Members send to a station where its frames came from by the group: to this host, at the group's port.
		return fmt.Errorf("vni %d: group %s: its members answer at UDP port %d, which is not listened on: %w", c.VNI, a, port, ErrInvalid)
	}
	c.Group = netip.AddrPortFrom(a, port)
	if len(c.Peers) == 0 && len(c.Allow) == 0 {
		c.Policy = Learn
	}
	return nil
}

// obtainGroup counts one more VNI of a group, and joins it for the first. Nil for the zero address. Needs mu.
func (s *Switch) obtainGroup(a netip.AddrPort) (*group, error) {
	if !a.IsValid() {
		return nil, nil
	}
	if g := s.groups[a]; g != nil {
		g.refs++
		return g, nil
	}
	if len(s.groups) == MaxGroups {
		return nil, fmt.Errorf("group %s: the switch is in %d groups already: %w", a.Addr(), MaxGroups, ErrLimit)
	}
	if family := familyOf(a.Addr()); !s.inGroups(family) || s.groupLinks[family].index == 0 { // without groups nobody follows the interface
		if err := s.findGroupLink(family); err != nil {
			return nil, fmt.Errorf("group %s: %w", a.Addr(), err)
		}
	}
	p, err := s.peers.obtain(a, 1)
	if err != nil {
		return nil, err
	}
	g := &group{addr: a, refs: 1, peer: p, slot: s.freeGroupSlot()}
	if err := s.join(g); err != nil {
		s.peers.release(p, 1)
		return nil, err
	}
	s.groups[a] = g
	return g, nil
}

// inGroups says whether there is a group of a family. Needs mu.
func (s *Switch) inGroups(family int) bool {
	for _, g := range s.groups {
		if g.peer.family == family {
			return true
		}
	}
	return false
}

// releaseGroup counts one VNI of a group less, and leaves it with the last. Needs mu.
func (s *Switch) releaseGroup(g *group) {
	if g == nil {
		return
	}
	if g.refs--; g.refs > 0 {
		return
	}
	delete(s.groups, g.addr)
	s.leave(g)
	s.peers.release(g.peer, 1)
}

// freeGroupSlot is the lowest slot that no group has.
func (s *Switch) freeGroupSlot() int {
	used := make(map[int]bool, len(s.groups))
	for _, g := range s.groups {
		used[g.slot] = true
	}
	slot := 0
	for used[slot] {
		slot++
	}
	return slot
}

// findGroupLink finds out which interface groups of a family are joined on.
func (s *Switch) findGroupLink(family int) error {
	name, local := s.config.GroupInterface, s.config.localOf(family)
	if name == "" {
		on, _, err := s.paths.holders(family)
		switch {
		case len(on) > 0:
			name = on[0].Name
		case err != nil:
			return err
		default:
			return fmt.Errorf("%w: no interface has %s, so there is none to join on: name one with group-interface", ErrHost, local)
		}
	}
	index := s.sockets[family].InterfaceIndex(name)
	if index == 0 {
		err := fmt.Errorf("%w: interface %s is not there: see `ip link`", ErrHost, name)
		if s.config.GroupInterface != "" {
			err = &ConfigError{Field: "GroupInterface", error: err}
		}
		return err
	}
	s.groupLinks[family] = groupLink{name: name, index: index}
	return nil
}

// join makes a worker hear a group. What it heard by before goes when the workers have turned to the new one, so that nothing is lost where the old
// one was still good. Needs mu.
func (s *Switch) join(g *group) error {
	w, u, index := s.workers[g.slot%len(s.workers)], s.sockets[g.peer.family], s.groupLinks[g.peer.family].index
	r, err := u.Join(g.addr, index, u.Receiver(w.id))
	if err != nil {
		return err
	}
	g.peer.dest.SetInterface(index)
	if g.peer.family == 1 {
		s.peers.onLink(index)
	}
	old := g.joined
	s.serials++
	g.joined = &membership{receiver: r, serial: s.serials}
	s.publishMembership(g.slot, g.joined)
	if s.listening { // else TakeOver does it
		if err := s.listenTo(g); err != nil {
			s.leave(g)
			s.hangUp(g, old)
			return err
		}
	}
	s.settle()
	s.hangUp(g, old)
	return nil
}

// listenTo makes the worker of a group read what it has joined. Needs mu.
func (s *Switch) listenTo(g *group) error {
	w := s.workers[g.slot%len(s.workers)]
	if err := w.watch(g.joined.receiver.FD(), uint32(firstGroup+g.slot), g.joined.serial); err != nil {
		return fmt.Errorf("group %s: %w", g.addr.Addr(), err)
	}
	return nil
}

// leave makes a group unheard. Needs mu.
func (s *Switch) leave(g *group) {
	old := g.joined
	g.joined = nil
	s.publishMembership(g.slot, nil)
	s.settle()
	s.hangUp(g, old)
}

// hangUp closes a socket that no worker reads any more. Its descriptor leaves the epoll set by being closed.
func (s *Switch) hangUp(g *group, m *membership) {
	if m == nil {
		return
	}
	g.lost += m.receiver.KernelDrops()
	s.sockets[g.peer.family].Leave(m.receiver)
}

// publishMembership makes the workers see what is in a slot. Needs mu.
func (s *Switch) publishMembership(slot int, m *membership) {
	next := *s.current.Load()
	groups := make([]*membership, max(len(next.groups), slot+1))
	copy(groups, next.groups)
	groups[slot] = m
	next.groups = groups
	s.publish(next)
}

// refreshGroups joins all groups again when their interface was deleted and made anew: the kernel forgets memberships with the interface. One that only
// goes down and up keeps them. Where nobody named an interface they go after our address. It is for a thread in the namespace of the underlay.
func (s *Switch) refreshGroups() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	var byFamily [families][]*group
	for _, g := range s.groups {
		byFamily[g.peer.family] = append(byFamily[g.peer.family], g)
	}
	for family, groups := range byFamily {
		if len(groups) > 0 {
			s.refreshGroupsOf(family, groups)
		}
	}
}

// refreshGroupsOf is refreshGroups for one family. Needs mu.
func (s *Switch) refreshGroupsOf(family int, groups []*group) {
	link, u := &s.groupLinks[family], s.sockets[family]
	was := *link
	link.index = u.InterfaceIndex(was.name)
	if s.config.GroupInterface == "" {
		// An address that is nowhere may come back to where it was: that of IPv6 goes with every link that goes down.
		on, _, _ := s.paths.holders(family)
		stays := func(l *netlink.LinkAttrs) bool { return l.Name == was.name && (running(l) || !running(on[0])) }
		if len(on) > 0 && !slices.ContainsFunc(on, stays) {
			*link = groupLink{name: on[0].Name, index: on[0].Index}
		}
	}
	if link.index == 0 {
		if was.index != 0 {
			s.log.Warn("the interface of the multicast groups has vanished", "interface", was.name, "groups", len(groups))
			for _, g := range groups {
				s.leave(g)
			}
		}
		return
	}
	again := link.index != was.index
	if !again && s.leaveForgotten(family, groups) > 0 {
		again = true
	}
	var failure error
	joined := 0
	for _, g := range groups {
		if link.index == was.index && g.joined != nil {
			continue
		}
		if err := s.join(g); err != nil {
			failure = err
			s.leave(g) // to be tried again
		} else {
			joined++
		}
	}
	if joined > 0 {
		s.log.Info("multicast groups joined", "interface", link.name, "groups", joined)
	}
	if failure != nil && again { // once, not at every look
		s.log.Warn("multicast groups cannot be joined yet", "interface", link.name, "error", failure)
	}
}

// leaveForgotten gives up the memberships that the kernel took away without a word, so that they are joined again, and says how many. The old socket has to go first: it
// would take the new membership with it. Needs mu.
func (s *Switch) leaveForgotten(family int, groups []*group) (n int) {
	link := &s.groupLinks[family]
	if time.Since(link.read) < membershipRest {
		return 0
	}
	link.read = time.Now()
	lost := slices.Clone(groups)
	// Twice, for what is removed further up in the kernel's list while it is read makes another one be passed over.
	for range 2 {
		lost = slices.DeleteFunc(lost, func(g *group) bool { return g.joined == nil })
		if len(lost) == 0 {
			return 0
		}
		has, err := underlay.Memberships(family == 1, link.index)
		if err != nil {
			return 0
		}
		lost = slices.DeleteFunc(lost, func(g *group) bool { return has[g.addr.Addr().WithZone("")] })
	}
	for _, g := range lost {
		s.leave(g)
		n++
	}
	if n > 0 {
		s.log.Warn("multicast groups were forgotten by the kernel, as when their interface is made anew", "interface", link.name, "groups", n)
	}
	return n
}

// groupDrops sums what the kernel dropped on the sockets of groups. Needs mu.
func (s *Switch) groupDrops() uint64 {
	var n uint64
	for _, g := range s.groups {
		n += g.lost
		if g.joined != nil {
			n += g.joined.receiver.KernelDrops()
		}
	}
	return n
}
