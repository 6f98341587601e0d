package xdp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
)

// BenchmarkPrograms runs each program on a frame that it does not carry, after all questions but the last, since one that it carries
// is another frame afterwards; "none of ours" is what every other packet of the host pays.
func BenchmarkPrograms(b *testing.B) {
	f := newBench(b, nil)
	last := known().frame(macNone, macA)
	wire := func(peer netip.Addr, inner []byte) []byte { w := letterFrom(peer, inner); return w.bytes() }
	other := letterFrom(remote4, known().frame(macA, macB))
	other.port = 443
	for _, c := range []struct {
		name  string
		p     *ebpf.Program
		frame []byte
	}{
		{"tap", f.objects.VtepdTap, last},
		{"device", f.objects.VtepdDevice, last},
		{"slow_only", f.objects.SlowOnly, asSocket(last)},
		{"underlay/IPv4", f.objects.VtepdUnderlay, wire(remote4, known().frame(macNone, macB))},
		{"underlay/IPv6", f.objects.VtepdUnderlay, wire(remote6, known().frame(macNone, macC))},
		{"underlay/none of ours", f.objects.VtepdUnderlay, other.bytes()},
		{"bare/IPv4", f.objects.VtepdBare, wire(remote4, known().frame(macNone, macB))},
		{"bare/none of ours", f.objects.VtepdBare, other.bytes()},
	} {
		b.Run(c.name, func(b *testing.B) {
			_, perRun, err := c.p.Benchmark(c.frame, b.N, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(perRun.Nanoseconds()), "ns/op")
		})
	}
}

// BenchmarkEntries is what user space pays to fill and to walk the forwarding table of the programs.
func BenchmarkEntries(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		f := newBench(b, func(o *Options, _ *Domain) { o.MaxEntries = 2 * n })
		list := entries(n)
		b.Run(fmt.Sprintf("put/%d", n), func(b *testing.B) {
			for range b.N {
				if err := f.PutEntries(list); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("walk/%d", n), func(b *testing.B) {
			for range b.N {
				if err := f.WalkEntries(func(Entry) bool { return true }); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("put one of/%d", n), func(b *testing.B) {
			for i := range b.N {
				if err := f.PutEntry(list[i%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// entries makes that many different ones.
func entries(n int) []Entry {
	r := rand.New(rand.NewPCG(3, 4))
	list := make([]Entry, n)
	for i := range list {
		list[i] = Entry{
			VNI: uint32(1 + i%100), MAC: [6]byte{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)},
			ToPeer: i%2 == 0, Index: uint32(r.IntN(1000)), Static: i%7 == 0, Seen: uint32(i),
		}
	}
	return list
}
