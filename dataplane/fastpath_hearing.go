package dataplane

import (
	"sync/atomic"
	"time"

	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// The programs carry frames whose source they do not know, when they know the destination, and tell of the source. User space learns it from what they
// tell as it would have learned it from the frame: by the state of the moment in which it hears, as for a frame that waited in a socket.
//
// What was told is heard by whoever needs it first. A goroutine hears within a millisecond. A worker that is about to learn, or to flood for want of a
// destination, hears before: an answer to a frame that was carried finds its way, and what was told earlier is learned earlier. And each round of the
// mirror begins by hearing.

// hearPause is what the goroutine sleeps after it has heard: it wakes once in that time at most, however many events come.
const hearPause = time.Millisecond

// hearing learns from the events of one set of programs.
type hearing struct {
	s     *Switch
	e     programs
	ended chan struct{} // closed when the goroutine has ended

	// busy: events were read, and are not learned from yet.
	busy atomic.Bool

	// Under fastPath.hears.
	speakers map[uint32]speaker // by serial
	list     [128]xdp.LearnEvent
}

// speaker is a port, with the device that it had, or a peer. A serial is never given again: what is told of one that is dismissed is told of nobody,
// whoever has the index now.
type speaker struct {
	port *port
	peer *peer
}

// heard counts what came of events, over the life of the switch.
type heard struct {
	learned    atomic.Uint64 // events believed
	outdated   atomic.Uint64 // of a port, a peer or a VNI that was gone or had changed, or against a static entry that has come since
	incomplete atomic.Bool   // the table had no room for a source: user space has to drop its frames
}

func newHearing(s *Switch, e programs) *hearing {
	return &hearing{s: s, e: e, ended: make(chan struct{}), speakers: make(map[uint32]speaker)}
}

// run is the goroutine.
func (h *hearing) run() {
	defer close(h.ended)
	for h.e.WaitEvents() {
		h.hear()
		time.Sleep(hearPause)
	}
}

// stop ends the goroutine and keeps the workers from hearing. When it returns the events may go.
func (h *hearing) stop() {
	h.s.fast.hearing.CompareAndSwap(h, nil)
	h.e.EndEvents()
	<-h.ended
	h.s.batchesEnd()
}

// admit has a speaker believed from now on.
func (h *hearing) admit(serial uint32, sp speaker) {
	h.s.fast.hears.Lock()
	defer h.s.fast.hears.Unlock()
	h.speakers[serial] = sp
}

// dismiss believes a speaker no longer. What it said while it could was heard before.
func (h *hearing) dismiss(serial uint32) {
	h.hear()
	h.s.fast.hears.Lock()
	defer h.s.fast.hears.Unlock()
	delete(h.speakers, serial)
}

// open says whether something was told that is not learned from yet. The order matters: what is no longer waiting is in somebody's hands, or learned.
func (h *hearing) open() bool { return h.e.EventsWaiting() || h.busy.Load() }

// hear learns what there is to be learned. Any goroutine that may not wait for a worker's batch may call it, workers among them.
func (h *hearing) hear() {
	f := h.s.fast
	for h.open() {
		f.hears.Lock()
		h.busy.Store(true)
		// Under the lock: see Switch.settle.
		snap, now := h.s.current.Load(), h.s.now()
		n := h.e.ReadEvents(h.list[:])
		for i := range h.list[:n] {
			h.learn(snap, &h.list[i], now)
		}
		h.busy.Store(false)
		f.hears.Unlock()
	}
}

// learn is the learning of portStages and wireStages. All guards before it were the programs'.
func (h *hearing) learn(snap *snapshot, e *xdp.LearnEvent, now fdb.Tick) {
	counts := &h.s.fast.heard
	place := h.place(snap, e)
	if place == fdb.None {
		counts.outdated.Add(1)
		return
	}
	switch h.s.fdb.Learn(e.VNI, fdb.FromBytes(e.MAC[:]), place, now) {
	case fdb.Elsewhere:
		counts.outdated.Add(1)
	case fdb.Refused:
		if !counts.incomplete.Swap(true) {
			h.s.fast.poke()
		}
	default:
		counts.learned.Add(1)
	}
}

// place is where the source of an event lives, None when that cannot be said any more: the port or the peer has gone or is another's, or may not send into
// the VNI now.
func (h *hearing) place(snap *snapshot, e *xdp.LearnEvent) fdb.Dest {
	d := snap.vnis.get(e.VNI)
	sp := h.speakers[e.Serial]
	switch {
	case d == nil:
		return fdb.None
	case sp.port != nil:
		p := snap.port(sp.port.index)
		if p == nil || p.owner() != sp.port.owner() || p.link != sp.port.link {
			return fdb.None
		}
		if _, ok := p.tagFor(e.VNI); !ok {
			return fdb.None
		}
		return p.place()
	case sp.peer != nil:
		p := sp.peer
		if !d.learning || h.s.peers.at(p.index) != p {
			return fdb.None
		}
		if m := d.members[p.addr.Addr()]; m != nil && m != p || m == nil && !d.admits(p.addr.Addr()) {
			return fdb.None
		}
		return p.place()
	}
	return fdb.None
}

// hear has the worker hear what the programs have told until now. It says whether there was anything. It costs three loads when there is nothing.
func (w *worker) hear() bool {
	if w.hearing == nil || !w.hearing.open() {
		return false
	}
	w.hearing.hear()
	w.seen.lookVNI = 0 // what was found before may have moved
	return true
}

// batchesEnd returns when no worker is inside a batch any more that it was in when this was called.
func (s *Switch) batchesEnd() {
	for _, w := range s.workers {
		batch := w.batch.Load()
		for w.inside.Load() != outside && w.batch.Load() == batch {
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// heardNothingOlder returns when nobody learns by events and a state older than the published one.
func (f *fastPath) heardNothingOlder() {
	f.hears.Lock()
	defer f.hears.Unlock()
}
