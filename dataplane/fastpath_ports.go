package dataplane

import (
	"errors"
	"slices"
	"sync"

	"vtepd/dataplane/xdp"
)

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

// stalePorts are the indexes of ports whose interface is not what it was, until a round takes them.
type stalePorts struct {
	mu  sync.Mutex
	set map[uint32]bool
}

func (s *stalePorts) add(index uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[uint32]bool)
	}
	s.set[index] = true
}

func (s *stalePorts) take() map[uint32]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set
	s.set = nil
	return set
}

// portsCome looks at what is new or has changed. To look at a port costs several questions to the kernel, so that one that is on is left alone until the
// switch, which follows all interfaces anyway, says that its own is another or does otherwise.
func (m *mirror) portsCome(snap *snapshot) {
	stale := m.s.fast.stale.take()
	if snap == m.snap && !m.recheckPorts && !m.retryPorts && len(stale) == 0 {
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
		case mp.p == q && !m.recheckPorts && !stale[q.index] && (mp.on || !m.retryPorts):
			continue
		}
		mp.p = q
		m.foretellPort(mp)
		come = append(come, mp)
	}
	for _, mp := range come {
		m.placePort(mp)
	}
	m.recheckPorts, m.retryPorts = false, false
}

// foretellPort has the maps know a port that the programs of a former process serve, before ours come to it or to any other: what those carry up to then,
// from it and to it, ours carry from then on.
func (m *mirror) foretellPort(mp *mirroredPort) {
	if mp.on || mp.p.link == nil || !mp.underFormer() {
		return
	}
	want, _, reason := m.portOnFastPath(mp.p)
	if reason != "" {
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
	m.underlaysStale = true
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
		x.Untagged == y.Untagged && x.NativeVID == y.NativeVID && x.PeerMAC == y.PeerMAC && x.ToUser == y.ToUser && x.Isolated == y.Isolated
}

// attachPort attaches the program, which carries nothing before the maps know the port: no moment passes in which a frame is taken twice or not at all.
func (m *mirror) attachPort(mp *mirroredPort, ifindex int, hook xdp.Hook) error {
	sink := -1
	if dev, ok := mp.p.link.dev.(filteredDevice); ok {
		sink = dev.LendSink()
	}
	if err := m.e.AttachPort(ifindex, hook, sink); err != nil {
		return err
	}
	mp.at, mp.hook = ifindex, hook
	if err := m.filterPort(mp); err != nil {
		m.detachPort(mp)
		return err
	}
	return nil
}

// withdrawPort takes a port off the fast path. First the maps forget it, and user space gets every frame; then the program goes.
func (m *mirror) withdrawPort(mp *mirroredPort) {
	m.underlaysStale = true
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

// detachPort gives the packet sockets of a port everything again, and the place of its program to the sink.
func (m *mirror) detachPort(mp *mirroredPort) {
	var heir func(link int) bool
	var given error
	if dev, ok := mp.p.link.dev.(filteredDevice); ok {
		given = dev.SetFilter(-1)
		heir = func(link int) bool {
			if link >= 0 && dev.InheritSink(link) == nil {
				return true
			}
			given = errors.Join(given, dev.SetSink(true))
			return false
		}
	}
	err := m.e.DetachPort(mp.at, heir)
	if given != nil {
		m.log.Debug("fast path: giving a port back", "port", mp.p.config.Name, "error", given) // gone already, mostly
	}
	if err != nil {
		m.log.Debug("fast path: detaching from a port", "port", mp.p.config.Name, "error", err)
	}
	mp.at = 0
}
