package dataplane

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vtepd/encap"
)

// Bounds of what is told of storms: who floods may do so in every VNI of a trunk, and as often as it likes.
const (
	// stormHold is how long nothing may have been dropped until a storm is over.
	stormHold = 10 * time.Second
	// stormsAtOnce is how many storms of a source are followed at a time. Its other frames are dropped all the same.
	stormsAtOnce = 8
	// stormLines is how many beginnings of storms of a source the log tells in stormLinesIn. Events tell each that is followed.
	stormLines   = 8
	stormLinesIn = time.Minute
	// freshStorms is how many may begin between two looks.
	freshStorms = 256
)

// stormSources counts those that storms are told apart by: ports by index, what named peers share of budgets, and all other senders together.
const stormSources = MaxPorts + stormPeers + 1

// storms are the sources over their bounds. Workers say that one begins, when the first frame is dropped; control sees by what more is dropped how long it lasts.
type storms struct {
	followed [stormSources]atomic.Int32 // by source

	mu    sync.Mutex
	fresh []*storm // begun since the last look; what workers take for them was made before
	spare []*storm

	// Under Switch.mu.
	on   []*storm
	told map[int]*stormTalk // by source
}

// storm is one source that had more of a kind flooded in a VNI than it may, since the first of it was dropped.
type storm struct {
	source  int
	budget  *stormBudget
	sharing *peerBudgets   // what the budget is of; nil: a port's
	port    string         // or
	peer    netip.AddrPort // of those that share the budget the one that was over it first
	vni     uint32
	kind    FloodKinds
	rate    Rate
	// began and last are when the first and the last frame was dropped, last by what dropped was at a look; on the clock of the budgets.
	began, last int64
	dropped     uint64
	told        bool // in the log
}

// stormTalk is what the log has said of a source's storms.
type stormTalk struct {
	began  [stormLines]int64 // when beginnings were told, in a ring
	next   int               // where the oldest of them is
	on     int
	untold int
}

// newStorms has what workers need, who allocate nothing.
func newStorms() *storms {
	s := &storms{fresh: make([]*storm, 0, freshStorms), told: make(map[int]*stormTalk)}
	s.refill()
	return s
}

// refill makes up for what workers took. Needs mu, once workers run.
func (s *storms) refill() {
	for len(s.spare) < freshStorms {
		s.spare = append(s.spare, new(storm))
	}
}

// begin notes a storm, and says whether there was room to.
func (s *storms) begin(n *storm) bool {
	if s.followed[n.source].Add(1) <= stormsAtOnce {
		s.mu.Lock()
		defer s.mu.Unlock()
		if last := len(s.spare) - 1; last >= 0 {
			*s.spare[last] = *n
			s.fresh = append(s.fresh, s.spare[last])
			s.spare = s.spare[:last]
			return true
		}
	}
	s.followed[n.source].Add(-1)
	return false
}

// overBudget notes that a frame was dropped for want of a budget.
func (w *worker) overBudget(f *frame, b *stormBudget, rate Rate, now int64) {
	n := uint64(w.fates[f.fate].packets)
	if b.dropped.Add(n) != n {
		return // the storm is known
	}
	st := storm{budget: b, vni: f.domain.vni, kind: floodKind(encap.Ethernet(f.bytes()).Dst()), rate: rate, began: now, last: now}
	if f.port != nil {
		st.source, st.port = int(f.port.index), f.port.config.Name
	} else {
		st.sharing, st.peer = f.domain.storm.peers, netip.AddrPortFrom(w.seen.source.Addr(), w.arrival)
		st.source = MaxPorts + stormPeers
		if p := f.peer; p != nil {
			st.peer = p.addr
			if f.domain.names(p) {
				st.source = MaxPorts + int(p.index%stormPeers)
			}
		}
	}
	if !w.s.storms.begin(&st) {
		b.dropped.Store(0) // so that the next one tries again
	}
}

// stormRate is what bounds the source of a storm now; 0: nothing, or by another budget.
func (s *Switch) stormRate(st *storm) Rate {
	r := s.vnis[st.vni]
	if r == nil || r.storm == nil {
		return Rate{}
	}
	g := r.storm
	if st.sharing != nil {
		if g.peers != st.sharing {
			return Rate{}
		}
		rate, _ := g.ofPeers.of(st.kind)
		return rate
	}
	p := s.ports[st.port]
	if p == nil {
		return Rate{}
	}
	from := g.ports[p.published.index]
	rate, kind := from.limits.of(st.kind)
	if from.budgets == nil || &from.budgets[kind] != st.budget {
		return Rate{}
	}
	return rate
}

// followStorms tells which storms have begun and which are over.
func (s *Switch) followStorms() {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.storms
	f.mu.Lock()
	begun := slices.Clone(f.fresh)
	f.fresh = f.fresh[:0]
	f.refill()
	f.mu.Unlock()
	for _, st := range begun {
		s.stormBegins(st)
	}
	now := s.sinceStart()
	f.on = slices.DeleteFunc(f.on, func(st *storm) bool {
		if n := st.budget.dropped.Load(); n != st.dropped {
			st.dropped, st.last = n, now
		}
		reason := ""
		if s.stormRate(st) != st.rate {
			reason = "its bound has changed or gone"
		} else if now-st.last < int64(stormHold) {
			return false
		}
		st.dropped = st.budget.dropped.Swap(0) // whoever is over it from now on begins another
		f.followed[st.source].Add(-1)
		s.stormEnds(st, reason)
		return true
	})
}

func (s *Switch) stormBegins(st *storm) {
	f := s.storms
	f.on = append(f.on, st)
	talk := f.told[st.source]
	if talk == nil {
		talk = new(stormTalk)
		f.told[st.source] = talk
	}
	talk.on++
	s.event(st.event("storm", ""))
	if oldest := talk.began[talk.next]; oldest != 0 && st.began-oldest < int64(stormLinesIn) {
		talk.untold++
		return
	}
	st.told = true
	talk.began[talk.next] = max(st.began, 1)
	talk.next = (talk.next + 1) % stormLines
	st.log(s.log).Warn("storm: more is flooded than storm-control allows, and dropped")
}

func (s *Switch) stormEnds(st *storm, reason string) {
	talk := s.storms.told[st.source]
	talk.on--
	s.event(st.event("calm", reason))
	log := st.log(s.log).With("dropped", st.dropped, "lasted", time.Duration(st.last-st.began).Round(time.Second))
	if reason != "" {
		log = log.With("reason", reason)
	}
	if st.told {
		log.Info("storm is over")
	}
	if talk.on > 0 || talk.untold == 0 {
		return
	}
	// Only how many there were: each of them was an event.
	st.logSource(s.log).Info("storms were not told each", "storms", talk.untold)
	talk.untold = 0
}

func (st *storm) logSource(log *slog.Logger) *slog.Logger {
	if st.port != "" {
		return log.With("port", st.port)
	}
	return log.With("peer", st.peer)
}

func (st *storm) log(log *slog.Logger) *slog.Logger {
	return st.logSource(log).With("vni", st.vni, "kind", st.kind.String(), "rate", st.rate.String()) // JSON would have their numbers
}

func (st *storm) event(action, reason string) Event {
	e := Event{Object: "port", Action: action, Port: st.port, Peer: st.peer, VNI: st.vni, Count: st.dropped, Reason: st.kind.String() + " over " + st.rate.String()}
	if st.port == "" {
		e.Object = "peer"
	}
	if reason != "" {
		e.Reason += ", " + reason
	}
	return e
}

// stormsNow lists the storms that are on, in the order in which they began. Needs mu.
func (s *Switch) stormsNow() []StormInfo {
	var list []StormInfo
	now := s.sinceStart()
	for _, st := range s.storms.on {
		list = append(list, StormInfo{Port: st.port, Peer: st.peer, VNI: st.vni, Kind: st.kind, Rate: st.rate, Dropped: st.budget.dropped.Load(),
			Age: time.Duration(now - st.began)})
	}
	return list
}
