package dataplane

import (
	"fmt"

	"vtepd/dataplane/xdp"
)

// peersLeave takes out the peers that the registry knows no more, and what may be sent in their name.
func (m *mirror) peersLeave(version uint64, peers []*peer) {
	if version == m.peerVersion {
		return
	}
	gone := make(map[uint32]*mirroredPeer)
	for i, mp := range m.peers {
		if mp == nil || m.s.peers.at(uint32(i)) == mp.p {
			continue
		}
		m.withdrawPeer(mp)
		m.peers[i], m.underlaysStale = nil, true
		gone[uint32(i)] = mp
	}
	if len(gone) == 0 {
		return
	}
	m.sourcesLeave(gone)
	for _, mp := range gone {
		m.forgetPeer(mp)
		m.hearing.dismiss(mp.serial)
	}
}

// withdrawPeer has nothing sent to a peer any more. What it sends is still taken, and counted.
func (m *mirror) withdrawPeer(mp *mirroredPeer) {
	if !mp.on {
		return
	}
	if err := m.e.DelPeer(mp.p.index); err != nil {
		m.log.Warn("fast path: taking a peer out", "peer", mp.p.addr, "error", err)
	}
	mp.on = false
}

// forgetPeer settles the counters of a peer that is gone, so that the next one of its index begins at zero.
func (m *mirror) forgetPeer(mp *mirroredPeer) {
	m.collectPeer(mp)
	if err := m.e.ForgetPeer(mp.p.index); err != nil {
		m.log.Warn("fast path: taking a peer out", "peer", mp.p.addr, "error", err)
	}
	mp.last = xdp.Counters{}
}

// peersCome looks up the way to peers that are new, once they are guarded. When routes have changed it looks up all, and at a poll those whose turn it is, and judges the others anew.
func (m *mirror) peersCome(peers []*peer) {
	all, fresh, turn := m.recheckPeers, m.askPeers, 0
	if all {
		peers = m.s.peers.all()
		if m.pollPeers {
			turn = routesATurn
			m.nextPeer %= max(len(peers), 1) // there may be fewer than at the last poll
		}
		if fresh {
			m.waysLeft = waysAsked
		}
		m.recheckPeers, m.askPeers, m.pollPeers = false, false, false
	}
	m.guardFollows()
	for i, p := range peers {
		if p.group {
			continue // floods, and is the place of no MAC
		}
		if m.s.peers.at(p.index) != p {
			continue // gone since, maybe before its address was guarded
		}
		mp := m.peers[p.index]
		if mp == nil {
			m.serial++
			mp = &mirroredPeer{p: p, serial: m.serial}
			m.peers[p.index] = mp
			m.hearing.admit(mp.serial, speaker{peer: p})
		} else if mp.p != p || !all {
			continue // a newer one than those of this round, which comes with the next, or one that is known
		}
		first := !mp.kernel.asked
		if first || fresh || turn > 0 && (i-m.nextPeer+len(peers))%len(peers) < turn {
			mp.kernel = m.routes.ask(p.addr.Addr(), m.s.config.localOf(p.family), p.dest.Interface())
		}
		m.placePeer(mp, first || fresh)
	}
	if turn > 0 && len(peers) > 0 {
		m.nextPeer = (m.nextPeer + turn) % len(peers)
	}
}

// placePeer puts a peer on the fast path by the route that leads to it, of which hops has all next hops asked for as well, while so many may be.
func (m *mirror) placePeer(mp *mirroredPeer, hops bool) {
	to := mp.p.addr.Addr()
	local := m.s.config.localOf(familyOf(to))
	was := mp.route.ifindex
	mp.route = m.routes.judge(to, local, &mp.kernel)
	m.underlaysStale = true
	if name, own := m.s.portLinks.Load(mp.route.ifindex); own && mp.route.reason == "" {
		mp.route.reason = fmt.Sprintf("its route leads into port %s, inside the overlay", name)
	}
	if m.captures.ofPeer(mp.p.addr) && mp.route.reason == "" {
		mp.route.reason = captured
	}
	if hops || mp.route.ifindex != was {
		mp.ways = nil
		if mp.route.ifindex != 0 && m.waysLeft > 0 && !mp.p.linkLocal() {
			m.waysLeft--
			mp.ways = waysTo(m.routes.h, m.routes.vrf, local, to)
		}
	}
	if mp.route.reason != "" {
		m.withdrawPeer(mp)
		mp.reason = mp.route.reason
		return
	}
	want := xdp.Peer{
		Index:    mp.p.index,
		Addr:     mp.p.addr,
		Ifindex:  mp.route.ifindex,
		NextHop:  mp.route.nextHop,
		MaxFrame: mp.route.mtu - encapOverhead(to),
		Divided:  mp.route.divided,
	}
	if n := mp.p.maxFrame(); n != 0 {
		want.MaxFrame = min(want.MaxFrame, n) // ICMP may have taught what no route says
	}
	if mp.on && mp.put == want {
		return
	}
	if err := m.e.PutPeer(want); err != nil {
		m.withdrawPeer(mp)
		mp.reason = err.Error()
		return
	}
	mp.put, mp.on, mp.reason = want, true, ""
}
