package dataplane

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// mirror holds the maps of the programs to the state of the switch. Only the goroutine of fastPath uses it.
//
// What the maps must never do is lead a frame to the wrong port, peer or VNI, though indices are given again. So a round goes in this order:
//
//  1. The published state is taken first, and what the forwarding table noted after it: all that was flushed before that state was published is among
//     the notes.
//  2. Ports, peers and VNIs leave that are gone, or whose index belongs to another now.
//  3. Forwarding entries follow. An entry that points to an index whose new owner is not here yet waits for the next round.
//  4. Ports, peers and VNIs come. Nothing that the maps hold was meant for a former owner any more.
//
// Whoever takes something out of the state waits for a round (settle) before the index may be given again.
type mirror struct {
	s      *Switch
	e      programs
	log    *slog.Logger
	routes *routes

	snap        *snapshot // of the last round
	peerVersion uint64

	ports   []*mirroredPort // by index; nil where there is none
	peers   []*mirroredPeer
	domains map[uint32]*mirroredDomain

	// recheck has the next round look at every port, peer or interface of the underlay again.
	recheckPorts, recheckPeers, recheckUnderlays bool
	// foreign is Switch.foreignPort as the VNIs have been judged by, ipsec whether policies of a family keep its sources out.
	foreign uint16
	ipsec   [families]bool
	// derive holds sources to be admitted because an entry points to them.
	derive map[sourceKey]uint32
	// rederive has the whole forwarding table looked through for sources.
	rederive bool

	underlays map[int]*underlayHook // by ifindex

	batch  []xdp.Entry
	keys   []fdbKey
	offset int64 // of the programs' clock over the table's, in seconds
	full   bool  // the maps do not hold all that the table does, or the table does not learn all that it should

	ageTimer *time.Timer
	agesRead time.Time
	shortest time.Duration // ageing time of all VNIs; 0: none ages

	last [numSums]uint64 // of the programs' totals

	hearing *hearing
	crowded bool   // new sources are user space's while many static entries come
	serial  uint32 // the last that was given

	// held: programs of a former process carry still, with its maps.
	held   bool
	former *xdp.State
}

// mirroredPort is a port that was looked at. Its owner is told by the counters, which a port keeps for its life.
type mirroredPort struct {
	p      *port
	put    xdp.Port // what the maps hold, when on
	hook   xdp.Hook
	at     int // ifindex that a program is attached to; 0: none
	on     bool
	shut   bool   // was taken from a former process
	reason string // why it is not on
	last   xdp.Counters
	serial uint32 // names it in events; another one each time that it comes
}

// mirroredPeer is a peer that was looked at.
type mirroredPeer struct {
	p      *peer
	put    xdp.Peer
	route  route
	on     bool
	reason string
	last   xdp.Counters
	serial uint32 // names it in events
}

// mirroredDomain is a VNI that the maps hold.
type mirroredDomain struct {
	d       *domain
	on      bool
	reason  string // why it is not on
	note    string // what of its traffic is not, though it is on
	sources map[netip.Addr]uint32
	last    xdp.Counters
}

// sourceKey is an address that may send into a VNI.
type sourceKey struct {
	vni  uint32
	addr netip.Addr
}

func newMirror(s *Switch, e programs) (*mirror, error) {
	r, err := newRoutes(s.log)
	if err != nil {
		return nil, err
	}
	m := &mirror{
		s:         s,
		e:         e,
		log:       s.log,
		routes:    r,
		peers:     make([]*mirroredPeer, MaxPeers),
		ports:     make([]*mirroredPort, MaxPorts),
		domains:   make(map[uint32]*mirroredDomain),
		derive:    make(map[sourceKey]uint32),
		underlays: make(map[int]*underlayHook),
		batch:     make([]xdp.Entry, 0, entryBatch),
		offset:    int64(e.Now()) - int64(s.now()),
		snap:      &snapshot{},
		ageTimer:  time.NewTimer(agesMost),
		former:    e.Former(),
		hearing:   newHearing(s, e),
	}
	m.held = m.former != nil
	return m, nil
}

// round brings the maps up to the state.
func (m *mirror) round() {
	m.hearing.hear()
	m.crowdEnds()
	snap := m.s.current.Load()
	version, peers := m.s.peers.since(m.peerVersion)
	changed := m.s.fast.dirty.take()

	m.portsLeave(snap)
	m.peersLeave(version, peers)
	m.domainsLeave(snap)

	m.entriesFollow(changed)

	m.peersCome(peers)
	m.domainsCome(snap)
	m.portsCome(snap)
	m.sourcesCome()
	m.snap, m.peerVersion = snap, version

	m.underlaysFollow()
	m.crowdFollows()
	if !m.full && m.s.fast.heard.incomplete.Load() {
		m.log.Warn("fast path: the forwarding table has no room for a source, frames of new sources pass user space")
		m.beIncomplete()
	}
}

// owner tells incarnations of a port index apart.
func (p *port) owner() *counters { return &p.stats[0] }

// portsLeave takes out what is gone: the port, or the device behind it.
func (m *mirror) portsLeave(snap *snapshot) {
	if snap == m.snap {
		return
	}
	for i, mp := range m.ports {
		if mp == nil {
			continue
		}
		q := snap.port(uint32(i))
		if q == nil || q.owner() != mp.p.owner() || q.link != mp.p.link {
			m.withdrawPort(mp)
			m.ports[i] = nil
		}
	}
}

// portsCome looks at what is new or has changed.
func (m *mirror) portsCome(snap *snapshot) {
	if snap == m.snap && !m.recheckPorts {
		return
	}
	var come []*mirroredPort
	for i, q := range snap.ports {
		if q == nil {
			continue
		}
		mp := m.ports[i]
		switch {
		case mp == nil:
			mp = &mirroredPort{}
			m.ports[i] = mp
		case mp.p == q && !m.recheckPorts:
			continue
		}
		mp.p = q
		m.foretellPort(mp)
		come = append(come, mp)
	}
	for _, mp := range come {
		m.placePort(mp)
	}
	m.recheckPorts = false
}

// foretellPort has the maps know a port that the programs of a former process serve, before ours come to it or to any other: what those carry up to then,
// from it and to it, ours carry from then on.
func (m *mirror) foretellPort(mp *mirroredPort) {
	want, _, reason := m.portOnFastPath(mp.p)
	if reason != "" || mp.on || !mp.underFormer() {
		return
	}
	m.admitPort(mp)
	want.Serial = mp.serial
	if err := m.e.PutPort(want); err != nil {
		m.hearing.dismiss(mp.serial)
		return // placePort says why
	}
	mp.put, mp.on = want, true
}

// admitPort gives a port the number by which the programs tell of it.
func (m *mirror) admitPort(mp *mirroredPort) {
	m.serial++
	mp.serial = m.serial
	m.hearing.admit(mp.serial, speaker{port: mp.p})
}

// placePort puts a port on the fast path, or takes it off, as its state says.
func (m *mirror) placePort(mp *mirroredPort) {
	want, hook, reason := m.portOnFastPath(mp.p)
	if reason == "" && mp.at != 0 && mp.at != want.Ifindex {
		m.withdrawPort(mp) // the device was made anew, or moved
	}
	if reason != "" {
		m.withdrawPort(mp)
		mp.reason = reason
		if !m.held {
			m.shutPort(mp)
		}
		return
	}
	if mp.at == 0 {
		if err := m.attachPort(mp, want.Ifindex, hook); err != nil {
			m.withdrawPort(mp)
			mp.reason = err.Error()
			m.shutPort(mp)
			return
		}
	}
	mp.reason = ""
	if mp.on && samePort(&mp.put, &want) {
		return
	}
	if !mp.on {
		m.admitPort(mp)
	}
	want.Serial = mp.serial
	if err := m.e.PutPort(want); err != nil {
		m.hearing.dismiss(mp.serial)
		mp.on = true // in part: what is there of it has to go
		m.withdrawPort(mp)
		mp.reason = err.Error()
		return
	}
	mp.put, mp.on, mp.reason = want, true, ""
}

func samePort(a, b *xdp.Port) bool {
	x, y := *a, *b
	x.Tagged, y.Tagged = nil, nil
	return slices.Equal(a.Tagged, b.Tagged) && x.Index == y.Index && x.Ifindex == y.Ifindex && x.Kind == y.Kind && x.MaxFrame == y.MaxFrame &&
		x.Untagged == y.Untagged && x.NativeVID == y.NativeVID && x.PeerMAC == y.PeerMAC && x.ToUser == y.ToUser
}

// attachPort attaches the program, which carries nothing before the maps know the port: no moment passes in which a frame is taken twice or not at all.
func (m *mirror) attachPort(mp *mirroredPort, ifindex int, hook xdp.Hook) error {
	if err := m.e.AttachPort(ifindex, hook); err != nil {
		return err
	}
	mp.at, mp.hook = ifindex, hook
	if err := m.filterPort(mp, true); err != nil {
		m.detachPort(mp)
		return err
	}
	return nil
}

// withdrawPort takes a port off the fast path. First the maps forget it, and user space gets every frame; then the program goes.
func (m *mirror) withdrawPort(mp *mirroredPort) {
	if mp.on {
		err := m.e.DelPort(mp.p.index)
		m.hearing.dismiss(mp.serial)
		m.collectPort(mp)
		if err = errors.Join(err, m.e.ForgetPort(mp.p.index)); err != nil {
			m.log.Warn("fast path: taking a port out", "port", mp.p.config.Name, "error", err)
		}
		mp.on, mp.last = false, xdp.Counters{}
	}
	if mp.at != 0 {
		m.detachPort(mp)
	}
}

func (m *mirror) detachPort(mp *mirroredPort) {
	if err := m.filterPort(mp, false); err != nil {
		m.log.Debug("fast path: giving a port back", "port", mp.p.config.Name, "error", err) // gone already, mostly
	}
	if err := m.e.DetachPort(mp.at); err != nil {
		m.log.Debug("fast path: detaching from a port", "port", mp.p.config.Name, "error", err)
	}
	mp.at = 0
}

// peersLeave takes out the peers that the registry knows no more, and what may be sent in their name.
func (m *mirror) peersLeave(version uint64, peers []*peer) {
	if version == m.peerVersion {
		return
	}
	for i, mp := range m.peers {
		if mp == nil || m.s.peers.at(uint32(i)) == mp.p {
			continue
		}
		m.withdrawPeer(mp)
		m.peers[i] = nil
		for vni, md := range m.domains {
			for a, index := range md.sources {
				if index == uint32(i) {
					m.dropSource(md, vni, a)
				}
			}
		}
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

// peersCome looks up the way to peers that are new, or all when routes have changed.
func (m *mirror) peersCome(peers []*peer) {
	all := m.recheckPeers
	if all {
		m.recheckPeers = false
		peers = m.s.peers.all()
	}
	for _, p := range peers {
		if p.group {
			continue // floods, and is the place of no MAC
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
		m.placePeer(mp)
	}
}

// placePeer puts a peer on the fast path by the route that leads to it now.
func (m *mirror) placePeer(mp *mirroredPeer) {
	mp.route = m.routes.find(mp.p.addr.Addr(), m.s.config.localOf(familyOf(mp.p.addr.Addr())))
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
		MaxFrame: mp.route.mtu - encapOverhead(mp.p.addr.Addr()),
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

// domainsLeave takes out the VNIs that are no more.
func (m *mirror) domainsLeave(snap *snapshot) {
	m.snap.vnis.diff(snap.vnis, func(was, is *domain) {
		if is != nil {
			return
		}
		md := m.domains[was.vni]
		if md == nil {
			return
		}
		for a := range md.sources {
			m.dropSource(md, was.vni, a)
		}
		m.withdrawDomain(md)
		delete(m.domains, was.vni)
	})
}

func (m *mirror) withdrawDomain(md *mirroredDomain) {
	if !md.on {
		return
	}
	m.collectDomain(md)
	if err := m.e.DelDomain(md.d.vni); err != nil {
		m.log.Warn("fast path: taking a VNI out", "vni", md.d.vni, "error", err)
	}
	md.on = false
}

// domainsCome puts in the VNIs that are new or have changed, with the sources that they admit by name.
func (m *mirror) domainsCome(snap *snapshot) {
	m.snap.vnis.diff(snap.vnis, func(was, is *domain) {
		if is == nil {
			return
		}
		md := m.domains[is.vni]
		if md == nil {
			md = &mirroredDomain{d: is, sources: make(map[netip.Addr]uint32)}
			m.domains[is.vni] = md
		} else if &md.d.stats[0] != &is.stats[0] && md.on {
			m.collectDomain(md) // what was counted belongs to the VNI of that number before
		}
		if a := is.config.Ageing; a > 0 && (m.shortest == 0 || a < m.shortest) {
			m.shortest = a
			m.armAges()
		}
		m.rederive = m.rederive || was != nil && (was.policy != is.policy || !slices.Equal(was.allow, is.allow))
		md.d = is
		m.placeDomain(md)
		m.placeSources(md)
	})
	m.judgeAgain()
}

// judgeAgain looks at all VNIs when something has changed that none of them says.
func (m *mirror) judgeAgain() {
	if foreign := m.s.foreignPort(); foreign != m.foreign {
		m.foreign = foreign
		for _, md := range m.domains {
			m.placeDomain(md)
		}
	}
	ipsec := [families]bool{m.routes.policies(netip.IPv4Unspecified()) != "", m.routes.policies(netip.IPv6Unspecified()) != ""}
	if ipsec != m.ipsec {
		m.ipsec, m.rederive = ipsec, true
		for _, md := range m.domains {
			m.placeSources(md)
		}
	}
}

// placeDomain puts a VNI on the fast path, or takes it off.
func (m *mirror) placeDomain(md *mirroredDomain) {
	want, reason, note := m.s.domainOnFastPath(md.d)
	md.reason, md.note = reason, note
	if reason != "" {
		m.withdrawDomain(md)
		return
	}
	if !md.on {
		md.last = xdp.Counters{}
	}
	want.NewSources = !m.full && !m.crowded
	if err := m.e.PutDomain(want); err != nil {
		m.withdrawDomain(md)
		md.reason, md.note = err.Error(), ""
		return
	}
	md.on = true
}

// placeSources makes the maps admit exactly the members of a VNI, and of the others those that its policy admits still.
func (m *mirror) placeSources(md *mirroredDomain) {
	for a, index := range md.sources {
		if md.d.members[a] != nil {
			continue
		}
		if p := m.s.peers.at(index); p == nil || p.addr.Port() != m.s.config.DstPort || !md.d.admits(a) || m.routes.policies(a) != "" {
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
		if md == nil || p == nil || m.peers[p.index] == nil || m.peers[p.index].p != p || md.d.members[k.addr] != nil || !md.d.admits(k.addr) {
			continue
		}
		m.putSource(md, k.addr, p)
	}
	clear(m.derive)
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

// putSource has datagrams from an address taken, unless the host's IPsec policies have to be asked about them first.
func (m *mirror) putSource(md *mirroredDomain, a netip.Addr, p *peer) {
	if m.routes.policies(a) != "" {
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

// routesChanged has the ways to all peers looked up again.
func (m *mirror) routesChanged() {
	m.routes.forget()
	m.recheckPeers = true
}

// look has everything looked at again that the kernel may have changed without a word.
func (m *mirror) look() {
	m.recheckPorts, m.recheckUnderlays = true, true
	m.routesChanged()
}

// stop takes every port off the fast path, so that user space gets every frame, and keeps what the programs counted and saw.
func (m *mirror) stop() {
	m.readAges()
	for _, mp := range m.ports {
		if mp != nil {
			m.withdrawPort(mp)
			m.shutPort(mp)
		}
	}
	m.underlaysLeave()
	for _, mp := range m.peers {
		if mp != nil {
			m.withdrawPeer(mp)
			m.forgetPeer(mp)
		}
	}
	for _, md := range m.domains {
		m.withdrawDomain(md)
	}
	m.collectTotals()
	m.readAges()
	m.ageTimer.Stop()
	m.routes.close()
}
