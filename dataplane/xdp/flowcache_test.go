package xdp

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// onOneCPU keeps the test, and so the programs that it runs, where their ways are.
func onOneCPU(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // for good: the thread ends with the test
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if allowed.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
}

// without is a list of capabilities to refuse.
func without(refused bool) []string {
	if refused {
		return []string{"flow-cache"}
	}
	return nil
}

// nextSecond waits for it to begin.
func (b *bench) nextSecond() {
	for start := b.Now(); b.Now() == start; {
		time.Sleep(time.Millisecond)
	}
}

// early waits until enough is left of a second for what follows to happen within it.
func (b *bench) early() {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		b.t.Fatal(err)
	}
	if time.Duration(ts.Nsec) > 700*time.Millisecond {
		b.nextSecond()
	}
}

// change is something that user space does to the maps, and what becomes of the next frame.
type change struct {
	name    string
	do      func() error
	verdict int // -1: none is counted
}

// TestChangesEndWays carries frames until their way is kept, and changes what they were carried by: the next one is decided anew.
func TestChangesEndWays(t *testing.T) {
	onOneCPU(t)
	domain := func(change func(*Domain)) Domain {
		d := testDomain()
		change(&d)
		return d
	}
	port := func(b *bench, index uint32, change func(*Port)) func() error {
		return func() error {
			p := b.ports[index]
			change(&p)
			return b.PutPort(p)
		}
	}
	peer := Peer{Index: 0, Addr: netip.AddrPortFrom(remote4, testPort), Ifindex: loopback, NextHop: remote4, MaxFrame: maxInner}
	mac := func(m [6]byte, index uint32) Entry { return Entry{VNI: testVNI, MAC: m, Index: index} }
	wire := letterFrom(remote4, known().frame(macA, macB))
	for _, c := range []struct {
		name    string
		program func(*bench) *ebpf.Program
		frame   []byte
		carried int
		changes func(*bench) []change
	}{
		{"to a peer", func(b *bench) *ebpf.Program { return b.objects.VtepdTap }, known().frame(macB, macA), toPeer, func(b *bench) []change {
			small := peer
			small.MaxFrame = 40
			return []change{
				{"destination gone", func() error { return b.DelEntries(EntryKey{testVNI, macB}) }, unknownDestination},
				{"source gone", func() error { return b.DelEntries(EntryKey{testVNI, macA}) }, unknownSource},
				{"destination moved", func() error { return b.PutEntry(mac(macB, 1)) }, toPort},
				{"destination moved with others", func() error { return b.PutEntries([]Entry{mac(macNone, 1), mac(macB, 1)}) }, toPort},
				{"destination moved to the port", func() error { return b.PutEntry(mac(macB, 0)) }, samePlace},
				{"source moved", func() error { return b.PutEntry(mac(macA, 1)) }, unknownSource},
				{"peer gone", func() error { return b.DelPeer(0) }, noRoute},
				{"peer forgotten", func() error { return b.ForgetPeer(0) }, noRoute},
				{"smaller path", func() error { return b.PutPeer(small) }, tooLarge},
				{"port gone", func() error { return b.DelPort(0) }, noPort},
				{"port forgotten", func() error { return b.ForgetPort(0) }, noPort},
				{"port's policy", port(b, 0, func(p *Port) { p.ToUser = true }), portToUser},
				{"port without VNI", port(b, 0, func(p *Port) { p.Untagged = 0 }), noDomain},
				{"port in another VNI", port(b, 0, func(p *Port) { p.Untagged = 77 }), noDomain},
				{"device of another port", port(b, 0, func(p *Port) { p.Ifindex = 1000 }), noPort},
				{"VNI gone", func() error { return b.DelDomain(testVNI) }, noDomain},
				{"VNI's policy", func() error { return b.PutDomain(domain(func(d *Domain) { d.ToUser = true })) }, domainPolicy},
				{"checksums", func() error { return b.PutDomain(domain(func(d *Domain) { d.ZeroChecksumTx = false })) }, udpChecksum},
			}
		}},
		{"to a port", func(b *bench) *ebpf.Program { return b.objects.VtepdTap }, known().frame(macD, macA), toPort, func(b *bench) []change {
			return []change{
				{"destination gone", func() error { return b.DelEntries(EntryKey{testVNI, macD}) }, unknownDestination},
				{"destination moved", func() error { return b.PutEntry(Entry{VNI: testVNI, MAC: macD, ToPeer: true}) }, toPeer},
				{"port gone", func() error { return b.DelPort(1) }, unknownDestination},
				{"smaller port", port(b, 1, func(p *Port) { p.MaxFrame = 40 }), tooLarge},
				{"port without the VNI", port(b, 1, func(p *Port) { p.Untagged = 5 }), unknownDestination},
			}
		}},
		{"from a peer", func(b *bench) *ebpf.Program { return b.objects.VtepdUnderlay }, wire.bytes(), fromPeer, func(b *bench) []change {
			return []change{
				{"source gone", func() error { return b.DelSource(testVNI, remote4) }, unknownPeer},
				{"source of another peer", func() error { return b.PutSource(testVNI, remote4, 1, 102) }, unknownSource},
				{"station gone", func() error { return b.DelEntries(EntryKey{testVNI, macB}) }, unknownSource},
				{"station moved", func() error { return b.PutEntry(mac(macB, 1)) }, unknownSource},
				{"destination gone", func() error { return b.DelEntries(EntryKey{testVNI, macA}) }, unknownDestination},
				{"destination moved", func() error { return b.PutEntry(Entry{VNI: testVNI, MAC: macA, ToPeer: true}) }, samePlace},
				{"port gone", func() error { return b.DelPort(0) }, unknownDestination},
				{"smaller port", port(b, 0, func(p *Port) { p.MaxFrame = 40 }), tooLarge},
				{"VNI gone", func() error { return b.DelDomain(testVNI) }, noDomain},
				{"VNI's policy", func() error { return b.PutDomain(domain(func(d *Domain) { d.ToUser = true })) }, domainPolicy},
			}
		}},
	} {
		for i := range c.changes(new(bench)) {
			b := newBench(t, nil)
			change := c.changes(b)[i]
			t.Run(c.name+"/"+change.name, func(t *testing.T) {
				b.t = t
				b.early()
				for range 3 {
					if _, verdict, _ := b.run(c.program(b), c.frame, nil); verdict != c.carried {
						t.Fatalf("verdict %d, want %d", verdict, c.carried)
					}
				}
				if err := change.do(); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if _, verdict, _ := b.run(c.program(b), c.frame, nil); verdict != change.verdict {
						t.Errorf("afterwards verdict %d, want %d", verdict, change.verdict)
					}
				}
			})
		}
	}
}

// TestWaysAreKept takes an entry away behind the programs' back: nobody but the kept way says then where frames go, to the end of the second and not longer.
func TestWaysAreKept(t *testing.T) {
	onOneCPU(t)
	for _, refused := range []bool{false, true} {
		b := newBench(t, func(o *Options, _ *Domain) { o.Refuse.Capabilities = without(refused) })
		if !refused && b.loaded().FlowCache == 0 {
			t.Skip(Probe().FlowCache.Reason)
		}
		wire := letterFrom(remote4, known().frame(macA, macB))
		for _, c := range []struct {
			program       *ebpf.Program
			frame         []byte
			dst           [6]byte
			carried, gone int
		}{
			{b.objects.VtepdTap, known().frame(macB, macA), macB, toPeer, unknownDestination},
			{b.objects.VtepdTap, known().frame(macD, macA), macD, toPort, unknownDestination},
			{b.objects.VtepdUnderlay, wire.bytes(), macA, fromPeer, unknownDestination},
		} {
			b.early()
			if _, verdict, _ := b.run(c.program, c.frame, nil); verdict != c.carried {
				t.Fatalf("verdict %d, want %d", verdict, c.carried)
			}
			key := programsFdbKey{Vni: testVNI, Mac: c.dst}
			var entry programsFdbValue
			if err := b.objects.Fdb.Lookup(&key, &entry); err != nil {
				t.Fatal(err)
			}
			if err := b.objects.Fdb.Delete(&key); err != nil {
				t.Fatal(err)
			}
			want := c.carried
			if refused {
				want = c.gone
			}
			if _, verdict, _ := b.run(c.program, c.frame, nil); verdict != want {
				t.Errorf("refused %v: in the same second verdict %d, want %d", refused, verdict, want)
			}
			other := bytes.Clone(c.frame)
			other[len(other)-len(known().frame(macA, macB))] ^= 4 // the first byte of the frame, within a datagram or not
			if _, verdict, _ := b.run(c.program, other, nil); verdict != c.gone {
				t.Errorf("another destination: verdict %d, want %d", verdict, c.gone)
			}
			b.nextSecond()
			if _, verdict, _ := b.run(c.program, c.frame, nil); verdict != c.gone {
				t.Errorf("refused %v: in the next second verdict %d, want %d", refused, verdict, c.gone)
			}
			if err := b.objects.Fdb.Put(&key, &entry); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestWaysRefresh wants a station that goes on sending to be seen in every second, and its peer's neighbour to be called known in time.
func TestWaysRefresh(t *testing.T) {
	onOneCPU(t)
	b := newBench(t, nil)
	letter := letterFrom(remote4, known().frame(macA, macB))
	seen := func(mac [6]byte) (s uint32) {
		if err := b.WalkEntries(func(e Entry) bool {
			if e.MAC == mac {
				s = e.Seen
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	// The filter of a socket comes first on devices, and must not keep the program behind it from seeing the source.
	if err := b.PutEntry(Entry{VNI: testVNI, MAC: macNone, Index: 0}); err != nil {
		t.Fatal(err)
	}
	behind := known().frame(macB, macNone)
	for range 3 {
		b.nextSecond()
		for range 3 {
			b.run(b.objects.VtepdTap, known().frame(macB, macA), nil)
			b.run(b.objects.VtepdUnderlay, letter.bytes(), nil)
			b.run(b.objects.SlowOnly, asSocket(behind), nil)
			b.run(b.objects.VtepdDevice, behind, nil)
		}
		now := b.Now()
		if a, far, device := seen(macA), seen(macB), seen(macNone); now-a > 1 || now-far > 1 || now-device > 1 {
			t.Errorf("at %d seen at %d, %d and %d", now, a, far, device)
		}
	}
}

// TestWaysChangeNothing sends frames to programs with and without ways, each twice: all answer the same, count the same and make the same of a frame.
func TestWaysChangeNothing(t *testing.T) {
	onOneCPU(t)
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	policy := func(refused bool) func(*Options, *Domain) {
		return func(o *Options, d *Domain) {
			o.Refuse.Capabilities = without(refused)
			d.ClampMSS, d.SpoofGuard, d.InheritDSCP, d.InheritTTL, d.NewSources = true, true, true, true, true
		}
	}
	with, plain := newBench(t, policy(false)), newBench(t, policy(true))
	if with.loaded().FlowCache == 0 {
		t.Skip(Probe().FlowCache.Reason)
	}
	programs := func(b *bench) []*ebpf.Program {
		return []*ebpf.Program{b.objects.VtepdTap, b.objects.VtepdDevice, b.objects.SlowOnly, b.objects.VtepdUnderlay, b.objects.VtepdBare}
	}
	r := rand.New(rand.NewPCG(11, 13))
	for range rounds {
		inner := randomFrame(r)
		data := inner
		if r.IntN(2) == 0 {
			w := letterFrom([]netip.Addr{remote4, remote6}[r.IntN(2)], inner)
			w.tos = uint8(r.Uint32())
			data = w.bytes()
		}
		if data = damage(r, data); len(data) < 54 {
			continue
		}
		for i, p := range programs(with) {
			frame := data
			if i == 2 {
				frame = asSocket(data)
			}
			for range 2 {
				answer, verdict, out := with.run(p, frame, nil)
				answer2, verdict2, out2 := plain.run(programs(plain)[i], frame, nil)
				if i == 4 && len(out) == len(out2) && len(out) > 12 && !bytes.Equal(out, data) {
					out, out2 = out[12:], out2[12:] // the note to tcx names the instance
				}
				if answer != answer2 || verdict != verdict2 || !bytes.Equal(out, out2) {
					t.Fatalf("program %d: answer %d, verdict %d\n%x\nwithout ways %d, %d\n%x\nof\n%x", i, int32(answer), verdict, out, int32(answer2), verdict2, out2, data)
				}
			}
		}
		with.heard()
		plain.heard()
	}
	c := with.count()
	for _, v := range []int{toPeer, fromPeer, toPort} {
		if c[v] < uint64(rounds/50) {
			t.Errorf("verdict %d only %d times", v, c[v])
		}
	}
	for _, m := range []struct {
		name        string
		with, plain Counters
	}{
		{"port", with.PortCounters(0), plain.PortCounters(0)},
		{"peer", with.PeerCounters(0), plain.PeerCounters(0)},
		{"peer, IPv6", with.PeerCounters(1), plain.PeerCounters(1)},
		{"vni", with.VNICounters(testVNI), plain.VNICounters(testVNI)},
	} {
		if m.with != m.plain || m.with == (Counters{}) {
			t.Errorf("%s: %+v and without ways %+v", m.name, m.with, m.plain)
		}
	}
}

// TestNothingIsKeptDuringChanges wants the programs to ask the maps about every frame until the last of several changes at once has ended.
func TestNothingIsKeptDuringChanges(t *testing.T) {
	onOneCPU(t)
	b := newBench(t, nil)
	key := programsFdbKey{Vni: testVNI, Mac: macB}
	var entry programsFdbValue
	if err := b.objects.Fdb.Lookup(&key, &entry); err != nil {
		t.Fatal(err)
	}
	asks := func(when string) {
		t.Helper()
		b.early()
		for _, want := range []int{toPeer, unknownDestination, toPeer} {
			if want == toPeer {
				if err := b.objects.Fdb.Put(&key, &entry); err != nil {
					t.Fatal(err)
				}
			} else if err := b.objects.Fdb.Delete(&key); err != nil {
				t.Fatal(err)
			}
			if _, verdict, _ := b.run(b.objects.VtepdTap, known().frame(macB, macA), nil); verdict != want {
				t.Errorf("%s: verdict %d, want %d", when, verdict, want)
			}
		}
	}
	epoch := func() (n uint32) {
		if err := b.objects.Epochs.Lookup(uint32(0), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := epoch()
	if err := b.change(func() error {
		asks("one change")
		if err := b.change(func() error { asks("two changes"); return nil }); err != nil {
			return err
		}
		if err := b.PutEntry(Entry{VNI: testVNI, MAC: macNone, Index: 1}); err != nil {
			return err
		}
		asks("the last of two changes")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if after := epoch(); after == 0 || after == before {
		t.Errorf("epoch %d, then %d", before, after)
	}
}
