package dataplane

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func pps(n uint64) Rate { return Rate{N: n} }

// TestStormBudget: a second's worth passes at once, then what the rate makes up, whoever asks how often; what is larger than all of it passes alone.
func TestStormBudget(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	for _, r := range []Rate{pps(1), pps(3), pps(7), pps(1000), pps(999_999), {N: 1_000_000, Bits: true}, {N: 77_777, Bits: true}} {
		var b stormBudgets
		var passed, now int64 = 0, 5 * int64(time.Second)
		size := uint32(100)
		count := func() (n int64) {
			for b[1].take(now, r.cost(1, size)) {
				n++
			}
			if !b[1].exhausted(now) || b[0].exhausted(now) {
				t.Errorf("%v: exhausted %v, and its neighbour %v", r, b[1].exhausted(now), b[0].exhausted(now))
			}
			return n
		}
		most := int64(r.N)
		if r.Bits {
			most = (int64(r.N) + 8*int64(size) - 1) / (8 * int64(size))
		}
		if n := count(); n > most || n < most-most/500 {
			t.Errorf("%v: %d pass at once, want %d", r, n, most)
		}
		begin := now
		for range 50 {
			now += rng.Int64N(int64(time.Second) / 2)
			passed += count()
		}
		want := float64(most) * float64(now-begin) / float64(time.Second)
		if r.Bits {
			want = float64(r.N) / float64(8*size) * float64(now-begin) / float64(time.Second)
		}
		if got := float64(passed); got > want+1 || got < 0.99*want-2 {
			t.Errorf("%v: %v passed in %v, want %v", r, got, time.Duration(now-begin), want)
		}
		now += int64(time.Hour)
		if !b[1].take(now, r.cost(1<<16, 1<<30)) {
			t.Errorf("%v: the largest does not pass", r)
		}
	}
	if (Rate{N: MaxRate, Bits: true}).cost(1<<16, 1<<32-1) <= 0 || pps(1).cost(1<<16, 0) <= 0 || (Rate{N: 1, Bits: true}).cost(0, 100_000) <= 0 {
		t.Error("a cost overflows")
	}
}

// TestStormControl floods from ports and peers what is bounded and what is not: each source has its own budget for each kind in each VNI, a port's
// own word replaces that of its VNIs, and known unicast is no flooding.
//
//	p0 p1 p2 ── switch ════ r0 r1
func TestStormControl(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	const many, n = 60, 10
	set := func(vni uint32, c StormControl) {
		s.set(VNIConfig{VNI: vni, Learning: true, Ageing: time.Minute, StormControl: c}, s.addrs()...)
	}
	unbounded, bounded := StormControl{}, StormControl{Unknown: pps(n), Broadcast: pps(n), Multicast: pps(n)}
	set(42, bounded)
	set(43, bounded)
	s.port("p0", 42)
	s.port("p1", 42)
	s.configuredPort(PortConfig{Name: "p2", Untagged: 42, Tagged: []VIDMap{{VID: 5, VNI: 43}}})
	unknown, multicast := uint64(station(99)), uint64(0x01005e000101)

	// flood sends frames by a budget that is full, of which less what is over it is dropped as the time that they take makes up.
	flood := func(what string, limited bool, send func()) {
		t.Helper()
		s.rest()
		before, began := s.dropped(StormLimited), time.Now()
		send()
		s.rest()
		dropped := s.dropped(StormLimited) - before
		madeUp := uint64(time.Since(began)/(time.Second/n)) + 1
		switch {
		case !limited && dropped != 0:
			t.Errorf("%s: %d of %d dropped", what, dropped, many)
		case limited && (dropped > many-n || dropped+madeUp < many-n):
			t.Errorf("%s: %d of %d dropped, want %d, less %d at most", what, dropped, many, many-n, madeUp)
		}
	}
	// exhausted sends them twice: of the second time hardly one passes.
	exhausted := func(what string, send func()) {
		t.Helper()
		began := time.Now()
		send()
		s.rest()
		before := s.dropped(StormLimited)
		send()
		s.rest()
		madeUp := uint64(time.Since(began)/(time.Second/n)) + 1
		if dropped := s.dropped(StormLimited) - before; dropped+madeUp < many {
			t.Errorf("%s: %d of %d dropped", what, dropped, many)
		}
	}
	from := func(port string, dst uint64) func() {
		return func() { s.Inject(port, times(many, frameOf(station(1), dst))...) }
	}
	fromPeer := func(i int, vni uint32, dst uint64) func() {
		return func() { s.remotes[i].send(vni, times(many, frameOf(station(2+i), dst))...) }
	}
	for _, dst := range []uint64{unknown, broadcast, multicast} {
		flood(fmt.Sprintf("%x from p0", dst), true, from("p0", dst))
	}
	exhausted("again from p0", from("p0", unknown))
	flood("from p1", true, from("p1", broadcast))
	flood("from p2, untagged", true, from("p2", broadcast))
	flood("from p2, VNI 43", true, func() {
		f := frameOf(station(1), broadcast)
		s.Inject("p2", times(many, append(append(append([]byte{}, f[:12]...), 0x81, 0, 0, 5), f[12:]...))...)
	})
	flood("from r0", true, fromPeer(0, 42, broadcast))
	flood("from r1", true, fromPeer(1, 42, broadcast))
	flood("from r1, VNI 43", true, fromPeer(1, 43, multicast))
	exhausted("again from r1", fromPeer(1, 42, broadcast))

	// Known unicast passes whatever was used up, and a change that leaves the bound alone gives nothing back.
	s.Inject("p0", frameOf(station(9), station(98)))
	flood("known unicast", false, func() { s.Inject("p1", times(many, frameOf(station(8), station(9)))...) })
	from("p1", unknown)()
	s.rest()
	spent := s.vnis[42].storm.ports[1].budgets
	set(42, StormControl{Unknown: pps(n), Broadcast: bounded.Broadcast})
	if s.vnis[42].storm.ports[1].budgets != spent {
		t.Error("a change gave budgets back")
	}
	exhausted("after a change", from("p1", unknown))
	flood("multicast without bound", false, from("p1", multicast))

	// What a trace says, and that asking takes nothing.
	s.rest()
	for range 3 * n {
		s.trace(TraceQuery{Port: "p2", Frame: frameOf(station(1), unknown)})
	}
	if r := s.trace(TraceQuery{Port: "p2", Frame: frameOf(station(1), unknown)}).Reason; r != ReasonNone {
		t.Errorf("a trace of what may be flooded: %v", r)
	}
	flood("from p2", true, from("p2", unknown))
	for i := 0; ; i++ { // a tenth of a second makes a frame up
		from("p2", unknown)()
		r := s.trace(TraceQuery{Port: "p2", Frame: frameOf(station(1), unknown)}).Reason
		if r == StormLimited {
			break
		}
		if i == 50 {
			t.Fatalf("a trace of what may not be flooded: %v", r)
		}
	}

	// The port's own.
	change := func(name string, c *StormControl) {
		t.Helper()
		for _, p := range s.Ports() {
			if p.Config.Name == name {
				p.Config.StormControl = c
				s.do(func() error { return s.SetPort(p.Config) })
			}
		}
	}
	change("p0", &unbounded)
	flood("from p0, off", false, from("p0", broadcast))
	set(42, unbounded)
	change("p0", &bounded)
	flood("from p0, its own", true, from("p0", broadcast))
	flood("from p1, off", false, from("p1", broadcast))
	flood("from r0, off", false, fromPeer(0, 42, broadcast))
	change("p0", nil)
	flood("from p0, as the VNI", false, from("p0", broadcast))

	// By bits: ten frames of a hundred bytes.
	set(42, StormControl{Broadcast: Rate{N: n * 8 * 100, Bits: true}})
	frame := append(frameOf(station(1), broadcast), make([]byte, 100)...)[:100]
	flood("by bits", true, func() { s.Inject("p1", times(many, frame)...) })

	if err := s.SetVNI(VNIConfig{VNI: 44, StormControl: StormControl{Multicast: pps(MaxRate + 1)}}); err == nil {
		t.Error("too high a rate is taken")
	}
	if n := len(s.vnis[42].storm.ports); n != 3 {
		t.Errorf("budgets of %d ports", n)
	}
	s.do(func() error { return s.DelPort("p2") })
	if n := len(s.vnis[42].storm.ports); n != 2 {
		t.Errorf("budgets of %d ports with one gone", n)
	}
	s.balance()
}

// TestStormDebt: what a superframe took beyond its budget by a low rate is not owed by another, of ports and peers; nothing is given for the change either.
func TestStormDebt(t *testing.T) {
	p := []*port{{index: 3}}
	vni := func(r Rate) StormControl { return StormControl{Broadcast: r, Multicast: pps(5)} }
	var g *stormGuard
	now := int64(time.Minute)
	sources := func(c StormControl) []*stormBudgets {
		g = g.after(c, p, now)
		return []*stormBudgets{g.ports[3].budgets, &g.peers.named[7], &g.peers.others[7]}
	}
	slow := vni(pps(10))
	for _, b := range sources(slow) {
		for kind := 1; kind <= 2; kind++ {
			if !b[kind].take(now, slow.Broadcast.cost(44_000, 0)) {
				t.Fatal("the first is refused")
			}
		}
	}
	for _, c := range []struct {
		to     Rate
		passes bool
	}{{pps(10), false}, {pps(1000), true}, {Rate{N: 1000, Bits: true}, true}} {
		for i, b := range sources(vni(c.to)) {
			if !b[1].exhausted(now) {
				t.Errorf("%v, source %d: the change gives something", c.to, i)
			}
			if b[1].exhausted(now+int64(time.Second)/1000) == c.passes {
				t.Errorf("%v, source %d: %v later exhausted: %v", c.to, i, time.Second/1000, c.passes)
			}
			if !b[2].exhausted(now + int64(time.Minute)) {
				t.Errorf("%v, source %d: a kind whose rate stays is forgiven", c.to, i)
			}
		}
	}
}

// TestStormPeers: whoever sends into a VNI that admits anybody spends what the peers that configuration names have not.
func TestStormPeers(t *testing.T) {
	named, other := &peer{index: 0, addr: netip.MustParseAddrPort("192.0.2.1:4789")}, &peer{index: stormPeers, addr: netip.MustParseAddrPort("192.0.2.2:4789")}
	d := &domain{members: map[netip.Addr]*peer{named.addr.Addr(): named}}
	b := new(peerBudgets)
	now := int64(time.Minute)
	for _, p := range []*peer{other, nil} {
		for b.of(d, p)[0].take(now, stormBurst/10) {
		}
	}
	if b.of(d, named)[0].exhausted(now) {
		t.Error("a peer's budget is spent by others")
	}
}

// What nobody could have got costs nothing of a budget, however much of it there is, and is dropped for what it would be without a bound; a trace says the same.
//
//	p0 ... ── switch ════ r0
func TestStormWithoutTaker(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	bounded := StormControl{Unknown: pps(3), Broadcast: pps(3), Multicast: pps(3)}
	const many = 40
	vni := uint32(40)
	// begin makes a VNI for one case, with p0 in it and nobody else.
	begin := func(c VNIConfig, p0 PortConfig) {
		if vni > 40 {
			for _, p := range s.Ports() {
				s.do(func() error { return s.DelPort(p.Config.Name) })
			}
		}
		vni++
		c.VNI, c.Learning, c.Ageing, c.StormControl = vni, true, time.Minute, bounded
		s.set(c)
		p0.Name, p0.Untagged = "p0", vni
		s.configuredPort(p0)
	}
	// nobody floods what is dropped for a reason, and finds the budget as it was.
	nobody := func(what string, reason Reason, query TraceQuery, send func(frames ...[]byte)) {
		t.Helper()
		for _, dst := range []uint64{broadcast, 0x01005e000101, station(99)} {
			s.drops(many, reason, func() { send(times(many, frameOf(station(1), dst))...) })
			query.Frame = frameOf(station(1), dst)
			if r := s.trace(query).Reason; r != reason {
				t.Errorf("%s: a trace says %v, want %v", what, r, reason)
			}
		}
		b := &s.vnis[vni].storm.peers.named[0]
		if query.Port != "" {
			b = s.vnis[vni].storm.ports[s.ports[query.Port].published.index].budgets
		}
		for kind := range b {
			if b[kind].until.Load() != 0 {
				t.Errorf("%s: something was taken from budget %d", what, kind)
			}
		}
	}
	fromP0 := func(frames ...[]byte) { s.Inject("p0", frames...) }
	p0 := TraceQuery{Port: "p0"}

	begin(VNIConfig{}, PortConfig{})
	nobody("alone", NoDestination, p0, fromP0)

	begin(VNIConfig{}, PortConfig{Isolated: true})
	s.configuredPort(PortConfig{Name: "p1", Untagged: vni, Isolated: true})
	nobody("isolated", PortIsolated, p0, fromP0)

	begin(VNIConfig{Header: HeaderPolicy{GBP: true}}, PortConfig{GBPID: 7})
	s.configuredPort(PortConfig{Name: "p1", Untagged: vni, GBPDrop: []GBPRange{{7, 7}}})
	nobody("groups", GBPDenied, p0, fromP0)

	// A peer alone: p0 leaves, and what comes from the peer goes to none.
	begin(VNIConfig{}, PortConfig{})
	s.do(func() error { return s.DelPort("p0") })
	s.set(VNIConfig{VNI: vni, Learning: true, Ageing: time.Minute, StormControl: bounded}, s.addrs()...)
	nobody("from a peer", NoDestination, TraceQuery{Peer: s.remotes[0].addr, VNI: vni}, func(frames ...[]byte) { s.remotes[0].send(vni, frames...) })

	// With one that may have it the bound is there, whoever may not.
	begin(VNIConfig{}, PortConfig{Isolated: true})
	s.configuredPort(PortConfig{Name: "p1", Untagged: vni, Isolated: true})
	s.configuredPort(PortConfig{Name: "p2", Untagged: vni})
	fromP0(times(many, frameOf(station(1), broadcast))...)
	s.rest()
	if s.dropped(StormLimited) == 0 {
		t.Error("nothing is bounded beside an isolated port")
	}
	s.balance()
}
