package encap

import (
	"encoding/binary"
	"math/bits"
)

// Odd constants with about half their bits set, from the digits of pi.
const (
	hashKey0 = 0x243f6a8885a308d3
	hashKey1 = 0x13198a2e03707345
	hashKey2 = 0xa4093822299f31d1
)

// mix spreads two words over 64 bits: the halves of their 128-bit product.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// FlowHash returns a hash that is the same for all frames of one inner flow and,
// with a secret seed, not to be steered by who chooses the frames. l is the
// frame's own layout. What makes a flow:
//   - TCP, UDP, UDP-Lite, SCTP and DCCP over IP: addresses, protocol, ports
//   - other IP, all fragments, and packets whose ports are cut off: addresses and protocol
//   - everything else: both MACs and the EtherType, which a length (LLC) is not
//
// Tags are left out, so that a flow keeps its hash when a tag is pushed or popped.
// A frame shorter than an Ethernet header hashes to a function of the seed alone.
func FlowHash(frame []byte, l *Layout, seed uint64) uint32 {
	k0, k1 := seed^hashKey0, bits.RotateLeft64(seed, 32)^hashKey1
	var a, b uint64
	switch {
	case l.Flags&LayoutIPv4 != 0:
		h := frame[l.L3:]
		a = binary.LittleEndian.Uint64(h[12:20])
		b = uint64(l.Proto) << 32
	case l.Flags&LayoutIPv6 != 0:
		h := frame[l.L3:][:IPv6Len]
		a = mix(binary.LittleEndian.Uint64(h[8:])^k0, binary.LittleEndian.Uint64(h[16:])^k1) ^
			mix(binary.LittleEndian.Uint64(h[24:])^k1, binary.LittleEndian.Uint64(h[32:])^hashKey2^k0)
		b = uint64(l.Proto) << 32
	case len(frame) >= EthernetLen:
		a = binary.LittleEndian.Uint64(frame)
		b = uint64(binary.LittleEndian.Uint32(frame[8:]))
		if l.EtherType >= MinEtherType {
			b |= uint64(l.EtherType) << 32
		}
		return uint32(mix(mix(a^k0, b^k1), hashKey2) >> 32)
	default:
		return uint32(mix(k0, k1) >> 32)
	}
	if p := int(l.L4); p != 0 && l.Flags&LayoutFragment == 0 && p+4 <= int(l.End) {
		switch l.Proto {
		case ProtoTCP, ProtoUDP, ProtoSCTP, ProtoUDPLite, ProtoDCCP:
			b |= uint64(binary.LittleEndian.Uint32(frame[p:]))
		}
	}
	return uint32(mix(mix(a^k0, b^k1), hashKey2) >> 32)
}
