package dataplane

import (
	"net/netip"
	"testing"

	"vtepd/fdb"
)

// TestSendersTogether: thousands of static entries, each of a peer of its own, come and go with one publication; the peers may send when Together returns, and no peer is let go
// while a VNI that is published names it.
func TestSendersTogether(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	const count = 2000
	from := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{203, 0, byte(113 - i>>8), byte(i)}) // nothing is sent there
	}
	put := func(i int) error {
		return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(0x020000000000 + uint64(i)), Dst: peerAt(from(i)), State: fdb.Static}, fdb.Add)
	}
	del := func(i int) error { return s.FDBDel(42, fdb.MAC(0x020000000000+uint64(i)), netip.AddrPort{}) }
	all := func(do func(i int) error, each func()) error {
		return s.Together(func() error {
			for i := range count {
				if err := do(i); err != nil {
					return err
				}
				if i == count/2 {
					each()
				}
			}
			return nil
		})
	}
	members := func() (n int) {
		for i := range count {
			if s.current.Load().vnis.get(42).hears(from(i)) {
				n++
			}
		}
		return n
	}
	before := s.current.Load().generation
	s.do(func() error { return all(put, func() {}) })
	if n := members(); n != count {
		t.Errorf("%d of %d may send", n, count)
	}
	if n := s.current.Load().generation - before; n > 10 { // the house may be kept meanwhile
		t.Errorf("%d entries took %d publications", count, n)
	}
	f.equal(t, s.Switch, "with all")

	before = s.current.Load().generation
	s.do(func() error {
		return all(del, func() {
			s.reapPeers()
			for a, p := range s.current.Load().vnis.get(42).members {
				if s.peers.find(p.addr) != p {
					t.Fatalf("%v may send still, and is no peer any more", a)
				}
			}
			if n := members(); n != count/2-1 {
				t.Errorf("%d may send when half of the peers were let go", n)
			}
		})
	})
	if n := members(); n != 0 {
		t.Errorf("%d may send still", n)
	}
	if n := s.current.Load().generation - before; n > 12 {
		t.Errorf("%d deletions took %d publications", count, n)
	}
	f.equal(t, s.Switch, "without")

	// What one call noted for a VNI that goes meanwhile is not taken for that of its number after it, and a call inside another leaves nothing.
	s.do(func() error {
		return s.Together(func() error {
			for i := range 3 {
				if err := put(i); err != nil {
					return err
				}
			}
			s.do(func() error { return s.DelVNI(42) })
			s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
			s.do(func() error { return put(5) })
			return s.Together(func() error { return put(7) })
		})
	})
	if d := s.current.Load().vnis.get(42); members() != 2 || !d.hears(from(5)) || !d.hears(from(7)) {
		t.Errorf("the VNI that came in between hears %v", d.members)
	}
	s.do(func() error {
		return s.Together(func() error {
			if err := del(5); err != nil {
				return err
			}
			return s.DelVNI(42)
		})
	})
	if s.current.Load().vnis.get(42) != nil {
		t.Error("a VNI that was deleted came back")
	}
}
