package dataplane

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"vtepd/dataplane/underlay"
	"vtepd/fdb"
)

// SetVNI declares a VNI or changes one. What the new configuration has in common with the old is not touched: entries, counters and
// traffic of the VNI stay.
func (s *Switch) SetVNI(c VNIConfig) (err error) {
	defer func() { err = remedy(err, nil) }()
	if err := s.checkVNI(&c); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	for family, without := range c.Header.withoutChecksum() {
		if u := s.sockets[family]; u != nil && without {
			if err := u.OpenNoChecksum(); err != nil {
				return fmt.Errorf("vni %d: sockets without UDP checksum: %w", c.VNI, err)
			}
		}
	}
	r := s.vnis[c.VNI]
	added := r == nil
	if added {
		r = &vniRecord{stats: newCounterSet(len(s.workers)), statics: make(map[*peer]int)}
	}
	flood := make([]*peer, 0, len(c.Peers))
	for _, a := range c.Peers {
		p, err := s.peers.obtain(a, 1)
		if err != nil {
			for _, p := range flood {
				s.peers.release(p, 1)
			}
			return fmt.Errorf("vni %d: %w", c.VNI, err)
		}
		flood = append(flood, p)
	}
	g, err := s.obtainGroup(c.Group)
	if err != nil {
		for _, p := range flood {
			s.peers.release(p, 1)
		}
		return fmt.Errorf("vni %d: %w", c.VNI, err)
	}
	for _, p := range flood {
		if !slices.Contains(r.flood, p) {
			s.event(Event{Object: "peer", Action: "add", Peer: p.addr, VNI: c.VNI})
		}
	}
	before, groupBefore, domainBefore := r.flood, r.group, s.current.Load().vnis.get(c.VNI)
	if !added {
		s.fast.agesBefore(r.config.Ageing, c.Ageing, r.config.MaxMACs, c.MaxMACs)
	}
	r.config, r.flood, r.group = c, flood, g
	s.learnPaths(r.destinations())
	s.vnis[c.VNI] = r
	// SetVNI refuses nothing but numbers that checkVNI refused already.
	_ = s.fdb.SetVNI(c.VNI, fdb.VNIConfig{Ageing: ticks(c.Ageing), MaxDynamic: c.MaxMACs})
	s.publishVNI(r)
	s.sayOneAddress(s.current.Load().vnis.get(c.VNI), before)
	s.dropFlood(r, before)
	s.forgetRefused(domainBefore)
	s.releaseGroup(groupBefore)
	s.fitVNI(r)
	if added {
		s.event(Event{Object: "vni", Action: "add", VNI: c.VNI})
	} else {
		s.carriedAsSaid()
		s.event(Event{Object: "vni", Action: "change", VNI: c.VNI})
	}
	return nil
}

// dropFlood lets go of a VNI's former flood list. What was learned behind a peer that left the VNI is forgotten: it is not asked to answer
// there any more.
func (s *Switch) dropFlood(r *vniRecord, before []*peer) {
	var left []*peer
	for _, p := range before {
		s.peers.release(p, 1)
		if !slices.Contains(r.flood, p) {
			left = append(left, p)
		}
	}
	if len(left) == 0 {
		return
	}
	s.settle()
	for _, p := range left {
		s.event(Event{Object: "peer", Action: "del", Peer: p.addr, VNI: r.config.VNI})
		s.fdb.Flush(fdb.FlushFilter{VNI: r.config.VNI, Dest: p.place()})
	}
}

// forgetRefused forgets what was learned behind sources that might send into a VNI as it was before, nil for one that was not, and may not as it is published now: what
// the stations there would answer is dropped, and they are looked for where they may be by now. Needs mu.
func (s *Switch) forgetRefused(before *domain) {
	if before == nil {
		return
	}
	d := s.current.Load().vnis.get(before.vni)
	if !before.admitsMore(d) {
		return
	}
	s.learnsNothingOlder()
	for _, place := range s.fdb.Dests(d.vni) {
		if !place.IsPeer() {
			continue
		}
		p := s.peers.at(place.Index())
		if p != nil && before.hears(p.addr.Addr()) && !d.hears(p.addr.Addr()) {
			s.fdb.Flush(fdb.FlushFilter{VNI: d.vni, Dest: place})
		}
	}
}

// checkVNI refuses what cannot be, and fills in what was left to default.
func (s *Switch) checkVNI(c *VNIConfig) error {
	if c.VNI == 0 || c.VNI > MaxVNI {
		return fmt.Errorf("vni %d: must be 1..%d: %w", c.VNI, MaxVNI, ErrInvalid)
	}
	c.Peers = slices.Clone(c.Peers)
	c.Allow = slices.Clone(c.Allow)
	c.GBPDrop = slices.Clone(c.GBPDrop)
	seen := make(map[netip.AddrPort]bool, len(c.Peers))
	for i, a := range c.Peers {
		a, err := s.peerAddress(a)
		if err != nil {
			return fmt.Errorf("vni %d: %w", c.VNI, err)
		}
		if seen[a] {
			return fmt.Errorf("vni %d: peer %s is named twice: %w", c.VNI, a.Addr(), ErrInvalid)
		}
		seen[a] = true
		c.Peers[i] = a
	}
	if err := s.checkGroup(c); err != nil {
		return err
	}
	if c.Ageing < 0 {
		return fmt.Errorf("vni %d: ageing %s: must not be negative: %w", c.VNI, c.Ageing, ErrInvalid)
	}
	if err := c.MSSClamp.check(); err != nil {
		return fmt.Errorf("vni %d: %w", c.VNI, err)
	}
	if err := c.StormControl.check(); err != nil {
		return fmt.Errorf("vni %d: %w", c.VNI, err)
	}
	if c.MaxMACs < 0 {
		return fmt.Errorf("vni %d: max-macs %d: must not be negative: %w", c.VNI, c.MaxMACs, ErrInvalid)
	}
	if c.Header.GBP && c.Header.GPE {
		return fmt.Errorf("vni %d: gbp and gpe exclude each other: %w", c.VNI, ErrInvalid)
	}
	if err := checkGBPRanges(c.GBPDrop); err != nil {
		return fmt.Errorf("vni %d: %w", c.VNI, err)
	}
	if c.Header.DSCP > 63 {
		return fmt.Errorf("vni %d: dscp %d: must be 0..63: %w", c.VNI, c.Header.DSCP, ErrInvalid)
	}
	return nil
}

// withoutChecksum says for each family whether datagrams leave without UDP checksum.
func (h *HeaderPolicy) withoutChecksum() [families]bool {
	return [families]bool{h.UDPChecksum == ChecksumOff, h.UDP6ZeroChecksumTx}
}

// peerAddress completes and checks the address of a remote VTEP.
func (s *Switch) peerAddress(a netip.AddrPort) (netip.AddrPort, error) {
	ip := a.Addr().Unmap()
	switch {
	case !ip.IsValid() || ip.IsUnspecified() || ip.IsLoopback():
		return a, fmt.Errorf("peer %s: is no address of another host: %w", ip, ErrInvalid)
	case ip.IsMulticast():
		return a, fmt.Errorf("peer %s: is a multicast group, not a host: %w", ip, ErrInvalid)
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return a, fmt.Errorf("peer %s: is the broadcast address, not a host: %w", ip, ErrInvalid)
	case s.isLocal(ip):
		return a, fmt.Errorf("peer %s: is our own local address: %w", ip, ErrInvalid)
	case s.sockets[familyOf(ip)] == nil:
		return a, fmt.Errorf("peer %s: is not of the same address family as local %s: %w", ip, s.config.Local, ErrInvalid)
	}
	port := a.Port()
	if port == 0 {
		port = s.config.DstPort
	}
	return netip.AddrPortFrom(ip, port), nil
}

// DelVNI removes a VNI and its forwarding entries. It is refused while a port carries it.
func (s *Switch) DelVNI(vni uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	r := s.vnis[vni]
	if r == nil {
		return fmt.Errorf("vni %d: %w", vni, ErrNotFound)
	}
	for name, p := range s.ports {
		if _, ok := p.published.tagFor(vni); ok {
			return fmt.Errorf("vni %d: port %s carries it: %w", vni, name, ErrInUse)
		}
	}
	next := *s.current.Load()
	next.vnis = next.vnis.with(vni, nil)
	s.publish(next)
	s.settle()
	s.fdb.DelVNI(vni)
	for _, p := range r.flood {
		s.peers.release(p, 1)
		s.event(Event{Object: "peer", Action: "del", Peer: p.addr, VNI: vni})
	}
	for p, n := range r.statics {
		s.peers.release(p, n)
	}
	s.releaseGroup(r.group)
	delete(s.vnis, vni)
	delete(s.senders, r)
	s.event(Event{Object: "vni", Action: "del", VNI: vni})
	return nil
}

// publishVNI makes the workers see VNIs as their records and the ports say. Needs mu.
func (s *Switch) publishVNI(changed ...*vniRecord) {
	next := *s.current.Load()
	for _, r := range changed {
		next.vnis = next.vnis.with(r.config.VNI, s.buildDomain(r))
	}
	s.publish(next)
}

func (s *Switch) buildDomain(r *vniRecord) *domain {
	c := &r.config
	h := &c.Header
	d := &domain{
		vni:         c.VNI,
		stats:       r.stats,
		learning:    c.Learning,
		keepTags:    h.KeepInnerVLAN,
		strictBits:  h.StrictReserved,
		spoofGuard:  c.SpoofGuard,
		mss:         c.MSSClamp,
		gbp:         h.GBP,
		gpe:         h.GPE,
		gbpDrop:     newGBPSet(c.GBPDrop),
		header:      c.vxlanHeader(),
		ecn:         h.ECN,
		noFlood:     c.NoFlood,
		floodPeers:  r.destinations(),
		groupTTL:    c.GroupTTL,
		policy:      c.Policy,
		allow:       c.Allow,
		class:       underlay.Class{TOS: h.DSCP << 2},
		noChecksum:  h.withoutChecksum(),
		inheritTTL:  h.InheritTTL,
		inheritDSCP: h.InheritDSCP,
		config:      *c,
	}
	if h.TTL != DefaultTTL {
		d.class.TTL = h.TTL
	}
	d.members = s.speakers(slices.SortedFunc(maps.Keys(r.statics), func(a, b *peer) int { return a.addr.Compare(b.addr) }))
	maps.Copy(d.members, s.speakers(r.flood)) // the flood list has precedence
	var ports []*port
	for _, p := range s.portsInOrder() {
		if vid, ok := p.tagFor(c.VNI); ok {
			d.floodPorts = append(d.floodPorts, member{p.index, vid})
			ports = append(ports, p)
		}
	}
	if d.mss == MSSDefault {
		d.mss = MSSAuto
	}
	d.clamp = clampingOf(d.mss, ports)
	r.storm = r.storm.after(c.StormControl, ports, s.sinceStart())
	d.storm = r.storm
	return d
}

// speakers says which peer a datagram is from, by its source address. Its UDP source port is the flow's (RFC 7348 section 5), so that peers of one address, which
// listen on several ports, cannot be told apart: everything is from that of DstPort then, or otherwise from the first.
func (s *Switch) speakers(peers []*peer) map[netip.Addr]*peer {
	by := make(map[netip.Addr]*peer, len(peers))
	for _, p := range peers {
		if a := p.addr; by[a.Addr()] == nil || a.Port() == s.config.DstPort {
			by[a.Addr()] = p
		}
	}
	return by
}

// sayOneAddress warns of peers that cannot be told apart in the flood list of a VNI, unless they were together in the one before.
func (s *Switch) sayOneAddress(d *domain, before []*peer) {
	for _, p := range d.floodPeers {
		if as := d.members[p.addr.Addr()]; as != p && !p.group && !(slices.Contains(before, p) && slices.Contains(before, as)) {
			s.log.Warn("peers of one address cannot be told apart: the stations of both are learned at one of them", "vni", d.vni, "peer", p.addr, "learned_at", as.addr)
		}
	}
}

// portsInOrder lists the published ports by index.
func (s *Switch) portsInOrder() []*port {
	list := make([]*port, 0, len(s.ports))
	for _, r := range s.ports {
		list = append(list, r.published)
	}
	slices.SortFunc(list, func(a, b *port) int { return cmp.Compare(a.index, b.index) })
	return list
}

// VNIs lists the VNIs in ascending order.
func (s *Switch) VNIs() []VNIInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	fast := s.fast.places()
	list := make([]VNIInfo, 0, len(s.vnis))
	for _, vni := range slices.Sorted(maps.Keys(s.vnis)) {
		r := s.vnis[vni]
		info := VNIInfo{Config: r.config, MACs: s.fdb.Count(vni)}
		if r.group != nil && r.group.joined != nil {
			info.GroupInterface = s.groupLinks[r.group.peer.family].name
		}
		info.FastPath, info.FastPathReason = fast.vni(vni)
		list = append(list, info)
	}
	return list
}

// Peers lists the remote VTEPs, by address.
func (s *Switch) Peers() []PeerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	byPeer := make(map[*peer][]uint32)
	for _, vni := range slices.Sorted(maps.Keys(s.vnis)) {
		for _, p := range s.vnis[vni].flood {
			byPeer[p] = append(byPeer[p], vni)
		}
	}
	fast := s.fast.places()
	var away [families]string
	for family := range families {
		away[family] = s.paths.away(family)
	}
	var list []PeerInfo
	for _, p := range s.usedPeers() {
		if p.group {
			continue
		}
		info := PeerInfo{Addr: p.addr, VNIs: byPeer[p], MACs: s.fdb.CountDest(p.place())}
		info.PMTU, info.RouteMTU, info.Inside = s.paths.describe(p)
		info.NoRoute = s.noWay(p, away[p.family])
		info.FastPath, info.FastPathReason = fast.peer(p.index)
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b PeerInfo) int { return a.Addr.Compare(b.Addr) })
	return list
}

// noWay says why nothing gets to a peer, or back, away being what is wrong with the own address of its family; "": it may.
func (s *Switch) noWay(p *peer, away string) string {
	if away != "" {
		return away
	}
	if name := s.leadsInside(p); name != "" {
		return fmt.Sprintf("its route leads into port %s, which is the overlay itself", name)
	}
	return s.paths.whyNone(p)
}
