package dataplane

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a port dropped is not told of the port that gets its index after it.
//
//	p0 ── switch
//	p1 (goes), p2 (comes)
func TestDropsOfAPortThatIsGone(t *testing.T) {
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute})
	s.port("p0", 42)
	s.port("p1", 42)
	s.drops(3, VLANNotAllowed, func() { s.Inject("p1", times(3, putTag(frameOf(station(1), broadcast), 0x8100, 7))...) })
	s.drops(2, VLANNotAllowed, func() { s.Inject("p0", times(2, putTag(frameOf(station(0), broadcast), 0x8100, 7))...) })

	s.do(func() error { return s.DelPort("p1") })
	delete(s.sniffed, "p1")
	s.port("p2", 42)
	if s.ports["p2"].published.index != 1 {
		t.Fatalf("p2 has index %d: this test wants that of p1", s.ports["p2"].published.index)
	}
	want := []Drop{{Reason: VLANNotAllowed, Count: 3}, {Reason: VLANNotAllowed, Port: "p0", Count: 2}}
	if diff := cmp.Diff(want, s.Drops(), cmp.Comparer(func(a, b Drop) bool { return a == b })); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
	s.balance()
}

// What a peer dropped is not told of the peer that gets its index after it, and its lines make room.
func TestDropsOfAPeerThatIsGone(t *testing.T) {
	var l ledger
	for peer := range uint16(500) {
		l.add(makeLedgerKey(InvalidSourceMAC, noIndex, peer, 42), 1)
		l.add(makeLedgerKey(InvalidSourceMAC, noIndex, peer, 43), 1)
	}
	l.add(makeLedgerKey(VLANNotAllowed, 7, noIndex, 0), 5)
	l.forget(func(port, peer uint16) bool { return peer != noIndex && peer != 3 })

	got := make(map[ledgerKey]uint64)
	l.sum(got)
	// Past its bound the ledger keeps the reason alone, here for some of the 1000.
	rest := makeLedgerKey(InvalidSourceMAC, noIndex, noIndex, 0)
	a, b := makeLedgerKey(InvalidSourceMAC, noIndex, noIndex, 42), makeLedgerKey(InvalidSourceMAC, noIndex, noIndex, 43)
	if n := got[a] + got[b] + got[rest]; n != 998 {
		t.Errorf("%d drops without peer, want 998", n)
	}
	for _, k := range []ledgerKey{a, b, rest} {
		delete(got, k)
	}
	want := map[ledgerKey]uint64{
		makeLedgerKey(InvalidSourceMAC, noIndex, 3, 42): 1,
		makeLedgerKey(InvalidSourceMAC, noIndex, 3, 43): 1,
		makeLedgerKey(VLANNotAllowed, 7, noIndex, 0):    5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	used := 0
	for i := range l.lines {
		if l.lines[i].key.Load() != 0 {
			used++
		}
	}
	if used > 6 {
		t.Errorf("%d lines are in use after all but a few were given back", used)
	}
}

// Taking lines out while the worker adds loses nothing.
func TestForgetDropsWhileAdding(t *testing.T) {
	var l ledger
	const rounds = 20000
	var work sync.WaitGroup
	work.Go(func() {
		for i := range uint32(rounds) {
			l.add(makeLedgerKey(UnknownPeer, noIndex, noIndex, i%300), 1)
			l.add(makeLedgerKey(VLANNotAllowed, uint16(i%50), noIndex, 0), 1)
		}
	})
	for gone := range uint16(50) {
		// Ports 100 and up drop nothing any more.
		l.forget(func(port, peer uint16) bool { return port == 100+gone })
	}
	work.Wait()
	l.forget(func(port, peer uint16) bool { return port != noIndex })
	got, sum := make(map[ledgerKey]uint64), uint64(0)
	l.sum(got)
	for k, n := range got {
		if k.port() != noIndex {
			t.Errorf("a line names port %d", k.port())
		}
		sum += n
	}
	if sum != 2*rounds {
		t.Errorf("%d drops in the ledger, want %d", sum, 2*rounds)
	}
}
