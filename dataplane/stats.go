package dataplane

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"slices"
)

// PortStats lists the counters of every port, by name.
func (s *Switch) PortStats() []PortStats {
	s.fast.freshCounters()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]PortStats, 0, len(s.ports))
	for _, name := range slices.Sorted(maps.Keys(s.ports)) {
		list = append(list, PortStats{Port: name, Counters: s.ports[name].published.stats.sum()})
	}
	return list
}

// PeerStats lists the counters of every peer, by address.
func (s *Switch) PeerStats() []PeerStats {
	s.fast.freshCounters()
	var list []PeerStats
	for _, p := range s.usedPeers() {
		list = append(list, PeerStats{Peer: p.addr, Counters: p.stats.sum()})
	}
	slices.SortFunc(list, func(a, b PeerStats) int { return a.Peer.Compare(b.Peer) })
	return list
}

// VNIStats lists the counters of every VNI, ascending.
func (s *Switch) VNIStats() []VNIStats {
	s.fast.freshCounters()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]VNIStats, 0, len(s.vnis))
	for _, vni := range slices.Sorted(maps.Keys(s.vnis)) {
		list = append(list, VNIStats{VNI: vni, Counters: s.vnis[vni].stats.sum()})
	}
	return list
}

// Drops lists the drop ledger: reasons in their order, the most frequent first within one. What ports and peers dropped that are gone is
// listed without them.
func (s *Switch) Drops() []Drop {
	_, fastDrops := s.fast.carried()
	s.mu.Lock()
	defer s.mu.Unlock()
	sums := make(map[ledgerKey]uint64)
	for _, w := range s.workers {
		w.drops.sum(sums)
	}
	snap := s.current.Load()
	type line struct {
		reason Reason
		port   string
		vni    uint32
		peer   netip.AddrPort
	}
	lines := make(map[line]uint64)
	for k, n := range sums {
		l := line{reason: k.reason(), vni: k.vni()}
		if p := snap.port(uint32(k.port())); k.port() != noIndex && p != nil {
			l.port = p.config.Name
		}
		if p := s.peers.at(uint32(k.peer())); k.peer() != noIndex && p != nil {
			l.peer = p.addr
		}
		lines[l] += n
	}
	for r, n := range fastDrops {
		lines[line{reason: r}] = n
	}
	list := make([]Drop, 0, len(lines))
	for l, n := range lines {
		list = append(list, Drop{Reason: l.reason, Port: l.port, VNI: l.vni, Peer: l.peer, Count: n})
	}
	slices.SortFunc(list, func(a, b Drop) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Port, b.Port),
			cmp.Compare(a.VNI, b.VNI), a.Peer.Compare(b.Peer))
	})
	return list
}

// forgetDrops takes ports and peers, by index, out of the drop ledger. No worker may still know them. Needs mu.
func (s *Switch) forgetDrops(gone func(port, peer uint16) bool) {
	for _, w := range s.workers {
		w.drops.forget(gone)
	}
}

// Totals sums the frames of all workers and of the fast path.
func (s *Switch) Totals() Totals {
	var t Totals
	for _, w := range s.workers {
		t.Received += w.totals.received.Load()
		t.Forwarded += w.totals.forwarded.Load()
		t.Dropped += w.totals.dropped.Load()
	}
	carried, dropped := s.fast.carried()
	t.Received += carried
	t.Forwarded += carried
	for _, n := range dropped {
		t.Received += n
		t.Dropped += n
	}
	return t
}

// Status is the switch as a whole.
func (s *Switch) Status() Status {
	name, mtu, away, down := s.underlayLink()
	caps := s.sockets[familyOf(s.config.Local)].Caps()
	st := Status{
		Local:             s.config.Local,
		Locals:            s.config.Locals(),
		VRF:               s.config.VRF,
		Away:              away,
		Down:              down,
		Listen:            s.config.Ports(),
		SourcePorts:       s.config.SourcePorts,
		DstPort:           s.config.DstPort,
		Workers:           len(s.workers),
		UnderlayInterface: name,
		UnderlayMTU:       mtu,
		ReceiveBuffer:     caps.ReceiveBuffer,
		Totals:            s.Totals(),
		FDB:               s.fdb.Stats(),
		Peers:             len(s.usedPeers()),
		FastPath:          s.fast.report(),
		CPULatency:        *s.latency.Load(),
	}
	for _, w := range s.workers {
		st.TooBigAnswered += w.answers.sent.Load()
		st.TooBigSilenced += w.answers.limited.Load()
		st.MSSClamped += w.answers.clamped.Load()
		for _, r := range w.rx {
			st.KernelDrops += r.KernelDrops()
		}
	}
	s.mu.Lock()
	st.KernelDrops += s.groupDrops()
	st.Peers -= len(s.groups)
	s.mu.Unlock()
	st.Offload = []Capability{
		{Name: "udp-gso", On: caps.GSO, Reason: whyOff(caps.GSO, caps.Reason)},
		{Name: "udp-gro", On: caps.GRO, Reason: whyOff(caps.GRO, caps.Reason)},
	}
	superframes := []string{"vnet-hdr", "tso4", "tso6", "tso-ecn", "uso", "multi-queue"}
	st.Offload = append(st.Offload, s.portCapabilities("tap-", superframes, PortTAP)...)
	st.Offload = append(st.Offload, s.portCapabilities("packet-", append(superframes, "sink"), PortNetdev, PortVeth)...)
	s.mu.Lock()
	st.Ports, st.VNIs = len(s.ports), len(s.vnis)
	st.Storms = s.stormsNow()
	for _, r := range s.ports {
		st.PortKernelDrops += r.kernelDrops
		if l := r.published.link; l != nil {
			st.PortKernelDrops += l.kernelDrops()
		}
	}
	s.mu.Unlock()
	return st
}

func whyOff(on bool, reason string) string {
	if on {
		return ""
	}
	return reason
}

// portCapabilities says what the ports of some kinds negotiated: a capability is on when all of them have it. prefix names the kinds.
func (s *Switch) portCapabilities(prefix string, names []string, kinds ...PortType) []Capability {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Capability
	for _, name := range names {
		c := Capability{Name: prefix + name, On: true}
		known := false
		for _, portName := range slices.Sorted(maps.Keys(s.ports)) {
			p := s.ports[portName].published
			if p.link == nil || !slices.Contains(kinds, p.config.Type) {
				continue
			}
			known = true
			if !slices.Contains(capsWords(p.link.caps), name) {
				c.On = false
				c.Reason = "port " + portName
				if p.link.caps.Reason != "" {
					c.Reason += ": " + p.link.caps.Reason
				}
				break
			}
		}
		if known {
			list = append(list, c)
		}
	}
	return list
}

// addrOf converts an interface address.
func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
