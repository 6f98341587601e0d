package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"vtepd/bench/lab"
	"vtepd/fdb"
)

// newSourcesScene is a scene with the fast path on, and known stations to talk to: 1 at p0, 4 behind the first remote.
//
//	p0, p1, p2 (VNI 42) ── switch ════ r0, r1
func newSourcesScene(t *testing.T, kind PortType, c VNIConfig, change func(*PortConfig)) *scene {
	t.Helper()
	s := newSceneOf(t, kind, nil, 2, func(c *Config) { c.FastPath = FastPathOn })
	c.VNI, c.Learning = 42, true
	s.set(c, s.addrs()...)
	for i := range 3 {
		p := PortConfig{Name: fmt.Sprintf("p%d", i), Untagged: 42}
		if change != nil && i == 1 {
			change(&p)
		}
		s.configuredPort(p)
	}
	s.pinned(42, "p0", station(1))
	s.pinned(42, "", station(4))
	s.forget()
	return s
}

// carries wants the fast path to carry exactly so many frames to peers, from peers and between ports while f runs.
func (s *scene) carries(what string, encap, decap, local uint64, f func()) {
	s.t.Helper()
	s.rest()
	before := s.Status().FastPath
	f()
	s.rest()
	after := s.Status().FastPath
	got := [3]uint64{after.Encap - before.Encap, after.Decap - before.Decap, after.Local - before.Local}
	if want := [3]uint64{encap, decap, local}; got != want {
		s.t.Errorf("%s: the fast path carried %v frames to peers, from peers and between ports, want %v; left to user space: %v, then %v", what, got, want, before.Punted, after.Punted)
	}
}

// TestNewSourcesAreCarried: the very first frame of a station passes user space by when its destination is known, and the station is known from it, wherever it
// comes from and wherever it moves.
func TestNewSourcesAreCarried(t *testing.T) {
	for _, kind := range []PortType{PortTAP, PortVeth, PortNetdev} {
		t.Run(string(kind), func(t *testing.T) {
			s := newSourcesScene(t, kind, VNIConfig{}, nil)
			at := func(what string, mac uint64, port string, dst netip.Addr, moves uint32) {
				t.Helper()
				if e := s.entry(42, mac); e.Port != port || e.Dst.Addr() != dst || e.Moves != moves || e.State != fdb.Dynamic {
					t.Errorf("%s: %+v", what, e)
				}
			}
			nobody := netip.Addr{}
			s.carries("a port's, to a peer", 1, 0, 0, func() { s.Inject("p1", frameOf(station(9), station(4))) })
			at("a port's, to a peer", station(9), "p1", nobody, 0)
			s.carries("a port's, to a port", 0, 0, 1, func() { s.Inject("p1", frameOf(station(10), station(1))) })
			at("a port's, to a port", station(10), "p1", nobody, 0)
			s.carries("a peer's", 0, 1, 0, func() { s.remotes[1].send(42, frameOf(station(11), station(1))) })
			at("a peer's", station(11), "", s.remotes[1].addr, 0)
			if got := s.counts(); got != "p0:2 r0:1" {
				t.Errorf("what came out: %s", got)
			}
			s.carries("from port to port", 1, 0, 0, func() { s.Inject("p2", frameOf(station(9), station(4))) })
			at("from port to port", station(9), "p2", nobody, 1)
			s.carries("from port to peer", 0, 1, 0, func() { s.remotes[1].send(42, frameOf(station(9), station(1))) })
			at("from port to peer", station(9), "", s.remotes[1].addr, 2)
			s.carries("from peer to peer", 0, 1, 0, func() { s.remotes[0].send(42, frameOf(station(9), station(1))) })
			at("from peer to peer", station(9), "", s.remotes[0].addr, 3)
			s.carries("from peer to port", 1, 0, 0, func() { s.Inject("p1", frameOf(station(9), station(4))) })
			at("from peer to port", station(9), "p1", nobody, 4)
			s.forget()
			// What was learned is gone to.
			s.carries("to where it went", 0, 1, 1, func() {
				s.remotes[0].send(42, frameOf(station(4), station(9)))
				s.Inject("p0", frameOf(station(1), station(9)))
			})
			if got := s.counts(); got != "p1:2" {
				t.Errorf("what came out: %s", got)
			}
			if f := s.Status().FastPath; f.Heard != 7 || f.Outdated != 0 {
				t.Errorf("learned from %d, and not from %d", f.Heard, f.Outdated)
			}
			// Others' maps and events, the same story.
			s.do(func() error { return s.SetFastPath(FastPathOff) })
			s.do(func() error { return s.SetFastPath(FastPathOn) })
			s.carries("after off and on", 1, 1, 0, func() {
				s.Inject("p2", frameOf(station(20), station(4)))
				s.remotes[1].send(42, frameOf(station(21), station(1)))
			})
			at("after off and on", station(20), "p2", nobody, 0)
			at("after off and on", station(21), "", s.remotes[1].addr, 0)
			s.balance()
		})
	}
}

// TestNewSourcesAreAnswered: the answer to a frame that was carried is sent where that came from and nowhere else, however soon it comes.
func TestNewSourcesAreAnswered(t *testing.T) {
	s := newSourcesScene(t, PortTAP, VNIConfig{}, nil)
	const rounds = 150
	for i := range rounds {
		s.Inject("p1", frameOf(station(1000+i), station(4)))
		s.remotes[0].send(42, frameOf(station(4), station(1000+i)))
		s.remotes[1].send(42, frameOf(station(3000+i), station(1)))
		if _, ok := s.sniffed["p0"].Next(lab.Patience); !ok {
			t.Fatalf("frame %d did not come out", i)
		}
		s.Inject("p0", frameOf(station(1), station(3000+i)))
		if i%10 == 9 {
			s.rest()
		}
	}
	if got, want := s.counts(), fmt.Sprintf("p1:%d r0:%d r1:%d", rounds, rounds, rounds); got != want {
		t.Errorf("what came out: %s, want %s", got, want)
	}
	if f := s.Status().FastPath; f.Heard != 2*rounds {
		t.Errorf("learned from %d frames, want %d", f.Heard, 2*rounds)
	}
	s.balance()
}

// TestNewSourcesAreGuarded: what user space would not learn, or not forward, the fast path does not either.
func TestNewSourcesAreGuarded(t *testing.T) {
	s := newSourcesScene(t, PortVeth, VNIConfig{SpoofGuard: true}, func(p *PortConfig) { p.MaxMACs = 5 })
	s.pinned(42, "p2", station(7))
	sticky := FDBEntry{VNI: 42, MAC: fdb.MAC(station(8)), Port: "p2", State: fdb.Sticky}
	if err := s.FDBPut(sticky, fdb.Add); err != nil {
		t.Fatal(err)
	}
	s.fast.catchUp()
	s.drops(2, StaticMACElsewhere, func() {
		s.Inject("p1", frameOf(station(7), station(4)))
		s.remotes[1].send(42, frameOf(station(7), station(1)))
	})
	s.drops(0, ReasonNone, func() { s.Inject("p1", frameOf(station(8), station(4))) })
	s.drops(1, SamePlace, func() { s.Inject("p1", frameOf(station(30), station(30))) })
	s.drops(1, SplitHorizon, func() { s.remotes[1].send(42, frameOf(station(31), station(31))) })
	s.drops(1, InvalidSourceMAC, func() { s.Inject("p1", frameOf(broadcast, station(4))) })
	if e := s.entry(42, station(7)); e.Port != "p2" || e.State != fdb.Static {
		t.Errorf("%+v", e)
	}
	if e := s.entry(42, station(8)); e.Port != "p2" || e.State != fdb.Sticky || e.Moves != 0 {
		t.Errorf("%+v", e)
	}
	s.forget()
	// A static entry holds from the moment that the command returns.
	for i := range 30 {
		mac := station(500 + i)
		s.drops(1, StaticMACElsewhere, func() {
			if err := s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(mac), Port: "p2", State: fdb.Static}, fdb.Add); err != nil {
				t.Fatal(err)
			}
			s.Inject("p1", frameOf(mac, station(4)))
		})
	}
	// max-macs: the frames of all are forwarded, and the last are known.
	s.carries("more than max-macs", 40, 0, 0, func() {
		for i := range 40 {
			s.Inject("p1", frameOf(station(100+i), station(4)))
		}
	})
	known := 0
	for i := range 40 {
		if s.known(42, station(100+i)) {
			known++
		}
	}
	if n := s.fdb.CountDest(s.ports["p1"].published.place()); n != 5 || known != 5 || !s.known(42, station(139)) {
		t.Errorf("%d entries of 5 at the port, %d of the last", n, known)
	}
	// A VNI that does not learn from peers forwards and learns nothing.
	s.set(VNIConfig{VNI: 42}, s.addrs()...)
	s.carries("not learning", 0, 1, 0, func() { s.remotes[1].send(42, frameOf(station(200), station(1))) })
	if s.known(42, station(200)) {
		t.Error("learned, though learning is off")
	}
	s.balance()
}

// TestNewSourcesInFlood: a flood of forged sources is told of at the agreed rate, takes user space beyond, and neither loses a frame nor passes the limits of the
// table.
func TestNewSourcesInFlood(t *testing.T) {
	s := newSourcesScene(t, PortVeth, VNIConfig{MaxMACs: 300}, nil)
	began, before := time.Now(), s.Status()
	const bursts, burst = 120, 100
	list := make([][]byte, burst)
	for i := range bursts {
		for j := range list {
			list[j] = frameOf(station(0x10000+i*burst+j), station(1))
		}
		s.Inject("p1", list...)
		for s.busy() {
			time.Sleep(100 * time.Microsecond)
		}
	}
	s.rest()
	took, st := time.Since(began), s.Status()
	f := st.FastPath
	most := uint64(2048*ebpf.MustPossibleCPU()) * uint64(took/time.Second+2)
	if f.Heard > most || f.Heard != f.Local-before.FastPath.Local || f.Heard < 1000 {
		t.Errorf("%d frames carried and %d learned from in %s, want the same, 1000 to %d", f.Local, f.Heard, took, most)
	}
	if n := f.Local - before.FastPath.Local + f.Punted["learn_rate"] + f.Punted["learn_queue"]; n != bursts*burst {
		t.Errorf("%d frames of %d accounted for: %+v", n, bursts*burst, f)
	}
	if got := st.Totals.Forwarded - before.Totals.Forwarded; got != bursts*burst {
		t.Errorf("%d frames of %d forwarded; drops: %v", got, bursts*burst, s.Drops())
	}
	if n := s.fdb.Count(42); n > 302 {
		t.Errorf("%d entries, limit 300 and two static ones", n)
	}
	t.Logf("%d frames in %s: %d carried and learned from, %d above the rate", bursts*burst, took.Round(time.Millisecond), f.Heard, f.Punted["learn_rate"])
	// The maps have kept up.
	s.pinned(42, "p2", station(5))
	s.carries("after the flood", 0, 0, 1, func() { s.Inject("p0", frameOf(station(1), station(5))) })
	s.balance()
}

// TestOutdatedEvents: what was told of a port, a peer or a VNI is believed only while it is what it was then.
func TestOutdatedEvents(t *testing.T) {
	mac := fdb.MAC(0x02aa00000001)
	for _, c := range []struct {
		name   string
		peer   bool
		change func(s *scene, f *fakePrograms)
		want   bool
	}{
		{"nothing happened to the port", false, func(*scene, *fakePrograms) {}, true},
		{"nothing happened to the peer", true, func(*scene, *fakePrograms) {}, true},
		{"the port is gone", false, func(s *scene, _ *fakePrograms) { s.do(func() error { return s.DelPort("p0") }) }, false},
		{"another port has its index", false, func(s *scene, _ *fakePrograms) {
			s.do(func() error { return s.DelPort("p0") })
			s.do(func() error { return s.AddPort(PortConfig{Name: "heir", Type: PortTAP, Untagged: 42}) })
		}, false},
		{"the same port, made anew", false, func(s *scene, _ *fakePrograms) {
			s.do(func() error { return s.DelPort("p0") })
			s.port("p0", 42)
		}, false},
		{"the port carries another VNI", false, func(s *scene, _ *fakePrograms) {
			s.do(func() error { return s.SetPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 43}) })
		}, false},
		{"the port has another MTU", false, func(s *scene, _ *fakePrograms) {
			s.do(func() error { return s.SetPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, MTU: 1300}) })
		}, true},
		{"a static entry has come", false, func(s *scene, _ *fakePrograms) {
			if err := s.FDBPut(FDBEntry{VNI: 42, MAC: mac, Dst: peerAt(s.remotes[0].addr), State: fdb.Static}, fdb.Add); err != nil {
				s.t.Fatal(err)
			}
		}, false},
		{"the VNI is gone", true, func(s *scene, _ *fakePrograms) {
			s.do(func() error { return s.DelPort("p0") })
			s.do(func() error { return s.DelVNI(42) })
		}, false},
		{"the VNI does not learn any more", true, func(s *scene, _ *fakePrograms) { s.set(VNIConfig{VNI: 42}, s.addrs()...) }, false},
		{"the peer has left the VNI", true, func(s *scene, _ *fakePrograms) { s.set(VNIConfig{VNI: 42, Learning: true}) }, false},
		{"the peer is let in by policy", true, func(s *scene, _ *fakePrograms) { s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn}) }, true},
		{"another peer has its index", true, func(s *scene, _ *fakePrograms) {
			index := s.peers.all()[0].index
			s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn})
			eventually(s.t, "the peer's index is free", func() bool {
				s.peers.mu.Lock()
				defer s.peers.mu.Unlock()
				return slices.Contains(s.peers.free, index)
			})
			s.learnPeer(netip.MustParseAddrPort("192.0.2.150:4789"))
			if p := s.peers.at(index); p == nil || p.addr.Addr() == s.remotes[0].addr {
				s.t.Fatalf("index %d is %+v", index, p)
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, f := fakeScene(t, 1, nil)
			s.set(VNIConfig{VNI: 43, Learning: true})
			s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
			s.port("p0", 42)
			f.equal(t, s.Switch, "at first")
			var serial uint32
			f.locked(func() {
				serial = f.ports[0].Serial
				if c.peer {
					serial = f.serials[sourceKey{42, s.remotes[0].addr}]
				}
			})
			c.change(s, f)
			f.tell(toldBy(serial, 42, mac), toldBy(1<<31, 42, mac+1), toldBy(serial, 44, mac+2), toldBy(serial, 42, 0x01005e000001))
			eventually(t, "events are heard", func() bool { return !f.EventsWaiting() })
			s.fast.catchUp()
			e, known := s.fdb.Get(42, mac, s.now())
			if c.want != (known && e.State == fdb.Dynamic) {
				t.Errorf("learned: %v %+v", known, e)
			}
			if n := s.fdb.Stats().Learned; (n == 1) != c.want {
				t.Errorf("%d learned", n)
			}
			f.equal(t, s.Switch, "in the end")
		})
	}
}

// TestIncompleteMaps: while the maps do not hold all that the table does, frames of new sources are user space's.
func TestIncompleteMaps(t *testing.T) {
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	f.equal(t, s.Switch, "at first")
	if !f.domains[42].NewSources {
		t.Error("new sources are left to user space without a reason")
	}
	f.locked(func() { f.room = 1 })
	for i := range 2 {
		if err := s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(i)), Dst: peerAt(s.remotes[0].addr), State: fdb.Static}, fdb.Add); err != nil {
			t.Fatal(err)
		}
	}
	f.locked(func() {
		if f.domains[42].NewSources {
			t.Error("a static entry is not in the maps, and new sources are carried")
		}
	})
	s.set(VNIConfig{VNI: 43, Learning: true})
	s.fast.catchUp()
	f.locked(func() {
		if f.domains[43].NewSources {
			t.Error("and so in a new VNI")
		}
	})
	s.fast.heard.incomplete.Store(true)
	s.do(func() error { return s.SetFastPath(FastPathOff) })
	f.locked(func() { f.room = 0 })
	s.do(func() error { return s.SetFastPath(FastPathOn) })
	s.fast.catchUp()
	f.locked(func() {
		if !f.domains[42].NewSources {
			t.Error("there is room for all, and new sources are left to user space")
		}
	})
}

// TestCrowdOfStatics: while many static entries come, none is waited for and frames of new sources are user space's; afterwards they are carried again. None of the
// entries is passed by at any moment.
func TestCrowdOfStatics(t *testing.T) {
	s := newSourcesScene(t, PortTAP, VNIConfig{}, nil)
	newSources := func() (on bool) {
		s.fast.with(func(m *mirror) { on = !m.crowded })
		return on
	}
	const entries = 3000
	began, crowded := time.Now(), false
	s.drops(entries/50, StaticMACElsewhere, func() {
		for i := range entries {
			mac := station(10000 + i)
			if err := s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(mac), Port: "p2", State: fdb.Static}, fdb.Add); err != nil {
				t.Fatal(err)
			}
			if i%50 == 0 {
				s.Inject("p1", frameOf(mac, station(4)))
				crowded = crowded || !newSources()
			}
		}
	})
	t.Logf("%d static entries in %s", entries, time.Since(began))
	if !crowded {
		t.Error("new sources are carried while a crowd comes")
	}
	s.drops(0, ReasonNone, func() { s.Inject("p1", frameOf(station(70), station(4))) })
	eventually(t, "the crowd is over", newSources)
	s.drops(1, StaticMACElsewhere, func() { s.Inject("p1", frameOf(station(10000+entries-1), station(4))) })
	s.carries("after the crowd", 1, 0, 0, func() { s.Inject("p1", frameOf(station(71), station(4))) })
	s.balance()
}
