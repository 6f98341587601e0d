package dataplane

import (
	"vtepd/encap"
)

// takeProbe looks at a frame from a peer that no bridge forwards: another vtepd may be asking what size arrives (encap.Probe), or have answered. It is
// dropped for LinkLocalMulticast in any case, as by whoever knows no probes.
//
// The answer goes to an admitted peer only, is never larger than the question, and shares the budget of the messages about frames that are too big.
func (w *worker) takeProbe(f *frame) {
	p := encap.Probe(f.bytes())
	if !p.Valid() || f.peer == nil {
		return
	}
	switch p.Kind() {
	case encap.ProbeAnswer:
		select {
		case w.s.probes <- probeAnswer{peer: f.peer, id: p.ID(), length: p.Length()}:
		default: // nobody waits for so many
		}
	case encap.ProbeQuestion:
		if !f.domain.stats[w.id].answers.take(uint32(w.now)) {
			return
		}
		if w.headerUsed+answerRoom > len(w.header) {
			w.flushTx()
		}
		const size = encap.VXLANLen + encap.ProbeLen
		b := w.header[w.headerUsed : w.headerUsed+size : w.headerUsed+size]
		w.headerUsed += answerRoom
		f.domain.header.Put(b)
		encap.Probe(b[encap.VXLANLen:]).Encode(encap.ProbeAnswer, w.s.probeSource, p.ID(), uint32(len(f.bytes())))
		w.queue(f, f.peer, f.domain.class, 0, b, nil)
		if w.tape != nil {
			w.tape.toPeer(f.peer, f.domain.vni, noFate, 1, b[encap.VXLANLen:])
		}
	}
}

// probeAnswer is what a peer said about a probe: it arrived, and with it a frame of length bytes.
type probeAnswer struct {
	peer   *peer
	id     uint64
	length uint32
}
