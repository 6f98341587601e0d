package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"vtepd/fdb"
)

// TestSweepLargeTable: a table of any size passes in the same number of rounds, however many of its entries expire at once.
func TestSweepLargeTable(t *testing.T) {
	t.Parallel()
	const n = 500_000
	s := newScene(t, 1, func(c *Config) { c.MaxMACs = n })
	s.set(VNIConfig{VNI: 10, Learning: true, Ageing: time.Second}, s.addrs(0)...)
	place, seen := s.peers.find(netip.AddrPortFrom(s.addrs(0)[0], DefaultPort)).place(), s.now()
	for i := range n {
		s.fdb.Learn(10, fdb.MAC(0x020000000000+uint64(i)), place, seen)
	}
	for s.now() <= seen+1 {
		time.Sleep(10 * time.Millisecond)
	}
	for range sweepRounds {
		s.sweep()
	}
	if left := s.fdb.Count(10); left != 0 {
		t.Errorf("%d of %d expired entries are there after %d rounds", left, n, sweepRounds)
	}
}
