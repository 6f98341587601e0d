package dataplane

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
	"vtepd/fdb"
)

// MACs are learned from ports and from the wire, move when they turn up elsewhere, and the moves are counted and remembered.
//
//	p0 p1 (VNI 42) ── switch ════ r0 r1
func TestLearnAndMove(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs()...)
	s.port("p0", 42)
	s.port("p1", 42)
	a, b := station(1), station(2)

	s.Inject("p0", frameOf(a, broadcast))
	s.remotes[0].send(42, frameOf(b, broadcast))
	s.rest()
	want := []FDBEntry{
		{VNI: 42, MAC: 0, Dst: peerAt(s.remotes[0].addr), State: fdb.Static, Flood: true},
		{VNI: 42, MAC: 0, Dst: peerAt(s.remotes[1].addr), State: fdb.Static, Flood: true},
		{VNI: 42, MAC: fdb.MAC(a), Port: "p0", State: fdb.Dynamic},
		{VNI: 42, MAC: fdb.MAC(b), Dst: peerAt(s.remotes[0].addr), State: fdb.Dynamic},
	}
	got := s.FDBDump(FDBFilter{VNI: 42})
	for i := range got {
		if got[i].Age <= time.Second { // the clock may have turned meanwhile
			got[i].Age = 0
		}
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("dump (-want +got):\n%s", diff)
	}

	s.Inject("p1", frameOf(a, broadcast))
	s.rest()
	if e := s.entry(42, a); e.Port != "p1" || e.Moves != 1 {
		t.Errorf("after a move between ports: %+v", e)
	}
	s.remotes[1].send(42, frameOf(a, broadcast))
	s.rest()
	if e := s.entry(42, a); e.Dst != peerAt(s.remotes[1].addr) || e.Port != "" || e.Moves != 2 {
		t.Errorf("after a move to a peer: %+v", e)
	}
	s.remotes[0].send(42, frameOf(a, broadcast))
	s.rest()
	s.Inject("p0", frameOf(a, broadcast))
	s.forget()
	r0, r1 := s.remotes[0].addr.String(), s.remotes[1].addr.String()
	var moves [][2]string
	for _, m := range s.FDBHistory(42, fdb.MAC(a)) {
		moves = append(moves, [2]string{m.From, m.To})
	}
	if diff := cmp.Diff([][2]string{{"p0", "p1"}, {"p1", r1}, {r1, r0}, {r0, "p0"}}, moves); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	s.Inject("p1", frameOf(station(3), a))
	if got, want := s.counts(), "p0:1"; got != want {
		t.Errorf("a frame for the moved MAC: %q, want %q", got, want)
	}

	// Forgotten, it is unknown again; static entries and flood destinations stay.
	static := FDBEntry{VNI: 42, MAC: fdb.MAC(station(7)), Port: "p1", State: fdb.Static}
	if err := s.FDBPut(static, fdb.Add); err != nil {
		t.Fatal(err)
	}
	if n, err := s.FDBFlush(FDBFilter{VNI: 42}); n != 3 || err != nil {
		t.Errorf("flush: %d entries, %v, want 3", n, err)
	}
	if s.known(42, a) || s.known(42, b) || !s.known(42, station(7)) {
		t.Errorf("after the flush: %+v", s.FDBDump(FDBFilter{}))
	}
	s.Inject("p1", frameOf(station(3), a))
	if got, want := s.counts(), "p0:1 r0:1 r1:1"; got != want {
		t.Errorf("a frame for the forgotten MAC: %q, want %q", got, want)
	}
}

// comparable lets go-cmp use ==.
var comparable = cmp.Comparer(func(a, b FDBEntry) bool { return a == b })

// What a VNI does not learn from peers is flooded; ports are learned from all the same.
//
//	p0 p1 (VNI 42, learning off) ── switch ════ r0 r1
func TestLearningOff(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	s.set(VNIConfig{VNI: 42, Learning: false}, s.addrs()...)
	s.port("p0", 42)
	s.port("p1", 42)
	here, there := station(1), station(2)
	s.remotes[0].send(42, frameOf(there, broadcast))
	s.Inject("p0", frameOf(here, broadcast))
	s.forget()
	if s.known(42, there) || !s.known(42, here) {
		t.Errorf("entries: %+v", s.FDBDump(FDBFilter{}))
	}
	s.Inject("p1", frameOf(station(3), there))
	if got, want := s.counts(), "p0:1 r0:1 r1:1"; got != want {
		t.Errorf("unlearned MAC: %q, want %q", got, want)
	}
	s.remotes[0].send(42, frameOf(there, here))
	if got, want := s.counts(), "p0:1"; got != want {
		t.Errorf("from the wire to a learned MAC: %q, want %q", got, want)
	}
	// Switched on, it learns; switched off again, it keeps what it knows until that ages out.
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.remotes[0].send(42, frameOf(there, broadcast))
	s.forget()
	s.Inject("p1", frameOf(station(3), there))
	if got, want := s.counts(), "r0:1"; got != want {
		t.Errorf("learned MAC: %q, want %q", got, want)
	}
}

// An entry ages out when nothing comes from its MAC, however much goes to it; each VNI by its own time.
//
//	p0 p1 p2 (VNI 42: 2 s, VNI 43: 60 s, VNI 44: never) ── switch
func TestAgeing(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: 2 * time.Second})
	s.set(VNIConfig{VNI: 43, Learning: true, Ageing: time.Minute})
	s.set(VNIConfig{VNI: 44, Learning: true})
	for _, p := range []string{"p0", "p1", "p2"} {
		s.configuredPort(PortConfig{Name: p, Untagged: 42, Tagged: []VIDMap{{3, 43}, {4, 44}}})
	}
	silent, chatty := station(1), station(2)
	hello := frameOf(silent, broadcast)
	learned := time.Now() // at the earliest
	s.Inject("p0", hello, putTag(hello, 0x8100, 3), putTag(hello, 0x8100, 4), frameOf(chatty, broadcast))
	s.forget()
	unicast := 0
	var began, alive time.Time // of a round, and of the last in which the entry was there
	for {
		began = time.Now()
		s.Inject("p0", frameOf(chatty, station(3)))
		s.Inject("p1", frameOf(station(3), silent))
		s.rest()
		flooded := 0
		for _, f := range s.seen("p2") {
			if string(f) == string(frameOf(station(3), silent)) {
				flooded++
			}
		}
		s.seen("p1")
		s.seen("p0")
		if flooded > 0 {
			break
		}
		unicast++
		if alive = began; alive.Sub(learned) > 6*time.Second {
			t.Fatal("forwarding keeps the entry alive")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if age, least := time.Since(learned), alive.Sub(learned); age < 2*time.Second || least > 4500*time.Millisecond {
		t.Errorf("aged out between %s and %s, want 2 s and the tick that follows", least, age)
	}
	if unicast == 0 {
		t.Error("never was a frame sent to the one port")
	}
	if !s.known(42, chatty) {
		t.Error("a MAC that sends has aged out")
	}
	if !s.known(43, silent) || !s.known(44, silent) {
		t.Errorf("a VNI of longer ageing forgot: %+v", s.FDBDump(FDBFilter{}))
	}
	eventually(t, "the sweep removes the expired entry", func() bool { return s.Status().FDB.Expired > 0 })
	// A shorter time holds for entries that are there.
	s.set(VNIConfig{VNI: 43, Learning: true, Ageing: time.Second})
	eventually(t, "a shorter ageing time takes hold", func() bool { return !s.known(43, silent) })
}

// Static entries hold against what sends from elsewhere, whether the VNI learns or not; sticky ones do not move but let the frame pass.
//
//	p0 p1 p2 (VNI 42) ── switch ════ r0 r1
func TestStaticAndSticky(t *testing.T) {
	t.Parallel()
	for _, learning := range []bool{true, false} {
		s := newScene(t, 2, nil)
		s.set(VNIConfig{VNI: 42, Learning: learning}, s.addrs()...)
		for _, p := range []string{"p0", "p1", "p2"} {
			s.port(p, 42)
		}
		static, sticky, remote := station(1), station(2), station(3)
		for _, e := range []FDBEntry{
			{VNI: 42, MAC: fdb.MAC(static), Port: "p0", State: fdb.Static},
			{VNI: 42, MAC: fdb.MAC(sticky), Port: "p0", State: fdb.Sticky},
			{VNI: 42, MAC: fdb.MAC(remote), Dst: peerAt(s.remotes[0].addr), State: fdb.Static},
		} {
			if err := s.FDBPut(e, fdb.Add); err != nil {
				t.Fatal(err)
			}
		}
		// From where they belong.
		s.drops(0, StaticMACElsewhere, func() {
			s.Inject("p0", frameOf(static, broadcast), frameOf(sticky, broadcast))
			s.remotes[0].send(42, frameOf(remote, broadcast))
		})
		if got, want := s.counts(), "p0:1 p1:3 p2:3 r0:2 r1:2"; got != want {
			t.Errorf("learning %t: from where they belong: %q, want %q", learning, got, want)
		}
		// From elsewhere.
		s.drops(6, StaticMACElsewhere, func() {
			s.Inject("p1", times(3, frameOf(static, broadcast))...)
			s.Inject("p1", times(3, frameOf(remote, broadcast))...)
		})
		s.drops(6, StaticMACElsewhere, func() {
			s.remotes[1].send(42, times(3, frameOf(static, broadcast))...)
			s.remotes[1].send(42, times(3, frameOf(remote, broadcast))...)
		})
		if got := s.counts(); got != "" {
			t.Errorf("learning %t: impostors got through: %q", learning, got)
		}
		s.Inject("p1", frameOf(sticky, broadcast))
		s.remotes[1].send(42, frameOf(sticky, broadcast))
		if got, want := s.counts(), "p0:2 p1:1 p2:2 r0:1 r1:1"; got != want {
			t.Errorf("learning %t: sticky from elsewhere: %q, want %q", learning, got, want)
		}
		for _, mac := range []uint64{static, sticky} {
			if e := s.entry(42, mac); e.Port != "p0" || e.Moves != 0 {
				t.Errorf("learning %t: moved: %+v", learning, e)
			}
		}
		// A dynamic entry by command ages and moves like a learned one.
		if err := s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(static), Port: "p2", State: fdb.Dynamic}, fdb.Replace); err != nil {
			t.Fatal(err)
		}
		s.Inject("p1", frameOf(static, broadcast))
		s.forget()
		if e := s.entry(42, static); e.Port != "p1" || e.State != fdb.Dynamic {
			t.Errorf("learning %t: dynamic by command: %+v", learning, e)
		}
	}
}

// The destination of a static entry may send into the VNI, for as long as the entry is there.
//
//	p0 (VNI 42, peer r0) ── switch ════ r0 r1
func TestStaticEntryAdmitsItsPeer(t *testing.T) {
	s := newScene(t, 2, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs(0)...)
	s.port("p0", 42)
	unknown := func(want uint64) {
		t.Helper()
		s.drops(want, UnknownPeer, func() { s.remotes[1].send(42, frameOf(station(2), broadcast)) })
	}
	unknown(1)
	dst := peerAt(s.remotes[1].addr)
	entries := []FDBEntry{
		{VNI: 42, MAC: fdb.MAC(station(5)), Dst: dst, State: fdb.Static},
		{VNI: 42, MAC: fdb.MAC(station(6)), Dst: dst, State: fdb.Sticky},
	}
	for _, e := range entries {
		if err := s.FDBPut(e, fdb.Add); err != nil {
			t.Fatal(err)
		}
		unknown(0)
	}
	s.forget()
	s.Inject("p0", frameOf(station(1), station(5)))
	if got, want := s.counts(), "r1:1"; got != want {
		t.Errorf("to the static entry: %q, want %q", got, want)
	}
	s.Inject("p0", frameOf(station(1), broadcast))
	if got, want := s.counts(), "r0:1"; got != want {
		t.Errorf("broadcast: %q, want %q: a static entry is no flood destination", got, want)
	}
	if err := s.FDBDel(42, entries[0].MAC, dst); err != nil {
		t.Fatal(err)
	}
	unknown(0) // the other one is still there
	if err := s.FDBPut(FDBEntry{VNI: 42, MAC: entries[1].MAC, Port: "p0", State: fdb.Static}, fdb.Replace); err != nil {
		t.Fatal(err)
	}
	unknown(1)
}

// A static entry may lead to a peer by a UDP port of its own. What comes from there is not elsewhere: the source port of a datagram says nothing.
//
//	p0 (VNI 42, peer r0) ── switch ════ r0
func TestStaticEntryWithPortOfItsOwn(t *testing.T) {
	for _, learning := range []bool{true, false} {
		s := newScene(t, 2, nil)
		s.set(VNIConfig{VNI: 42, Learning: learning}, s.addrs()...)
		s.port("p0", 42)
		dst := netip.AddrPortFrom(s.remotes[0].addr, 4790)
		if err := s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(5)), Dst: dst, State: fdb.Static}, fdb.Add); err != nil {
			t.Fatal(err)
		}
		s.drops(0, StaticMACElsewhere, func() { s.remotes[0].send(42, times(3, frameOf(station(5), broadcast))...) })
		if got, want := s.counts(), "p0:3"; got != want {
			t.Errorf("learning %t: from the entry's own address: %q, want %q", learning, got, want)
		}
		s.drops(3, StaticMACElsewhere, func() { s.remotes[1].send(42, times(3, frameOf(station(5), broadcast))...) })
		if e := s.entry(42, station(5)); e.Dst != dst || e.State != fdb.Static {
			t.Errorf("learning %t: the entry became %+v", learning, e)
		}
	}
}

// To put an entry that is there, or another state of it, never shuts its peer out, not for a moment.
func TestStaticEntryPutAgain(t *testing.T) {
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	e := FDBEntry{VNI: 42, MAC: fdb.MAC(station(5)), Dst: peerAt(s.remotes[0].addr), State: fdb.Static}
	if err := s.FDBPut(e, fdb.Add); err != nil {
		t.Fatal(err)
	}
	before := s.current.Load().generation
	for _, state := range []fdb.State{fdb.Static, fdb.Sticky, fdb.Static} {
		e.State = state
		if err := s.FDBPut(e, fdb.Replace); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.current.Load().generation; got != before {
		t.Errorf("%d snapshots published for entries of one peer, want none", got-before)
	}
	if err := s.FDBDel(42, e.MAC, netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	s.drops(1, UnknownPeer, func() { s.remotes[0].send(42, frameOf(station(5), broadcast)) })
}

// What was learned behind a peer that leaves a VNI, and behind a port that no longer carries it, is forgotten there and nowhere else.
//
//	p0 p1 (VNI 42, 43 as 3) ── switch ════ r0 r1
func TestLeavingAVNI(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	for _, vni := range []uint32{42, 43} {
		s.set(VNIConfig{VNI: vni, Learning: true}, s.addrs()...)
	}
	for _, p := range []string{"p0", "p1"} {
		s.configuredPort(PortConfig{Name: p, Untagged: 42, Tagged: []VIDMap{{3, 43}}})
	}
	near, far, stays := station(1), station(2), station(3)
	for _, vni := range []uint32{42, 43} {
		s.remotes[0].send(vni, frameOf(far, broadcast))
		s.remotes[1].send(vni, frameOf(stays, broadcast))
	}
	s.Inject("p1", frameOf(near, broadcast), putTag(frameOf(near, broadcast), 0x8100, 3))
	s.forget()
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs(1)...)
	if s.known(42, far) || !s.known(42, stays) || !s.known(43, far) {
		t.Errorf("r0 left VNI 42: %+v", s.FDBDump(FDBFilter{}))
	}
	s.Inject("p0", frameOf(station(9), far))
	if got, want := s.counts(), "p1:1 r1:1"; got != want {
		t.Errorf("to a MAC behind the peer that left: %q, want %q", got, want)
	}
	s.drops(1, UnknownPeer, func() { s.remotes[0].send(42, frameOf(far, broadcast)) })

	s.do(func() error { return s.SetPort(s.ofKind(PortConfig{Name: "p1", Untagged: 42})) })
	if s.known(43, near) || !s.known(42, near) {
		t.Errorf("p1 left VNI 43: %+v", s.FDBDump(FDBFilter{}))
	}
	s.forget()
	s.Inject("p0", putTag(frameOf(station(9), near), 0x8100, 3))
	if got, want := s.counts(), "r0:1 r1:1"; got != want {
		t.Errorf("to a MAC behind the port that left: %q, want %q", got, want)
	}
	s.drops(1, VLANNotAllowed, func() { s.Inject("p1", putTag(frameOf(near, broadcast), 0x8100, 3)) })
}

// What was learned behind a source that may not send into a VNI any more is forgotten there, however it lost that right, and nothing else is.
//
//	p0 p1 ── switch ════ r0 r1
func TestRefusedSourceIsForgotten(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	group := netip.AddrPortFrom(netip.MustParseAddr("239.1.1.1"), DefaultPort)
	prefix := func(n int) netip.Prefix { return netip.PrefixFrom(s.remotes[n].addr, 32) }
	r1 := peerAt(s.remotes[1].addr)
	closed := VNIConfig{Learning: true}
	pinned := FDBEntry{MAC: fdb.MAC(station(5)), Dst: r1, State: fdb.Static}
	commanded := FDBEntry{MAC: fdb.MAC(station(6)), Dst: r1, State: fdb.Dynamic}
	moved := pinned
	moved.Dst = peerAt(s.remotes[0].addr)
	replaced := func(vni uint32) error {
		e := moved
		e.VNI = vni
		return s.FDBPut(e, fdb.Replace)
	}
	deleted := func(vni uint32) error { return s.FDBDel(vni, pinned.MAC, netip.AddrPort{}) }
	flushed := func(vni uint32) error {
		_, err := s.FDBFlush(FDBFilter{VNI: vni, Static: true})
		return err
	}
	for i, c := range []struct {
		name   string
		before VNIConfig
		static bool
		after  func(vni uint32) error // nil: closed, with r0 alone
	}{
		{name: "policy learn", before: VNIConfig{Learning: true, Policy: Learn}},
		{name: "allow", before: VNIConfig{Learning: true, Allow: []netip.Prefix{prefix(1)}}},
		{name: "group", before: VNIConfig{Learning: true, Group: group}},
		{name: "static entry deleted", before: closed, static: true, after: deleted},
		{name: "static entry flushed", before: closed, static: true, after: flushed},
		{name: "static entry replaced", before: closed, static: true, after: replaced},
		{name: "static entry deleted before its VNI is published for another reason", before: closed, static: true, after: func(vni uint32) error {
			return s.Together(func() error {
				if err := deleted(vni); err != nil {
					return err
				}
				if err := s.AddPort(s.ofKind(PortConfig{Name: "passing", Untagged: vni})); err != nil {
					return err
				}
				return s.DelPort("passing")
			})
		}},
	} {
		vni := uint32(50 + i)
		c.before.VNI, closed.VNI = vni, vni
		if c.before.Group.IsValid() {
			s.set(c.before)
		} else {
			s.set(c.before, s.addrs(0)...)
		}
		for _, p := range []string{"p0", "p1"} {
			p = fmt.Sprintf("%s-%d", p, vni)
			s.configuredPort(PortConfig{Name: p, Untagged: vni})
		}
		if pinned.VNI = vni; c.static {
			s.do(func() error { return s.FDBPut(pinned, fdb.Add) })
		}
		s.remotes[0].send(vni, frameOf(station(2), broadcast))
		s.remotes[1].send(vni, frameOf(station(3), broadcast))
		s.rest()
		if !s.known(vni, station(2)) || !s.known(vni, station(3)) {
			t.Fatalf("%s: not learned: %+v", c.name, s.FDBDump(FDBFilter{VNI: vni}))
		}
		if c.after != nil {
			s.do(func() error { return c.after(vni) })
		} else {
			s.set(closed, s.addrs(0)...)
		}
		if s.known(vni, station(3)) || !s.known(vni, station(2)) {
			t.Errorf("%s: %+v", c.name, s.FDBDump(FDBFilter{VNI: vni}))
		}
		s.forget()
		s.Inject(fmt.Sprintf("p0-%d", vni), frameOf(station(1), station(3)))
		if got, want := s.counts(), fmt.Sprintf("p1-%d:1 r0:1", vni); got != want {
			t.Errorf("%s: to a MAC behind the source that is refused: %q, want %q", c.name, got, want)
		}
		// An entry that was made by command was never by right of its peer, and stays whatever else changes.
		commanded.VNI = vni
		s.do(func() error { return s.FDBPut(commanded, fdb.Replace) })
		closed.Ageing = time.Minute
		s.set(closed, s.addrs(0)...)
		closed.Ageing = 0
		if !s.known(vni, station(6)) {
			t.Errorf("%s: an entry made by command is gone", c.name)
		}
	}
}

// A frame that asks not to be learned from keeps nobody else's from being.
//
//	p0 ── switch ════ r0
func TestDontLearnIsForOneFrame(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.Workers = 1 })
	s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{GBP: true}}, s.addrs()...)
	s.port("p0", 42)
	w := s.parked()
	plain := datagramOf(42, frameOf(station(5), station(6)))
	w.drive(s, [][]wagon{{{datagram: withGBP(42, encap.GBP(0).WithDontLearn(), frameOf(station(5), broadcast))}, {datagram: plain}}}, false)
	if !s.known(42, station(5)) {
		t.Error("not learned from the frame behind it")
	}
}
