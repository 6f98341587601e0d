package encap

import (
	"encoding/binary"
	"fmt"
)

const (
	// MaxHeaderLen bounds Cutter.HeaderLen, in bytes: Ethernet with two tags, IPv4 and
	// TCP with all options come to 142; IPv6 extension headers get what is left.
	MaxHeaderLen = 192

	// MaxSegments bounds Cutter.Count, so that a guest that asks for segments of one
	// byte does not turn one write of 64 KiB into 65535 frames. Linux's least MSS is 48
	// (TCP_MIN_SND_MSS), of which timestamps take 12: 65535/36 is 1820. A UDP superframe
	// has at most 128 segments (UDP_MAX_SEGMENTS).
	MaxSegments = 2048
)

var (
	errGSOType     = fmt.Errorf("%w: GSO type does not fit the headers", ErrBadOffload)
	errGSOSize     = fmt.Errorf("%w: GSO size 0", ErrBadOffload)
	errGSOCsum     = fmt.Errorf("%w: checksum position is not that of the L4 header", ErrBadOffload)
	errGSOLength   = fmt.Errorf("%w: a length field does not agree with the length of the frame", ErrBadOffload)
	errGSOPayload  = fmt.Errorf("%w: superframe without payload", ErrBadOffload)
	errGSOFragment = fmt.Errorf("%w: superframe is an IP fragment", ErrBadOffload)
	errGSOHeaders  = fmt.Errorf("%w: headers are too long or end early", ErrBadOffload)
	errGSOFlags    = fmt.Errorf("%w: SYN or RST on a superframe", ErrBadOffload)
	errGSOCount    = fmt.Errorf("%w: more segments than %d", ErrBadOffload, MaxSegments)
)

// Cutter cuts a superframe into segments. Headers are written where the caller
// wants them; payloads are slices of the superframe, which must stay unchanged for
// as long as Segment is called and its results are used. The zero Cutter is ready
// for Init and may be used again for the next superframe. It is for one goroutine.
type Cutter struct {
	frame  []byte
	l3     int
	l4     int
	header int // bytes of header
	end    int // bytes of frame, where the payload ends
	size   int // payload bytes a segment, the last may have fewer
	count  int

	// Sums over everything that is the same in all segments, so that a segment costs
	// one pass over its payload and a handful of additions.
	ipBase uint32 // IPv4 header without total length, identification and checksum
	l4Base uint32 // pseudo-header and L4 header without lengths, TCP sequence number, flags word and checksum

	seq    uint32
	word12 uint16 // TCP data offset and flags
	first  uint16 // those of the flags that only the first segment has
	id     uint16
	ipv4   bool
	udp    bool
	noCsum bool // UDP over IPv4 that carries no checksum
}

// SegmentCount returns the number of segments the frame that l and off belong to
// would be cut into, 1 for what is not a superframe. It believes off; use it to
// count frames, not to size memory.
func SegmentCount(l *Layout, off Offload) int {
	n := int(l.End) - int(l.Payload)
	if off.GSOSize == 0 || l.Payload == 0 || n <= int(off.GSOSize) || !off.IsGSO() {
		return 1
	}
	return (n + int(off.GSOSize) - 1) / int(off.GSOSize)
}

// Init prepares the cutting of frame, whose layout is l. It holds off against
// the headers and takes nothing from it but the GSO size and the claim that there
// is something to cut: the position of the payload comes from l, checksums are
// computed anew, HdrLen is ignored. The error is ErrBadOffload with a reason; it
// does not allocate.
//
// It cuts TCP over IPv4 and IPv6 and UDP over both (USO), with up to two tags in
// front. IPv4 options and IPv6 extension headers are copied to every segment, as
// Linux does, except routing headers, behind which the pseudo-header is unknown.
func (c *Cutter) Init(frame []byte, l *Layout, off Offload) error {
	const badLayout = LayoutTruncated | LayoutMalformed | LayoutRouting
	csumOffset := uint16(TCPChecksumOffset)
	c.udp = false
	switch off.GSOType {
	case GSOTCPv4, GSOTCPv4 | GSOECN:
		if l.Flags&LayoutIPv4 == 0 || l.Proto != ProtoTCP {
			return errGSOType
		}
	case GSOTCPv6, GSOTCPv6 | GSOECN:
		if l.Flags&LayoutIPv6 == 0 || l.Proto != ProtoTCP {
			return errGSOType
		}
	case GSOUDPL4:
		if l.Flags&(LayoutIPv4|LayoutIPv6) == 0 || l.Proto != ProtoUDP {
			return errGSOType
		}
		c.udp, csumOffset = true, UDPChecksumOffset
	case GSONone, GSOECN:
		return errNotGSO
	default:
		return errGSOType
	}
	switch {
	case off.GSOSize == 0:
		return errGSOSize
	case l.Flags&LayoutFragment != 0:
		return errGSOFragment
	case l.Flags&badLayout != 0 || l.Payload == 0 || l.Payload > MaxHeaderLen:
		return errGSOHeaders
	case int(l.End) != len(frame):
		return errGSOLength
	case int(l.Payload) == len(frame):
		return errGSOPayload
	case off.Flags&FlagNeedsCsum != 0 && (off.CsumStart != l.L4 || off.CsumOffset != csumOffset):
		return errGSOCsum
	}
	c.frame = frame
	c.l3, c.l4 = int(l.L3), int(l.L4)
	c.header, c.end = int(l.Payload), len(frame)
	c.size = int(off.GSOSize)
	c.ipv4 = l.Flags&LayoutIPv4 != 0
	if c.size > c.end-c.header {
		c.size = c.end - c.header
	}
	c.count = (c.end - c.header + c.size - 1) / c.size
	if c.count > MaxSegments {
		return errGSOCount
	}
	c.noCsum = false
	l4 := frame[c.l4:c.header]
	if c.udp {
		if int(UDP(l4).Length()) != c.end-c.l4 {
			return errGSOLength
		}
		// Without FlagNeedsCsum a zero field is a sender's wish; with it, a sum.
		c.noCsum = c.ipv4 && off.Flags&FlagNeedsCsum == 0 && UDP(l4).Checksum() == 0
		c.l4Base = uint32(binary.BigEndian.Uint16(l4)) + uint32(binary.BigEndian.Uint16(l4[2:]))
	} else {
		t := TCP(l4)
		if t.Flags()&(TCPSyn|TCPRst) != 0 {
			return errGSOFlags
		}
		c.seq = t.Seq()
		c.word12 = binary.BigEndian.Uint16(l4[12:])
		c.first = firstOnly(off)
		c.l4Base = uint32(foldLE(sumWords(l4)))
		c.l4Base += uint32(^binary.BigEndian.Uint16(l4[4:])) + uint32(^binary.BigEndian.Uint16(l4[6:])) +
			uint32(^c.word12) + uint32(^t.Checksum())
	}
	if c.ipv4 {
		h := IPv4(frame[c.l3:c.l4])
		c.id = h.ID()
		c.ipBase = uint32(foldLE(sumWords(h)))
		c.ipBase += uint32(^h.TotalLen()) + uint32(^c.id) + uint32(^h.Checksum())
		c.l4Base += uint32(PseudoIPv4(h, l.Proto, 0))
	} else {
		c.l4Base += uint32(PseudoIPv6(IPv6(frame[c.l3:]), l.Proto, 0))
	}
	return nil
}

// Count returns the number of segments, at most MaxSegments.
func (c *Cutter) Count() int { return c.count }

// HeaderLen returns the bytes of Ethernet, tags, IP and L4 header that every
// segment has, at most MaxHeaderLen.
func (c *Cutter) HeaderLen() int { return c.header }

// SegmentLen returns the length of segment i in bytes, header and payload.
func (c *Cutter) SegmentLen(i int) int {
	return c.header + min(c.size, c.end-c.header-i*c.size)
}

// Segment writes the header of segment i, HeaderLen bytes with finished lengths
// and checksums, to the front of hdr, and returns the payload that follows it: a
// slice of the superframe. hdr must not overlap the superframe. i counts from 0
// to Count()-1; segments may be asked for in any order. What differs between them:
//   - IPv4 identification: grows by one each
//   - TCP sequence number: grows by the GSO size each
//   - FIN and PSH: on the last only; CWR: on the first only where the offload says
//     GSOECN (RFC 3168 6.1.2), otherwise on all
func (c *Cutter) Segment(i int, hdr []byte) (payload []byte) {
	from := c.header + i*c.size
	to := min(from+c.size, c.end)
	payload = c.frame[from:to:to]
	hdr = hdr[:c.header:c.header]
	copy(hdr, c.frame)
	l4len := c.header - c.l4 + len(payload)

	ip := hdr[c.l3:]
	if c.ipv4 {
		total := uint16(c.l4 - c.l3 + l4len)
		id := c.id + uint16(i)
		ip = ip[:IPv4MinLen]
		binary.BigEndian.PutUint32(ip[2:], uint32(total)<<16|uint32(id))
		binary.BigEndian.PutUint16(ip[10:], ^Fold(c.ipBase+uint32(total)+uint32(id)))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(c.l4-c.l3-IPv6Len+l4len))
	}

	l4 := hdr[c.l4:]
	if c.udp {
		l4 = l4[:UDPLen]
		binary.BigEndian.PutUint16(l4[4:], uint16(l4len))
		var sum uint16
		if !c.noCsum {
			// The length is summed twice: in the pseudo-header and in the UDP header.
			sum = ^Fold(c.l4Base + 2*uint32(l4len) + uint32(foldLE(sumWords(payload))))
			if sum == 0 {
				sum = 0xffff // RFC 768: 0 means that there is none
			}
		}
		binary.BigEndian.PutUint16(l4[6:], sum)
		return payload
	}
	l4 = l4[:TCPMinLen]
	seq := c.seq + uint32(i*c.size)
	word12 := c.word12
	if i != 0 {
		word12 &^= c.first
	}
	if i != c.count-1 {
		word12 &^= TCPFin | TCPPsh
	}
	sum := c.l4Base + seq>>16 + seq&0xffff + uint32(word12) + uint32(l4len) + uint32(foldLE(sumWords(payload)))
	binary.BigEndian.PutUint32(l4[4:], seq)
	binary.BigEndian.PutUint16(l4[12:], word12)
	binary.BigEndian.PutUint16(l4[16:], ^Fold(sum))
	return payload
}
