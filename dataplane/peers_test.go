package dataplane

import (
	"errors"
	"net/netip"
	"testing"
)

// However many sources turn up under policy Learn, there is room for the peers that the operator names.
func TestLearnedPeersLeaveRoom(t *testing.T) {
	r := newRegistry(1)
	addr := func(third byte, n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: third, 14: byte(n >> 8), 15: byte(n)}), DefaultPort)
	}
	for n := range maxLearnedPeers {
		if _, err := r.obtain(addr(1, n), 0); err != nil {
			t.Fatalf("learned peer %d: %v", n, err)
		}
	}
	if _, err := r.obtain(addr(1, maxLearnedPeers), 0); !errors.Is(err, ErrLimit) {
		t.Errorf("learned peer %d: error %v, want %v", maxLearnedPeers, err, ErrLimit)
	}
	for n := range MaxPeers - maxLearnedPeers {
		if _, err := r.obtain(addr(2, n), 1); err != nil {
			t.Fatalf("configured peer %d: %v", n, err)
		}
	}
	if _, err := r.obtain(addr(2, MaxPeers), 1); !errors.Is(err, ErrLimit) {
		t.Errorf("one configured peer too many: error %v, want %v", err, ErrLimit)
	}
	// One that was learned and is configured now is not one more.
	if p, err := r.obtain(addr(1, 0), 1); err != nil || p.refs != 1 {
		t.Errorf("a learned peer that is configured: %v, %v", p, err)
	}
	// What is let go makes room again for what is learned, once enough has.
	if young := r.reap(func(p *peer) bool { return p.index >= 100 }); len(young) != 0 {
		t.Errorf("%d peers let go that have just been learned", len(young))
	}
	gone := r.reap(func(p *peer) bool { return p.index >= 100 })
	r.recycle(gone)
	if len(gone) != 99 {
		t.Errorf("%d peers let go, want 99: all of the first 100 but the one that is configured", len(gone))
	}
	if _, err := r.obtain(addr(3, 0), 0); !errors.Is(err, ErrLimit) {
		t.Errorf("learned while configured peers fill the room: error %v, want %v", err, ErrLimit)
	}
	if _, err := r.obtain(addr(3, 0), 1); err != nil {
		t.Error(err)
	}
}
