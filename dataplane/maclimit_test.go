package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// Bounds on MACs hold: of the switch, of a VNI, of a port; who is below his share keeps what he has.
//
//	p0 (max 100) p1 p2 (VNI 42: max 300, VNI 43) ── switch (max 500) ════ r0
func TestMACLimits(t *testing.T) {
	s := newScene(t, 1, func(c *Config) { c.MaxMACs = 500 })
	s.set(VNIConfig{VNI: 42, Learning: true, MaxMACs: 300, Ageing: time.Minute}, s.addrs()...)
	s.set(VNIConfig{VNI: 43, Learning: true, Ageing: time.Minute}, s.addrs()...)
	both := []VIDMap{{43, 43}}
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, Tagged: both, MaxMACs: 100})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, Tagged: both})
	s.configuredPort(PortConfig{Name: "p2", Untagged: 42, Tagged: both})
	next := 0
	fresh := func(n int) (frames [][]byte) {
		for range n {
			next++
			frames = append(frames, frameOf(0x02_00_00_01_00_00+uint64(next), station(1)))
		}
		return frames
	}
	from := func(port string, tagged bool, n int) {
		t.Helper()
		for n > 0 {
			batch := fresh(min(n, 200))
			if tagged {
				for i, f := range batch {
					batch[i] = putTag(f, 0x8100, 43)
				}
			}
			s.Inject(port, batch...)
			s.rest()
			n -= len(batch)
		}
	}
	count := func(f FDBFilter) (n int) {
		f.Dynamic = true
		return len(s.FDBDump(f))
	}
	want := func(what string, f FDBFilter, n int) {
		t.Helper()
		if got := count(f); got != n {
			t.Errorf("%s: %d dynamic entries, want %d", what, got, n)
		}
	}
	s.Inject("p2", frameOf(station(1), broadcast))
	s.remotes[0].send(42, frameOf(station(2), broadcast))
	s.forget()
	from("p0", false, 250)
	want("the port's bound", FDBFilter{Port: "p0"}, 100)
	from("p1", false, 500)
	want("the VNI's bound", FDBFilter{VNI: 42}, 300)
	want("the port that asks for too much gives up its own", FDBFilter{VNI: 42, Port: "p0"}, 100)
	from("p1", true, 900)
	want("the switch's bound", FDBFilter{}, 500)
	for _, quiet := range []int{1, 2} {
		if !s.known(42, station(quiet)) {
			t.Errorf("the quiet station %d was forgotten", quiet)
		}
	}
	// p1 has 100 of VNI 42's 300 at least, and the rest of the 500; what p0 holds is less than p1 does, and stays.
	want("who holds less than the largest", FDBFilter{Port: "p0"}, 100)
	// Static entries are not counted and not evicted.
	if err := s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(3)), Port: "p1", State: fdb.Static}, fdb.Add); err != nil {
		t.Fatal(err)
	}
	from("p1", true, 600)
	want("with a static entry", FDBFilter{}, 500)
	if !s.known(42, station(3)) {
		t.Error("a static entry was evicted")
	}
	// Smaller bounds take hold at once.
	s.set(VNIConfig{VNI: 42, Learning: true, MaxMACs: 50, Ageing: time.Minute}, s.addrs()...)
	want("a smaller VNI", FDBFilter{VNI: 42}, 50)
	s.do(func() error {
		return s.SetPort(PortConfig{Name: "p1", Type: PortTAP, Untagged: 42, Tagged: both, MaxMACs: 10})
	})
	want("a smaller port", FDBFilter{Port: "p1"}, 10)
	for _, quiet := range []int{1, 2} {
		if !s.known(42, station(quiet)) {
			t.Errorf("the quiet station %d was forgotten", quiet)
		}
	}
	s.balance()
}

// A million random source MACs from a peer, and a hundred thousand from a port at the same time, leave memory where it was once the table is full, and the
// stations of quiet ports and peers known; traffic between those goes on.
//
//	loud (flood) quiet0 quiet1 (VNI 42) ── switch ════ r0 (flood) r1 (quiet)
func TestMACFlood(t *testing.T) {
	const (
		bound = 32768
		goal  = 1_000_000
		limit = 20 * time.Second
	)
	s := newScene(t, 2, func(c *Config) { c.MaxMACs = bound })
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: 5 * time.Minute}, s.addrs()...)
	s.do(func() error { return s.AddPort(PortConfig{Name: "loud", Type: PortTAP, Untagged: 42}) })
	s.port("quiet0", 42)
	s.port("quiet1", 42)
	s.Inject("quiet0", frameOf(station(1), broadcast))
	s.Inject("quiet1", frameOf(station(2), broadcast))
	s.remotes[1].send(42, frameOf(station(3), broadcast))
	s.forget()

	// Unicast to a quiet station, so that the flood is not multiplied: what counts is its source MACs.
	const frameLen = 60
	frame := encaptest.Packet{SrcMAC: 0x02_00_00_00_00_01, DstMAC: station(9), Proto: encap.ProtoUDP, SrcPort: 1000, DstPort: 2000,
		Payload: make([]byte, frameLen-encap.EthernetLen-encap.IPv4MinLen-encap.UDPLen)}.Frame()
	rng := rand.New(rand.NewPCG(3, 3))
	randomSource := func(b []byte) {
		binary.BigEndian.PutUint64(b[4:], binary.BigEndian.Uint64(b[4:])&^0xffff_ffff_ffff|rng.Uint64()&0xfcff_ffff_ffff|0x0200_0000_0000)
	}
	// The destination is a static entry behind the sender's own place: such frames end at the switch, learned all the same.
	if err := s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(9)), Dst: peerAt(s.remotes[0].addr), State: fdb.Static}, fdb.Add); err != nil {
		t.Fatal(err)
	}
	r := s.remotes[0]
	r.option(unix.SOL_UDP, unix.UDP_SEGMENT, frameLen+8)
	packets := make([]byte, 0, 32*(frameLen+8))
	for range 32 {
		packets = append(packets, datagramOf(42, frame)...)
	}
	loud := newInjector(t, s.Host, "loud")
	burst := func() {
		for at := 0; at < len(packets); at += frameLen + 8 {
			randomSource(packets[at+8:])
		}
		r.sendRaw(packets)
	}
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	var full uint64
	begin, sent := time.Now(), 0
	for learned := uint64(0); learned < goal; {
		for range 16 {
			burst()
			sent += 32
		}
		for range 50 {
			randomSource(frame)
			loud.send(frame)
			sent++
		}
		learned = s.Status().FDB.Learned
		if full == 0 && learned > 4*bound {
			full = memory()
		}
		// The receive buffer holds a few thousand: who sends more only makes the kernel drop.
		for s.Totals().Received+2000 < uint64(sent) && s.busy() {
			time.Sleep(50 * time.Microsecond)
		}
		if took := time.Since(begin); took > limit && learned >= goal/4 {
			t.Logf("%d MACs in %s: a slow machine", learned, took)
			break
		} else if took > limit+3*lab.Patience {
			t.Fatalf("only %d MACs learned in %s", learned, took)
		}
	}
	elapsed := time.Since(begin)
	grown := int64(memory()) - int64(full)
	st := s.Status()
	t.Logf("%d MACs learned in %s, %d evicted, %d in the table, memory grew by %d bytes since it was full", st.FDB.Learned, elapsed.Round(time.Millisecond), st.FDB.Evicted, st.FDB.Dynamic, grown)
	if full == 0 || grown > 1<<20 {
		t.Errorf("memory grew by %d bytes after the table was full", grown)
	}
	if st.FDB.Dynamic > bound {
		t.Errorf("%d dynamic entries, bound %d", st.FDB.Dynamic, bound)
	}
	for _, quiet := range []int{1, 2, 3} {
		if e := s.entry(42, station(quiet)); e.Moves != 0 {
			t.Errorf("quiet station %d: %+v", quiet, e)
		}
	}
	s.forget()
	s.Inject("quiet0", frameOf(station(1), station(2)), frameOf(station(1), station(3)))
	if got, want := s.counts(), "quiet1:1 r1:1"; got != want {
		t.Errorf("between quiet stations: %q, want %q", got, want)
	}
	for i := range 3000 { // the port's share is as even as the peer's: it, too, was held to it
		randomSource(frame)
		loud.send(frame)
		if i%200 == 199 {
			s.rest()
		}
	}
	s.rest()
	s.balance()
}

// Sources that nobody configured become peers at a bounded rate, their frames are forwarded all the same, and they are let go with their last MAC.
//
//	p0 (VNI 42: policy learn) ── switch ════ 3000 spoofed sources, then r0
func TestSpoofedSources(t *testing.T) {
	t.Parallel()
	s := newScene6(t, 1, nil)
	age := func(ageing time.Duration) { s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn, Ageing: ageing}) }
	age(time.Hour)
	s.port("p0", 42)
	if err := s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(9)), Port: "p0", State: fdb.Static}, fdb.Add); err != nil {
		t.Fatal(err)
	}
	const sources = 3000
	s.rest()
	began := s.tick.Load()
	spoof := func(from int, inner []byte) []byte {
		p := encaptest.Packet{
			SrcMAC: macOf(s.wire.MAC("eth0")), DstMAC: macOf(s.MAC("eth0")), V6: true, Dst: s.config.Local, Proto: encap.ProtoUDP,
			Src:     netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: 7, 14: byte(from >> 8), 15: byte(from)}),
			SrcPort: 50000, DstPort: DefaultPort, Payload: datagramOf(42, inner),
		}
		return p.Frame()
	}
	for at := 0; at < sources; at += 250 {
		var burst [][]byte
		for i := range 250 {
			burst = append(burst, spoof(at+i, frameOf(0x02_00_00_02_00_00+uint64(at+i), station(9))))
		}
		s.wire.Inject("eth0", burst...)
		s.rest()
	}
	ticks := int(s.tick.Load()-began) + 1
	got := s.Status().Peers
	if most := ticks * learnedPeersPerTick; got == 0 || got > most {
		t.Errorf("%d peers of %d sources in %d ticks, want at most %d", got, sources, ticks, most)
	}
	if got := len(s.seen("p0")); got != sources {
		t.Errorf("%d of %d frames forwarded", got, sources)
	}
	// A static entry holds against sources that are too many to be known, too.
	s.drops(50, StaticMACElsewhere, func() {
		for i := range 50 {
			s.wire.Inject("eth0", spoof(sources+i, frameOf(station(9), broadcast)))
		}
	})
	age(time.Second)
	eventually(t, "peers are let go once their MACs have aged out", func() bool { return s.Status().Peers == 0 })
	age(time.Hour)
	s.drops(0, UnknownPeer, func() { s.remotes[0].send(42, frameOf(station(1), station(9))) })
	if e := s.entry(42, station(1)); e.Dst != peerAt(s.remotes[0].addr) {
		t.Errorf("after the flood: %+v", e)
	}
	s.balance()
}

// injector is a packet socket that stays open, for frames at speed.
type injector struct {
	t  testing.TB
	fd int
}

func newInjector(t testing.TB, h interface {
	Do(func() error) error
	Index(string) int
}, ifname string) *injector {
	t.Helper()
	j := &injector{t: t}
	if err := h.Do(func() (err error) {
		j.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(j.fd) })
	if err := unix.Bind(j.fd, &unix.SockaddrLinklayer{Ifindex: h.Index(ifname)}); err != nil {
		t.Fatal(err)
	}
	return j
}

// send puts one frame on the device. A full queue drops it, as a device does.
func (j *injector) send(frame []byte) {
	if _, err := unix.Write(j.fd, frame); err != nil && err != unix.ENOBUFS && err != unix.EAGAIN {
		j.t.Fatalf("inject %d bytes: %v", len(frame), err)
	}
}
