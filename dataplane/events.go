package dataplane

import (
	"sync"
	"sync/atomic"
	"time"

	"vtepd/fdb"
)

// lostAgain is how long after an event was lost, and after each try, the subscriber is tried to be told.
const lostAgain = 50 * time.Millisecond

// hub carries events to subscribers. It never waits: a subscriber that does not keep up is told how many it lost, before the next event that it gets and
// also when none comes.
type hub struct {
	active atomic.Int32 // number of subscribers: nobody listening costs one load
	mu     sync.Mutex
	subs   map[*subscription]struct{}
	closed bool
}

type subscription struct {
	events  chan Event
	lost    uint64
	last    string // object of the last that was lost
	telling bool   // a timer goes
}

// Subscribe returns a stream of events from now on, buffered for the given number of them, and what ends it. The channel is closed by
// cancel and by Close.
func (s *Switch) Subscribe(buffer int) (events <-chan Event, cancel func()) {
	sub := &subscription{events: make(chan Event, max(buffer, 1))}
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(sub.events)
		return sub.events, func() {}
	}
	if h.subs == nil {
		h.subs = make(map[*subscription]struct{})
	}
	h.subs[sub] = struct{}{}
	h.active.Add(1)
	return sub.events, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.subs[sub]; ok {
			delete(h.subs, sub)
			h.active.Add(-1)
			close(sub.events)
		}
	}
}

func (h *hub) send(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for sub := range h.subs {
		if sub.tellLost() {
			select {
			case sub.events <- e:
				continue
			default:
			}
		}
		if !sub.telling {
			sub.telling = true
			time.AfterFunc(lostAgain, func() { h.tellLater(sub) })
		}
		sub.lost++
		sub.last = e.Object
	}
}

// tellLater tells a subscriber what it lost as soon as it has room.
func (h *hub) tellLater(sub *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.subs[sub]; !ok {
		return
	}
	if sub.telling = !sub.tellLost(); sub.telling {
		time.AfterFunc(lostAgain, func() { h.tellLater(sub) })
	}
}

// tellLost says whether there is nothing left to be told of events that were lost. Needs the hub's mu.
func (sub *subscription) tellLost() bool {
	if sub.lost == 0 {
		return true
	}
	select {
	case sub.events <- Event{Time: time.Now(), Object: sub.last, Action: "lost", Count: sub.lost}:
		sub.lost = 0
		return true
	default:
		return false
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for sub := range h.subs {
		close(sub.events)
	}
	h.subs = nil
	h.active.Store(0)
}

func (s *Switch) event(e Event) {
	if s.hub.active.Load() == 0 {
		return
	}
	e.Time = time.Now()
	s.hub.send(e)
}

var fdbActions = map[fdb.EventKind]string{
	fdb.Added:      "add",
	fdb.Changed:    "change",
	fdb.EntryMoved: "move",
	fdb.Expired:    "expire",
	fdb.Evicted:    "evict",
	fdb.Deleted:    "del",
	fdb.Flushed:    "flush",
}

// fdbEvent hears the forwarding table. It runs under the table's lock, on a worker when the change came from a frame: it reads published
// state only and never waits.
func (s *Switch) fdbEvent(e fdb.Event) {
	s.fast.fdbChanged(&e)
	if s.hub.active.Load() == 0 {
		return
	}
	entry := s.entry(e.Entry)
	out := Event{Object: "fdb", Action: fdbActions[e.Kind], FDB: &entry, VNI: e.Entry.VNI, Count: uint64(e.Count)}
	if e.Kind == fdb.EntryMoved {
		out.From = s.placeName(e.From)
	}
	s.event(out)
}
