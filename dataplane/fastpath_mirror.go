package dataplane

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"vtepd/dataplane/xdp"
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
	captures    *captureSet // of the last round; nil: none goes on

	ports   []*mirroredPort // by index; nil where there is none
	peers   []*mirroredPeer
	domains map[uint32]*mirroredDomain

	// recheck has the next round look at every port, peer or interface of the underlay again, retryPorts at every port that is off.
	recheckPorts, recheckPeers, recheckUnderlays, retryPorts bool
	// askPeers has the kernel asked about all peers that are looked at again, pollPeers about those from nextPeer on whose turn it is, by their order.
	askPeers, pollPeers bool
	nextPeer            int
	// foreign lists the UDP ports that peers listen on and this switch does not, which the programs guard as well. vteps is the version of the peers whose
	// addresses they guard. unguarded says why they do not.
	// left says of which families datagrams are left to the host, whoever sent them.
	foreign   []uint16
	vteps     uint64
	unguarded error
	left      [families]bool
	away      [families]bool // of which the local address is on no interface
	// derive holds sources to be admitted because an entry points to them.
	derive map[sourceKey]uint32
	// rederive has the whole forwarding table looked through for sources.
	rederive bool

	underlays map[int]*underlayHook // by ifindex
	// ways4 are those of them that IPv4 peers are reached by, elsewhere4 says that one may be reached by none of them.
	ways4          map[int]bool
	elsewhere4     bool
	underlaysStale bool                 // ports or peers have changed since they were last looked at
	waysLeft       int                  // peers whose ways may still be asked for until all are looked at again
	told           map[int]underlayWord // what the log last said of an interface of the underlay, by ifindex

	batch   []xdp.Entry    // to be written
	drops   []xdp.EntryKey // to be removed before
	admits  []xdp.Source   // the same of sources; those that are new
	moves   []xdp.Source   // and those that the map has, with another peer
	refuses []xdp.SourceKey
	keys    []fdbKey
	differ  []fdbKey
	offset  int64 // of the programs' clock over the table's, in seconds
	full    bool  // the maps do not hold all that the table does, or the table does not learn all that it should
	noRoom  bool  // the maps have no room for some
	noSeats bool  // nor for a new source, since none has left
	reseat  bool  // some have left since one found none
	behind  bool  // the maps are to get some when there is time

	toldNoRoom, toldNoSeats, toldIncomplete bool

	reseated    time.Time     // when sources were last tried again for that
	compared    time.Time     // when the maps were last held against the whole table
	compareNext time.Duration // rest after that
	entriesTook time.Duration // of the last round

	ageTimer *time.Timer
	agesRead time.Time
	agesTook time.Duration // the last time
	evicting bool          // ages were asked for because the table is full
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
	kernel kernelRoute
	route  route
	ways   []int // ifindexes of all next hops, where they were asked for
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
	r, err := newRoutes(s.log, s.paths.vrf)
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
		told:      make(map[int]underlayWord),
		batch:     make([]xdp.Entry, 0, entryBatch),
		waysLeft:  waysAsked,
		offset:    int64(e.Now()) - int64(s.second()),
		snap:      &snapshot{},
		ageTimer:  time.NewTimer(agesMost),
		former:    e.Former(),
		hearing:   newHearing(s, e),
		vteps:     ^uint64(0), // none
	}
	m.held = m.former != nil
	s.fast.heard.incomplete.Store(false) // the table may have room by now
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
	m.agesFollow()

	m.capturesFollow()
	m.peersCome(peers)
	m.domainsCome(snap)
	m.portsCome(snap)
	m.sourcesCome()
	m.snap, m.peerVersion = snap, version

	m.underlaysFollow()
	m.crowdFollows()
	if m.s.fast.heard.incomplete.Load() && !m.toldIncomplete {
		m.log.Warn("fast path: the forwarding table has no room for a source, frames of new sources pass user space",
			"hint", "when there is room, vtepctl set fastpath off and on again")
		m.toldIncomplete = true
		m.judgeFull()
	}
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
		m.writeSources()
		m.withdrawDomain(md)
		delete(m.domains, was.vni)
	})
}

func (m *mirror) withdrawDomain(md *mirroredDomain) {
	if !md.on {
		return
	}
	err := m.e.DelDomain(md.d.vni)
	m.collectDomain(md) // after the last frame, and before the counters are another's
	if err = errors.Join(err, m.e.ForgetDomain(md.d.vni)); err != nil {
		m.log.Warn("fast path: taking a VNI out", "vni", md.d.vni, "error", err)
	}
	md.on = false
}

// domainsCome puts in the VNIs that are new or have changed, with the sources that they admit by name.
func (m *mirror) domainsCome(snap *snapshot) {
	m.judgeAgain()
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
}

// guardFollows has the programs guard the UDP ports and addresses of all VTEPs there are by now.
func (m *mirror) guardFollows() {
	version := m.s.peers.version.Load()
	foreign := m.s.peers.dports.others(m.s.config.Ports())
	if version == m.vteps && slices.Equal(foreign, m.foreign) {
		return
	}
	had, failed := len(m.foreign) > 0, m.unguarded != nil
	if m.unguarded = m.e.GuardPorts(foreign); m.unguarded == nil {
		m.foreign = foreign
		if m.unguarded = m.e.GuardAddresses(m.s.vteps()); m.unguarded == nil {
			m.vteps = version
		}
	}
	if had == (len(m.foreign) > 0) && failed == (m.unguarded != nil) {
		return
	}
	for _, md := range m.domains {
		m.placeDomain(md)
	}
}

// judgeAgain looks at the sources of all VNIs when something has changed that none of them says.
func (m *mirror) judgeAgain() {
	var left [families]bool
	for family, any := range [families]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		left[family] = m.routes.policies(any) != "" || m.localAway(family)
	}
	if left != m.left {
		m.left, m.rederive = left, true
		for _, md := range m.domains {
			m.placeSources(md)
		}
	}
}

// localAway says whether this host has given up its underlay address of a family. The programs know the address from when they were loaded, and what arrives
// for it may be another host's by now.
func (m *mirror) localAway(family int) bool {
	local := m.s.config.localOf(family)
	if !local.IsValid() {
		return false
	}
	if at, err := m.routes.carriers(local); err == nil {
		m.away[family] = len(at.ifindexes) == 0
	}
	return m.away[family]
}

// placeDomain puts a VNI on the fast path, or takes it off.
func (m *mirror) placeDomain(md *mirroredDomain) {
	want, reason, note := m.s.domainOnFastPath(md.d)
	if want.GuardMore = len(m.foreign) > 0; reason == "" && want.SpoofGuard && m.unguarded != nil {
		reason = "spoof-guard: " + m.unguarded.Error()
	}
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

// routesChanged has the ways to all peers looked up again.
func (m *mirror) routesChanged() {
	m.routes.forget()
	m.recheckPeers, m.askPeers = true, true
}

// look has everything looked at again that the kernel may have changed without a word.
func (m *mirror) look() {
	m.retryPorts, m.recheckUnderlays = true, true
	m.routesChanged()
}

// poll is look without an announcement: the routes of most peers are what they were.
func (m *mirror) poll() {
	asked := m.askPeers
	if m.look(); !m.routes.deaf.Load() {
		m.askPeers, m.pollPeers = asked, true
	}
}

// stop takes every port off the fast path, so that user space gets every frame, and keeps what the programs counted and saw.
func (m *mirror) stop() {
	m.readAges(nil)
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
	m.readAges(nil)
	m.ageTimer.Stop()
	m.routes.close()
}
