//go:build !amd64 || purego

package encap

// sumWords returns a number congruent, modulo 2^16-1, to the sum of b in
// little-endian words, b padded with zeros. It is 0 only when b is all zero.
func sumWords(b []byte) uint64 { return sumPortable(b) }
