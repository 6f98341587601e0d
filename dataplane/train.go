package dataplane

import (
	"encoding/binary"
	"net/netip"

	"vtepd/dataplane/underlay"
	"vtepd/encap"
)

// train is what the frames of a bulk transfer are: pieces of one superframe, which arrive one behind the other in datagrams that differ in little. The first
// one, the leader, passes all stages. Those that follow differ from it in nothing that a stage looks at, so what was decided holds for them: they are counted
// into its fate and joined to its superframe, at a fraction of the cost.
type train struct {
	datagram []byte // of the leader; nil: nothing can follow
	source   netip.AddrPort
	tos      uint8
	fate     uint32 // index into worker.fates
	peer     *peer  // nil: not known
	domain   *domain
}

// lead makes the frame in hand a leader.
func (w *worker) lead(f *frame, m *underlay.Message) {
	if f.start != encap.VXLANLen {
		return // a tag was taken off, whose priority those without one do not have
	}
	if w.tape != nil {
		return // what follows would not be seen
	}
	w.train = train{datagram: f.buf, source: m.Source, tos: m.TOS, fate: f.fate, peer: f.peer, domain: f.domain}
}

// follows carries a datagram of a message like m if it follows the leader. False means that nothing was done.
func (w *worker) follows(d []byte) bool {
	t := &w.train
	if len(d) < encap.VXLANLen || binary.NativeEndian.Uint64(d) != binary.NativeEndian.Uint64(t.datagram) {
		return false
	}
	if !w.join.Follow(t.fate, d[encap.VXLANLen:]) {
		return false
	}
	size := uint32(len(d) - encap.VXLANLen)
	fate := &w.fates[t.fate]
	fate.packets++
	fate.bytes += size
	if t.peer != nil {
		w.peerRx.add(&t.peer.stats[w.id], 1, uint64(size))
	}
	w.vniRx.add(&t.domain.stats[w.id], 1, uint64(size))
	w.work++
	return true
}
