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

// TestFlushOfAPortNamesIt: who follows the table by events would forget the whole VNI otherwise.
func TestFlushOfAPortNamesIt(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.port("p0", 42)
	s.port("p1", 42)
	s.Inject("p0", frameOf(station(1), broadcast))
	s.Inject("p1", frameOf(station(2), broadcast))
	s.rest()
	events, cancel := s.Subscribe(10)
	defer cancel()
	if err := s.DelPort("p0"); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Action != "flush" || e.FDB == nil || e.FDB.VNI != 42 || e.FDB.Port != "p0" || e.Count != 1 {
		t.Errorf("%+v of %+v, want the flush of one entry at p0", e, e.FDB)
	}
	if e := <-events; e.Object != "port" || e.Action != "del" {
		t.Errorf("%+v, want the port's end", e)
	}
}
