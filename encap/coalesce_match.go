package encap

import (
	"encoding/binary"
	"math/bits"
)

// eligible says what the headers of a frame with complete TCP or UDP header allow,
// without regard to checksums: whether it may join a slot, and whether it may be
// the first of one that stays open.
func eligible(frame []byte, l *Layout, caps Caps) (joins, opens bool) {
	if l.Flags != LayoutIPv4 && l.Flags != LayoutIPv6 || l.End == uint32(l.Payload) {
		return false, false // options, extension headers, cut short, or no payload: a pure ACK
	}
	if l.Proto == ProtoUDP {
		if !caps.UDP {
			return false, false
		}
		h := UDP(frame[l.L4:][:UDPLen])
		ok := h.Checksum() != 0 && uint32(h.Length()) == l.End-uint32(l.L4)
		return ok, ok
	}
	if l.Flags == LayoutIPv4 && !caps.TCP4 || l.Flags == LayoutIPv6 && !caps.TCP6 {
		return false, false
	}
	flags := frame[l.L4+13]
	if flags&(TCPAck|TCPSyn|TCPRst|TCPUrg) != TCPAck {
		return false, false
	}
	// FIN and PSH end a superframe, CWR begins one: that is where a Cutter puts them.
	return flags&TCPCwr == 0, flags&(TCPFin|TCPPsh) == 0 && (flags&TCPCwr == 0 || caps.ECN)
}

// sameFlow says whether frame goes the same way and has the same Ethernet header,
// addresses, protocol and ports as the first frame of s. Both have a complete
// TCP or UDP header.
func (s *slot) sameFlow(dest uint32, frame []byte, l *Layout) bool {
	m := &s.layout
	if s.Dest != dest || l.L3 != m.L3 || l.Proto != m.Proto {
		return false
	}
	head := s.firstPart[0]
	a, b := frame[l.L4:][:4], head[m.L4:][:4]
	if binary.LittleEndian.Uint32(a) != binary.LittleEndian.Uint32(b) {
		return false
	}
	// Both MACs and, right in front of L3, the EtherType: it says which IP version.
	p, q := frame[:l.L4], head[:m.L4]
	if binary.LittleEndian.Uint64(p) != binary.LittleEndian.Uint64(q) ||
		binary.LittleEndian.Uint64(p[6:]) != binary.LittleEndian.Uint64(q[6:]) {
		return false
	}
	if l.L3 != EthernetLen && string(p[EthernetLen:l.L3]) != string(q[EthernetLen:l.L3]) {
		return false
	}
	p, q = p[l.L3:], q[l.L3:]
	if l.Flags&LayoutIPv4 != 0 {
		return binary.LittleEndian.Uint64(p[12:20]) == binary.LittleEndian.Uint64(q[12:20])
	}
	return [32]byte(p[8:40]) == [32]byte(q[8:40])
}

// sameShape says whether frame, longer than its headers and of the same tags and EtherType as first, has the layout l of first but for its length, and nothing
// behind its IP packet. l is one that a slot was opened with: IP without options or extension headers, not cut short, and TCP or UDP.
func sameShape(frame, first []byte, l *Layout) bool {
	h := frame[l.L3:l.Payload]
	if l.Flags&LayoutIPv4 != 0 {
		if h[0] != 0x45 || h[9] != l.Proto || binary.BigEndian.Uint16(h[6:])&(IPv4MoreFragments|IPv4OffsetMask) != 0 ||
			int(binary.BigEndian.Uint16(h[2:])) != len(frame)-int(l.L3) {
			return false
		}
	} else if h[0]>>4 != 6 || h[6] != l.Proto || int(binary.BigEndian.Uint16(h[4:])) != len(frame)-int(l.L3)-IPv6Len {
		return false
	}
	return l.Proto != ProtoTCP || frame[l.L4+12]>>4 == first[l.L4+12]>>4
}

// continues says whether frame, of the same flow and eligible to join, differs from
// the first frame of s in nothing but what a Cutter would make differ.
func (s *slot) continues(frame []byte, l *Layout) bool {
	m := &s.layout
	if l.Payload != m.Payload {
		return false
	}
	head := s.firstPart[0]
	p, q := frame[l.L3:l.L4], head[l.L3:l.L4]
	if l.Flags&LayoutIPv4 != 0 {
		p, q = p[:IPv4MinLen], q[:IPv4MinLen]
		frag := binary.BigEndian.Uint16(p[6:])
		if p[1] != q[1] || p[8] != q[8] || frag != binary.BigEndian.Uint16(q[6:]) {
			return false
		}
		// With DF set the identification means nothing (RFC 6864 4.1); else a Cutter must
		// be able to count it up again.
		if frag&IPv4DontFragment == 0 && binary.BigEndian.Uint16(p[4:]) != s.id+1 {
			return false
		}
	} else {
		p, q = p[:IPv6Len], q[:IPv6Len]
		if binary.LittleEndian.Uint32(p) != binary.LittleEndian.Uint32(q) || p[7] != q[7] {
			return false
		}
	}
	if l.Proto == ProtoUDP {
		return true
	}
	p, q = frame[l.L4:l.Payload], head[l.L4:l.Payload]
	if binary.BigEndian.Uint32(p[4:]) != s.next {
		return false
	}
	// Acknowledgment number, data offset, flags and window in one comparison. CWR may
	// stand on the first alone, FIN and PSH on the last.
	const may = uint64(TCPFin|TCPPsh|TCPCwr) << 16
	if (binary.BigEndian.Uint64(p[8:])^binary.BigEndian.Uint64(q[8:]))&^may != 0 {
		return false
	}
	if binary.LittleEndian.Uint16(p[18:]) != binary.LittleEndian.Uint16(q[18:]) {
		return false // urgent pointer
	}
	if len(p) == TCPMinLen+12 { // timestamps alone: what nearly every segment carries
		return binary.LittleEndian.Uint64(p[20:]) == binary.LittleEndian.Uint64(q[20:]) &&
			binary.LittleEndian.Uint32(p[28:]) == binary.LittleEndian.Uint32(q[28:])
	}
	return string(p[TCPMinLen:]) == string(q[TCPMinLen:])
}

// verify says whether the IPv4 header checksum and the TCP or UDP checksum of an
// eligible frame are right. Ethernet padding is left out. An unfinished one is right
// when it will be once somebody has finished it: the field holds the sum of the
// pseudo-header, and behind the packet, where who finishes sums on, is nothing.
func verify(frame []byte, l *Layout, unfinished bool) bool {
	h := frame[l.L3:l.L4]
	l4 := frame[l.L4:l.End]
	var addresses uint64
	if l.Flags&LayoutIPv4 != 0 {
		h = h[:IPv4MinLen]
		addresses = addresses4(h)
		s, c := bits.Add64(binary.LittleEndian.Uint64(h), binary.LittleEndian.Uint64(h[8:]), 0)
		s, c = bits.Add64(s, uint64(binary.LittleEndian.Uint32(h[16:])), c)
		if foldLE(endAround(s, c)) != 0xffff {
			return false
		}
	} else {
		addresses = addresses6(h)
	}
	// The length and protocol words of the pseudo-header, in the order of the wire. On a
	// little-endian reading both come with their bytes swapped.
	words := uint64(bits.ReverseBytes16(uint16(len(l4)))) + uint64(l.Proto)<<8
	if unfinished {
		field := UDPChecksumOffset
		if l.Proto == ProtoTCP {
			field = TCPChecksumOffset
		}
		s, c := bits.Add64(addresses, words, 0)
		return binary.BigEndian.Uint16(l4[field:]) == foldLE(endAround(s, c)) && allZero(frame[l.End:])
	}
	s, c := bits.Add64(sumWords(l4), addresses, 0)
	s, c = bits.Add64(s, words, c)
	return foldLE(endAround(s, c)) == 0xffff
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
