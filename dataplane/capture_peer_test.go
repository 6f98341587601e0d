package dataplane

import (
	"net/netip"
	"strings"
	"testing"
)

// A peer that was captured is back when the capture has ended, unless its route was lost or its neighbour fell silent meanwhile, which the programs must not send to.
func TestCaptureGivesPeersBack(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	far := peerAt(netip.MustParseAddr("203.0.113.9"))
	s.Must("ip", "route", "add", "203.0.113.0/24", "via", s.remotes[0].addr.String())
	s.do(func() error { return s.SetVNI(VNIConfig{VNI: 42, Peers: []netip.AddrPort{far}}) })
	p := s.peers.find(far)
	why := func() string { return s.fast.places().peers[p.index] }
	on := func() (on bool) {
		f.locked(func() { _, on = f.peers[p.index] })
		return on
	}
	round := func(when string, meanwhile func(), reason string) {
		t.Helper()
		k := s.take(CaptureFilter{Peer: far})
		if on() || why() == "" {
			t.Errorf("%s: captured, and on the fast path: %q", when, why())
		}
		meanwhile()
		eventually(t, when+" is known", func() bool { return strings.Contains(why(), reason) })
		k.end()
		if reason == captured {
			reason = ""
		}
		if on() != (reason == "") || !strings.Contains(why(), reason) || reason == "" && why() != "" {
			t.Errorf("%s: after the capture on the fast path %t, %q", when, on(), why())
		}
	}
	s.fast.catchUp()
	round("nothing", func() {}, captured)
	round("a poll", func() { s.fast.with(func(m *mirror) { m.poll(); m.round() }) }, captured)
	round("no route", func() { s.Must("ip", "route", "replace", "unreachable", "203.0.113.0/24") }, "route")
	s.Must("ip", "route", "replace", "203.0.113.0/24", "via", s.remotes[0].addr.String())
	eventually(t, "the route is back", on)
	round("silence", func() {
		s.Must("ip", "neigh", "replace", "192.0.2.250", "dev", "eth0", "lladdr", "02:00:00:00:00:01", "nud", "reachable")
		s.Must("ip", "route", "replace", "203.0.113.0/24", "via", "192.0.2.250")
		s.Must("ip", "neigh", "replace", "192.0.2.250", "dev", "eth0", "nud", "failed")
	}, "does not answer")
	round("still silent", func() {}, "does not answer")
}
