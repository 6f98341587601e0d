package ctl

import (
	"math/rand/v2"
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
