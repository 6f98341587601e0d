package dataplane

import (
	"testing"
	"time"
)

// Isolated ports exchange nothing with each other, flooded or known, and everything with other ports and with peers; what stays without a destination for it
// is dropped as that. Which they are may change at any time.
//
//	p0 p1 (isolated) p2 ── switch ════ r0
func TestIsolatedPorts(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs()...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, Isolated: true})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, Isolated: true})
	s.port("p2", 42)
	names := []string{"p0", "p1", "p2"}
	for i, name := range names {
		s.Inject(name, frameOf(station(i), broadcast))
	}
	s.remotes[0].send(42, frameOf(station(3), broadcast))
	s.rest()
	s.counts()
	from := func(name string, src, dst uint64, drops uint64, want string) {
		t.Helper()
		s.drops(drops, PortIsolated, func() { s.Inject(name, times(3, frameOf(src, dst))...) })
		if got := s.counts(); got != want {
			t.Errorf("from %s to %x: %q, want %q", name, dst, got, want)
		}
	}
	fromPeer := func(dst uint64, want string) {
		t.Helper()
		s.remotes[0].send(42, times(3, frameOf(station(3), dst))...)
		if got := s.counts(); got != want {
			t.Errorf("from r0 to %x: %q, want %q", dst, got, want)
		}
	}
	isolated := func() {
		t.Helper()
		from("p0", station(0), station(1), 3, "")
		from("p1", station(1), station(0), 3, "")
		from("p0", station(0), station(2), 0, "p2:3")
		from("p2", station(2), station(0), 0, "p0:3")
		from("p1", station(1), station(3), 0, "r0:3")
		from("p0", station(0), broadcast, 0, "p2:3 r0:3")
		from("p1", station(1), station(99), 0, "p2:3 r0:3")
		from("p2", station(2), broadcast, 0, "p0:3 p1:3 r0:3")
		fromPeer(broadcast, "p0:3 p1:3 p2:3")
		fromPeer(station(1), "p1:3")
	}
	isolated()
	for _, told := range []struct {
		dst    uint64
		reason Reason
	}{{station(1), PortIsolated}, {station(2), ReasonNone}} {
		if r := s.trace(TraceQuery{Port: "p0", Frame: frameOf(station(0), told.dst)}).Reason; r != told.reason {
			t.Errorf("a trace to %x: %v, want %v", told.dst, r, told.reason)
		}
	}
	change := func(name string, on bool) {
		t.Helper()
		for _, p := range s.Ports() {
			if p.Config.Name == name {
				p.Config.Isolated = on
				s.do(func() error { return s.SetPort(p.Config) })
			}
		}
	}
	change("p1", false)
	from("p0", station(0), station(1), 0, "p1:3")
	from("p1", station(1), broadcast, 0, "p0:3 p2:3 r0:3")
	change("p1", true)
	isolated()

	for _, st := range s.PortStats() {
		if st.Port == "p1" && st.TxDropped != 6 {
			t.Errorf("p1 has %d frames dropped on the way out, want the known ones alone, 6", st.TxDropped)
		}
	}

	// Nobody else is there to get a flooded frame.
	s.do(func() error { return s.DelPort("p2") })
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute})
	from("p0", station(0), broadcast, 3, "")
	s.balance()
}
