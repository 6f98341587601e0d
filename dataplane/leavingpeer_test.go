package dataplane

import (
	"net/netip"
	"testing"

	"vtepd/fdb"
)

// A station that is learned behind a peer that is being let go is an event that names the peer, and so is its end: who follows the table by events
// would forget the whole VNI otherwise.
func TestFlushOfALeavingPeerNamesIt(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, func(c *Config) { c.Workers = 1 })
	s.set(VNIConfig{VNI: 42, Learning: true})
	w := s.parked()
	at := netip.MustParseAddrPort("192.0.2.77:4789")
	p, err := s.peers.obtain(at, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.reapPeers() // it is no longer young
	events, cancel := s.Subscribe(10)
	defer cancel()
	w.inside.Store(s.current.Load().generation) // in a batch, and has found the peer
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.reapPeers()
	}()
	eventually(t, "the peer is let go", func() bool { return s.peers.at(p.index) == nil })
	s.fdb.Learn(42, fdb.MAC(station(1)), p.place(), s.now())
	w.inside.Store(outside)
	<-done
	for _, action := range []string{"add", "flush"} {
		if e := <-events; e.Object != "fdb" || e.Action != action || e.FDB.Dst != at {
			t.Errorf("%s %s of %+v, want the %s of an entry at %s", e.Object, e.Action, e.FDB, action, at)
		}
	}
	if e := <-events; e.Object != "peer" || e.Action != "del" || e.Peer != at {
		t.Errorf("%+v, want the peer's end", e)
	}
}
