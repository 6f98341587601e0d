package dataplane

import (
	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// TakeOver has the fast path go on from where a former process was killed: what that one knew is learned where it still holds, the programs that carry
// with its maps are exchanged for ours in one step each, and what is left of it goes. Call it when the first configuration is complete. Without a former
// process nothing happens. Without a fast path of our own the former one is taken down. With Config.HoldUnderlay datagrams are read from now on.
func (s *Switch) TakeOver() error {
	s.fast.do(s.fast.takeOver)
	return s.listen()
}

func (m *mirror) takeOver() error {
	if m.held {
		n := m.learnFormer()
		m.log.Info("fast path taken over from a former process", "entries", n, "of", len(m.former.Entries))
		m.held, m.former = false, nil
		m.recheckPorts = true
		m.s.fast.dirty.all() // those may be more than are noted
		m.s.fast.round()
	}
	return m.e.Commit()
}

// learnFormer learns what a former process had learned: entries of VNIs that are still declared, at ports whose interface is still there and still a port,
// and behind peers that may still send. It says how many those were. Static entries come from the configuration.
func (m *mirror) learnFormer() (n int) {
	ports := make(map[int]*port)
	for _, p := range m.s.current.Load().ports {
		if p == nil || p.link == nil {
			continue
		}
		if a, err := p.link.dev.Attr(); err == nil && !(p.config.Type == PortTAP && a.Away) {
			ports[a.Ifindex] = p
		}
	}
	now := m.s.now()
	for _, e := range m.former.Entries {
		mac := fdb.FromBytes(e.MAC[:])
		d := m.domains[e.VNI]
		if e.Static || d == nil {
			continue
		}
		if _, known := m.s.fdb.Get(e.VNI, mac, now); known {
			continue // we have heard more since
		}
		place := m.formerPlace(d.d, &e, ports)
		if place == fdb.None {
			continue
		}
		switch m.s.fdb.Learn(e.VNI, mac, place, m.toTick(e.Seen)) {
		case fdb.Learned, fdb.Refreshed, fdb.Known:
			n++
		}
	}
	return n
}

// formerPlace is where a former process's entry leads now, None when it leads nowhere.
func (m *mirror) formerPlace(d *domain, e *xdp.FormerEntry, ports map[int]*port) fdb.Dest {
	if e.Ifindex != 0 {
		p := ports[e.Ifindex]
		if p == nil {
			return fdb.None
		}
		if _, ok := p.tagFor(d.vni); !ok {
			return fdb.None
		}
		return p.place()
	}
	if !d.learning {
		return fdb.None
	}
	if p := d.members[e.Peer.Addr()]; p != nil {
		return p.place()
	}
	if !d.admits(e.Peer.Addr()) {
		return fdb.None
	}
	p := m.s.peers.find(e.Peer)
	if p == nil {
		var err error
		if p, err = m.s.peers.obtain(e.Peer, 0); err != nil {
			return fdb.None
		}
	}
	return p.place()
}
