package xdp

import (
	"errors"
	"math/rand/v2"
	"net/netip"
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
		_, verdict, _ := b.run(b.objects.VtepdTap, packet{proto: 17, dst: remote4, l4: udpTo(port, 50)}.frame(macB, macA), nil)
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

// TestGuardAddresses has addresses of either family come and go: VXLAN to those of the set is user space's, and to others it is carried.
func TestGuardAddresses(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(_ *Options, d *Domain) { d.SpoofGuard = true })
	guarded := func(a netip.Addr) bool {
		_, verdict, _ := b.run(b.objects.VtepdTap, packet{ipv6: a.Is6(), proto: 17, dst: a, l4: udpTo(testPort, 50)}.frame(macB, macA), nil)
		if verdict != toPeer && verdict != domainPolicy {
			t.Fatalf("%s: verdict %d %q", a, verdict, word(verdict))
		}
		return verdict == domainPolicy
	}
	at := netip.MustParseAddr
	near := func(a netip.Addr) []netip.Addr {
		return []netip.Addr{a, a.Next(), a.Prev(), netip.AddrFrom16(a.As16())}
	}
	sets := [][]netip.Addr{{at("203.0.113.7")}, {at("203.0.113.7"), at("::ffff:203.0.113.9"), at("2001:db8:7::1")}, {at("2001:db8:7::1"), at("fe80::1%eth0")}, nil}
	for _, set := range sets {
		if err := b.GuardAddresses(append(set, set...)); err != nil {
			t.Fatal(err)
		}
		for _, asked := range slices.Concat(sets...) {
			for _, a := range near(asked) {
				a = a.WithZone("")
				want := slices.ContainsFunc(set, func(g netip.Addr) bool { return g.Unmap().WithZone("") == a.Unmap() })
				if guarded(a) != want {
					t.Errorf("with %v: %s guarded: %t", set, a, !want)
				}
			}
		}
	}
	var many []netip.Addr
	for a := at("203.0.113.1"); len(many) < b.options.MaxPeers+8; a = a.Next() {
		many = append(many, a)
	}
	if err := b.GuardAddresses(many); err != nil {
		t.Fatal(err)
	}
	if err := b.GuardAddresses(append(many, at("203.0.113.99"))); !errors.Is(err, ErrFull) {
		t.Errorf("one more than there is room for: %v", err)
	}
	if err := b.GuardAddresses(many[1:2]); err != nil || guarded(many[0]) || !guarded(many[1]) {
		t.Errorf("after that: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.GuardAddresses(many); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
