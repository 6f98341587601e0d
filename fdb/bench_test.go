package fdb

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Sizes of benchmarks: a host, a rack, the largest table that is promised.
var benchSizes = []int{1_000, 100_000, 1_000_000}

const (
	benchVNIs  = 100
	benchPeers = 16
	benchNow   = Tick(1000)
)

// benchKey is the i-th of a set of keys spread over VNIs.
func benchKey(i int) (uint32, MAC) {
	return uint32(i%benchVNIs) + 1, 0x020000000000 | MAC(i)
}

// filled returns a table of n dynamic entries, learned at benchNow.
func filled(tb testing.TB, n int) *Table {
	tb.Helper()
	t := New(Config{MaxDynamic: max(n, 1), Seed: 1})
	for v := range benchVNIs {
		mustSetVNI(tb, t, uint32(v)+1, VNIConfig{Ageing: 300})
	}
	for i := range n {
		vni, mac := benchKey(i)
		if v := t.Learn(vni, mac, PeerDest(uint32(i%benchPeers)), benchNow); v != Learned {
			tb.Fatalf("entry %d: %v", i, v)
		}
	}
	return t
}

func mustSetVNI(tb testing.TB, t *Table, vni uint32, c VNIConfig) {
	tb.Helper()
	if err := t.SetVNI(vni, c); err != nil {
		tb.Fatal(err)
	}
}

// order is a fixed random sequence of indices below n, so that a benchmark
// measures the table and neither a generator nor a prefetcher.
func order(n int) []uint32 {
	r := rand.New(rand.NewPCG(1, 2))
	o := make([]uint32, 1<<20)
	for i := range o {
		o[i] = uint32(r.IntN(n))
	}
	return o
}

var benchSink atomic.Uint64

func BenchmarkLookup(b *testing.B) {
	for _, n := range benchSizes {
		t := filled(b, n)
		o := order(n)
		b.Run(fmt.Sprintf("hit/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			found := 0
			for i := range b.N {
				vni, mac := benchKey(int(o[i&(len(o)-1)]))
				if _, ok := t.Lookup(vni, mac, benchNow); ok {
					found++
				}
			}
			if found != b.N {
				b.Fatalf("found %d of %d", found, b.N)
			}
		})
		b.Run(fmt.Sprintf("miss/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			found := 0
			for i := range b.N {
				vni, mac := benchKey(int(o[i&(len(o)-1)]))
				if _, ok := t.Lookup(vni, mac|1<<39, benchNow); ok {
					found++
				}
			}
			if found != 0 {
				b.Fatalf("found %d", found)
			}
		})
	}
}

// BenchmarkLookupParallel looks up on all cores; with a learner, another
// goroutine learns new addresses into the full table all the while, each of
// which evicts an entry of its own destination.
func BenchmarkLookupParallel(b *testing.B) {
	for _, learner := range []bool{false, true} {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("learner=%v/%d", learner, n), func(b *testing.B) {
				t := New(Config{MaxDynamic: n + 1000, Seed: 1})
				for v := range benchVNIs {
					mustSetVNI(b, t, uint32(v)+1, VNIConfig{})
				}
				t.SetDestLimit(PortDest(0), 1000)
				for i := range n {
					vni, mac := benchKey(i)
					t.Learn(vni, mac, PeerDest(uint32(i%benchPeers)), benchNow)
				}
				o := order(n)
				stop := make(chan struct{})
				var wg sync.WaitGroup
				var learned int
				if learner {
					wg.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
							}
							t.Learn(1, 0x060000000000|MAC(learned), PortDest(0), benchNow)
							learned++
						}
					})
				}
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					i, found := rand.IntN(len(o)), uint64(0)
					for pb.Next() {
						vni, mac := benchKey(int(o[i&(len(o)-1)]))
						if _, ok := t.Lookup(vni, mac, benchNow); ok {
							found++
						}
						i++
					}
					benchSink.Add(found)
				})
				b.StopTimer()
				close(stop)
				wg.Wait()
				b.ReportMetric(float64(learned)/b.Elapsed().Seconds(), "learned/s")
			})
		}
	}
}

func BenchmarkLearn(b *testing.B) {
	for _, n := range benchSizes {
		t := filled(b, n)
		o := order(n)
		b.Run(fmt.Sprintf("known/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				k := int(o[i&(len(o)-1)])
				vni, mac := benchKey(k)
				if v := t.Learn(vni, mac, PeerDest(uint32(k%benchPeers)), benchNow); v != Known {
					b.Fatal(v)
				}
			}
		})
		mustNotAge(b, t)
		now := benchNow
		b.Run(fmt.Sprintf("refresh/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				now++
				k := int(o[i&(len(o)-1)])
				vni, mac := benchKey(k)
				if v := t.Learn(vni, mac, PeerDest(uint32(k%benchPeers)), now); v != Refreshed {
					b.Fatal(v)
				}
			}
		})
		moves := make([]uint16, n)
		b.Run(fmt.Sprintf("move/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				k := int(o[i&(len(o)-1)])
				vni, mac := benchKey(k)
				moves[k]++
				if v := t.Learn(vni, mac, PeerDest(uint32((k+int(moves[k]))%benchPeers)), benchNow); v != Moved {
					b.Fatal(v)
				}
			}
		})
		// The table is full: every new address evicts another one.
		b.Run(fmt.Sprintf("flood/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			t := filled(b, n)
			b.ResetTimer()
			for i := range b.N {
				if v := t.Learn(1, 0x060000000000|MAC(i), PortDest(0), benchNow); v != Learned {
					b.Fatal(v)
				}
			}
		})
	}
}

func mustNotAge(tb testing.TB, t *Table) {
	tb.Helper()
	for v := range benchVNIs {
		mustSetVNI(tb, t, uint32(v)+1, VNIConfig{})
	}
}

// BenchmarkFill is the cost of a new entry while the table grows, splits and
// allocations included.
func BenchmarkFill(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				runtime.KeepAlive(filled(b, n))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
		})
	}
}

func BenchmarkSweep(b *testing.B) {
	for _, n := range benchSizes {
		t := filled(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				if got := t.Sweep(benchNow, 0); got != 0 {
					b.Fatal(got)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
		})
	}
}

// BenchmarkFlushDest is one flush of a peer with n/2 entries, whatever n is. An
// operation is the filling too, thousands of times as long: ns/flush counts.
func BenchmarkFlushDest(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := New(Config{MaxDynamic: n, Seed: 1})
			mustSetVNI(b, t, 1, VNIConfig{})
			var spent time.Duration
			for range b.N {
				for i := range n {
					t.Learn(1, 0x020000000000|MAC(i), PeerDest(uint32(i&1)), benchNow)
				}
				start := time.Now()
				got := t.FlushDest(PeerDest(1), FlushFilter{})
				spent += time.Since(start)
				if got != n/2 {
					b.Fatal(got)
				}
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/flush")
		})
	}
}
