package dataplane

import (
	"sync/atomic"
	"time"
)

// A static entry holds against its MAC from elsewhere when FDBPut returns, so the maps must know it by then: the programs would take the MAC for a new one and carry
// its frame. Waiting for the mirror costs 0.1 ms, which is nothing for one entry and ten seconds for a file of a hundred thousand. So where many
// come, new sources are left to user space until they have come.

const (
	// crowdLeast is how many static entries in crowdTime make a crowd.
	crowdLeast = 16
	crowdTime  = 100 * time.Millisecond
	// crowdRest is how long no more must have come for the crowd to be over.
	crowdRest = time.Second
)

// crowd says whether new sources are left to user space for the static entries that come. Under Switch.mu, but for the atomic ones.
type crowd struct {
	began time.Time
	count int

	last    atomic.Int64 // when the last came, ns since crowdZero, which no change of the clock moves
	wanted  atomic.Bool  // for the mirror: close
	closed  atomic.Bool  // the maps carry no new sources
	pending bool         // of the mirror: opens at the end of this round
}

var crowdZero = time.Now()

// staticPut is called when a static entry is in the table, and returns when no frame of its MAC passes it by. Needs Switch.mu.
func (f *fastPath) staticPut() {
	if !f.following.Load() {
		return
	}
	c, now := &f.crowd, time.Now()
	c.last.Store(int64(now.Sub(crowdZero)))
	if c.closed.Load() {
		return // it opens only after it has taken note of this entry
	}
	if now.Sub(c.began) > crowdTime {
		c.began, c.count = now, 0
	}
	if c.count++; c.count >= crowdLeast {
		c.wanted.Store(true)
	}
	f.catchUp()
}

// crowdEnds is the beginning of a round. What reads closed before it is set false was noted before, and is followed in this round.
func (m *mirror) crowdEnds() {
	c := &m.s.fast.crowd
	if c.closed.Load() && time.Since(crowdZero)-time.Duration(c.last.Load()) > crowdRest {
		c.closed.Store(false)
		c.wanted.Store(false)
		c.pending = true
	}
}

// crowdFollows is the end of a round.
func (m *mirror) crowdFollows() {
	c := &m.s.fast.crowd
	switch {
	case c.pending:
		c.pending, m.crowded = false, false
		m.placeDomains()
	case c.wanted.Load() && !m.crowded:
		m.crowded = true
		m.placeDomains()
		c.closed.Store(true)
	}
}

// placeDomains writes every VNI again.
func (m *mirror) placeDomains() {
	for _, md := range m.domains {
		if md.on {
			m.placeDomain(md)
		}
	}
}
