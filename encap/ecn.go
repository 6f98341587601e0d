package encap

import "encoding/binary"

// ECN codepoints, the lower two bits of the TOS or traffic class (RFC 3168 5).
const (
	ECNNotECT = 0
	ECNECT1   = 1
	ECNECT0   = 2
	ECNCE     = 3
	ECNMask   = 3
)

// ECNMode chooses how the ECN field of the outer header is made.
type ECNMode uint8

const (
	// ECNRFC6040 copies the inner field to the outer (RFC 6040 4.1, normal mode).
	ECNRFC6040 ECNMode = iota
	// ECNLinux does as Linux does (INET_ECN_encapsulate, the full functionality of RFC
	// 3168 9.1.1): an inner CE becomes an outer ECT(0).
	ECNLinux
)

// ECNEncap returns the ECN codepoint of the outer header for an inner TOS or
// traffic class, of which only the ECN bits count.
func ECNEncap(mode ECNMode, inner uint8) (outer uint8) {
	inner &= ECNMask
	if mode == ECNLinux && inner == ECNCE {
		return ECNECT0
	}
	return inner
}

// ecnDecap is the table of RFC 6040 4.2 (figure 4), indexed by inner<<2|outer.
// What it calls illegal combinations are not dropped but one: CE outside, on a
// packet whose sender does not understand ECN, would be a congestion mark lost.
var ecnDecap = [16]uint8{
	ECNNotECT, ECNNotECT, ECNNotECT, ecnDrop,
	ECNECT1, ECNECT1, ECNECT1, ECNCE,
	ECNECT0, ECNECT1, ECNECT0, ECNCE,
	ECNCE, ECNCE, ECNCE, ECNCE,
}

const ecnDrop = 0x80

// ECNDecap returns the ECN codepoint the inner header is to have after
// decapsulation, or drop when the packet must not be forwarded (RFC 6040 4.2). Of
// both arguments only the ECN bits count.
func ECNDecap(inner, outer uint8) (result uint8, drop bool) {
	r := ecnDecap[(inner&ECNMask)<<2|outer&ECNMask]
	return r & ECNMask, r == ecnDrop
}

// TrafficClass returns the byte of DSCP and ECN of the inner IP header; ok is
// false when there is none to be read.
func TrafficClass(frame []byte, l *Layout) (tos uint8, ok bool) {
	switch {
	case l.Flags&LayoutIPv4 != 0:
		return frame[l.L3+1], true
	case l.Flags&LayoutIPv6 != 0:
		return IPv6(frame[l.L3:]).TrafficClass(), true
	}
	return 0, false
}

// HopLimit returns the TTL or hop limit of the inner IP header; ok is false when
// there is none to be read.
func HopLimit(frame []byte, l *Layout) (ttl uint8, ok bool) {
	switch {
	case l.Flags&LayoutIPv4 != 0:
		return frame[l.L3+8], true
	case l.Flags&LayoutIPv6 != 0:
		return frame[l.L3+7], true
	}
	return 0, false
}

// SetECN writes the ECN codepoint of the inner IP header in place and updates the
// IPv4 header checksum incrementally, so that a wrong one stays wrong. Frames that
// are not IP are left alone.
func SetECN(frame []byte, l *Layout, ecn uint8) {
	ecn &= ECNMask
	switch {
	case l.Flags&LayoutIPv4 != 0:
		h := IPv4(frame[l.L3:][:IPv4MinLen])
		if h[1]&ECNMask == ecn {
			return
		}
		old := binary.BigEndian.Uint16(h)
		h[1] = h[1]&^ECNMask | ecn
		h.SetChecksum(UpdateChecksum(h.Checksum(), old, binary.BigEndian.Uint16(h)))
	case l.Flags&LayoutIPv6 != 0:
		p := &frame[l.L3+1]
		*p = *p&^(ECNMask<<4) | ecn<<4
	}
}
