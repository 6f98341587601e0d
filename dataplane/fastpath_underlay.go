package dataplane

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"vtepd/dataplane/xdp"
)

// underlayHook is an interface of the underlay that datagrams are taken from.
type underlayHook struct {
	name  string
	decap xdp.Decap
	err   error // why nothing is attached
	// strict: it is because of the reverse path filter.
	strict bool

	due   time.Time     // not to be looked at again before
	pause time.Duration // after the next failure
}

// underlayWord is what the log says of such an interface.
type underlayWord struct{ name, by, reason string }

// underlayRetryMost bounds the pause after an interface refused its programs; the first is fastPathPoll, and each further one twice as long.
const underlayRetryMost = time.Minute

// underlaysWanted finds out where the programs are to listen: where peers are reached and where the local addresses are. Of several next hops to a peer it is the
// peer's own choice by which it sends. It notes by which of them IPv4 peers are reached.
func (m *mirror) underlaysWanted() (want map[int]bool) {
	want, m.ways4, m.elsewhere4 = make(map[int]bool, len(m.underlays)), make(map[int]bool, len(m.underlays)), false
	fits := make(map[int]bool, len(m.underlays))
	fit := func(i int) bool {
		yes, known := fits[i]
		if !known {
			l := m.routes.link(i)
			yes = i != 0 && l.err == nil && !l.loopback && l.ethernet && !m.isPort(i)
			fits[i] = yes
		}
		return yes
	}
	leads := func(mp *mirroredPeer, i int) {
		yes := fit(i)
		if mp.p.family == 0 {
			m.elsewhere4 = m.elsewhere4 || !yes
			if yes && !m.ways4[i] {
				m.ways4[i] = true
			}
		}
		if yes && mp.on && !want[i] {
			want[i] = true
		}
	}
	for _, mp := range m.peers {
		if mp == nil {
			continue
		}
		leads(mp, mp.route.ifindex)
		for _, i := range mp.ways {
			leads(mp, i)
		}
	}
	for _, a := range m.s.config.Locals() {
		at, _ := m.routes.carriers(a)
		for _, i := range at.ifindexes {
			// By one that leads to no peer comes nothing that a strict filter lets pass.
			if fit(i) && (m.ways4[i] || !m.isStrict(i)) {
				want[i] = true
			}
		}
	}
	return want
}

// underlaysFollow has the programs listen where they are to, as long as a port is on the fast path: without one, nothing could be delivered.
func (m *mirror) underlaysFollow() {
	if !m.underlaysStale && !m.recheckUnderlays {
		return
	}
	var want map[int]bool
	if m.anyPort() {
		want = m.underlaysWanted()
	}
	for i, u := range m.underlays {
		if !want[i] {
			m.leaveUnderlay(i, u)
		}
	}
	for i := range want {
		u := m.underlays[i]
		if u == nil {
			u = &underlayHook{pause: fastPathPoll}
			m.underlays[i] = u
		} else if u.strict == (m.reversePath(i) != nil) && (!m.recheckUnderlays || time.Now().Before(u.due)) {
			continue
		}
		m.placeUnderlay(i, u)
	}
	m.underlaysStale, m.recheckUnderlays = false, false
}

// placeUnderlay attaches to an interface, or has it judged anew: how datagrams are best taken from it depends on its MAC, its features and on what
// stands on it. It tells of each change once: that the programs leave while no port needs them, and come back, is none, and workloads can have it as often as they
// like.
func (m *mirror) placeUnderlay(ifindex int, u *underlayHook) {
	was := u.err
	u.name = m.routes.link(ifindex).name
	u.due = time.Time{}
	u.err = m.reversePath(ifindex)
	if u.strict = u.err != nil; u.strict {
		if was == nil {
			_ = m.e.DetachUnderlay(ifindex) // it may never have been attached
		}
		u.decap = xdp.Decap{}
	} else if u.decap, u.err = m.e.AttachUnderlay(ifindex); u.err != nil {
		u.due = time.Now().Add(u.pause)
		u.pause = min(2*u.pause, underlayRetryMost)
	}
	if u.err != nil {
		if m.isNews(ifindex, underlayWord{u.name, "", u.err.Error()}) {
			m.log.Warn("fast path: what arrives on an interface passes user space", "interface", u.name, "reason", u.err)
		}
		return
	}
	u.pause = fastPathPoll
	if m.isNews(ifindex, underlayWord{u.name, u.decap.Mode, u.decap.Reason}) {
		log := m.log.With("interface", u.name, "by", u.decap.Mode)
		if u.decap.Reason != "" {
			log = log.With("reason", u.decap.Reason)
		}
		log.Info("fast path: datagrams are taken from an interface")
	}
}

// isNews says whether the log said something else of an interface before, or nothing.
func (m *mirror) isNews(ifindex int, w underlayWord) bool {
	if m.told[ifindex] == w {
		return false
	}
	maps.DeleteFunc(m.told, func(i int, _ underlayWord) bool { return m.routes.link(i).err != nil }) // numbers of interfaces are many
	m.told[ifindex] = w
	return true
}

func (m *mirror) underlaysLeave() {
	for i, u := range m.underlays {
		m.leaveUnderlay(i, u)
	}
}

func (m *mirror) leaveUnderlay(ifindex int, u *underlayHook) {
	if err := m.e.DetachUnderlay(ifindex); err != nil {
		m.log.Debug("fast path: detaching from the underlay", "interface", u.name, "error", err) // gone already, mostly
	}
	delete(m.underlays, ifindex)
}

func (m *mirror) anyPort() bool {
	for _, mp := range m.ports {
		if mp != nil && mp.on {
			return true
		}
	}
	return false
}

// isPort says whether an interface is one of our own ports.
func (m *mirror) isPort(ifindex int) bool {
	for _, mp := range m.ports {
		if mp != nil && mp.at == ifindex {
			return true
		}
	}
	return false
}

// report fills in what the programs are attached to.
func (m *mirror) report(info *FastPathInfo) {
	for _, mp := range m.ports {
		if mp != nil && mp.at != 0 {
			info.Attachments = append(info.Attachments, FastPathAttachment{Interface: mp.p.config.Name, Ifindex: mp.at, Port: mp.p.config.Name, Kind: "tcx"})
		}
	}
	for i, u := range m.underlays {
		a := FastPathAttachment{Interface: u.name, Ifindex: i, Kind: u.decap.Mode, Reason: u.decap.Reason}
		if u.err != nil {
			a.Kind, a.Reason = "", u.err.Error()
		}
		info.Attachments = append(info.Attachments, a)
	}
	slices.SortFunc(info.Attachments, func(a, b FastPathAttachment) int { return cmp.Compare(a.Ifindex, b.Ifindex) })
}
