package model

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"
)

// One peer that comes or goes in a long list, wherever it stands, is no reason to count or to write down all others: batches change hundreds of such lists, a
// thousand times.
func TestOnePeerOfMany(t *testing.T) {
	const n = 1000
	old := New()
	old.Global.Local = netip.MustParseAddr("2001:db8::1")
	peers := make([]netip.AddrPort, n)
	for i := range peers {
		peers[i] = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 14: byte((i + 2) >> 8), 15: byte(i + 2)}), 4789)
	}
	old.VNIs.Put(42, &VNI{Peers: peers})
	old.Normalize()
	if err := old.Check(); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int{"first": 0, "middle": n / 2, "last": n - 1} {
		rest := &VNI{Peers: slices.Delete(slices.Clone(peers), at, at+1)}
		for step, change := range map[string][2]*VNI{"goes": {{Peers: peers}, rest}, "comes": {rest, {Peers: peers}}} {
			before := old.Clone()
			before.VNIs.Put(42, change[0])
			next := before.Clone()
			if got := testing.AllocsPerRun(5, func() { next = before.Clone(); next.VNIs.Put(42, change[1]) }); got > n/10 {
				t.Errorf("the %s %s: %v allocations for counting", name, step, got)
			}
			changes := next.Since(before)
			if err := next.CheckSince(before, changes); err != nil {
				t.Fatal(err)
			}
			if got := testing.AllocsPerRun(5, func() { _ = next.CheckSince(before, changes) }); got > n/10 {
				t.Errorf("the %s %s: %v allocations for checking", name, step, got)
			}
		}
	}
}

// A peer that is appended is checked, and those in front of it, which were right, are not gathered once more: a batch appends thousands, one by one.
func TestAppendedPeer(t *testing.T) {
	const n = 8000
	old := New()
	old.Global.Local = netip.MustParseAddr("192.0.2.1")
	var peers []netip.AddrPort
	for i := range n {
		peers = append(peers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 4789))
	}
	old.VNIs.Put(42, &VNI{Peers: peers[:n-1]})
	next := old.Clone()
	next.VNIs.Put(42, &VNI{Peers: peers})
	changes := next.Since(old)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := next.CheckSince(old, changes); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > n {
		t.Errorf("checking one of %d peers took %d bytes", n, got)
	}
}
