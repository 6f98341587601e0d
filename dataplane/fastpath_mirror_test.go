package dataplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// TestMirrorUnderChurn: while everything changes at once, no entry of the maps leads to the wrong place, and after every storm maps and switch are equal.
func TestMirrorUnderChurn(t *testing.T) {
	storms := 6
	if testing.Short() {
		storms = 2
	}
	s, f := fakeScene(t, 3, func(c *Config) { c.MaxMACs = 3000 })
	f.slow = true
	vnis := []uint32{10, 20, 30, 1<<16 | 10}
	for _, vni := range vnis {
		s.set(VNIConfig{VNI: vni, Learning: true, Policy: Learn}, s.addrs(0)...)
	}
	for i := range 3 {
		s.do(func() error {
			return s.AddPort(PortConfig{Name: fmt.Sprintf("p%d", i), Type: PortTAP, Untagged: vnis[i]})
		})
	}
	f.equal(t, s.Switch, "at first")
	for storm := range storms {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		loop := func(seed uint64, step func(r *rand.Rand)) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(storm)))
				for {
					select {
					case <-stop:
						return
					default:
						step(r)
					}
				}
			})
		}
		// Workers learn in batches, which whoever takes a place away waits out: that is the lock here. The mirror waits for nobody.
		var batch sync.RWMutex
		indices := map[*link]int{}
		for i := range 2 {
			loop(uint64(i), func(r *rand.Rand) {
				batch.RLock()
				defer batch.RUnlock()
				vni := vnis[r.IntN(len(vnis))]
				if r.IntN(2) == 0 {
					if p := s.current.Load().port(uint32(r.IntN(4))); p != nil && p.link != nil && indices[p.link] != 0 {
						s.fdb.Learn(vni, madeFor(false, indices[p.link], r.IntN(500)), p.place(), s.now())
					}
				} else if p := s.peers.at(uint32(r.IntN(8))); p != nil {
					s.fdb.Learn(vni, madeFor(true, int(p.addr.Addr().As4()[3]), r.IntN(500)), p.place(), s.now())
				}
			})
		}
		loop(10, func(r *rand.Rand) {
			batch.Lock()
			defer batch.Unlock()
			if r.IntN(3) == 0 {
				s.reapPeers()
				return
			}
			name := fmt.Sprintf("p%d", r.IntN(4))
			_ = s.Host.Do(func() error {
				if err := s.DelPort(name); err == nil {
					return nil
				}
				if err := s.AddPort(PortConfig{Name: name, Type: PortTAP, Untagged: vnis[r.IntN(len(vnis))]}); err != nil {
					return err
				}
				l := s.ports[name].published.link
				a, err := l.dev.Attr()
				indices[l] = a.Ifindex
				return err
			})
		})
		loop(11, func(r *rand.Rand) {
			vni := vnis[r.IntN(len(vnis))]
			remote := s.remotes[r.IntN(3)].addr
			mac := madeFor(true, int(remote.As4()[3]), r.IntN(500))
			switch r.IntN(7) {
			case 0:
				_, _ = s.FDBFlush(FDBFilter{VNI: vni})
			case 1:
				s.fdb.FlushVNI(vni, fdb.FlushFilter{})
			case 2:
				_ = s.FDBPut(FDBEntry{VNI: vni, MAC: mac, Dst: netip.AddrPortFrom(remote, 0), State: fdb.State(r.IntN(3))}, fdb.Replace)
			case 3:
				_ = s.FDBDel(vni, mac, netip.AddrPort{})
			case 4:
				policy := Policy(r.IntN(2))
				peers := s.addrs(r.IntN(3))
				c := VNIConfig{VNI: vni, Learning: r.IntN(2) == 0, Policy: policy, Ageing: time.Duration(r.IntN(3)) * time.Second}
				for _, p := range peers {
					c.Peers = append(c.Peers, netip.AddrPortFrom(p, 0))
				}
				_ = s.SetVNI(c)
			case 5:
				if s.DelVNI(vni) == nil {
					_ = s.SetVNI(VNIConfig{VNI: vni, Learning: true, Policy: Learn})
				}
			case 6:
				s.learnPeer(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(150 + r.IntN(30))}), DefaultPort))
			}
		})
		loop(13, func(r *rand.Rand) {
			f := CaptureFilter{Port: fmt.Sprintf("p%d", r.IntN(4))}
			if r.IntN(2) == 0 {
				f = CaptureFilter{Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + r.IntN(80))}), 0)}
			}
			c := newCapture(f, len(s.workers))
			if s.captures.add(c) == nil {
				s.fast.catchUp()
				s.captures.remove(c)
				s.fast.poke()
			}
		})
		// The programs tell of sources, and are heard when the port or the peer may have gone and its index have another.
		loop(12, func(r *rand.Rand) {
			vni := vnis[r.IntN(len(vnis))]
			var said []xdp.LearnEvent
			f.locked(func() {
				for _, p := range f.ports {
					said = append(said, toldBy(p.Serial, vni, madeFor(false, p.Ifindex, r.IntN(500))))
				}
				for k, serial := range f.serials {
					if _, ok := f.sources[k]; ok && k.vni == vni {
						said = append(said, toldBy(serial, vni, madeFor(true, int(k.addr.As4()[3]), r.IntN(500))))
					}
				}
			})
			time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
			f.tell(said...)
		})
		time.Sleep(700 * time.Millisecond)
		close(stop)
		wg.Wait()
		f.equal(t, s.Switch, fmt.Sprintf("storm %d", storm))
	}
	info := s.Status().FastPath
	if info.Heard < 100 || info.Outdated < 10 {
		t.Errorf("learned from %d events, and not from %d: nothing was tried", info.Heard, info.Outdated)
	}
	s.do(func() error { return s.SetFastPath(FastPathOff) })
	if !f.closed || len(f.attached) != 0 || len(f.ports) != 0 {
		t.Errorf("off: closed %v, attached %v, ports %v", f.closed, f.attached, f.ports)
	}
}

// toldBy is what the programs tell of a MAC.
func toldBy(serial, vni uint32, mac fdb.MAC) xdp.LearnEvent {
	e := xdp.LearnEvent{VNI: vni, Serial: serial}
	mac.PutBytes(e.MAC[:])
	return e
}

// TestMirrorReusedIndex: an index whose owner changed since the last round never leads to the wrong port, in whatever order the news arrive.
func TestMirrorReusedIndex(t *testing.T) {
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	indices := [2]int{}
	for i, name := range []string{"p0", "p1"} {
		s.do(func() error {
			if err := s.AddPort(PortConfig{Name: name, Type: PortTAP, Untagged: 42}); err != nil {
				return err
			}
			a, err := s.ports[name].published.link.dev.Attr()
			indices[i] = a.Ifindex
			return err
		})
	}
	first, second := s.current.Load().ports[0], s.current.Load().ports[1]
	old, fresh := madeFor(false, indices[0], 1), madeFor(false, indices[1], 1)
	s.fdb.Learn(42, old, first.place(), s.now())
	f.equal(t, s.Switch, "at first")

	s.fast.with(func(m *mirror) {
		// The port leaves and its index goes to another, all between two rounds.
		s.mu.Lock()
		delete(s.ports, "p0")
		s.unpublishPort(first)
		s.fdb.FlushDest(first.place(), fdb.FlushFilter{States: fdb.AllStates})
		delete(s.ports, "p1")
		s.unpublishPort(second)
		heir := newPort(0, second.config, second.link, newCounterSet(len(s.workers)))
		s.ports["p1"] = &portRecord{published: heir, state: PortUp}
		s.publishPort(s.ports["p1"], nil)
		s.mu.Unlock()
		// And a frame comes from the new owner before the maps know it.
		s.fdb.Learn(42, fresh, heir.place(), s.now())
		m.follow([]fdbKey{{42, fresh}})
		if e, ok := f.entries[fdbKey{42, fresh}]; ok {
			t.Errorf("%+v leads to the former owner", e)
		}
	})
	f.equal(t, s.Switch, "another owner")
	if p := f.ports[0]; p.Ifindex != indices[1] || len(f.ports) != 1 {
		t.Errorf("ports %+v", f.ports)
	}
}

// TestMirrorReusedPeerIndex is the same of peers.
func TestMirrorReusedPeerIndex(t *testing.T) {
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn})
	a, b := netip.MustParseAddrPort("192.0.2.150:4789"), netip.MustParseAddrPort("192.0.2.151:4789")
	first := s.learnPeer(a)
	old, fresh := madeFor(true, 150, 1), madeFor(true, 151, 1)
	s.fdb.Learn(42, old, first.place(), s.now())
	f.equal(t, s.Switch, "at first")
	if _, ok := f.sources[sourceKey{42, a.Addr()}]; !ok {
		t.Error("the learned source may not send")
	}
	s.fast.with(func(m *mirror) {
		s.fdb.FlushDest(first.place(), fdb.FlushFilter{States: fdb.AllStates})
		for range 2 { // the first time it is too young
			s.peers.recycle(s.peers.reap(func(*peer) bool { return false }))
		}
		heir, err := s.peers.obtain(b, 0)
		if err != nil || heir.index != first.index {
			t.Errorf("index %d, want %d: %v", heir.index, first.index, err)
		}
		s.fdb.Learn(42, fresh, heir.place(), s.now())
		m.follow([]fdbKey{{42, fresh}})
		if e, ok := f.entries[fdbKey{42, fresh}]; ok {
			t.Errorf("%+v leads to the former owner", e)
		}
	})
	f.equal(t, s.Switch, "another owner")
	if _, ok := f.sources[sourceKey{42, a.Addr()}]; ok {
		t.Error("the former owner may still send")
	}
}

// TestMirrorAges: what the programs saw keeps an entry alive, and what they did not see lets it go.
func TestMirrorAges(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: 2 * time.Second}, s.addrs()...)
	s.port("p0", 42)
	s.Inject("p0", frameOf(station(1), broadcast), frameOf(station(2), broadcast))
	s.rest()
	f.equal(t, s.Switch, "at first")
	began := time.Now()
	for time.Since(began) < 5*time.Second {
		f.locked(func() { f.clock = 5000 + uint32(time.Since(began)/time.Second) })
		f.see(fdbKey{42, fdb.MAC(station(1))}, 5000+uint32(time.Since(began)/time.Second))
		time.Sleep(50 * time.Millisecond)
	}
	if e := s.entry(42, station(1)); e.Age > 2*time.Second {
		t.Errorf("in use, and %s old", e.Age)
	}
	if s.known(42, station(2)) {
		t.Error("not in use, and still there")
	}
	f.equal(t, s.Switch, "in the end")
}

// TestMirrorAgesMeanwhile: who asks for something does not wait until the ages of all entries are read.
func TestMirrorAgesMeanwhile(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: 2 * time.Second}, s.addrs()...)
	s.port("p0", 42)
	for i := range 3 * agesPause {
		mac := fdb.MAC(0x020000000000 + uint64(i))
		if err := s.FDBPut(FDBEntry{VNI: 42, MAC: mac, Port: "p0", State: fdb.Static}, fdb.Add); err != nil {
			t.Fatal(err)
		}
	}
	f.equal(t, s.Switch, "at first")
	served, waited := make(chan bool, 1), make(chan bool)
	f.locked(func() {
		f.walked = func(nth, all int) {
			switch nth {
			case agesPause / 2:
				f.locked(func() { f.walked = nil })
				go func() { s.fast.do(func() {}); s.fast.catchUp(); served <- true }()
				time.Sleep(50 * time.Millisecond) // it waits by now
			case agesPause * 3 / 2:
				time.Sleep(50 * time.Millisecond) // and again
			case all - 1:
				select {
				case <-served:
					close(waited)
				case <-time.After(lab.Patience):
					t.Error("who asked waits until all are read")
				}
			}
		}
	})
	select {
	case <-waited:
	case <-time.After(2 * lab.Patience):
		t.Fatal("no ages are read")
	}
	f.equal(t, s.Switch, "in the end")
}

// TestMirrorAgeOfOne: who asks for one entry gets its age without that of all others.
func TestMirrorAgeOfOne(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Hour}, s.addrs()...)
	s.port("p0", 42)
	s.port("p1", 42)
	s.Inject("p0", frameOf(station(1), broadcast), frameOf(station(3), broadcast))
	s.Inject("p1", frameOf(station(2), broadcast))
	s.rest()
	f.equal(t, s.Switch, "at first")
	if err := s.FDBPut(FDBEntry{VNI: 42, MAC: 0x020000000077, Port: "p1", State: fdb.Static}, fdb.Add); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entries have an age", func() bool {
		e, err := s.FDBPeek(42, fdb.MAC(station(3)))
		return err == nil && e.Age >= 3*time.Second
	})
	f.locked(func() {
		f.clock += 3600
		f.walked = func(nth, all int) { t.Error("the ages of all entries are read") }
	})
	defer f.locked(func() { f.walked = nil })
	age := func(what string, mac fdb.MAC, fresh bool) {
		t.Helper()
		if e, err := s.FDBPeek(42, mac); err != nil || fresh != (e.Age < 3*time.Second) {
			t.Errorf("%s: age %s, %v, want it fresh: %v", what, e.Age, err, fresh)
		}
	}
	see := func(mac fdb.MAC) { f.see(fdbKey{42, mac}, f.Now()) }
	one, two, three := fdb.MAC(station(1)), fdb.MAC(station(2)), fdb.MAC(station(3))

	see(one)
	age("seen and not asked for", one, false)
	if e, err := s.FDBGet(42, one); err != nil || e.Age >= 3*time.Second {
		t.Errorf("asked for: age %s, %v", e.Age, err)
	}
	if list := s.FDBDump(FDBFilter{VNI: 42, MAC: one, HasMAC: true}); len(list) != 1 {
		t.Errorf("a dump of one: %+v", list)
	}
	for _, mac := range []fdb.MAC{0x020000000077, 0x020000000099} { // static; not there
		_, _ = s.FDBGet(42, mac)
	}
	see(two)
	see(three)
	if _, err := s.Trace(TraceQuery{Port: "p0", Frame: frameOf(station(1), station(2))}); err != nil {
		t.Fatal(err)
	}
	age("traced to", two, true)
	if _, err := s.Trace(TraceQuery{Port: "p0", Frame: frameOf(station(3), station(9))}); err != nil {
		t.Fatal(err)
	}
	age("traced from", three, true)
}

// TestMirrorAgesShortened: an entry in use does not expire because its ageing time became shorter than the time since its age was read.
func TestMirrorAgesShortened(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	long := VNIConfig{VNI: 42, Learning: true, Ageing: 300 * time.Second}
	s.set(long, s.addrs()...)
	s.port("p0", 42)
	s.Inject("p0", frameOf(station(1), broadcast), frameOf(station(2), broadcast))
	s.rest()
	f.equal(t, s.Switch, "at first")
	const pause = 5 // seconds; the turn of the last may be late
	time.Sleep(pause * time.Second)
	f.locked(func() { f.clock = 5000 + pause })
	f.see(fdbKey{42, fdb.MAC(station(1))}, 5000+pause)
	// Not by FDBGet, which reads ages.
	inTable := func(n int) bool { _, ok := s.fdb.Get(42, fdb.MAC(station(n)), s.now()); return ok }
	short := long
	short.Ageing = 3 * time.Second
	s.set(short, s.addrs()...)
	s.fdb.Sweep(s.now(), 1000)
	if !inTable(1) {
		t.Error("in use, and expired")
	}
	if inTable(2) {
		t.Error("not in use, and still there")
	}
}

// TestMirrorAgesEvicting: at its bound the table keeps what is in use, though only the programs know of it.
func TestMirrorAgesEvicting(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: 300 * time.Second, MaxMACs: 10}, s.addrs()...)
	s.port("p0", 42)
	s.Inject("p0", frameOf(station(1), broadcast))
	s.rest()
	f.equal(t, s.Switch, "at first")
	began, evicted := time.Now(), uint64(0)
	for i := 0; time.Since(began) < 6*time.Second || evicted < 10 && time.Since(began) < lab.Patience; i++ {
		second := uint32(time.Since(began) / time.Second)
		f.locked(func() { f.clock = 5000 + second })
		f.see(fdbKey{42, fdb.MAC(station(1))}, 5000+second)
		// A new station every 200 ms: all ten places change hands in two seconds.
		s.Inject("p0", frameOf(station(100+i), broadcast))
		time.Sleep(200 * time.Millisecond)
		// Not by FDBGet, which reads ages.
		if _, ok := s.fdb.Get(42, fdb.MAC(station(1)), s.now()); !ok {
			t.Fatalf("in use, and evicted after %v", time.Since(began))
		}
		evicted = s.Status().FDB.Evicted
	}
	if evicted < 10 {
		t.Errorf("%d evictions try nothing", evicted)
	}
}

// TestMirrorCountsToTheEnd: what a VNI carries until it has left the maps counts, and nothing counts twice when it comes back.
func TestMirrorCountsToTheEnd(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	c := VNIConfig{VNI: 42, Learning: true}
	s.set(c)
	s.port("p0", 42)
	s.rest()
	f.equal(t, s.Switch, "at first")
	received := func() uint64 { return s.VNIStats()[0].RxPackets }
	before := received()
	for round := range uint64(3) {
		f.locked(func() { f.vnis[42] = xdp.Counters{RxPackets: 10, RxBytes: 1000} })
		for _, gbp := range []bool{true, false} { // which the programs leave to user space
			c.Header.GBP = gbp
			s.set(c)
			s.fast.catchUp()
		}
		f.equal(t, s.Switch, "back again")
		if got, want := received()-before, 11*(round+1); got != want {
			t.Errorf("round %d: %d frames counted, want %d", round, got, want)
		}
	}
}

// TestMirrorUnguarded: while the programs do not know all that they should guard, VNIs that ask for it are user space's, and others are not.
func TestMirrorUnguarded(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 2, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, SpoofGuard: true}, s.addrs(0)...)
	s.set(VNIConfig{VNI: 43, Learning: true}, s.addrs(0)...)
	on := func(when string, want bool) {
		t.Helper()
		s.fast.catchUp()
		for _, v := range s.VNIs() {
			guarded := v.Config.VNI == 42
			if wants := want || !guarded; v.FastPath != wants || !wants && !strings.Contains(v.FastPathReason, "spoof-guard: no room today") {
				t.Errorf("%s: VNI %d: %t %q", when, v.Config.VNI, v.FastPath, v.FastPathReason)
			}
		}
	}
	on("at first", true)
	f.locked(func() { f.refuseGuard = errors.New("no room today") })
	on("nothing is new", true)
	s.set(VNIConfig{VNI: 43, Learning: true}, s.addrs()...)
	on("one peer more", false)
	f.locked(func() { f.refuseGuard = nil })
	on("later", true)
}

// TestMirrorRoom: an entry that finds no room passes user space, and is there again when there is room; more changes than are noted mean the whole table.
func TestMirrorRoom(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	f.locked(func() { f.room = 100 })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	p := s.peers.all()[0]
	for i := range dirtyNews + 1000 {
		s.fdb.Learn(42, fdb.MAC(0x1a0000000000+i), p.place(), s.now())
	}
	s.fast.catchUp()
	f.locked(func() {
		if len(f.entries) != 100 {
			t.Errorf("%d entries in a map of 100", len(f.entries))
		}
		f.room = 0
	})
	carriesNew := func() (yes bool) { f.locked(func() { yes = f.domains[42].NewSources }); return yes }
	if carriesNew() {
		t.Error("new sources are carried though the map does not know all that the table does")
	}
	s.fast.catchUp()
	f.locked(func() {
		if len(f.entries) != 100 {
			t.Errorf("tried again at once: %d entries", len(f.entries))
		}
	})
	s.fast.with(func(m *mirror) { m.compareNext = 0 })
	s.fast.poke()
	f.equal(t, s.Switch, "with room")
	if !carriesNew() {
		t.Error("new sources are not carried again")
	}
}

// TestMirrorBehind: of a flood of new stations the maps get what there is time for, and the rest later; what goes or moves meanwhile is followed at once.
func TestMirrorBehind(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 2, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	p, q := s.peers.all()[0], s.peers.all()[1]
	const count = dirtyNews + compareMost + 1000
	mac := func(i int) fdb.MAC { return fdb.MAC(0x1a0000000000 + i) }
	s.fdb.Learn(42, mac(count), p.place(), s.now())
	s.fdb.Learn(42, mac(count+1), p.place(), s.now())
	f.equal(t, s.Switch, "before")
	s.fast.with(func(m *mirror) { // no round meanwhile
		for i := range count {
			s.fdb.Learn(42, mac(i), p.place(), s.now())
		}
		s.fdb.Learn(42, mac(count), q.place(), s.now())
		if _, err := s.fdb.Delete(42, mac(count+1)); err != nil {
			t.Error(err)
		}
		if err := s.fdb.Put(fdb.Entry{VNI: 42, MAC: mac(count + 2), Dest: p.place(), State: fdb.Static}, fdb.Add, s.now()); err != nil {
			t.Error(err)
		}
		m.compared, m.compareNext = time.Now(), time.Hour
	})
	s.fast.catchUp()
	look := func(want int) {
		t.Helper()
		f.locked(func() {
			_, deleted := f.entries[fdbKey{42, mac(count + 1)}]
			moved, static := f.entries[fdbKey{42, mac(count)}], f.entries[fdbKey{42, mac(count + 2)}]
			if n := len(f.entries); n != want+2 || moved.Index != q.index || deleted || !static.Static {
				t.Errorf("%d entries, want %d; moved %+v, static %+v, the deleted one is there: %v", n, want+2, moved, static, deleted)
			}
			if f.domains[42].NewSources != (want == count) {
				t.Errorf("%d of %d entries: new sources carried: %v", want, count, f.domains[42].NewSources)
			}
		})
	}
	look(dirtyNews)
	for _, want := range []int{dirtyNews + compareMost, count} {
		s.fast.with(func(m *mirror) { m.compareNext = 0 })
		s.fast.catchUp()
		s.fast.with(func(m *mirror) { m.compareNext = time.Hour })
		look(want)
	}
	f.equal(t, s.Switch, "after")
}

// TestMirrorDelRefused: what could not be removed, or looked for, is found, and goes later.
func TestMirrorDelRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		refuse func(f *fakePrograms, err error)
	}{
		{"remove", func(f *fakePrograms, err error) { f.refuseDel = err }},
		{"walk", func(f *fakePrograms, err error) { f.refuseWalk = err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, f := fakeScene(t, 1, nil)
			s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
			p := s.peers.all()[0]
			for i := range 500 {
				s.fdb.Learn(42, fdb.MAC(0x1a0000000000+i), p.place(), s.now())
			}
			f.equal(t, s.Switch, "before")
			f.locked(func() { c.refuse(f, errors.New("no memory")) })
			s.fdb.FlushVNI(42, fdb.FlushFilter{})
			s.fast.catchUp()
			f.locked(func() {
				if len(f.entries) != 500 || f.domains[42].NewSources {
					t.Errorf("%d entries after the refusal, new sources carried: %v", len(f.entries), f.domains[42].NewSources)
				}
			})
			s.fast.with(func(m *mirror) { m.compareNext = 0 })
			s.fast.poke()
			f.equal(t, s.Switch, "after")
			if f.locked(func() {}); !f.domains[42].NewSources {
				t.Error("new sources are not carried again")
			}
		})
	}
}

// TestMirrorFloodKeepsNobody: stations that come in place of each other do not keep another from its turn in the maps.
func TestMirrorFloodKeepsNobody(t *testing.T) {
	t.Parallel()
	const most = 3 * compareMost
	s, f := fakeScene(t, 2, func(c *Config) { c.MaxMACs = most })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	p, q := s.peers.all()[0], s.peers.all()[1]
	next := 0
	flood := func(n int) {
		for range n {
			s.fdb.Learn(42, fdb.MAC(0x1a0000000000+next), p.place(), s.now())
			next++
		}
	}
	victim := fdb.MAC(0x1c0000000001)
	for round := range 100 {
		s.fast.with(func(m *mirror) {
			flood(most / 3)
			if round == 0 {
				flood(dirtyNews + 1)
				s.fdb.Learn(42, victim, q.place(), s.now())
			}
			s.fdb.Touch(42, victim, q.place(), s.now())
			m.compareNext = 0
		})
		s.fast.catchUp()
		there := false
		f.locked(func() { _, there = f.entries[fdbKey{42, victim}] })
		if there {
			return
		}
		if _, ok := s.fdb.Get(42, victim, s.now()); !ok {
			t.Fatalf("round %d: the table has evicted it", round)
		}
	}
	t.Error("not there after 100 comparisons")
}

// TestMirrorWritesDifferences: to compare everything writes only where map and table differ.
func TestMirrorWritesDifferences(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	p := s.peers.all()[0]
	const count = 3000
	for i := range count {
		s.fdb.Learn(42, fdb.MAC(0x1a0000000000+i), p.place(), s.now())
	}
	f.equal(t, s.Switch, "before")
	mac := func(i int) (out [6]byte) { fdb.MAC(0x1a0000000000 + i).PutBytes(out[:]); return out }
	var before uint64
	f.locked(func() {
		for i := range 3 {
			delete(f.entries, fdbKey{42, fdb.MAC(0x1a0000000000 + i)})
			e := f.entries[fdbKey{42, fdb.MAC(0x1a0000000000 + 10 + i)}]
			e.Sticky = true
			f.entries[fdbKey{42, fdb.MAC(0x1a0000000000 + 10 + i)}] = e
			stray := xdp.Entry{VNI: 42, MAC: mac(count + i), ToPeer: true, Index: p.index}
			f.entries[fdbKey{42, fdb.FromBytes(stray.MAC[:])}] = stray
		}
		before = f.wrote
	})
	s.fast.with(func(m *mirror) { s.fast.dirty.all() })
	s.fast.poke()
	f.equal(t, s.Switch, "after")
	f.locked(func() {
		if n := f.wrote - before; n != 9 {
			t.Errorf("%d entries written or removed, want 9", n)
		}
	})
}

// TestTogether: what was deleted is off the fast path when the call returns, be it one or the last of many; an error of the caller comes back.
func TestTogether(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	const count = 1000
	mac := func(i int) fdb.MAC { return fdb.MAC(0x020000001000 + uint64(i)) }
	put := func(i int) error {
		return s.FDBPut(FDBEntry{VNI: 42, MAC: mac(i), Dst: netip.AddrPortFrom(s.remotes[0].addr, DefaultPort), State: fdb.Static}, fdb.Replace)
	}
	left := func() (n int) {
		f.locked(func() {
			for k := range f.entries {
				if k.mac >= mac(0) && k.mac < mac(count) {
					n++
				}
			}
		})
		return n
	}
	for i := range count {
		if err := put(i); err != nil {
			t.Fatal(err)
		}
	}
	f.equal(t, s.Switch, "with all")
	if n := left(); n != count {
		t.Fatalf("%d entries, want %d", n, count)
	}
	if err := s.FDBDel(42, mac(0), netip.AddrPort{}); err != nil || left() != count-1 {
		t.Errorf("one deleted: %v, %d left", err, left())
	}
	want := errors.New("the last is refused")
	err := s.Together(func() error {
		for i := 1; i < count-1; i++ {
			if err := s.FDBDel(42, mac(i), netip.AddrPort{}); err != nil {
				return err
			}
		}
		return want
	})
	if n := left(); err != want || n != 1 {
		t.Errorf("many deleted: %v, %d left, want 1", err, n)
	}
	if err := s.FDBDel(42, mac(count-1), netip.AddrPort{}); err != nil || left() != 0 {
		t.Errorf("one deleted after many: %v, %d left", err, left())
	}
	f.equal(t, s.Switch, "in the end")
}
