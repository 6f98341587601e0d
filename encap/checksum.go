package encap

import (
	"encoding/binary"
	"math/bits"
)

// Sums in this package are one's complement sums of 16-bit words (RFC 1071),
// folded to 16 bits and not complemented, in the byte order of the wire: the
// number that BigEndian.PutUint16 would store. A sum is 0 only when every word in
// it was 0; otherwise zero appears as 0xffff. The checksum field is the complement
// of the sum over everything it covers.
//
// The work is done on little-endian 64-bit words and the bytes are swapped once
// at the end, which RFC 1071 2 (B) allows.

// Sum returns the sum of initial and the words of b. A last odd byte counts as the
// upper half of a word. Because of that, sums of pieces add up only when each
// piece but the last has an even length.
func Sum(b []byte, initial uint16) uint16 {
	return addSums(foldLE(sumWords(b)), initial)
}

// Checksum returns the complement of Sum, ready for the checksum field.
func Checksum(b []byte, initial uint16) uint16 { return ^Sum(b, initial) }

// Fold adds the carries of up to 65537 added sums back in.
func Fold(sum uint32) uint16 {
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum&0xffff)
}

// addSums adds two sums.
func addSums(a, b uint16) uint16 { return Fold(uint32(a) + uint32(b)) }

// UpdateChecksum returns the checksum field after one 16-bit word that it covers
// changed from old to new (RFC 1624, equation 3).
func UpdateChecksum(field, old, new uint16) uint16 {
	return ^Fold(uint32(^field) + uint32(^old) + uint32(new))
}

// PseudoIPv4 returns the sum of the pseudo-header of an L4 packet of length bytes,
// header included (RFC 9293 3.1). It reads the addresses of h, 20 bytes.
func PseudoIPv4(h IPv4, proto uint8, length uint16) uint16 {
	return Fold(uint32(foldLE(addresses4(h))) + uint32(proto) + uint32(length))
}

// PseudoIPv6 returns the sum of the pseudo-header of an L4 packet of length bytes,
// header included (RFC 8200 8.1). It reads the addresses of h, 40 bytes: with a
// routing header in the packet the destination there may be the wrong one.
func PseudoIPv6(h IPv6, proto uint8, length uint32) uint16 {
	return Fold(uint32(foldLE(addresses6(h))) + uint32(proto) + length>>16 + length&0xffff)
}

// addresses4 returns the unfolded little-endian sum of both addresses.
func addresses4(h []byte) uint64 { return binary.LittleEndian.Uint64(h[12:20]) }

// addresses6 is addresses4 for IPv6.
func addresses6(h []byte) uint64 {
	_ = h[39]
	s, c := bits.Add64(binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[16:]), 0)
	s, c = bits.Add64(s, binary.LittleEndian.Uint64(h[24:]), c)
	s, c = bits.Add64(s, binary.LittleEndian.Uint64(h[32:]), c)
	return endAround(s, c)
}

// endAround adds the carry back in, twice if need be.
func endAround(s, c uint64) uint64 {
	s, c = bits.Add64(s, 0, c)
	return s + c
}

// foldLE folds an unfolded little-endian sum and turns it to the wire's order.
func foldLE(s uint64) uint16 {
	s = s>>32 + s&0xffffffff // at most 0x1_ffff_fffe
	s = s>>32 + s&0xffffffff // at most 0xffff_ffff
	s = s>>16 + s&0xffff     // at most 0x1_fffe
	s = s>>16 + s&0xffff     // at most 0xffff
	return bits.ReverseBytes16(uint16(s))
}

// sumPortable returns the sum of b in little-endian 64-bit words, carries added
// back in, b padded with zeros. It is what sumWords does where nothing faster is
// built in (build tag purego chooses it everywhere), and the oracle for what is.
func sumPortable(b []byte) uint64 {
	var s, c uint64
	for len(b) >= 128 {
		// One unbroken chain of add-with-carry, one word a cycle. The carry out of the
		// last addition enters the first of the next round.
		w := b[:128:128]
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[0:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[24:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[32:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[40:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[48:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[56:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[64:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[72:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[80:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[88:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[96:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[104:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[112:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[120:]), c)
		b = b[128:]
	}
	if len(b) >= 64 {
		w := b[:64:64]
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[0:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[24:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[32:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[40:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[48:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[56:]), c)
		b = b[64:]
	}
	if len(b) >= 32 {
		w := b[:32:32]
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[0:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[24:]), c)
		b = b[32:]
	}
	if len(b) >= 16 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), c)
		b = b[16:]
	}
	if len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), c)
		b = b[8:]
	}
	s, c = bits.Add64(s, lastWord(b), c)
	return endAround(s, c)
}

// lastWord returns the up to seven bytes of b as a little-endian word.
func lastWord(b []byte) uint64 {
	var w uint64
	shift := 0
	if len(b) >= 4 {
		w = uint64(binary.LittleEndian.Uint32(b))
		shift, b = 32, b[4:]
	}
	if len(b) >= 2 {
		w |= uint64(binary.LittleEndian.Uint16(b)) << shift
		shift, b = shift+16, b[2:]
	}
	if len(b) >= 1 {
		w |= uint64(b[0]) << shift
	}
	return w
}
