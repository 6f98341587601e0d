package dataplane

import "net/netip"

// captured is why something is off the fast path while a capture names it: what programs carry nobody sees.
const captured = "captured: its frames pass user space until the capture ends"

// Of what a capture names, the narrowest leaves the fast path: a port or a peer, else a VNI. One that names nothing has every VNI leave, and one of drops nothing: the
// programs leave to user space what is to be dropped.

// ofPort says whether a port has to leave. The set may be nil.
func (set *captureSet) ofPort(name string) bool {
	return set.any(func(c *capture) bool { return c.filter.Port == name })
}

func (set *captureSet) ofPeer(a netip.AddrPort) bool {
	return set.any(func(c *capture) bool {
		want := c.filter.Peer
		return c.filter.Port == "" && want.Addr() == a.Addr() && (want.Port() == 0 || want.Port() == a.Port())
	})
}

// ofSource is ofPeer for datagrams that come in: the programs know a source by its address alone.
func (set *captureSet) ofSource(a netip.Addr) bool {
	return set.any(func(c *capture) bool { return c.filter.Port == "" && c.filter.Peer.Addr() == a })
}

func (set *captureSet) ofVNI(vni uint32) bool {
	return set.any(func(c *capture) bool {
		return c.filter.Port == "" && !c.namesPeer() && (c.filter.VNI == 0 || c.filter.VNI == vni)
	})
}

func (set *captureSet) any(holds func(c *capture) bool) bool {
	if set == nil {
		return false
	}
	for _, c := range set.list {
		if !c.filter.Drops && holds(c) {
			return true
		}
	}
	return false
}

// capturesFollow looks again at what captures name that have come or gone. Ports are looked at when their turn comes in this round.
func (m *mirror) capturesFollow() {
	was, is := m.captures, m.s.captures.active.Load()
	if was == is {
		return
	}
	m.captures = is
	for _, mp := range m.ports {
		if mp != nil && was.ofPort(mp.p.config.Name) != is.ofPort(mp.p.config.Name) {
			m.s.fast.stale.add(mp.p.index)
		}
	}
	sources := false
	for _, mp := range m.peers {
		if mp == nil {
			continue
		}
		if was.ofPeer(mp.p.addr) != is.ofPeer(mp.p.addr) {
			m.placePeer(mp, false)
		}
		sources = sources || was.ofSource(mp.p.addr.Addr()) != is.ofSource(mp.p.addr.Addr())
	}
	m.rederive = m.rederive || sources
	for vni, md := range m.domains {
		if was.ofVNI(vni) != is.ofVNI(vni) {
			m.placeDomain(md)
		}
		if sources {
			m.placeSources(md)
		}
	}
}
