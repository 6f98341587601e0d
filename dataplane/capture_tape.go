package dataplane

import (
	"math"
	"net/netip"
	"time"

	"vtepd/encap"
)

const (
	// maxTape bounds what a worker copies of the frames of one batch, in bytes: the receive slots of a batch, and what becomes of them, twice.
	maxTape = 16 << 20
	// maxTaped bounds the frames and copies of one batch that are noted.
	maxTaped = 1 << 16
	// noFate is the fate of a frame that did not enter the switch.
	noFate = math.MaxUint32
)

// record is a frame that entered the switch or left it.
type record struct {
	time   int64  // nanoseconds since 1970
	at     uint32 // of its first byte, in what holds it
	size   uint32 // bytes that were copied
	length uint32 // bytes that it had
	vni    uint32 // 0: none is known
	fate   uint32 // index into worker.fates, or noFate
	// packets is how many segments it stands for; dropped how many of them left in no copy, for reason; failed how many of a copy did not leave after all.
	packets, dropped, failed uint32
	reason                   Reason
	out                      bool
	lost                     bool // there was no room for its bytes
	// port or peer is where; neither: the wire, and source is no peer.
	port   *port
	peer   *peer
	source netip.Addr // of what came from the wire
}

// tape is what a worker remembers of a batch while somebody captures. Bytes are copied when a frame enters, before anything in it is changed, and when a copy
// leaves; whether somebody wants it is known when its fate is settled.
type tape struct {
	set     *captureSet
	records []record
	bytes   []byte
	cursor  int // where the last record was found whose copy did not leave
	missed  uint64
}

// beginTape follows the captures that go on.
func (w *worker) beginTape(set *captureSet) {
	switch {
	case set == nil:
		w.tape = nil // and its memory
	case w.tape == nil:
		w.tape = &tape{set: set}
	default:
		w.tape.set = set
	}
}

// tapeFromPort notes the frame in hand, as a port's device gave it.
func (w *worker) tapeFromPort(f *frame) {
	t := w.tape
	snaplen := 0
	for _, c := range t.set.list {
		if c.mayTakeFromPort(f.port) {
			snaplen = max(snaplen, c.snaplen)
		}
	}
	if snaplen > 0 {
		t.note(record{fate: f.fate, port: f.port}, snaplen, f.bytes())
	}
}

// tapeFromWire notes the frame inside the datagram in hand. What has no VXLAN header holds none.
func (w *worker) tapeFromWire(f *frame, source netip.Addr) {
	h := encap.VXLAN(f.buf)
	if f.start < encap.VXLANLen || !h.Valid() {
		return
	}
	t := w.tape
	snaplen := 0
	for _, c := range t.set.list {
		if c.mayTakeFromWire(source) {
			snaplen = max(snaplen, c.snaplen)
		}
	}
	if snaplen > 0 {
		t.note(record{fate: f.fate, vni: h.VNI(), source: source}, snaplen, f.bytes())
	}
}

// toPort notes what a port's device took, in parts.
func (t *tape) toPort(parts [][]byte, p *post) {
	snaplen := 0
	for _, c := range t.set.list {
		if c.mayTakeToPort(p.port, p.vni) {
			snaplen = max(snaplen, c.snaplen)
		}
	}
	if snaplen == 0 {
		return
	}
	t.note(record{fate: p.account(), vni: p.vni, packets: p.packets, port: p.port, out: true}, snaplen, parts...)
}

// account is the fate that a record of what was posted goes by: of a superframe that was joined the first frame's.
func (p *post) account() uint32 {
	switch {
	case p.fates == nil:
		return p.fate
	case len(p.fates) == 0:
		return noFate
	}
	return p.fates[0]
}

// toPeer notes a frame or superframe on its way to a peer.
func (t *tape) toPeer(p *peer, vni, fate, packets uint32, frame []byte) {
	snaplen := 0
	for _, c := range t.set.list {
		if c.mayTakeToPeer(p, vni) {
			snaplen = max(snaplen, c.snaplen)
		}
	}
	if snaplen > 0 {
		t.note(record{fate: fate, vni: vni, packets: packets, peer: p, out: true}, snaplen, frame)
	}
}

// tapeSuperframe notes the superframe in w.cutter on its way to those peers that all of its segments fit the way to.
func (w *worker) tapeSuperframe(f *frame, peers []*peer) {
	for _, p := range peers {
		if w.fitsWhole(p) {
			w.tape.toPeer(p, f.domain.vni, f.fate, uint32(w.cutter.Count()), f.bytes())
		}
	}
}

// note adds a record with a copy of its first bytes. One that there is no room for counts as lost.
func (t *tape) note(r record, snaplen int, parts ...[]byte) {
	if len(t.records) == maxTaped {
		t.missed++
		return
	}
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	size := min(length, snaplen)
	r.time, r.length, r.at = time.Now().UnixNano(), uint32(length), uint32(len(t.bytes))
	if r.lost = len(t.bytes)+size > maxTape; !r.lost {
		r.size = uint32(size)
		for _, p := range parts {
			n := min(len(p), size)
			t.bytes = append(t.bytes, p[:n]...)
			size -= n
		}
	}
	t.records = append(t.records, r)
}

// unsent takes back segments of a copy that did not leave after all. They fail in the order in which they were noted, mostly, so that the search goes on where the
// last one ended.
func (t *tape) unsent(fate uint32, port *port, peer *peer, segments uint32) {
	for range t.records {
		if t.cursor >= len(t.records) {
			t.cursor = 0
		}
		r := &t.records[t.cursor]
		if r.out && r.fate == fate && r.port == port && r.peer == peer && r.failed < r.packets {
			r.failed += segments
			return
		}
		t.cursor++
	}
}

// settleTape hands the records of a batch to the captures that want them. The fates are settled, and there still.
func (w *worker) settleTape() {
	t := w.tape
	if len(t.records) == 0 {
		return
	}
	for i := range t.records {
		w.judge(&t.records[i])
	}
	for _, c := range t.set.list {
		w.handOver(c)
	}
	t.records, t.bytes, t.cursor, t.missed = t.records[:0], t.bytes[:0], 0, 0
}

// judge adds to a record of a frame that entered what has become of it.
func (w *worker) judge(r *record) {
	if r.out || r.fate == noFate {
		return
	}
	f := &w.fates[r.fate]
	if r.packets, r.dropped, r.reason = f.packets, f.dropped(), f.reason; f.vni != 0 {
		r.vni = f.vni
	}
	if f.peer != noIndex {
		r.peer = w.s.peers.at(uint32(f.peer))
	} else if r.source.IsValid() { // refused, and perhaps a peer of another VNI
		r.peer = w.s.peers.find(netip.AddrPortFrom(r.source, w.s.config.DstPort))
	}
}

// handOver copies what a capture wants into the worker's buffer of it.
func (w *worker) handOver(c *capture) {
	t := w.tape
	slot := &c.buffers[w.id]
	b := slot.take()
	if b == nil {
		return // the capture has ended
	}
	b.lose(nil, nil, t.missed)
	for i := range t.records {
		r := &t.records[i]
		if r.out && r.failed >= r.packets || !r.out && hasNoFrame(r.reason) {
			continue
		}
		fromPort, fromPeer := w.origin(r)
		if !c.selects(r, fromPort, fromPeer) {
			continue
		}
		if r.lost {
			b.lose(r.port, r.peer, 1)
			continue
		}
		b.add(r, t.bytes[r.at:][:min(int(r.size), c.snaplen)])
	}
	waits := b.total() > 0 // also what was there before: whoever was woken for it may have come while it was taken out
	slot.put(b)
	if waits {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// hasNoFrame says whether what was dropped for a reason holds something else than an Ethernet frame.
func hasNoFrame(r Reason) bool { return r == GPEVersion || r == GPEOAM || r == GPEProtocol }

// origin is where the frame of a record that left came from.
func (w *worker) origin(r *record) (from *port, by *peer) {
	if !r.out || r.fate == noFate {
		return nil, nil
	}
	f := &w.fates[r.fate]
	if f.port != noIndex {
		from = w.snap.port(uint32(f.port))
	}
	if f.peer != noIndex {
		by = w.s.peers.at(uint32(f.peer))
	}
	return from, by
}
