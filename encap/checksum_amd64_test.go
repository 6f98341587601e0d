//go:build amd64 && !purego

package encap

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestSumAVX2 holds the assembly against the portable sum directly, not through the
// dispatcher, for every length and alignment around its loops.
func TestSumAVX2(t *testing.T) {
	if !hasAVX2 {
		t.Skip("no AVX2 on this machine")
	}
	r := rand.New(rand.NewPCG(5, 6))
	buf := make([]byte, 66000)
	for round := range 3 {
		for i := range buf {
			switch round {
			case 0:
				buf[i] = byte(r.Uint32())
			case 1:
				buf[i] = 0xff
			case 2:
				buf[i] = 0
			}
		}
		for n := 33; n < 700; n++ {
			for off := range 34 {
				b := buf[off : off+n]
				if got, want := foldLE(sumAVX2(&b[0], n)), foldLE(sumPortable(b)); got != want {
					t.Fatalf("round %d, %d bytes at %d: %#04x, want %#04x", round, n, off, got, want)
				}
			}
		}
		for _, n := range []int{1398, 8948, 65535, 65536, 65537} {
			if got, want := foldLE(sumAVX2(&buf[3], n)), foldLE(sumPortable(buf[3:3+n])); got != want {
				t.Fatalf("round %d, %d bytes: %#04x, want %#04x", round, n, got, want)
			}
		}
	}
}

func BenchmarkSumAVX2(b *testing.B) {
	if !hasAVX2 {
		b.Skip("no AVX2 on this machine")
	}
	for _, n := range []int{34, 64, 96, 128, 192, 256, 1448, 65536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			buf := make([]byte, n)
			b.SetBytes(int64(n))
			var s uint64
			for b.Loop() {
				s += sumAVX2(&buf[0], n)
			}
			_ = s
		})
	}
}
