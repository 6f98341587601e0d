package dataplane

import (
	"cmp"
	"slices"

	"vtepd/dataplane/xdp"
)

// underlayHook is an interface of the underlay that datagrams are taken from.
type underlayHook struct {
	name  string
	decap xdp.Decap
	err   error // why nothing is attached
}

// underlaysFollow has the programs listen where peers are reached and where the local addresses are, as long as a port is on the fast path: without one,
// nothing could be delivered.
func (m *mirror) underlaysFollow() {
	want := make(map[int]bool, len(m.underlays))
	if m.anyPort() {
		for _, a := range m.s.config.Locals() {
			want[m.routes.carrier(a)] = true
		}
		for _, mp := range m.peers {
			if mp != nil && mp.on {
				want[mp.put.Ifindex] = true
			}
		}
	}
	for i := range want {
		if l := m.routes.link(i); i == 0 || l.err != nil || l.loopback || !l.ethernet || m.isPort(i) {
			delete(want, i)
		}
	}
	for i, u := range m.underlays {
		if !want[i] {
			m.leaveUnderlay(i, u)
		}
	}
	for i := range want {
		if m.underlays[i] == nil {
			u := &underlayHook{name: m.routes.link(i).name}
			u.decap, u.err = m.e.AttachUnderlay(i)
			m.underlays[i] = u
			if u.err != nil {
				m.log.Warn("fast path: what arrives on an interface passes user space", "interface", u.name, "reason", u.err)
			}
		}
	}
}

func (m *mirror) underlaysLeave() {
	for i, u := range m.underlays {
		m.leaveUnderlay(i, u)
	}
}

func (m *mirror) leaveUnderlay(ifindex int, u *underlayHook) {
	if u.err == nil {
		if err := m.e.DetachUnderlay(ifindex); err != nil {
			m.log.Debug("fast path: detaching from the underlay", "interface", u.name, "error", err) // gone already, mostly
		}
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
