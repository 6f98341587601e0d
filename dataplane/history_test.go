package dataplane

import (
	"testing"

	"vtepd/fdb"
)

// The clock may turn, and a station move, while its history is being read: what was just now is not ages ago.
func TestHistoryOfTheMoment(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.port("p0", 42)
	s.port("p1", 42)
	mac, next := fdb.MAC(station(1)), s.now()+2
	for _, port := range []string{"p0", "p1"} {
		s.fdb.Learn(42, mac, s.ports[port].published.place(), next)
	}
	moves := s.FDBHistory(42, mac)
	if len(moves) != 1 || moves[0].Ago != 0 {
		t.Errorf("%+v, want one move, of this moment", moves)
	}
}
