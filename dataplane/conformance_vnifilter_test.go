package dataplane

import "testing"

// TestKernelSelftestVNIFiltering is the datapath of the kernel's test_vxlan_vnifiltering.sh (tools/testing/selftests/net): several VNIs over one socket, each
// reaching its own port alone, and a VNI that is not configured drops what comes for it, counted, until it is there (RFC 7348 section 4: a VXLAN segment is
// known by its VNI, and only stations of one segment speak with each other). The script's groups are not this test's; what it does to devices in
// metadata mode has nothing to map to.
//
//	p1 (VNI 100), p2 (VNI 200), p3 (VNI 300, later) ── switch ════ r0, which sends and gets all of them
func TestKernelSelftestVNIFiltering(t *testing.T) {
	everyMode(t, 1, func(t *testing.T, s *scene) {
		ports := map[uint32]string{100: "p1", 200: "p2", 300: "p3"}
		for _, vni := range []uint32{100, 200} {
			s.set(VNIConfig{VNI: vni, Learning: true}, s.addrs()...)
			s.port(ports[vni], vni)
		}
		r := s.remotes[0]
		// The same MACs in every VNI, known and unknown, and broadcast.
		far, near := station(1), station(2)
		exchange := func(vni uint32) {
			t.Helper()
			for _, dst := range []uint64{broadcast, near, near} {
				r.send(vni, times(10, frameOf(far, dst))...)
				if got, want := s.counts(), ports[vni]+":10"; got != want {
					t.Errorf("VNI %d, to %012x: %q, want %q", vni, dst, got, want)
				}
				s.Inject(ports[vni], times(10, frameOf(near, far))...)
				s.rest()
				arrived := r.received()
				for _, a := range arrived {
					if a.vni != vni {
						t.Errorf("VNI %d: a datagram of VNI %d", vni, a.vni)
					}
				}
				if len(arrived) != 10 {
					t.Errorf("VNI %d: %d datagrams, want 10", vni, len(arrived))
				}
			}
		}
		closed := func(vni uint32) {
			t.Helper()
			s.drops(10, UnknownVNI, func() { r.send(vni, times(10, frameOf(far, broadcast))...) })
			if got := s.counts(); got != "" {
				t.Errorf("VNI %d, not configured: %q", vni, got)
			}
		}
		exchange(100)
		exchange(200)
		closed(300)
		closed(101)
		closed(MaxVNI)
		s.set(VNIConfig{VNI: 300, Learning: true}, s.addrs()...)
		s.port("p3", 300)
		for vni := range ports {
			exchange(vni)
		}
		s.do(func() error { return s.DelPort("p2") })
		delete(s.sniffed, "p2")
		s.do(func() error { return s.DelVNI(200) })
		closed(200)
		exchange(100)
		exchange(300)
		s.balance()
		s.wantCarried(0, 40) // known unicast: ten of each exchange and more
	})
}
