package dataplane

import (
	"net/netip"
	"testing"

	"vtepd/fdb"
)

// TestSourceIsYoungerThanRound: what comes between the moments in which a round asks for VNIs, for peers and for entries is not in the first two, and is admitted all
// the same, by the next round: the entry does not change any more.
func TestSourceIsYoungerThanRound(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	f.equal(t, s.Switch, "at first")
	stranger := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, 1}), DefaultPort)
	for i, c := range []struct {
		younger string
		vni     uint32
		peer    netip.AddrPort
	}{
		{"peer", 10, stranger},
		{"VNI", 20, stranger},
	} {
		if c.younger == "peer" {
			s.set(VNIConfig{VNI: c.vni, Learning: true, Policy: Learn}, s.addrs(0)...)
			f.equal(t, s.Switch, "the VNI is there")
		}
		s.fast.do(func() {
			m := s.fast.mirror
			snap := s.current.Load()
			version, peers := s.peers.since(m.peerVersion)
			if c.younger == "VNI" {
				s.set(VNIConfig{VNI: c.vni, Learning: true, Policy: Learn}, s.addrs(0)...)
			}
			p, err := s.peers.obtain(c.peer, 0)
			if err != nil {
				t.Error(err)
				return
			}
			s.Switch.fdb.Learn(c.vni, fdb.MAC(0x020000000000+uint64(i)), p.place(), s.now())
			m.entriesFollow(s.fast.dirty.take())
			m.peersCome(peers)
			m.domainsCome(snap)
			m.sourcesCome()
			m.snap, m.peerVersion = snap, version
		})
		f.equal(t, s.Switch, "a younger "+c.younger)
		f.locked(func() {
			if _, ok := f.sources[sourceKey{c.vni, c.peer.Addr()}]; !ok {
				t.Errorf("a source whose %s came during a round is not admitted", c.younger)
			}
		})
	}
}
