package encap

import "encoding/binary"

// Unfinished tells a frame whose sender left the L4 checksum to hardware that it never met: the field holds the sum of the pseudo-header alone, the
// rest is still to be added. That is what the kernel hands to a tunnel (CHECKSUM_PARTIAL) when it believes that a network card will finish the job;
// between two namespaces or virtual machines of one host there is none, and frames arrive that way. The Offload returned says what a
// virtio-net header would have said.
//
// With segmentation the kernel leaves more undone: one superframe comes as it is. size is the largest frame in bytes that the way out takes; a
// TCP frame that is longer is reported as a superframe to be cut to that. Longer UDP frames cannot be cut, since the size of
// their datagrams is not known.
//
// Of SCTP the field holds zero. Where that is on purpose (RFC 9653), a checksum is as good.
//
// A finished checksum equals the pseudo-header's by chance once in 65536 frames. To finish such a frame once more changes nothing, so that it is not told from
// the others. Behind the packet there must be nothing but zeros (padding) for that: who finishes sums up to the frame's end.
func Unfinished(frame []byte, l *Layout, size int) (off Offload, ok bool) {
	const unfit = LayoutFragment | LayoutTruncated | LayoutMalformed | LayoutRouting
	if l.Flags&unfit != 0 {
		return off, false
	}
	if l.Proto == ProtoSCTP {
		return unfinishedSCTP(frame, l)
	}
	if l.Payload == 0 {
		return off, false
	}
	field := int(l.L4)
	gso := uint8(GSONone)
	switch l.Proto {
	case ProtoTCP:
		off.CsumOffset = TCPChecksumOffset
		gso = GSOTCPv4
	case ProtoUDP:
		off.CsumOffset = UDPChecksumOffset
	default:
		return off, false
	}
	field += int(off.CsumOffset)
	length := l.End - uint32(l.L4)
	var pseudo uint16
	if l.Flags&LayoutIPv4 != 0 {
		pseudo = PseudoIPv4(IPv4(frame[l.L3:]), l.Proto, uint16(length))
	} else {
		pseudo = PseudoIPv6(IPv6(frame[l.L3:]), l.Proto, length)
		if l.Proto == ProtoTCP {
			gso = GSOTCPv6
		}
	}
	if binary.BigEndian.Uint16(frame[field:]) != pseudo || pseudo == 0 {
		return Offload{}, false
	}
	if !allZero(frame[l.End:]) {
		return Offload{}, false
	}
	uncut := int(l.End) > size && gso != GSONone
	off.Flags = FlagNeedsCsum
	off.CsumStart = l.L4
	off.HdrLen = l.Payload
	if uncut {
		if size <= int(l.Payload) {
			return Offload{}, false
		}
		if TCP(frame[l.L4:]).Flags()&TCPCwr != 0 {
			gso |= GSOECN
		}
		off.GSOType = gso
		off.GSOSize = uint16(size - int(l.Payload))
	}
	return off, true
}

func unfinishedSCTP(frame []byte, l *Layout) (off Offload, ok bool) {
	if l.L4 == 0 || uint32(l.L4)+SCTPHeaderLen > l.End || binary.BigEndian.Uint32(frame[l.L4+SCTPChecksumOffset:]) != 0 {
		return off, false
	}
	return Offload{Flags: FlagNeedsCsum, CsumStart: l.L4, CsumOffset: SCTPChecksumOffset, HdrLen: l.L4 + SCTPHeaderLen}, true
}
