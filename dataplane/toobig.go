package dataplane

import (
	"sync/atomic"

	"vtepd/encap"
)

// answersPerSecond bounds the ICMP messages about frames that are too big, for each VNI at each worker. A sender needs one for each
// destination and lowers its packets for ten minutes; a thousand serve a host that begins a thousand connections a second.
const answersPerSecond = 1000

// answerCounters count what a worker did about MTUs.
type answerCounters struct {
	sent    atomic.Uint64
	limited atomic.Uint64 // not sent, because there were answersPerSecond already
	clamped atomic.Uint64 // frames whose MSS was lowered
}

// answerBudget is what one worker may still say in one VNI. Only that worker uses it.
type answerBudget struct {
	second uint32 // of the table's clock
	used   uint32
}

func (b *answerBudget) take(second uint32) bool {
	if b.second != second {
		b.second, b.used = second, 0
	}
	if b.used == answersPerSecond {
		return false
	}
	b.used++
	return true
}

// tighten notes that a destination takes frames up to limit bytes and the frame, or its segments, are larger.
func (f *frame) tighten(limit int, toPeer bool) {
	if f.tight == 0 || limit < f.tight {
		f.tight = limit
	}
	f.tightPeer = f.tightPeer || toPeer
}

// answerTooBig tells the sender of the frame in hand what size fits: an ICMP message back to where the frame came from, into its VNI. The
// frame itself is dropped for TooBig as ever, and the message is none that entered the switch: it counts as sent, to its port or
// peer and VNI, and nowhere else.
//
// Where a flooded frame was too big for one port and another took it, nothing is said: its destination may well be behind the other. A peer that
// did not get its copy is reported in any case, as Linux does (vxlan_xmit_one, drivers/net/vxlan/vxlan_core.c).
func (w *worker) answerTooBig(f *frame) {
	if !f.tightPeer && w.fates[f.fate].copies > 0 {
		return
	}
	if f.wire && f.peer == nil {
		return // a source that is no peer: there is nowhere to send to
	}
	l := f.parse()
	head, rest, ok := w.quotation(f, l)
	if !ok {
		return
	}
	if w.headerUsed+answerRoom > len(w.header) {
		w.flushTx()
	}
	room := w.header[w.headerUsed : w.headerUsed+answerRoom : w.headerUsed+answerRoom]
	limit := encap.MaxTooBigLen
	if most := f.returnLimit(); most > 0 {
		limit = min(limit, most)
	}
	n := encap.TooBig(room[encap.VXLANLen:encap.VXLANLen+limit], head, rest, l, f.tight-int(l.L3))
	if n == 0 {
		return
	}
	if !f.domain.stats[w.id].answers.take(uint32(w.now)) {
		w.answers.limited.Add(1)
		return
	}
	w.answers.sent.Add(1)
	if f.wire {
		w.headerUsed += answerRoom
		f.domain.header.Put(room)
		w.queue(f, f.peer, f.domain.class, 0, room[:encap.VXLANLen+n], nil)
		if w.tape != nil {
			w.tape.toPeer(f.peer, f.domain.vni, noFate, 1, room[encap.VXLANLen:][:n])
		}
		return
	}
	vid, ok := f.port.tagFor(f.domain.vni)
	if !ok || f.port.link == nil {
		return
	}
	if vid != 0 {
		vid |= f.priority
	}
	w.parts = append(w.parts[:0], room[encap.VXLANLen:encap.VXLANLen+n])
	account := post{port: f.port, vni: f.domain.vni, packets: 1, bytes: uint32(n), fates: noFates}
	if w.writeParts(encap.Offload{}, vid, account) == nil {
		w.countToPort(f, f.port, 1, uint64(n))
	}
	w.flushPosts() // the answer lies in the header arena, which others use next
}

// answerRoom is what an answer takes of the worker's header arena, in bytes.
const answerRoom = encap.VXLANLen + encap.MaxTooBigLen

// returnLimit is the size of the largest frame that takes the way back, in bytes; 0 when it is not known.
func (f *frame) returnLimit() int {
	if f.wire {
		return f.peer.maxFrame()
	}
	return f.port.maxFrame
}

// quotation returns the frame that was too big as it would have been on the wire: without padding, its checksum finished; of a superframe the first
// segment.
func (w *worker) quotation(f *frame, l *encap.Layout) (head, rest []byte, ok bool) {
	if f.off.IsGSO() {
		if w.cutter.Init(f.bytes(), l, f.off) != nil {
			return nil, nil, false
		}
		head = w.segment[:w.cutter.HeaderLen()]
		return head, w.cutter.Segment(0, head), true
	}
	if w.finishChecksum(f) != nil {
		return nil, nil, false
	}
	return f.bytes()[:l.End], nil, true
}
