package dataplane

import (
	"log/slog"
	"time"

	"vtepd/encap"
)

// Times of a port that changes all the time.
const (
	// After unrestBurst lines about a port in unrestWindow its changes are not told one by one any more, until it rests that long.
	unrestBurst  = 5
	unrestWindow = 10 * time.Second
	// unrestTell is how often it is said meanwhile how many they are.
	unrestTell = time.Minute
)

// unrest bounds what the log says of a port: a workload does to its end of it what it likes, as fast as it likes. Events tell each change all the same.
type unrest struct {
	latest [unrestBurst]time.Time // when the port last changed, in a ring
	next   int                    // where the oldest of them is
	holds  bool                   // its changes are not told
	said   bool                   // that it was said that there are many
	since  time.Time              // when that was last, or when the first of the many was
	many   int                    // changes since then
	all    int                    // all that were not told
}

// change notes a change and says whether it is to be told.
func (u *unrest) change(now time.Time) bool {
	oldest := u.latest[u.next]
	u.latest[u.next] = now
	u.next = (u.next + 1) % unrestBurst
	if !u.holds && now.Sub(oldest) >= unrestWindow {
		return true
	}
	if !u.holds {
		u.holds, u.since, u.many = true, oldest, unrestBurst
	}
	u.many++
	u.all++
	return false
}

// word says whether it is time to say that the port changes all the time, and how many changes there were in which time.
func (u *unrest) word(now time.Time) (many int, of time.Duration, say bool) {
	if !u.holds || u.said && now.Sub(u.since) < unrestTell {
		return 0, 0, false
	}
	many, of = u.many, now.Sub(u.since)
	u.said, u.since, u.many = true, now, 0
	return many, of, true
}

// rests says whether a port whose changes were held back has stopped changing, once, and how many they were.
func (u *unrest) rests(now time.Time) (all int, say bool) {
	last := u.latest[(u.next+unrestBurst-1)%unrestBurst]
	if !u.holds || now.Sub(last) < unrestWindow {
		return 0, false
	}
	all = u.all
	*u = unrest{}
	return all, true
}

var discard = slog.New(slog.DiscardHandler)

// logOf is the log for one line about what a workload may have done to its port. Needs mu.
func (s *Switch) logOf(r *portRecord) *slog.Logger {
	now := time.Now()
	if r.unrest.change(now) {
		return s.log
	}
	if many, of, say := r.unrest.word(now); say {
		s.log.Warn("port changes all the time: it is not told each time until it rests", "port", r.published.config.Name, "changes", many, "in", of.Round(100*time.Millisecond))
	}
	return discard
}

// tellRest says what has come of a port that changed all the time. Needs mu.
func (s *Switch) tellRest(r *portRecord) {
	all, say := r.unrest.rests(time.Now())
	if !say {
		return
	}
	p := r.published
	log := s.log.With("port", p.config.Name, "state", string(r.state), "changes", all)
	if r.attr.Warning != "" {
		log = log.With("reason", r.attr.Warning)
	}
	if p.link == nil {
		log.Info("port rests")
		return
	}
	log.Info("port rests", "mtu", p.link.mtu)
	// What holds for as long as the port stays so may have been held back, too.
	if lost := p.config.addresses6(); len(lost) > 0 && p.link.workload < encap.IPv6MinMTU {
		s.log.Warn("port has no IPv6 addresses until its MTU is 1280 again", "port", p.config.Name, "mtu", p.link.workload, "addresses", lost)
	}
	r.warned.mtu = 0
	s.fitMTU(r)
}
