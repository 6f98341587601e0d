package xdp

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"vtepd/bench/lab"
)

// macSticky is sticky, behind peer 0.
var macSticky = [6]byte{2, 0, 0, 0, 0, 0x51}

// heard reads every event that is there.
func (b *bench) heard() (list []LearnEvent) {
	var buf [64]LearnEvent
	for {
		n := b.ReadEvents(buf[:])
		if n == 0 {
			return list
		}
		list = append(list, buf[:n]...)
	}
}

// TestNewSources puts frames of sources that are not known where they come from to every program: what becomes of the frame, and what user space
// is told, which is nothing unless the frame is carried.
func TestNewSources(t *testing.T) {
	type is struct {
		verdict int
		serial  uint32 // 0: no event
	}
	nowhere := [6]byte{2, 9}
	fromPort := func(dst, src [6]byte) []byte { return known().frame(dst, src) }
	from4 := func(dst, src [6]byte) []byte { return letterFrom(remote4, known().frame(dst, src)).bytes() }
	from6 := func(dst, src [6]byte) []byte { return letterFrom(remote6, known().frame(dst, src)).bytes() }
	serial := func(n uint32) func(*bench) {
		return func(b *bench) {
			if err := b.PutPort(Port{Index: 0, Ifindex: loopback, Kind: TAP, MaxFrame: 1464, Untagged: testVNI, Serial: n}); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	off := func(d *Domain) { d.NewSources = false }
	for _, c := range []struct {
		name   string
		frame  []byte
		wire   bool
		domain func(*Domain)
		before func(*bench)
		want   is
	}{
		{name: "known", frame: fromPort(macB, macA), want: is{toPeer, 0}},
		{name: "new, to a peer", frame: fromPort(macB, macNone), want: is{toPeer, 10}},
		{name: "new, to an IPv6 peer", frame: fromPort(macC, macNone), want: is{toPeer, 10}},
		{name: "new, to a port", frame: fromPort(macD, macNone), want: is{toPort, 10}},
		{name: "moved from a peer", frame: fromPort(macC, macB), want: is{toPeer, 10}},
		{name: "moved from a port", frame: fromPort(macB, macD), want: is{toPeer, 10}},
		{name: "moved, to itself", frame: fromPort(macB, macB), want: is{unknownSource, 0}},
		{name: "new, to itself", frame: fromPort(macNone, macNone), want: is{unknownSource, 0}},
		{name: "static elsewhere", frame: fromPort(macB, macE), want: is{unknownSource, 0}},
		{name: "sticky elsewhere", frame: fromPort(macB, macSticky), want: is{unknownSource, 0}},
		{name: "new, to nowhere", frame: fromPort(nowhere, macNone), want: is{unknownDestination, 0}},
		{name: "new, to its own port", frame: fromPort(macA, macNone), want: is{samePlace, 0}},
		{name: "new, too large", frame: packet{proto: 17, l4: udpTo(7, maxInner)}.frame(macB, macNone), want: is{tooLarge, 0}},
		{name: "new, no route", frame: fromPort(macB, macNone), before: func(b *bench) { b.DelPeer(0) }, want: is{noRoute, 0}},
		{name: "new, user space only", frame: fromPort(macB, macNone), domain: off, want: is{unknownSource, 0}},
		{name: "moved, user space only", frame: fromPort(macB, macD), domain: off, want: is{unknownSource, 0}},
		{name: "new, at a port without a serial", frame: fromPort(macB, macNone), before: serial(0), want: is{unknownSource, 0}},
		{name: "new, at a port of another serial", frame: fromPort(macB, macNone), before: serial(99), want: is{toPeer, 99}},
		{name: "new, opens a connection to be clamped", frame: packet{proto: 6, l4: opening(2, mss(1))}.frame(macB, macNone), domain: func(d *Domain) { d.ClampMSS = true }, want: is{domainPolicy, 0}},
		{name: "new, may be forged", frame: packet{proto: 17, dst: remote4, l4: udpTo(testPort, 50)}.frame(macB, macNone), domain: func(d *Domain) { d.SpoofGuard = true }, want: is{domainPolicy, 0}},
		{name: "group source", frame: fromPort(macB, [6]byte{3}), want: is{badSource, 0}},

		{name: "known behind a peer", wire: true, frame: from4(macA, macB), want: is{fromPeer, 0}},
		{name: "new behind a peer", wire: true, frame: from4(macA, macNone), want: is{fromPeer, 100}},
		{name: "new behind an IPv6 peer", wire: true, frame: from6(macA, macNone), want: is{fromPeer, 101}},
		{name: "moved from peer to peer", wire: true, frame: from6(macA, macB), want: is{fromPeer, 101}},
		{name: "moved from a port to a peer", wire: true, frame: from4(macA, macD), want: is{fromPeer, 100}},
		{name: "static behind another peer", wire: true, frame: from6(macA, macE), want: is{unknownSource, 0}},
		{name: "sticky behind another peer", wire: true, frame: from6(macA, macSticky), want: is{unknownSource, 0}},
		{name: "moved behind a peer, to itself", wire: true, frame: from4(macA, macA), want: is{unknownSource, 0}},
		{name: "new behind a peer, to a peer", wire: true, frame: from4(macB, macNone), want: is{samePlace, 0}},
		{name: "new behind a peer, to nowhere", wire: true, frame: from4(nowhere, macNone), want: is{unknownDestination, 0}},
		{name: "new behind a stranger", wire: true, frame: from4(macA, macNone), before: func(b *bench) { b.DelSource(testVNI, remote4) }, want: is{unknownPeer, 0}},
		{name: "new behind a peer without a serial", wire: true, frame: from4(macA, macNone), before: func(b *bench) { b.PutSource(testVNI, remote4, 0, 0) }, want: is{unknownSource, 0}},
		{name: "new behind a peer, not learning", wire: true, frame: from4(macA, macNone), domain: func(d *Domain) { d.Learning = false }, want: is{fromPeer, 0}},
		{name: "new behind a peer, user space only", wire: true, frame: from4(macA, macNone), domain: off, want: is{unknownSource, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(_ *Options, d *Domain) {
				d.NewSources = true
				if c.domain != nil {
					c.domain(d)
				}
			})
			if err := b.PutEntries([]Entry{{VNI: testVNI, MAC: macSticky, ToPeer: true, Index: 0, Sticky: true}}); err != nil {
				t.Fatal(err)
			}
			if c.before != nil {
				c.before(b)
			}
			src := [6]byte(c.frame[6:12])
			programs := []*ebpf.Program{b.objects.VtepdTap, b.objects.VtepdDevice}
			if c.wire {
				at := 50
				if c.frame[12] == 0x86 {
					at = 70
				}
				src = [6]byte(c.frame[at+6:])
				programs = []*ebpf.Program{b.objects.VtepdUnderlay}
				// XDP leaves a new source to tcx, and tells nobody.
				_, _, out := b.run(b.objects.VtepdBare, c.frame, nil)
				if opened := len(out) != len(c.frame); opened != (c.want == is{fromPeer, 0}) {
					t.Errorf("XDP unwraps it: %v", opened)
				}
			} else if answer, _, _ := b.run(b.objects.SlowOnly, asSocket(c.frame), nil); (answer == 0) != (c.want.verdict <= toPort) {
				t.Errorf("the filter keeps %d", int32(answer))
			}
			if b.EventsWaiting() {
				t.Errorf("told by a program that carries nothing: %v", b.heard())
			}
			var events []LearnEvent
			if c.want.serial != 0 {
				events = []LearnEvent{{VNI: testVNI, MAC: src, Serial: c.want.serial}}
			}
			for _, p := range programs {
				_, verdict, _ := b.run(p, c.frame, nil)
				if verdict != c.want.verdict {
					t.Errorf("%v: verdict %d %q, want %d %q", p, verdict, word(verdict), c.want.verdict, word(c.want.verdict))
				}
				if b.EventsWaiting() != (len(events) > 0) {
					t.Errorf("%v: events waiting: %v", p, b.EventsWaiting())
				}
				if diff := cmp.Diff(events, b.heard()); diff != "" {
					t.Errorf("%v: events (-want +got):\n%s", p, diff)
				}
			}
			if c.want.serial == 0 {
				return
			}
			err := b.WalkEntries(func(e Entry) bool {
				if e.MAC == src && e.Seen != 0 {
					t.Errorf("%+v was refreshed by a frame from elsewhere", e)
				}
				return true
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLearnRate wants no more frames of new sources to be carried in a second than events are allowed, and the rest to go to user space, by the word of
// program and filter alike.
func TestLearnRate(t *testing.T) {
	b := newBench(t, func(o *Options, d *Domain) { o.LearnEvents, d.NewSources = 3, true })
	frame := known().frame(macB, macNone)
	wire := letterFrom(remote4, known().frame(macA, macNone)).bytes()
	// How many are let through depends on the CPUs and the seconds that this runs in: the numbers are bounds.
	began := time.Now()
	const rounds = 200
	for range rounds {
		b.run(b.objects.VtepdTap, frame, nil)
		b.run(b.objects.VtepdUnderlay, wire, nil)
	}
	c, events := b.count(), b.heard()
	seconds := int(time.Since(began)/time.Second) + 2
	if most := seconds * 3 * ebpf.MustPossibleCPU(); len(events) > most || len(events) < 3 {
		t.Errorf("%d events, want 3 to %d", len(events), most)
	}
	if n := c[toPeer] + c[fromPeer]; n != uint64(len(events)) {
		t.Errorf("%d frames carried, %d told of", n, len(events))
	}
	if n := c[toPeer] + c[fromPeer] + c[learnRate]; n != 2*rounds || b.Totals().Punted["learn_rate"] != c[learnRate] {
		t.Errorf("%d of %d frames accounted for: %+v", n, 2*rounds, b.Totals())
	}
	// The filter knows when no more is to be had on its CPU.
	kept := 0
	for range 50 {
		b.run(b.objects.VtepdTap, frame, nil)
		if answer, _, _ := b.run(b.objects.SlowOnly, asSocket(frame), nil); answer != 0 {
			kept++
		}
	}
	if kept < 10 {
		t.Errorf("the filter kept %d of 50 frames, though the events of the second are used up", kept)
	}
	// Known sources are nobody's business.
	if _, verdict, _ := b.run(b.objects.VtepdTap, known().frame(macB, macA), nil); verdict != toPeer {
		t.Errorf("a known source: %q", word(verdict))
	}
}

// TestLearnQueue wants frames of new sources to go to user space while it does not read what it is told, and to be carried again when it has.
func TestLearnQueue(t *testing.T) {
	b := newBench(t, func(o *Options, d *Domain) { d.NewSources = true })
	const room = 256 * 1024 / 24
	var sent []LearnEvent
	filter := func() bool {
		answer, _, _ := b.run(b.objects.SlowOnly, asSocket(known().frame(macB, macNone)), nil)
		return answer == 0
	}
	for i := 0; ; i++ {
		src := [6]byte{2, 7, 0, byte(i >> 16), byte(i >> 8), byte(i)}
		left := filter()
		_, verdict, _ := b.run(b.objects.VtepdTap, known().frame(macB, src), nil)
		if verdict == learnQueue {
			break
		}
		if verdict != toPeer || !left && i < room-2 || i > room {
			t.Fatalf("frame %d: %q, the filter leaves it: %v", i, word(verdict), left)
		}
		sent = append(sent, LearnEvent{VNI: testVNI, MAC: src, Serial: 10})
	}
	if len(sent) < room*9/10 {
		t.Errorf("room for %d events, want about %d", len(sent), room)
	}
	if filter() {
		t.Error("the filter leaves a frame to a program that will not take it")
	}
	if got := b.heard(); !slices.Equal(got, sent) {
		t.Errorf("%d events read, %d written, or others", len(got), len(sent))
	}
	if _, verdict, _ := b.run(b.objects.VtepdTap, known().frame(macB, macNone), nil); verdict != toPeer || !filter() {
		t.Errorf("with room again: %q", word(verdict))
	}
}

// TestWaitEvents wants the waiting to end with an event, and for good when it is told to.
func TestWaitEvents(t *testing.T) {
	b := newBench(t, func(_ *Options, d *Domain) { d.NewSources = true })
	woken, again := make(chan bool), make(chan bool)
	go func() {
		defer close(woken)
		for b.WaitEvents() {
			woken <- true
			<-again
		}
	}()
	for i := range 3 {
		select {
		case <-woken:
			t.Fatal("woken though nothing is there")
		case <-time.After(20 * time.Millisecond):
		}
		b.run(b.objects.VtepdTap, known().frame(macB, macNone), nil)
		select {
		case <-woken:
		case <-time.After(lab.Patience):
			t.Fatalf("event %d wakes nobody", i)
		}
		if n := len(b.heard()); n != 1 {
			t.Errorf("%d events", n)
		}
		again <- true
	}
	b.EndEvents()
	if <-woken {
		t.Error("woken by nothing")
	}
	if b.WaitEvents() {
		t.Error("waits again")
	}
	var one [1]LearnEvent
	b.run(b.objects.VtepdTap, known().frame(macB, macNone), nil)
	b.ReadEvents(one[:])
	for range 50 {
		b.run(b.objects.VtepdTap, known().frame(macB, macNone), nil)
	}
	if n := testing.AllocsPerRun(20, func() {
		if !b.EventsWaiting() || b.ReadEvents(one[:]) != 1 {
			t.Error("no event")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestNewSourcesOnTheWire carries the first frames of a station that nobody knows, by ports of every kind, and tells of it at both ends.
func TestNewSourcesOnTheWire(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tap", "veth"} {
		for _, wire := range []bool{false, true} { // true: XDP comes first
			t.Run(fmt.Sprintf("%s-wire-%v", kind, wire), func(t *testing.T) {
				a, b := newSides(t, false, wire, func(_ *Options, d *Domain) { d.NewSources = true })
				var sa *station
				if kind == "tap" {
					sa = a.tap("tap0", 1450)
				} else {
					sa = a.veth("wa", 1450)
				}
				sb := b.veth("wb", 1450)
				meet(sa, sb)
				for _, s := range []*side{a, b} {
					if err := s.f.DelEntries(EntryKey{testVNI, [6]byte(sa.mac)}); err != nil {
						t.Fatal(err)
					}
				}
				// The requests arrive; the answers do not, for nobody learns here.
				if sa.pingInVain(sb.host.Overlay4()) {
					t.Error("answered, though nobody has learned where to")
				}
				ta, tb := a.f.Totals(), b.f.Totals()
				if ta.Encap != 5 || tb.Decap != 5 || tb.Punted["unknown_destination"] < 5 {
					t.Errorf("of 5 frames: %+v, %+v", ta, tb)
				}
				var list [16]LearnEvent
				for side, serial := range map[*side]uint32{a: portSerial, b: peerSerial} {
					want := LearnEvent{VNI: testVNI, MAC: [6]byte(sa.mac), Serial: serial}
					n := side.f.ReadEvents(list[:])
					if n != 5 || slices.ContainsFunc(list[:n], func(e LearnEvent) bool { return e != want }) {
						t.Errorf("%s was told %v, want %v five times", side.host.Name(), list[:n], want)
					}
				}
				// Once learned, they are carried without a word.
				meet(sa, sb)
				if err := sa.ping(sb.host.Overlay4()); err != nil {
					t.Error(err)
				}
				if a.f.EventsWaiting() || b.f.EventsWaiting() {
					t.Error("told of sources that are known")
				}
			})
		}
	}
}
