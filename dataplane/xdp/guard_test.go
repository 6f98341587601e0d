package xdp

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestGuardPorts asks the program about every UDP port, with sets that come and go: it guards those of the set and its own, where the VNI has it so.
func TestGuardPorts(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(_ *Options, d *Domain) { d.SpoofGuard = true })
	step := 13
	if testing.Short() {
		step = 997
	}
	guarded := func(port uint16) bool {
		_, verdict, _ := b.run(b.objects.VtepdTap, packet{proto: 17, l4: udpTo(port, 50)}.frame(macB, macA), nil)
		if verdict != toPeer && verdict != domainPolicy {
			t.Fatalf("port %d: verdict %d %q", port, verdict, word(verdict))
		}
		return verdict == domainPolicy
	}
	var before []uint16
	for _, set := range [][]uint16{{1, 63, 64, 65, 4790, 65535}, {65535, 64}, {9000}, nil} {
		for _, more := range []bool{true, false} {
			d := testDomain()
			d.SpoofGuard, d.GuardMore = true, more
			if err := b.GuardPorts(set); err != nil {
				t.Fatal(err)
			}
			if err := b.PutDomain(d); err != nil {
				t.Fatal(err)
			}
			asked := slices.Concat(set, before, []uint16{testPort, 8472, 0, 0x4012})
			for port := rand.IntN(step); port <= 65535; port += step {
				asked = append(asked, uint16(port))
			}
			for _, port := range asked {
				want := port == testPort || port == 8472 || more && slices.Contains(set, port)
				if guarded(port) != want {
					t.Errorf("with %v, and %t: port %d guarded: %t", set, more, port, !want)
				}
			}
		}
		before = set
	}
}
