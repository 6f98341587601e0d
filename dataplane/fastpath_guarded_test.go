package dataplane

import (
	"net/netip"
	"sync"
	"testing"

	"vtepd/fdb"
)

// TestPeerGoneWhileGuarded: a peer that is let go while a round guards the addresses of all there are does not come without a guard.
func TestPeerGoneWhileGuarded(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn}, s.addrs()...)
	f.equal(t, s.Switch, "before")
	var once sync.Once
	f.locked(func() {
		f.guarding = func() {
			once.Do(func() {
				// The first look only finds that it is not new any more. The switch's own may come in between.
				for range 2 {
					s.peers.recycle(s.peers.reap(func(*peer) bool { return false }))
				}
			})
		}
	})
	p, err := s.peers.obtain(netip.MustParseAddrPort("192.0.2.159:4789"), 0)
	if err != nil {
		t.Fatal(err)
	}
	s.fast.poke()
	f.equal(t, s.Switch, "after it has gone")
	if s.peers.at(p.index) == p {
		t.Fatal("the peer is still there")
	}
	// Another comes as ever.
	if p, err = s.peers.obtain(netip.MustParseAddrPort("192.0.2.160:4789"), 0); err != nil {
		t.Fatal(err)
	}
	s.fdb.Learn(42, fdb.MAC(0x020000000001), p.place(), s.now())
	s.fast.poke()
	f.equal(t, s.Switch, "with another")
}
