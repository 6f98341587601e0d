//go:build amd64 && !purego

package encap

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

// minAVX2 is the least length in bytes that sumAVX2 takes: a whole vector behind an
// odd byte. It is faster than sumPortable from there on (34 bytes: 2.8 ns against 5,
// 1448 bytes: 14 ns against 55, measured on Zen 5).
const minAVX2 = 33

// sumWords returns a number congruent, modulo 2^16-1, to the sum of b in
// little-endian words, b padded with zeros. It is 0 only when b is all zero.
func sumWords(b []byte) uint64 {
	if len(b) >= minAVX2 && hasAVX2 {
		return sumAVX2(&b[0], len(b))
	}
	return sumPortable(b)
}

// sumAVX2 is sumWords for the n bytes at b, minAVX2 <= n < 2^32.
//
//go:noescape
func sumAVX2(b *byte, n int) uint64
