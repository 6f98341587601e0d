// Package encaptest builds frames for tests: Ethernet, 802.1Q, ARP, IPv4, IPv6, TCP,
// UDP and ICMP, with right checksums, and wrong ones on request. It computes sums
// with a plain reference of its own, so that a mistake in package encap cannot
// hide in the frames it is tested with. It knows nothing about sockets or devices
// and is not meant to be fast.
package encaptest

import (
	"encoding/binary"
	"net/netip"

	"vtepd/encap"
)

// Addresses that a Packet has when it names none: locally administered MACs and
// documentation prefixes (RFC 5737, RFC 3849).
var (
	SrcMAC = uint64(0x02_00_00_00_00_01)
	DstMAC = uint64(0x02_00_00_00_00_02)
	Src4   = netip.MustParseAddr("192.0.2.1")
	Dst4   = netip.MustParseAddr("198.51.100.2")
	Src6   = netip.MustParseAddr("2001:db8::1")
	Dst6   = netip.MustParseAddr("2001:db8:1::2")
)

// Extension is an IPv6 extension header. Body is the whole header; its first byte,
// the next header, is filled in.
type Extension struct {
	Proto uint8
	Body  []byte
}

// Packet describes a frame. Zero addresses, ports, TTL and window take usable
// values; everything else means what it says.
type Packet struct {
	SrcMAC, DstMAC uint64
	Tags           []uint16 // TCIs, the outermost first; of several the first is an 802.1ad tag
	EtherType      uint16   // of a frame without IP header; Payload follows

	V6         bool
	Src, Dst   netip.Addr
	TOS        uint8 // DSCP and ECN, traffic class for IPv6
	TTL        uint8
	ID         uint16
	Fragment   uint16 // IPv4 flags and offset
	Options    []byte // IPv4 options, a multiple of 4 bytes
	FlowLabel  uint32
	Extensions []Extension

	Proto            uint8 // 0 and ProtoTCP, ProtoUDP, ProtoICMP(v6), or anything else with bare Payload
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Flags            uint8 // TCP
	Reserved         uint8 // TCP, the low nibble beside the data offset
	Window           uint16
	Urgent           uint16
	TCPOptions       []byte // a multiple of 4 bytes
	Type, Code       uint8  // ICMP
	Rest             uint32 // ICMP, identifier and sequence

	Payload []byte
	Pad     int // least length of the frame; zeros behind the IP packet fill it up

	BadIPChecksum bool // IPv4 header
	BadChecksum   bool // TCP, UDP, ICMP
	NoChecksum    bool // UDP: 0
}

// Timestamps returns the 12 bytes of TCP options that nearly every segment carries:
// two NOPs and a timestamp (RFC 7323 appendix A).
func Timestamps(val, ecr uint32) []byte {
	b := []byte{1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], val)
	binary.BigEndian.PutUint32(b[8:], ecr)
	return b
}

// Payload returns n bytes that look random, the same for the same seed.
func Payload(n int, seed uint64) []byte {
	b := make([]byte, n)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}

// ReferenceSum is the one's complement sum of RFC 1071 as plainly as it can be
// written: 16-bit words in the order of the wire, carries added back at once.
func ReferenceSum(b []byte, initial uint16) uint16 {
	sum := uint32(initial)
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		sum += w
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

// Frame returns the frame with finished checksums.
func (p Packet) Frame() []byte {
	f, _ := p.build(false)
	return f
}

// Superframe returns the frame as a sender with segmentation offload hands it over:
// the L4 checksum field holds the sum of the pseudo-header, and the Offload asks for
// segments of gsoSize payload bytes. gsoSize 0 asks for the checksum only.
func (p Packet) Superframe(gsoSize uint16) ([]byte, encap.Offload) {
	f, l4 := p.build(true)
	off := encap.Offload{Flags: encap.FlagNeedsCsum, GSOSize: gsoSize, CsumStart: uint16(l4)}
	switch or(p.Proto, encap.ProtoTCP) {
	case encap.ProtoTCP:
		off.CsumOffset = encap.TCPChecksumOffset
		off.HdrLen = uint16(l4 + encap.TCPMinLen + len(p.TCPOptions))
		off.GSOType = encap.GSOTCPv4
		if p.V6 {
			off.GSOType = encap.GSOTCPv6
		}
		if p.Flags&encap.TCPCwr != 0 {
			off.GSOType |= encap.GSOECN
		}
	case encap.ProtoUDP:
		off.CsumOffset = encap.UDPChecksumOffset
		off.HdrLen = uint16(l4 + encap.UDPLen)
		off.GSOType = encap.GSOUDPL4
	default:
		panic("encaptest: superframe of neither TCP nor UDP")
	}
	if gsoSize == 0 {
		off.GSOType, off.HdrLen = encap.GSONone, 0
	}
	return f, off
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (p Packet) build(partial bool) (frame []byte, l4 int) {
	f := encap.Ethernet(make([]byte, 0, 64+len(p.Payload)+p.Pad))
	f = f[:12]
	f.SetDst(or(p.DstMAC, DstMAC))
	f.SetSrc(or(p.SrcMAC, SrcMAC))
	for i, tci := range p.Tags {
		tpid := uint16(encap.EtherTypeVLAN)
		if i == 0 && len(p.Tags) > 1 {
			tpid = encap.EtherTypeQinQ
		}
		f = binary.BigEndian.AppendUint16(f, tpid)
		f = binary.BigEndian.AppendUint16(f, tci)
	}
	switch {
	case p.EtherType != 0:
		f = binary.BigEndian.AppendUint16(f, p.EtherType)
		f = append(f, p.Payload...)
	case p.V6:
		f = binary.BigEndian.AppendUint16(f, encap.EtherTypeIPv6)
		f, l4 = p.ipv6(f, partial)
	default:
		f = binary.BigEndian.AppendUint16(f, encap.EtherTypeIPv4)
		f, l4 = p.ipv4(f, partial)
	}
	for len(f) < p.Pad {
		f = append(f, 0)
	}
	return f, l4
}

func (p Packet) ipv4(f []byte, partial bool) ([]byte, int) {
	src, dst := or(p.Src, Src4).As4(), or(p.Dst, Dst4).As4()
	at := len(f)
	hlen := encap.IPv4MinLen + len(p.Options)
	l4 := p.transport(or(p.Proto, encap.ProtoTCP), src[:], dst[:], partial)
	f = append(f, 0x40|byte(hlen/4), p.TOS)
	f = binary.BigEndian.AppendUint16(f, uint16(hlen+len(l4)))
	f = binary.BigEndian.AppendUint16(f, p.ID)
	f = binary.BigEndian.AppendUint16(f, p.Fragment)
	f = append(f, or(p.TTL, 64), or(p.Proto, encap.ProtoTCP), 0, 0)
	f = append(append(append(f, src[:]...), dst[:]...), p.Options...)
	sum := ^ReferenceSum(f[at:], 0)
	if p.BadIPChecksum {
		sum ^= 0x0101
	}
	binary.BigEndian.PutUint16(f[at+10:], sum)
	return append(f, l4...), at + hlen
}

func (p Packet) ipv6(f []byte, partial bool) ([]byte, int) {
	src, dst := or(p.Src, Src6).As16(), or(p.Dst, Dst6).As16()
	proto := or(p.Proto, encap.ProtoTCP)
	l4 := p.transport(proto, src[:], dst[:], partial)
	var ext []byte
	first := proto
	if len(p.Extensions) > 0 {
		first = p.Extensions[0].Proto
	}
	for i, e := range p.Extensions {
		at := len(ext)
		ext = append(ext, e.Body...)
		ext[at] = proto
		if i+1 < len(p.Extensions) {
			ext[at] = p.Extensions[i+1].Proto
		}
	}
	f = binary.BigEndian.AppendUint32(f, 6<<28|uint32(p.TOS)<<20|p.FlowLabel&0xfffff)
	f = binary.BigEndian.AppendUint16(f, uint16(len(ext)+len(l4)))
	f = append(f, first, or(p.TTL, 64))
	f = append(append(append(f, src[:]...), dst[:]...), ext...)
	return append(f, l4...), len(f)
}

// transport returns the L4 header and the payload.
func (p Packet) transport(proto uint8, src, dst []byte, partial bool) []byte {
	var h []byte
	field := 0
	sport, dport := or(p.SrcPort, 40000), or(p.DstPort, 5201)
	switch proto {
	case encap.ProtoTCP:
		field = encap.TCPChecksumOffset
		h = binary.BigEndian.AppendUint16(h, sport)
		h = binary.BigEndian.AppendUint16(h, dport)
		h = binary.BigEndian.AppendUint32(h, p.Seq)
		h = binary.BigEndian.AppendUint32(h, p.Ack)
		h = append(h, byte((encap.TCPMinLen+len(p.TCPOptions))/4)<<4|p.Reserved&15, p.Flags)
		h = binary.BigEndian.AppendUint16(h, or(p.Window, 512))
		h = append(h, 0, 0)
		h = binary.BigEndian.AppendUint16(h, p.Urgent)
		h = append(h, p.TCPOptions...)
	case encap.ProtoUDP:
		field = encap.UDPChecksumOffset
		h = binary.BigEndian.AppendUint16(h, sport)
		h = binary.BigEndian.AppendUint16(h, dport)
		h = binary.BigEndian.AppendUint16(h, uint16(encap.UDPLen+len(p.Payload)))
		h = append(h, 0, 0)
	case encap.ProtoICMP, encap.ProtoICMPv6:
		field = 2
		h = append(h, p.Type, p.Code, 0, 0)
		h = binary.BigEndian.AppendUint32(h, p.Rest)
	default:
		return p.Payload
	}
	b := append(h, p.Payload...)
	var pseudo uint16
	if proto != encap.ProtoICMP {
		pseudo = ReferenceSum(src, pseudo)
		pseudo = ReferenceSum(dst, pseudo)
		pseudo = ReferenceSum([]byte{byte(len(b) >> 8), byte(len(b)), 0, proto}, pseudo)
	}
	sum := ^ReferenceSum(b, pseudo)
	switch {
	case partial:
		sum = pseudo
	case p.BadChecksum:
		sum ^= 0x0101
	case p.NoChecksum:
		sum = 0
	case proto == encap.ProtoUDP && sum == 0:
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[field:], sum)
	return b
}

// ARPRequest returns a broadcast request of srcMAC at src for dst, 42 bytes.
func ARPRequest(srcMAC uint64, src, dst netip.Addr) []byte {
	body := encap.ARP(make([]byte, encap.ARPLen))
	body.Encode(encap.ARPRequest, srcMAC, src.As4(), 0, dst.As4())
	return Packet{DstMAC: encap.MACMask, SrcMAC: srcMAC, EtherType: encap.EtherTypeARP, Payload: body}.Frame()
}
