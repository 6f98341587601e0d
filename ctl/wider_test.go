package ctl

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/dataplane"
)

// TestWiderVLANs: between two ways to name VNIs lies one that is valid and has all of the first, and that is the second where it loses nothing.
func TestWiderVLANs(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	random := func() (c dataplane.PortConfig) {
		vids, vnis := rng.Perm(4), rng.Perm(4)
		for i := range rng.IntN(4) {
			c.Tagged = append(c.Tagged, dataplane.VIDMap{VID: uint16(1 + vids[i]), VNI: uint32(1 + vnis[i])})
		}
		if rng.IntN(2) == 0 {
			c.Untagged = uint32(1 + vnis[3])
			c.NativeVID = uint16(rng.IntN(2) * (1 + vids[3]))
		}
		return c
	}
	same, partly := 0, 0
	for range 20_000 {
		before, next := random(), random()
		w := widerVLANs(before, next)
		vids, vnis := map[uint16]bool{w.NativeVID: true, 0: true}, map[uint32]bool{w.Untagged: true}
		for _, m := range w.Tagged {
			if vids[m.VID] || vnis[m.VNI] {
				t.Fatalf("from %+v to %+v: %+v has something twice", before, next, w)
			}
			vids[m.VID], vnis[m.VNI] = true, true
		}
		loses := func(c dataplane.PortConfig) bool {
			return before.Untagged != 0 && c.Untagged != before.Untagged || before.NativeVID != 0 && c.NativeVID != before.NativeVID ||
				slices.ContainsFunc(before.Tagged, func(m dataplane.VIDMap) bool { return !slices.Contains(c.Tagged, m) })
		}
		if loses(w) {
			t.Fatalf("from %+v to %+v: %+v loses something", before, next, w)
		}
		if !loses(next) {
			same++
			if diff := cmp.Diff(next, w); diff != "" {
				t.Fatalf("from %+v nothing is lost (-want +got):\n%s", before, diff)
			}
		} else if !cmp.Equal(before, w) {
			partly++
		}
	}
	if same < 100 || partly < 100 {
		t.Errorf("%d lose nothing, %d gain something: too few", same, partly)
	}
}

// TestWiderVNIStrict: what lies between two states of a VNI lets strangers in only where one of the two does.
func TestWiderVNIStrict(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	open := func(c dataplane.VNIConfig) bool { // see checkGroup of the data plane
		return c.Policy == dataplane.Learn || c.Group.IsValid() && len(c.Peers)+len(c.Allow) == 0
	}
	random := func() (c dataplane.VNIConfig) {
		c.Learning = rng.IntN(2) == 0
		if rng.IntN(6) == 0 {
			c.Policy = dataplane.Learn
		}
		for i := range rng.IntN(3) {
			c.Peers = append(c.Peers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + i + rng.IntN(3))}), uint16(4789+rng.IntN(2))))
		}
		if rng.IntN(4) == 0 {
			c.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}
		if rng.IntN(2) == 0 {
			c.Group = netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 1, 1, byte(1 + rng.IntN(2))}), 4789)
			if !c.Learning && rng.IntN(2) == 0 {
				c.Group = netip.AddrPortFrom(c.Group.Addr(), 8472)
			}
		}
		return c
	}
	wider := 0
	for range 50_000 {
		before, next := random(), random()
		w := widerVNI(before, next, rng.IntN(8) > 0)
		if open(w) && !open(before) && !open(next) {
			t.Fatalf("from %+v to %+v: %+v is open to strangers", before, next, w)
		}
		if w.Group.Port() == 8472 && w.Learning {
			t.Fatalf("from %+v to %+v: %+v is refused", before, next, w)
		}
		if !cmp.Equal(before, w, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
			wider++
		}
	}
	if wider < 1000 {
		t.Errorf("only %d were wider", wider)
	}
}
