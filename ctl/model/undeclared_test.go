package model

import (
	"net/netip"
	"strings"
	"testing"

	"vtepd/fdb"
)

// A VNI that goes is no reason to check the static entries of others: a batch that deletes thousands would check all of them thousands of times. Its own are
// refused.
func TestCheckOfUndeclared(t *testing.T) {
	const n = 1000
	old := New()
	old.Global.Local = netip.MustParseAddr("192.0.2.1")
	old.VNIs.Put(42, &VNI{})
	old.VNIs.Put(50, &VNI{})
	put := func(m *Model, vni uint32, i int) {
		m.Statics.Put(StaticKey{VNI: vni, MAC: fdb.MAC(0x020000000000 + uint64(i))}, Static{Dst: netip.MustParseAddrPort("192.0.2.2:4789"), State: fdb.Static})
	}
	for i := range n {
		put(old, 42, i)
	}
	old.Normalize()

	next := old.Clone()
	next.VNIs.Delete(50)
	changes := next.Since(old)
	if err := next.CheckSince(old, changes); err != nil {
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(5, func() { _ = next.CheckSince(old, changes) }); got > n/2 {
		t.Errorf("%v allocations beside %d entries that do not concern it", got, n)
	}

	put(old, 50, n)
	next = old.Clone()
	next.VNIs.Delete(50)
	if err := next.CheckSince(old, next.Since(old)); err == nil || !strings.Contains(err.Error(), "names undeclared VNI 50") {
		t.Errorf("an entry in the VNI that goes: %v", err)
	}
}
