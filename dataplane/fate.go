package dataplane

// fate is what becomes of one frame of a batch. It is opened when the frame enters, gathers what egress reports, and is settled
// when everything the batch produced has left or failed.
type fate struct {
	packets uint32 // segments that the frame stands for, and frames that followed it in its train
	bytes   uint32
	copies  uint32 // destinations that took it
	failed  uint32 // segments, over all copies, that did not leave after all
	vni     uint32 // 0: not known
	port    uint16 // where it came from, or noIndex
	peer    uint16
	reason  Reason // the first thing that went wrong
}

// open begins the account of the frame in w.frame.
func (w *worker) open(port, peer uint16, packets, bytes uint32) {
	if len(w.fates) == cap(w.fates) {
		w.flush()
	}
	w.frame.fate = uint32(len(w.fates))
	w.fates = append(w.fates, fate{packets: packets, bytes: bytes, port: port, peer: peer})
}

// fail notes that copies of a frame did not leave: segments of them, for a reason.
func (f *fate) fail(segments uint32, r Reason) {
	f.failed += segments
	f.blame(r)
}

// failAll notes that the only copy of a frame, and of those that followed it, did not leave.
func (f *fate) failAll(r Reason) { f.fail(f.packets, r) }

// blame notes a reason, should the frame turn out to be dropped. The first one stands.
func (f *fate) blame(r Reason) {
	if f.reason == ReasonNone {
		f.reason = r
	}
}

// dropped is how many of the frame's segments left in no copy at all. Which copy a failed segment belongs to is not kept: with several
// copies a segment counts as dropped only when more failed than the other copies can have carried.
func (f *fate) dropped() uint32 {
	if f.copies == 0 {
		return f.packets
	}
	spare := (f.copies - 1) * f.packets
	if f.failed <= spare {
		return 0
	}
	return min(f.failed-spare, f.packets)
}

// settle closes the accounts of the batch.
func (w *worker) settle() {
	var received, dropped uint64
	for i := range w.fates {
		f := &w.fates[i]
		received += uint64(f.packets)
		n := f.dropped()
		if n == 0 {
			continue
		}
		dropped += uint64(n)
		w.drops.add(makeLedgerKey(f.reason, f.port, f.peer, f.vni), uint64(n))
		w.chargeDrop(f, uint64(n))
	}
	if received != 0 {
		w.totals.received.Add(received)
		w.totals.forwarded.Add(received - dropped)
		if dropped != 0 {
			w.totals.dropped.Add(dropped)
		}
	}
	if w.tape != nil {
		w.settleTape()
	}
	w.fates = w.fates[:0]
}

// chargeDrop counts a drop where the frame came from.
func (w *worker) chargeDrop(f *fate, n uint64) {
	if f.port != noIndex {
		if p := w.snap.port(uint32(f.port)); p != nil {
			p.stats[w.id].rxDropped.Add(n)
		}
	}
	if f.peer != noIndex {
		if p := w.s.peers.at(uint32(f.peer)); p != nil {
			p.stats[w.id].rxDropped.Add(n)
		}
	}
	if f.vni != 0 {
		if d := w.snap.vnis.get(f.vni); d != nil {
			d.stats[w.id].rxDropped.Add(n)
		}
	}
}
