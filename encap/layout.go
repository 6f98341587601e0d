package encap

import "encoding/binary"

// LayoutFlags says what Layout.Parse understood.
type LayoutFlags uint8

const (
	LayoutIPv4      LayoutFlags = 1 << iota // an IPv4 header with its options lies at L3
	LayoutIPv6                              // an IPv6 header lies at L3
	LayoutFragment                          // part of a fragmented packet, the first included
	LayoutOptions                           // IPv4 options or IPv6 extension headers are present
	LayoutRouting                           // an IPv6 routing header: the destination at L3 may not be the one in the pseudo-header
	LayoutTruncated                         // the frame ends before a header or before the length its IP header states
	LayoutMalformed                         // a version or length field contradicts itself, or too many extension headers
)

// maxExtensions bounds the walk over IPv6 extension headers. RFC 8200 4.1 names
// seven in a full packet; more is an attempt to make us work.
const maxExtensions = 8

// IP protocol numbers (IANA).
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoDCCP     = 33
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoAH       = 51
	ProtoICMPv6   = 58
	ProtoNoNext   = 59
	ProtoDestOpts = 60
	ProtoSCTP     = 132
	ProtoMobility = 135
	ProtoUDPLite  = 136
	ProtoHIP      = 139
	ProtoShim6    = 140
)

// Layout is what one parse of a frame finds. Offsets are bytes from the start of
// the frame, 0 means absent. It holds no reference to the frame.
//
// What the fields promise after Parse:
//   - L3 != 0: the Ethernet header and all counted tags are complete.
//   - LayoutIPv4: the IPv4 header with its options lies inside the frame.
//   - LayoutIPv6: the 40 bytes of the IPv6 header lie inside the frame.
//   - L4 != 0: the IP header chain ended at L4 <= End. Nothing is promised about
//     the L4 header itself; later fragments have none, and L4 is 0.
//   - Payload != 0: Proto is TCP or UDP and its header, TCP options included, lies
//     in L4..Payload, Payload <= End.
type Layout struct {
	EtherType uint16      // behind all tags; below 1536 it is an 802.3 length (IEEE 802.3 3.2.6)
	TCI       uint16      // of the outermost tag, 0 when untagged
	TPID      uint16      // of the outermost tag, 0 when untagged
	L3        uint16      // what follows the EtherType, IP or not
	L4        uint16      // transport header
	Payload   uint16      // TCP or UDP payload
	Tags      uint8       // 802.1Q and 802.1ad tags at the front, at most 2
	Proto     uint8       // last next-header value seen; 0 for non-IP
	Flags     LayoutFlags //
	End       uint32      // end of the IP packet, which leaves Ethernet padding out; len(frame) for non-IP and for a truncated packet
}

// Parse reads the headers of frame. It never fails and never reads beyond the
// frame: what it could not read is absent, and Flags says why.
func (l *Layout) Parse(frame []byte) {
	*l = Layout{End: uint32(len(frame))}
	if len(frame) < EthernetLen {
		l.Flags = LayoutTruncated
		return
	}
	et := binary.BigEndian.Uint16(frame[12:])
	off := EthernetLen
	if et == EtherTypeVLAN || et == EtherTypeQinQ {
		l.TPID = et
		for l.Tags < 2 && (et == EtherTypeVLAN || et == EtherTypeQinQ) {
			if len(frame) < off+VLANTagLen {
				l.EtherType = et
				l.Flags = LayoutTruncated
				return
			}
			if l.Tags == 0 {
				l.TCI = binary.BigEndian.Uint16(frame[off:])
			}
			et = binary.BigEndian.Uint16(frame[off+2:])
			off += VLANTagLen
			l.Tags++
		}
	}
	l.EtherType = et
	l.L3 = uint16(off)
	switch et {
	case EtherTypeIPv4:
		l.parseIPv4(frame, off)
	case EtherTypeIPv6:
		l.parseIPv6(frame, off)
	}
}

func (l *Layout) parseIPv4(frame []byte, off int) {
	if len(frame) < off+IPv4MinLen {
		l.Flags = LayoutTruncated
		return
	}
	h := frame[off : off+IPv4MinLen]
	hlen := int(h[0]&0x0f) * 4
	if h[0]>>4 != 4 || hlen < IPv4MinLen {
		l.Flags = LayoutMalformed
		return
	}
	if off+hlen > len(frame) {
		l.Flags = LayoutTruncated
		return
	}
	l.Flags = LayoutIPv4
	if hlen > IPv4MinLen {
		l.Flags |= LayoutOptions
	}
	l.Proto = h[9]
	total := int(binary.BigEndian.Uint16(h[2:]))
	if total < hlen {
		l.Flags |= LayoutMalformed
		return
	}
	if off+total <= len(frame) {
		l.End = uint32(off + total)
	} else {
		l.Flags |= LayoutTruncated
	}
	if frag := binary.BigEndian.Uint16(h[6:]); frag&(IPv4MoreFragments|IPv4OffsetMask) != 0 {
		l.Flags |= LayoutFragment
		if frag&IPv4OffsetMask != 0 {
			return
		}
	}
	l.parseTransport(frame, off+hlen)
}

func (l *Layout) parseIPv6(frame []byte, off int) {
	if len(frame) < off+IPv6Len {
		l.Flags = LayoutTruncated
		return
	}
	h := frame[off : off+IPv6Len]
	if h[0]>>4 != 6 {
		l.Flags = LayoutMalformed
		return
	}
	l.Flags = LayoutIPv6
	end := off + IPv6Len + int(binary.BigEndian.Uint16(h[4:]))
	if end <= len(frame) {
		l.End = uint32(end)
	} else {
		l.Flags |= LayoutTruncated
	}
	l.Proto = h[6]
	off += IPv6Len
	if l.Proto != ProtoTCP && l.Proto != ProtoUDP {
		if off = l.walkExtensions(frame, off); off == 0 {
			return
		}
	}
	l.parseTransport(frame, off)
}

// walkExtensions returns the offset of the transport header, or 0 when there is
// none to be found.
func (l *Layout) walkExtensions(frame []byte, off int) int {
	end := int(l.End)
	for range maxExtensions {
		size := 0
		switch l.Proto {
		case ProtoHopByHop, ProtoDestOpts, ProtoRouting, ProtoMobility, ProtoHIP, ProtoShim6:
			if off+8 > end {
				l.Flags |= LayoutTruncated
				return 0
			}
			if l.Proto == ProtoRouting {
				l.Flags |= LayoutRouting
			}
			size = (int(frame[off+1]) + 1) * 8 // RFC 8200 4.3: 8-byte units, the first not counted
		case ProtoAH:
			if off+8 > end {
				l.Flags |= LayoutTruncated
				return 0
			}
			size = (int(frame[off+1]) + 2) * 4 // RFC 4302 2.2: 4-byte units, two not counted
		case ProtoFragment:
			if off+8 > end {
				l.Flags |= LayoutTruncated
				return 0
			}
			l.Flags |= LayoutFragment
			if binary.BigEndian.Uint16(frame[off+2:])&0xfff8 != 0 {
				l.Flags |= LayoutOptions
				l.Proto = frame[off]
				return 0
			}
			size = 8
		default:
			return off
		}
		if off+size > end {
			l.Flags |= LayoutTruncated
			return 0
		}
		l.Flags |= LayoutOptions
		l.Proto = frame[off]
		off += size
	}
	switch l.Proto {
	case ProtoHopByHop, ProtoDestOpts, ProtoRouting, ProtoMobility, ProtoHIP, ProtoShim6, ProtoAH, ProtoFragment:
		l.Flags |= LayoutMalformed
		return 0
	}
	return off
}

func (l *Layout) parseTransport(frame []byte, off int) {
	end := int(l.End)
	l.L4 = uint16(off)
	switch l.Proto {
	case ProtoTCP:
		if off+TCPMinLen > end {
			l.Flags |= LayoutTruncated
			return
		}
		hlen := int(frame[off+12]>>4) * 4
		switch {
		case hlen < TCPMinLen:
			l.Flags |= LayoutMalformed
		case off+hlen > end:
			l.Flags |= LayoutTruncated
		default:
			l.Payload = uint16(off + hlen)
		}
	case ProtoUDP:
		if off+UDPLen > end {
			l.Flags |= LayoutTruncated
			return
		}
		l.Payload = uint16(off + UDPLen)
	}
}
