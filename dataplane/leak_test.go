package dataplane

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// resources are what a process can leave behind.
type resources struct {
	descriptors, threads, goroutines int
	memory                           uint64
}

func readResources(t *testing.T) resources {
	t.Helper()
	count := func(dir string) int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{count("/proc/self/fd"), count("/proc/self/task"), runtime.NumGoroutine(), m.HeapAlloc}
}

// wantNoGrowth wants everything given back; what ends by itself has a moment for it. Threads are the Go runtime's to keep, a few more are nobody's leak.
func wantNoGrowth(t *testing.T, before resources, memory uint64) {
	t.Helper()
	const spareThreads = 4
	var after resources
	for end := time.Now().Add(lab.Patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		after = readResources(t)
		if after.descriptors <= before.descriptors && after.goroutines <= before.goroutines &&
			after.threads <= before.threads+spareThreads && after.memory <= before.memory+memory {
			return
		}
	}
	t.Errorf("resources before %+v, after %+v", before, after)
}

// Ports that come and go a hundred times, with traffic, leave nothing: no descriptor, no thread, no goroutine, no memory, no entry.
//
//	p0 ── switch ════ r0
//	p1 (comes and goes)
func TestPortsLeaveNothing(t *testing.T) {
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs()...)
	s.port("p0", 42)
	round := func(i int) {
		c := PortConfig{Name: "p1", Type: PortTAP, Untagged: 42, MaxMACs: 10}
		if i%2 == 1 {
			c = PortConfig{Name: "p1", Type: PortTAP, Tagged: []VIDMap{{7, 42}}}
		}
		if i%3 == 0 {
			c.NetNS = s.Name()
		}
		s.do(func() error { return s.AddPort(c) })
		s.Inject("p1", frameOf(station(i), broadcast), putTag(frameOf(station(i), broadcast), 0x8100, 7))
		s.remotes[0].send(42, frameOf(station(1), station(i)))
		if i%10 == 0 {
			s.forget()
		}
		s.do(func() error { return s.DelPort("p1") })
	}
	for i := range 10 {
		round(i)
	}
	s.forget()
	before, records := readResources(t), len(s.current.Load().ports)
	for i := range 100 {
		round(i)
	}
	s.forget()
	wantNoGrowth(t, before, 256<<10)
	if got := len(s.current.Load().ports); got != records {
		t.Errorf("%d port indices, %d before: they are not used again", got, records)
	}
	// What the remote's station left is one entry; a port that took the index over would find what others left.
	if got := s.Status().FDB.Dynamic; got != 1 {
		t.Errorf("%d entries, want 1: %+v", got, s.FDBDump(FDBFilter{Dynamic: true}))
	}
	if out := s.Must("ip", "-o", "link", "show", "type", "tun"); strings.Count(out, "\n") != 1 {
		t.Errorf("devices: %s", out)
	}
	s.Inject("p0", frameOf(station(500), broadcast))
	if got, want := s.counts(), "r0:1"; got != want {
		t.Errorf("afterwards: %q, want %q", got, want)
	}
	s.balance()
}

// VNIs and peers that come and go a hundred times leave nothing.
//
//	p0 ── switch ════ r0 r1
func TestVNIsAndPeersLeaveNothing(t *testing.T) {
	s := newScene(t, 2, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs(0)...)
	s.port("p0", 42)
	round := func(i int) {
		vni := uint32(1000 + 7919*i)
		s.set(VNIConfig{VNI: vni, Learning: true}, s.addrs(0)...)
		s.set(VNIConfig{VNI: vni, Learning: true}, s.addrs()...)
		s.remotes[1].send(vni, frameOf(station(i), broadcast))
		s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, append(s.addrs(0), netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))...)
		s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs(0)...)
		s.do(func() error { return s.DelVNI(vni) })
	}
	for i := range 10 {
		round(i)
	}
	reaped := func() {
		t.Helper()
		s.forget()
		// Not by Status, for which they are gone when nobody names them: their indices are free when they are reaped.
		eventually(t, "peers nobody names are let go", func() bool { return len(s.peers.all()) == 1 })
	}
	reaped()
	before := readResources(t)
	for i := range 100 {
		round(i)
	}
	reaped()
	for i := range 100 {
		round(i)
	}
	reaped()
	wantNoGrowth(t, before, 256<<10)
	// A peer lives on until housekeeping finds it unused, so all of a hundred rounds may need an index each; the next hundred take the same ones.
	if got := s.peers.high; got > 120 {
		t.Errorf("%d peer indices: they are not used again", got)
	}
	if st := s.Status(); st.VNIs != 1 || st.FDB.Dynamic != 0 {
		t.Errorf("left behind: %+v", st)
	}
	s.Inject("p0", frameOf(station(500), broadcast))
	if got, want := s.counts(), "r0:1"; got != want {
		t.Errorf("afterwards: %q, want %q", got, want)
	}
	s.balance()
}

// Switches that start and stop leave nothing; what was there before them stays, addresses that were given are taken back, and a failed start leaves nothing
// either.
//
//	found (persistent TAP), p0, p1 in another namespace ── switch ════
func TestSwitchLeavesNothing(t *testing.T) {
	l := lab.New(t)
	h, other := l.Host("sw"), l.Host("other")
	l.Link(h, l.Host("wire"), lab.LinkOptions{})
	h.Must("ip", "tuntap", "add", "found", "mode", "tap", "multi_queue")
	h.Must("ip", "link", "set", "found", "mtu", "1234", "up") // the first time up, the kernel chooses its queueing discipline
	h.Must("ip", "link", "set", "found", "down")
	state := func() string {
		return h.Must("ip", "-o", "link", "show") + h.Must("ip", "-o", "-4", "addr", "show") + other.Must("ip", "-o", "link", "show")
	}
	normal := func(s string) string { // counters of the kernel that only grow are no difference: interface numbers
		var lines []string
		for _, line := range strings.Split(s, "\n") {
			if _, rest, ok := strings.Cut(line, ": "); ok {
				lines = append(lines, rest)
			}
		}
		return strings.Join(lines, "\n")
	}
	eventually(t, "the underlay is up", func() bool { return strings.Contains(h.Must("ip", "-o", "link", "show", "eth0"), "state UP") })
	untouched := normal(state())
	round := func() {
		var s *Switch
		err := h.Do(func() (err error) {
			if s, err = New(Config{Local: h.Underlay4(), Workers: 2, Offload: true}); err != nil {
				return err
			}
			if _, err := New(Config{Local: h.Underlay4(), Workers: 2, Offload: true}); err == nil {
				return fmt.Errorf("a second switch on the same address and port")
			}
			if err := s.SetVNI(VNIConfig{VNI: 42}); err != nil {
				return err
			}
			for _, c := range []PortConfig{
				{Name: "found", MTU: 1400, Addresses: h.OverlayPrefixes()}, {Name: "p0"}, {Name: "p1", NetNS: other.Name()},
			} {
				c.Type, c.Untagged = PortTAP, 42
				if err := s.AddPort(c); err != nil {
					return err
				}
			}
			if err := s.AddPort(PortConfig{Name: "eth0", Type: PortTAP, Untagged: 42}); err == nil {
				return fmt.Errorf("took an interface that is no TAP")
			}
			return s.AddPort(PortConfig{Name: "p2", Type: PortTAP, Untagged: 42, MAC: []byte{2, 0, 0, 0, 0, 1}})
		})
		if err != nil {
			t.Error(err)
		}
		if s != nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	round()
	before := readResources(t)
	for range 8 {
		round()
	}
	wantNoGrowth(t, before, 512<<10)
	if got := normal(state()); got != untouched {
		t.Errorf("interfaces before:\n%s\nafter:\n%s", untouched, got)
	}
}

// Who asks after the end, as a request of the control API may, makes nothing again.
func TestAskingAfterClose(t *testing.T) {
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42})
	s.port("p0", 42)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := s.current.Load().generation
	for range 2 {
		s.do(func() error { s.Ports(); return nil })
		s.ports["p0"].retry = time.Time{} // as if the wait for the next attempt were over
	}
	s.Status()
	s.Drops()
	if got := s.current.Load().generation; got != before {
		t.Errorf("after Close %d snapshots were published", got-before)
	}
	if out := s.Must("ip", "-o", "link", "show"); strings.Contains(out, "p0") {
		t.Errorf("after Close there is a device:\n%s", out)
	}
}
