package dataplane

import (
	"net/netip"

	"vtepd/encap"
)

// standardMTU is Ethernet's, in bytes; assumed of an underlay that is not there yet.
const standardMTU = 1500

// measure notes what the ways to all peers of a VNI leave for the packets inside, and says whether that has changed. Routes and interfaces count, not
// what ICMP said: a router that is wrong for ten minutes is no reason to change the interfaces of hosts. Nor is a way that is lost for a while, which counts as
// it was. Needs mu.
func (s *Switch) measure(r *vniRecord) (changed bool) {
	inside := 0
	s.paths.mu.Lock()
	for _, p := range r.destinations() {
		// A way through a port of ours would have its MTU follow itself down.
		if _, own := s.portLinks.Load(p.path.via); p.path.base > 0 && !own {
			p.path.carried = p.path.base
		}
		if p.path.carried > 0 {
			inside = narrower(inside, p.path.carried-overheads[p.family])
		}
	}
	s.paths.mu.Unlock()
	tag := 0
	if r.config.Header.KeepInnerVLAN {
		tag = encap.VLANTagLen
	}
	if inside > 0 {
		inside -= tag
	}
	changed = inside != r.inside || tag != r.keptTag
	r.inside, r.keptTag = inside, tag
	return changed
}

// autoMTU is the MTU of a port that has none of its own: the least of what its VNIs' ways leave. Where no peer is, or none can be reached, it is what the
// interface of Local leaves. Needs mu.
func (s *Switch) autoMTU(c *PortConfig) int {
	least := 0
	for _, vni := range append(vnisTagged(c), c.Untagged) {
		if r := s.vnis[vni]; r != nil {
			least = narrower(least, r.inside)
		}
	}
	if least == 0 {
		least = maxMTU
		for family, used := range s.familiesOf(c) {
			if used {
				least = min(least, s.paths.carrier(family)-overheads[family])
			}
		}
		least -= s.keptTag(c)
	}
	return min(max(least, minMTU), maxMTU)
}

// familiesOf says which address families the peers and groups of a port's VNIs have; Local's when there are none.
func (s *Switch) familiesOf(c *PortConfig) (used [families]bool) {
	for _, vni := range append(vnisTagged(c), c.Untagged) {
		if r := s.vnis[vni]; r != nil {
			for _, p := range r.destinations() {
				used[p.family] = true
			}
		}
	}
	if used == [families]bool{} {
		used[familyOf(s.config.Local)] = true
	}
	return used
}

// keptTag is what an inner tag takes that a VNI of a port keeps, in bytes; 0 when none does. Needs mu.
func (s *Switch) keptTag(c *PortConfig) (n int) {
	for _, vni := range append(vnisTagged(c), c.Untagged) {
		if r := s.vnis[vni]; r != nil {
			n = max(n, r.keptTag)
		}
	}
	return n
}

// follows says whether the MTU of a port is the underlay's to say. That of an interface that was there before stays as it was found.
func (c *PortConfig) follows() bool { return c.MTU == 0 && c.Type != PortNetdev }

// wantedMTU is what the port's device is to be given, in bytes; 0 leaves it as it is. Needs mu.
func (s *Switch) wantedMTU(c *PortConfig) int {
	if c.follows() {
		return s.autoMTU(c)
	}
	return c.MTU
}

// fit makes the ports follow the underlay: all of them after it has changed.
func (s *Switch) fit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, r := range s.vnis {
		s.measure(r)
	}
	for _, r := range s.ports {
		s.fitPort(r)
	}
}

// fitVNI makes the ports of a VNI follow when its peers are others. Needs mu.
func (s *Switch) fitVNI(r *vniRecord) {
	if !s.measure(r) {
		return
	}
	for _, port := range s.ports {
		if _, ok := port.published.tagFor(r.config.VNI); ok {
			s.fitPort(port)
		}
	}
}

// fitPort makes a port follow. Needs mu.
func (s *Switch) fitPort(r *portRecord) {
	s.fitMTU(r)
	s.boundSuperframes(r)
}

// fitMTU gives a port the MTU that the underlay leaves, or warns where the port has one of its own that is larger. Needs mu.
func (s *Switch) fitMTU(r *portRecord) {
	p := r.published
	l := p.link
	if l == nil {
		return
	}
	most := s.autoMTU(&p.config)
	if !p.config.follows() {
		s.warnTooLarge(r, most)
		return
	}
	if most == l.given {
		return
	}
	log := s.log.With("port", p.config.Name, "from", l.mtu, "to", most)
	l.given = most
	if err := l.dev.SetMTU(most); err != nil {
		l.behind = true
		log.Warn("port MTU cannot follow the underlay", "error", err)
		return
	}
	l.behind = false
	s.keepIPv6(r, most)
	log.Info("port MTU follows the underlay")
	s.judgeBy(r, most)
	s.event(Event{Object: "port", Action: "change", Port: p.config.Name})
}

// catchUpMTU makes a port follow that could not, for the other end of its pair was not to be found. Needs mu.
func (s *Switch) catchUpMTU(r *portRecord) {
	l := r.published.link
	if !l.behind {
		return
	}
	l.given, l.behind = 0, false
	s.fitMTU(r)
}

// keepIPv6 gives a port back what the kernel took: an interface whose MTU goes below IPv6's least loses its IPv6 addresses (addrconf_ifdown). now is the MTU of
// the end that has them, in bytes. Needs mu.
func (s *Switch) keepIPv6(r *portRecord, now int) {
	p := r.published
	before := p.link.workload
	p.link.workload = now
	lost := p.config.addresses6()
	if len(lost) == 0 || before < encap.IPv6MinMTU == (now < encap.IPv6MinMTU) {
		return
	}
	if now < encap.IPv6MinMTU {
		log := s.logOf(r)
		log.Warn("port has no IPv6 addresses until its MTU is 1280 again", "port", p.config.Name, "mtu", now, "addresses", lost)
	} else if err := p.link.dev.SetAddresses(nil, lost); err != nil { // which no workload brings about
		s.log.Warn("port does not get its IPv6 addresses back", "port", p.config.Name, "mtu", now, "addresses", lost, "error", err)
	}
}

// addresses6 are the IPv6 addresses of a port's interface.
func (c *PortConfig) addresses6() (list []netip.Prefix) {
	for _, a := range c.Addresses {
		if a.Addr().Is6() {
			list = append(list, a)
		}
	}
	return list
}

// warnTooLarge says once for each MTU of both that a port takes larger packets than the underlay carries. Needs mu.
func (s *Switch) warnTooLarge(r *portRecord, most int) {
	c, mtu := &r.published.config, r.published.link.mtu
	if mtu <= most || !s.reachesPeers(c) {
		r.warned.mtu = 0
		return
	}
	if r.warned.mtu == mtu && r.warned.most == most {
		return
	}
	r.warned.mtu, r.warned.most = mtu, most
	log := s.logOf(r)
	log.Warn("port MTU is more than the underlay carries: larger packets to peers are dropped (too_big) and answered with ICMP", "port", c.Name,
		"mtu", mtu, "underlay_carries", most)
}

// reachesPeers says whether a VNI of the port has peers.
func (s *Switch) reachesPeers(c *PortConfig) bool {
	for _, vni := range append(vnisTagged(c), c.Untagged) {
		if r := s.vnis[vni]; r != nil && len(r.destinations()) > 0 {
			return true
		}
	}
	return false
}

// judgeBy makes the workers judge the port's frames by the MTU that its interface has. Needs mu.
func (s *Switch) judgeBy(r *portRecord, mtu int) {
	old := r.published
	if old.link.mtu == mtu {
		return
	}
	old.link.mtu = mtu
	r.published = newPort(old.index, old.config, old.link, old.stats)
	s.publishPort(r, nil)
}

// vnisTagged lists the VNIs that a trunk carries with a tag.
func vnisTagged(c *PortConfig) []uint32 {
	var list []uint32
	for _, m := range c.Tagged {
		list = append(list, m.VNI)
	}
	return list
}
