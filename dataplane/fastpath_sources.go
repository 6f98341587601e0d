package dataplane

import (
	"errors"
	"net/netip"
	"time"

	"vtepd/dataplane/xdp"
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
	m.writeSources()
}

// seatsFollow tries those again that found no room, once some have left: whatever VNI those were of. It looks at all, so not with each that leaves.
func (m *mirror) seatsFollow() (tried bool) {
	if !m.reseat || time.Since(m.reseated) < fullRetry {
		return false
	}
	m.reseat, m.rederive, m.reseated = false, true, time.Now()
	for _, md := range m.domains {
		m.placeSources(md)
	}
	return true
}

// sourcesCome admits the sources that forwarding entries point to, where the policy of the VNI admits them without naming them.
func (m *mirror) sourcesCome() {
	tried := m.seatsFollow()
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
	m.writeSources()
	if tried && m.toldNoSeats && !m.noSeats {
		m.log.Info("fast path: every peer has found room")
		m.toldNoSeats = false
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
	m.writeSources()
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

// putSource has datagrams from an address taken, unless those of its family are left to the host, or they are captured. writeSources ends what was begun so.
func (m *mirror) putSource(md *mirroredDomain, a netip.Addr, p *peer) {
	if m.left[familyOf(a)] || m.captures.ofSource(a) {
		m.dropSource(md, md.d.vni, a)
		return
	}
	old, has := md.sources[a]
	if has && old == p.index || !has && m.noSeats {
		return
	}
	serial := uint32(0)
	if mp := m.peers[p.index]; mp != nil && mp.p == p {
		serial = mp.serial
	}
	md.sources[a] = p.index
	list := &m.admits
	if has {
		list = &m.moves
	}
	if *list = append(*list, xdp.Source{SourceKey: xdp.SourceKey{VNI: md.d.vni, Addr: a}, Peer: p.index, Serial: serial}); len(*list) == entryBatch {
		m.writeSources()
	}
}

// dropSource has them taken no more. writeSources ends what was begun so.
func (m *mirror) dropSource(md *mirroredDomain, vni uint32, a netip.Addr) {
	if _, ok := md.sources[a]; !ok {
		return
	}
	delete(md.sources, a)
	m.reseat = m.reseat || m.noSeats
	m.noSeats = false
	if m.refuses = append(m.refuses, xdp.SourceKey{VNI: vni, Addr: a}); len(m.refuses) == entryBatch {
		m.writeSources()
	}
}

// writeSources ends a batch: hundreds of thousands may come or go at once. What is to go goes first, and a source that is in both lists has come back.
func (m *mirror) writeSources() {
	if len(m.refuses) > 0 {
		m.forbid(m.refuses...)
		m.refuses = m.refuses[:0]
	}
	m.admit(m.moves, false)
	m.admit(m.admits, true)
	m.moves, m.admits = m.moves[:0], m.admits[:0]
}

// admit writes sources, which are all new to the map or all in it. Datagrams of those that it does not take go to user space, as those of a stranger would.
func (m *mirror) admit(list []xdp.Source, fresh bool) {
	if len(list) == 0 || m.e.PutSources(list) == nil {
		return
	}
	for i := range list { // one by one, so that what is in the map is known
		k := list[i].SourceKey
		err := m.e.PutSources(list[i : i+1])
		if err == nil {
			continue
		}
		if fresh && errors.Is(err, xdp.ErrFull) {
			// Nor have the others room, which the map has nothing of, since it stopped here before.
			if !m.toldNoSeats {
				m.log.Warn("fast path: a peer finds no room, what it sends into the VNI passes user space, and so does what others send that come after it",
					"vni", k.VNI, "peer", k.Addr, "room", fastSources)
				m.toldNoSeats = true
			}
			m.noSeats = true
			for _, s := range list[i:] {
				delete(m.domains[s.VNI].sources, s.Addr)
			}
			return
		}
		m.log.Debug("fast path: admitting a source", "vni", k.VNI, "source", k.Addr, "error", err)
		m.forbid(k)
		delete(m.domains[k.VNI].sources, k.Addr)
	}
}

func (m *mirror) forbid(list ...xdp.SourceKey) {
	if err := m.e.DelSources(list...); err != nil {
		m.log.Warn("fast path: refusing sources", "vni", list[0].VNI, "source", list[0].Addr, "sources", len(list), "error", err)
	}
}
