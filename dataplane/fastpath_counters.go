package dataplane

import "vtepd/dataplane/xdp"

// The programs count what they carry for each port, peer and VNI. What they counted since the last look is added to the share that every counterSet has
// for it, so that it survives them, and readers sum over one set.

// collect brings every counter up to date.
func (m *mirror) collect() {
	for _, mp := range m.ports {
		if mp != nil && mp.on {
			m.collectPort(mp)
		}
	}
	for _, mp := range m.peers {
		if mp != nil { // one that nothing is sent to may send
			m.collectPeer(mp)
		}
	}
	for _, md := range m.domains {
		if md.on {
			m.collectDomain(md)
		}
	}
	m.collectTotals()
}

func (m *mirror) collectPort(mp *mirroredPort) {
	mp.last = mp.p.stats.fast().advance(mp.last, m.e.PortCounters(mp.p.index))
}

func (m *mirror) collectPeer(mp *mirroredPeer) {
	mp.last = mp.p.stats.fast().advance(mp.last, m.e.PeerCounters(mp.p.index))
}

func (m *mirror) collectDomain(md *mirroredDomain) {
	md.last = md.d.stats.fast().advance(md.last, m.e.VNICounters(md.d.vni))
}

// advance adds what was counted between two looks, and returns the later one.
func (c *counters) advance(last, now xdp.Counters) xdp.Counters {
	c.rxPackets.Add(now.RxPackets - last.RxPackets)
	c.rxBytes.Add(now.RxBytes - last.RxBytes)
	c.txPackets.Add(now.TxPackets - last.TxPackets)
	c.txBytes.Add(now.TxBytes - last.TxBytes)
	return now
}

// freshCounters has the counters brought up to date that are to be read.
func (f *fastPath) freshCounters() {
	f.with(func(m *mirror) { m.collect() })
}

// collectTotals brings the totals up to date.
func (m *mirror) collectTotals() {
	f := m.s.fast
	now := m.e.Totals()
	for i, n := range carriedFrames(now) {
		f.sums[i].Add(n - m.last[i])
		m.last[i] = n
	}
}

// Positions in fastPath.sums.
const (
	sumEncap = iota // from ports to peers
	sumDecap        // from peers to ports
	sumLocal        // from ports to ports
	sumRaces        // unwrapped when the destination left: dropped
	sumBusy         // no room where segments are joined: dropped
	numSums
)

// carried says how many frames the programs forwarded, in segments, and how many of those they had taken they dropped, by reason; none is left out.
func (f *fastPath) carried() (forwarded uint64, dropped map[Reason]uint64) {
	f.with(func(m *mirror) { m.collectTotals() })
	dropped = make(map[Reason]uint64)
	for i, r := range map[int]Reason{sumRaces: FastPathRace, sumBusy: FastPathBusy} {
		if n := f.sums[i].Load(); n != 0 {
			dropped[r] = n
		}
	}
	return f.sums[sumEncap].Load() + f.sums[sumDecap].Load() + f.sums[sumLocal].Load(), dropped
}

func carriedFrames(t xdp.Totals) [numSums]uint64 {
	return [numSums]uint64{sumEncap: t.Encap, sumDecap: t.Decap, sumLocal: t.Local, sumRaces: t.Races, sumBusy: t.Busy}
}
