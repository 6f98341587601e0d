package encap

import "encoding/binary"

// OffloadLen is the length of struct virtio_net_hdr in bytes.
const OffloadLen = 10

// Bits of Offload.Flags (include/uapi/linux/virtio_net.h).
const (
	FlagNeedsCsum = 1 // the L4 checksum field holds the pseudo-header sum; the rest is still to be added
	FlagDataValid = 2 // the L4 checksum has been verified
)

// Values of Offload.GSOType (include/uapi/linux/virtio_net.h).
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOUDP   = 3 // UFO: one datagram to be fragmented by IP; vtepd never asks for it
	GSOTCPv6 = 4
	GSOUDPL4 = 5    // USO: datagrams of GSOSize payload bytes each
	GSOECN   = 0x80 // a bit beside the TCP types: CWR is for the first segment only
)

// Offload is struct virtio_net_hdr, which stands in front of every frame on a
// TAP device that has IFF_VNET_HDR, and of every frame on a packet socket that has
// PACKET_VNET_HDR. Fields are in host byte order unless TUNSETVNETLE or
// TUNSETVNETBE was called, which vtepd never does. The zero Offload belongs to a
// plain, finished frame.
//
//	 0        1          2          4          6            8
//	+--------+----------+----------+----------+------------+-------------+
//	| Flags  | GSOType  |  HdrLen  | GSOSize  | CsumStart  | CsumOffset  |
//	+--------+----------+----------+----------+------------+-------------+
//	  u8       u8         u16        u16        u16          u16
type Offload struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16 // bytes of Ethernet, VLAN, IP and L4 header; only a hint, never trusted
	GSOSize    uint16 // payload bytes a segment
	CsumStart  uint16 // bytes from the start of the frame to where the checksum begins
	CsumOffset uint16 // bytes from CsumStart to the checksum field
}

// Decode reads the OffloadLen bytes at the front of b. Any bytes decode; whether
// they agree with the frame behind them is for Cutter.Init and FinishChecksum to
// find out.
func (o *Offload) Decode(b []byte) {
	_ = b[OffloadLen-1]
	o.Flags = b[0]
	o.GSOType = b[1]
	o.HdrLen = binary.NativeEndian.Uint16(b[2:])
	o.GSOSize = binary.NativeEndian.Uint16(b[4:])
	o.CsumStart = binary.NativeEndian.Uint16(b[6:])
	o.CsumOffset = binary.NativeEndian.Uint16(b[8:])
}

// Encode writes the OffloadLen bytes at the front of b.
func (o Offload) Encode(b []byte) {
	_ = b[OffloadLen-1]
	b[0] = o.Flags
	b[1] = o.GSOType
	binary.NativeEndian.PutUint16(b[2:], o.HdrLen)
	binary.NativeEndian.PutUint16(b[4:], o.GSOSize)
	binary.NativeEndian.PutUint16(b[6:], o.CsumStart)
	binary.NativeEndian.PutUint16(b[8:], o.CsumOffset)
}

const (
	// linearLen in bytes: how much of a long frame without unfinished checksum the
	// kernel is asked to keep in the linear part of its buffer. Left to itself it
	// would look for the whole length in one piece (tun_alloc_skb, packet_alloc_skb).
	linearLen = 128
	// shortFrame in bytes: up to here the kernel builds the buffer around one page
	// (tun_can_build_skb) and needs no such advice.
	shortFrame = 3072
)

// Advise sets HdrLen to what the kernel had best make linear of its buffer for a
// frame of total bytes that it is given; the rest becomes pages. head is the front of
// the frame. With an unfinished checksum it should hold all headers: their length is
// read from there and not from HdrLen, which is wrong more often than not.
func (o *Offload) Advise(head []byte, total int) {
	switch {
	case o.NeedsChecksum():
		o.HdrLen = o.headerLen(head)
	case total > shortFrame:
		o.HdrLen = linearLen
	default:
		o.HdrLen = 0
	}
}

// headerLen is the length of Ethernet, VLAN, IP and transport header, in bytes. The
// checksum offset tells TCP (16) from UDP (6).
func (o *Offload) headerLen(head []byte) uint16 {
	const tcpDataOffset = 12
	start := int(o.CsumStart)
	end := start + int(o.CsumOffset) + 2
	if o.CsumOffset == TCPChecksumOffset && start+tcpDataOffset < len(head) {
		end = max(end, start+int(head[start+tcpDataOffset]>>4)*4)
	}
	return uint16(min(end, 65535))
}

// IsGSO says whether the frame is a superframe, to be cut before it meets a wire.
func (o Offload) IsGSO() bool { return o.GSOType&^GSOECN != GSONone }

// NeedsChecksum says whether the frame's L4 checksum is unfinished.
func (o Offload) NeedsChecksum() bool { return o.Flags&FlagNeedsCsum != 0 }

// ChangesHeaders says whether to finish the checksum would change what l found of the
// frame's headers, other than the checksum field of its own TCP or UDP header. No stack
// asks for that. Whoever judges a frame by headers that are written to afterwards, at a
// place and with a value that the sender chose, has judged another frame.
func (o Offload) ChangesHeaders(l *Layout) bool {
	if !o.NeedsChecksum() {
		return false
	}
	field := int(o.CsumStart) + int(o.CsumOffset)
	switch {
	case l.Payload != 0:
		return !o.ownChecksum(l) && field < int(l.Payload)
	case l.L4 != 0:
		return field < int(l.L4)
	case l.EtherType == EtherTypeIPv4, l.EtherType == EtherTypeIPv6:
		return true // a later fragment, or headers that were not understood: what may be written to is not known
	}
	return field < int(l.L3)
}

// ownChecksum says whether the unfinished checksum is that of the frame's own TCP or UDP header, which l has found complete, and not one further inside.
func (o Offload) ownChecksum(l *Layout) bool {
	return o.CsumStart == l.L4 && (l.Proto == ProtoTCP && o.CsumOffset == TCPChecksumOffset || l.Proto == ProtoUDP && o.CsumOffset == UDPChecksumOffset)
}

// firstOnly returns the TCP flags that only the first segment of a superframe has.
// CWR without GSOECN is a bit of Accurate ECN's counter (RFC 9768 3.2.2), which the
// segments of a superframe have in common: Linux keeps it apart as
// SKB_GSO_TCP_ACCECN, for which a virtio-net header has no word.
func firstOnly(off Offload) uint16 {
	if off.GSOType&GSOECN != 0 {
		return TCPCwr
	}
	return 0
}
