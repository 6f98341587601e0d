package dataplane

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whoever follows the events knows at any time which peers a VNI has: what comes with it also leaves with it.
func TestPeerEvents(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	events, cancel := s.Subscribe(100)
	defer cancel()
	s.set(VNIConfig{VNI: 42}, s.addrs()...)
	s.set(VNIConfig{VNI: 42}, s.addrs(0)...)
	s.do(func() error { return s.DelVNI(42) })
	var got []string
	for len(events) > 0 {
		e := <-events
		line := fmt.Sprintf("%s %s %d", e.Object, e.Action, e.VNI)
		if e.Peer.IsValid() {
			line += " " + e.Peer.String()
		}
		got = append(got, line)
	}
	r0, r1 := peerAt(s.remotes[0].addr), peerAt(s.remotes[1].addr)
	want := []string{
		"peer add 42 " + r0.String(), "peer add 42 " + r1.String(), "vni add 42",
		"peer del 42 " + r1.String(), "vni change 42",
		"peer del 42 " + r0.String(), "vni del 42",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
