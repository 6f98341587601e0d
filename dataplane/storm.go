package dataplane

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"vtepd/encap"
)

// Rate is how much may pass in a second.
type Rate struct {
	// N counts frames, a superframe as its segments; 0 is no bound.
	N uint64
	// Bits says that N counts bits of frames instead, from destination address to payload.
	Bits bool
}

// MaxRate is the largest Rate.N: 100 Gb/s, which no host floods.
const MaxRate = 100_000_000_000

// String is 10kpps or 100mbit, and off for no bound.
func (r Rate) String() string {
	if r.N == 0 {
		return "off"
	}
	n, prefix := r.N, 0
	for n%1000 == 0 && prefix < len(ratePrefixes)-1 {
		n, prefix = n/1000, prefix+1
	}
	unit := "pps"
	if r.Bits {
		unit = "bit"
	}
	return strconv.FormatUint(n, 10) + ratePrefixes[prefix] + unit
}

var ratePrefixes = [...]string{"", "k", "m", "g"}

func (r Rate) check() error {
	if r.N > MaxRate {
		return fmt.Errorf("storm-control %d a second: must be at most %d: %w", r.N, uint64(MaxRate), ErrInvalid)
	}
	return nil
}

// cost is how long the rate takes for what a frame counts, in nanoseconds, rounded up.
func (r Rate) cost(packets uint32, bytes uint32) int64 {
	n := uint64(packets)
	if r.Bits {
		n = 8 * uint64(bytes)
	}
	return int64((n*uint64(time.Second) + r.N - 1) / r.N)
}

// StormControl bounds for each kind of frame that is flooded what one source may have flooded in a VNI. The sources are ports and peers, each by
// itself.
type StormControl struct {
	Unknown, Broadcast, Multicast Rate
}

// String is one rate for all kinds where they have the same, else unknown=1kpps,broadcast=100pps without those that are off.
func (c StormControl) String() string {
	if c.Unknown == c.Broadcast && c.Broadcast == c.Multicast {
		return c.Unknown.String()
	}
	var words []string
	for _, k := range [...]struct {
		name string
		rate Rate
	}{{"unknown", c.Unknown}, {"broadcast", c.Broadcast}, {"multicast", c.Multicast}} {
		if k.rate.N != 0 {
			words = append(words, k.name+"="+k.rate.String())
		}
	}
	return strings.Join(words, ",")
}

func (c *StormControl) check() error {
	for _, r := range [...]Rate{c.Unknown, c.Broadcast, c.Multicast} {
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

// of is the rate of a kind, and the kind's place among the budgets of a source.
func (c *StormControl) of(kind FloodKinds) (Rate, int) {
	switch kind {
	case FloodBroadcast:
		return c.Broadcast, 1
	case FloodMulticast:
		return c.Multicast, 2
	}
	return c.Unknown, 0
}

// stormBurst is what may come at once, as the time in which the rate makes it up: such frames come in bursts, when stations start or a link comes back.
const stormBurst = int64(time.Second)

// stormBudgets are the budgets of one source, a kind each.
type stormBudgets [3]stormBudget

// stormBudget is what one source may have flooded of one kind. The workers share it.
type stormBudget struct {
	// until is when what it had flooded will have been made up for, in nanoseconds since the switch began.
	until atomic.Int64
	// dropped counts what was over it since a storm began that is followed; 0: none is.
	dropped atomic.Uint64
}

// exhausted says whether a budget has nothing left.
func (b *stormBudget) exhausted(now int64) bool { return b.until.Load() >= now+stormBurst }

// take spends from a budget, unless it has nothing left. A frame that costs more than is left is the last for a while: large ones would never pass else.
func (b *stormBudget) take(now, cost int64) bool {
	for {
		until := b.until.Load()
		if until >= now+stormBurst {
			return false
		}
		if b.until.CompareAndSwap(until, max(until, now)+cost) {
			return true
		}
	}
}

// follow makes budgets those of other rates. What a superframe took beyond what was left is not owed by a rate that it was not counted by: by one of
// 10 frames a second it may have been an hour's worth.
func (b *stormBudgets) follow(was, is *StormControl, now int64) {
	for _, kind := range [...]FloodKinds{FloodUnknown, FloodBroadcast, FloodMulticast} {
		rate, i := is.of(kind)
		if former, _ := was.of(kind); former == rate {
			continue
		}
		for most := now + stormBurst; ; {
			until := b[i].until.Load()
			if until <= most || b[i].until.CompareAndSwap(until, most) {
				break
			}
		}
	}
}

// stormPeers is how many budgets the peers of a VNI share, those that configuration names and the other sources each: more would let who makes peers up,
// where any source may send, have as many.
const stormPeers = 64

// peerBudgets are the budgets of a VNI's peers. What nobody named cannot use up those of a peer that is named.
type peerBudgets struct {
	named, others [stormPeers]stormBudgets
}

func (b *peerBudgets) follow(was, is *StormControl, now int64) {
	for i := range stormPeers {
		b.named[i].follow(was, is, now)
		b.others[i].follow(was, is, now)
	}
}

// of are the budgets of a peer of a VNI; nil is one that found no room among the peers: all such are together.
func (b *peerBudgets) of(d *domain, p *peer) *stormBudgets {
	switch {
	case p == nil:
		return &b.others[0]
	case d.names(p):
		return &b.named[p.index%stormPeers]
	}
	return &b.others[p.index%stormPeers]
}

// names says whether configuration names a peer for the VNI.
func (d *domain) names(p *peer) bool { return d.members[p.addr.Addr()] == p }

// stormGuard is what storm-control says in a VNI: immutable but for the budgets, which go from one to the next.
type stormGuard struct {
	ofPeers StormControl
	peers   *peerBudgets           // nil: no bound
	ports   map[uint32]stormSource // by index; only where there is a bound
}

type stormSource struct {
	limits  StormControl
	budgets *stormBudgets
}

// after is what applies to the ports and peers of a VNI next; nil, as former may be, where nothing is bounded, as mostly. Budgets of ports that are no more in it
// are forgotten.
func (former *stormGuard) after(vni StormControl, ports []*port, now int64) *stormGuard {
	if former == nil {
		former = new(stormGuard)
	}
	g := &stormGuard{ofPeers: vni}
	for _, p := range ports {
		limits := vni
		if p.config.StormControl != nil {
			limits = *p.config.StormControl
		}
		if limits == (StormControl{}) {
			continue
		}
		was := former.ports[p.index]
		if was.budgets == nil {
			was.budgets = new(stormBudgets)
		}
		was.budgets.follow(&was.limits, &limits, now)
		if g.ports == nil {
			g.ports = make(map[uint32]stormSource)
		}
		g.ports[p.index] = stormSource{limits, was.budgets}
	}
	if vni != (StormControl{}) {
		if g.peers = former.peers; g.peers == nil {
			g.peers = new(peerBudgets)
		}
		g.peers.follow(&former.ofPeers, &vni, now)
	}
	if g.ports == nil && g.peers == nil {
		return nil
	}
	return g
}

// source is what bounds the source of a frame.
func (g *stormGuard) source(f *frame) stormSource {
	switch {
	case f.port != nil:
		return g.ports[f.port.index]
	case g.peers == nil:
		return stormSource{}
	}
	return stormSource{g.ofPeers, g.peers.of(f.domain, f.peer)}
}

// stormBudget is the budget that a frame is flooded by, with its rate; nil when nothing bounds it, and when nobody is there to get it: that costs nothing, and
// is dropped for what keeps it from all of them.
func (w *worker) stormBudget(f *frame) (*stormBudget, Rate) {
	g := f.domain.storm
	if g == nil {
		return nil, Rate{}
	}
	from := g.source(f)
	rate, kind := from.limits.of(floodKind(encap.Ethernet(f.bytes()).Dst()))
	if rate.N == 0 || !w.hasTaker(f) {
		return nil, Rate{}
	}
	return &from.budgets[kind], rate
}

// hasTaker says whether there is anybody to flood a frame to, mostly by the first look. It judges by what flood asks without exception: what it calls without taker
// costs no copy.
func (w *worker) hasTaker(f *frame) bool {
	if !f.wire && len(f.domain.floodPeers) > 0 {
		return true
	}
	for _, m := range f.domain.floodPorts {
		if p := w.snap.port(m.port); p != nil && p != f.port && guardPort(f, p, m.vid) == ReasonNone {
			return true
		}
	}
	return false
}

// guardStorm keeps a source from having more flooded than it may. It comes last: what is not flooded for another reason costs nothing.
func (w *worker) guardStorm(f *frame) Reason {
	b, rate := w.stormBudget(f)
	if b == nil {
		return ReasonNone
	}
	packets, bytes := f.extent()
	if now := w.s.sinceStart(); !b.take(now, rate.cost(packets, bytes)) {
		w.overBudget(f, b, rate, now)
		return StormLimited
	}
	return ReasonNone
}

// sinceStart is the clock of the budgets, in nanoseconds.
func (s *Switch) sinceStart() int64 { return int64(time.Since(s.started)) }
