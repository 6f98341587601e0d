package dataplane

import (
	"net/netip"

	"vtepd/fdb"
)

// placeSources makes the maps admit exactly the members of a VNI, and of the others those that its policy admits still.
func (m *mirror) placeSources(md *mirroredDomain) {
	for a, index := range md.sources {
		if md.d.members[a] != nil {
			continue
		}
		if p := m.s.peers.at(index); p == nil || p.addr.Port() != m.s.config.DstPort || !md.d.admits(a) || m.left[familyOf(a)] || m.captures.ofSource(a) {
			m.dropSource(md, md.d.vni, a)
		}
	}
	for a, p := range md.d.members {
		m.putSource(md, a, p)
	}
}

// sourcesCome admits the sources that forwarding entries point to, where the policy of the VNI admits them without naming them.
func (m *mirror) sourcesCome() {
	if m.rederive {
		m.rederive = false
		m.s.fdb.Walk(0, func(e fdb.Entry) bool {
			m.noteSource(e)
			return true
		})
	}
	for k := range m.derive {
		md := m.domains[k.vni]
		// The peer that user space takes such a source for is the one of the usual port.
		p := m.s.peers.find(netip.AddrPortFrom(k.addr, m.s.config.DstPort))
		if md == nil && m.s.current.Load().vnis.get(k.vni) != nil || p != nil && (m.peers[p.index] == nil || m.peers[p.index].p != p) {
			continue // VNI or peer is younger than this round, and the entry will not change for them: it waits for the next
		}
		delete(m.derive, k)
		if md != nil && p != nil && md.d.members[k.addr] == nil && md.d.admits(k.addr) {
			m.putSource(md, k.addr, p)
		}
	}
}

// sourcesLeave has nothing taken any more in the name of peers that are gone. Thousands that were learned may go at once: all VNIs are looked through once for
// all of them.
func (m *mirror) sourcesLeave(gone map[uint32]*mirroredPeer) {
	for vni, md := range m.domains {
		for a, index := range md.sources {
			if gone[index] != nil {
				m.dropSource(md, vni, a)
			}
		}
	}
}

// noteSource remembers the peer behind an entry for sourcesCome.
//
// With several ports listened on there is none: a learned source is known by the port that it sends to, which the programs do not look at.
func (m *mirror) noteSource(e fdb.Entry) {
	if !e.Dest.IsPeer() || len(m.s.config.Ports()) > 1 {
		return
	}
	md := m.domains[e.VNI]
	if md != nil && md.d.policy == Strict && len(md.d.allow) == 0 {
		return
	}
	if p := m.s.peers.at(e.Dest.Index()); p != nil {
		m.derive[sourceKey{e.VNI, p.addr.Addr()}] = p.index
	}
}

// putSource has datagrams from an address taken, unless those of its family are left to the host, or they are captured.
func (m *mirror) putSource(md *mirroredDomain, a netip.Addr, p *peer) {
	if m.left[familyOf(a)] || m.captures.ofSource(a) {
		m.dropSource(md, md.d.vni, a)
		return
	}
	if old, ok := md.sources[a]; ok && old == p.index {
		return
	}
	serial := uint32(0)
	if mp := m.peers[p.index]; mp != nil && mp.p == p {
		serial = mp.serial
	}
	if err := m.e.PutSource(md.d.vni, a, p.index, serial); err != nil {
		// Its datagrams go to user space, as those of a stranger would.
		m.log.Debug("fast path: admitting a source", "vni", md.d.vni, "source", a, "error", err)
		m.dropSource(md, md.d.vni, a)
		return
	}
	md.sources[a] = p.index
}

func (m *mirror) dropSource(md *mirroredDomain, vni uint32, a netip.Addr) {
	if _, ok := md.sources[a]; !ok {
		return
	}
	if err := m.e.DelSource(vni, a); err != nil {
		m.log.Warn("fast path: refusing a source", "vni", vni, "source", a, "error", err)
	}
	delete(md.sources, a)
}
