package dataplane

import (
	"testing"
	"time"
)

// A VNI floods the kinds of frames that it may, to ports and peers and from both, and drops the others with their reason; known unicast is no flooding.
//
//	p0 p1 ── switch ════ r0 r1
func TestFloodKinds(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	set := func(vni uint32, off FloodKinds) {
		s.set(VNIConfig{VNI: vni, Learning: true, Ageing: time.Minute, NoFlood: off}, s.addrs()...)
	}
	set(42, 0)
	s.port("p0", 42)
	s.port("p1", 42)
	kinds := []struct {
		kind FloodKinds
		dst  uint64
	}{{FloodUnknown, station(99)}, {FloodBroadcast, broadcast}, {FloodMulticast, 0x01005e000101}, {FloodMulticast, 0x333300000001}}
	for off := range FloodAll + 1 {
		set(42, off)
		for _, k := range kinds {
			fromPort, fromPeer, drops := "p1:3 r0:3 r1:3", "p0:3 p1:3", uint64(0)
			if off&k.kind != 0 {
				fromPort, fromPeer, drops = "", "", 3
			}
			s.drops(drops, FloodDisabled, func() { s.Inject("p0", times(3, frameOf(station(1), k.dst))...) })
			if got := s.counts(); got != fromPort {
				t.Errorf("without %03b, to %x from p0: %q, want %q", off, k.dst, got, fromPort)
			}
			s.drops(drops, FloodDisabled, func() { s.remotes[0].send(42, times(3, frameOf(station(2), k.dst))...) })
			if got := s.counts(); got != fromPeer {
				t.Errorf("without %03b, to %x from r0: %q, want %q", off, k.dst, got, fromPeer)
			}
		}
		// Learned although they were dropped: known unicast passes.
		s.Inject("p0", times(3, frameOf(station(1), station(2)))...)
		if got, want := s.counts(), "r0:3"; got != want {
			t.Errorf("without %03b, known unicast: %q, want %q", off, got, want)
		}
	}
	s.balance()
}
