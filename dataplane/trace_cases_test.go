package dataplane

import (
	"testing"

	"vtepd/fdb"
)

// A source that is learned may take the place of the very station that it sends to.
//
//	p0 p1 p2 (VNI 42, one MAC) ── switch
func TestTraceForeseesWhoGoes(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, MaxMACs: 1})
	for _, name := range []string{"p0", "p1", "p2"} {
		s.port(name, 42)
	}
	s.Inject("p1", frameOf(station(1), broadcast))
	eventually(t, "the station is known", func() bool { return s.known(42, station(1)) })
	s.rest()
	if told := s.fromPort("the first goes", "p0", frameOf(station(2), station(1))); len(told.Copies) != 2 {
		t.Errorf("%+v", told)
	}
	s.do(func() error {
		return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(3)), Port: "p2", State: fdb.Static}, fdb.Add)
	})
	s.fromPort("a static entry stays", "p1", frameOf(station(4), station(3)))
}
