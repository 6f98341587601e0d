package dataplane

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vtepd/fdb"
)

// Whoever takes a peer away looks next whether it is gone, and does not wait for the next housekeeping. What holds it elsewhere keeps it.
func TestPeerIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	a, b := netip.AddrPortFrom(s.remotes[0].addr, DefaultPort), netip.AddrPortFrom(s.remotes[1].addr, DefaultPort)
	conf := func(vni uint32, peers ...netip.AddrPort) VNIConfig {
		return VNIConfig{VNI: vni, Peers: peers, Learning: true, Policy: Learn, Ageing: 300 * time.Second}
	}
	wants := func(what string, want ...netip.AddrPort) {
		t.Helper()
		var listed, counted []netip.AddrPort
		for _, p := range s.Peers() {
			listed = append(listed, p.Addr)
		}
		for _, p := range s.PeerStats() {
			counted = append(counted, p.Peer)
		}
		if !slices.Equal(listed, want) || !slices.Equal(counted, want) || s.Status().Peers != len(want) {
			t.Errorf("%s: peers %v, counters of %v, status %d; want %v", what, listed, counted, s.Status().Peers, want)
		}
	}
	set := func(c VNIConfig) { s.do(func() error { return s.SetVNI(c) }) }
	entry := FDBEntry{VNI: 43, MAC: fdb.MAC(station(9)), Dst: b, State: fdb.Static}
	set(conf(42, a))
	s.port("p0", 42)
	for round := range 3 { // housekeeping, once a second, may come between the two by chance
		set(conf(42, a, b))
		set(conf(43, b))
		set(conf(42, a))
		wants("in another VNI still", a, b)
		s.do(func() error { return s.FDBPut(entry, fdb.Add) })
		set(conf(43))
		wants("a static entry names it", a, b)
		s.do(func() error { return s.FDBDel(43, entry.MAC, netip.AddrPort{}) })
		wants("the last that named it is gone", a)
		set(conf(43, b))
		s.do(func() error { return s.DelVNI(43) })
		wants("its VNI is gone", a)
		// In 42 it is a source that the policy admits, and is learned.
		s.remotes[1].send(42, frameOf(station(20+round), broadcast))
		s.rest()
		wants("learned", a, b)
		if n, err := s.FDBFlush(FDBFilter{VNI: 42, Dst: b}); n != 1 || err != nil {
			t.Errorf("flush: %d entries, error %v", n, err)
		}
		eventually(t, "a learned one goes with its entries", func() bool { return len(s.Peers()) == 1 })
	}
}
