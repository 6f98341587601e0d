package encap

import "encoding/binary"

// Hop-by-hop options header with nothing but a jumbo payload (RFC 2675 2). Linux
// puts it in front of TCP superframes over IPv6 of more than 64 KiB (ip6_xmit), and
// takes it off before a wire sees it.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Next Header  | Hdr Ext Len 0 |  Option 0xC2  | Opt Length 4  |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|          Payload length, this header included                 |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	jumboLen  = 8        // bytes
	jumboFace = 0x00c204 // its first word without next header
)

// maxDivided in bytes bounds what Next gives, with its Ethernet header and a tag more
// than it has: Linux cuts in software what reaches gso_max_size of a device, which is
// 65536 (netif_skb_features). maxIPLen is what an IPv4 header can state, for segments
// that are larger.
const (
	maxDivided = 65535 - VLANTagLen
	maxIPLen   = 65535
)

// Divider divides a TCP superframe of more than 64 KiB (BIG TCP: Linux 5.19 over
// IPv6, 6.3 over IPv4), whose length its IP header does not state, into superframes
// that are as any other. An IPv6 header does state up to 65535 bytes behind it, which
// are more than 64 KiB with it, and are divided, too. The zero Divider is ready for
// Init and may be used again. It is for one goroutine.
type Divider struct {
	payload []byte
	off     Offload
	l3, l4  int
	header  int // bytes
	step    int // payload bytes of each but the last
	done    int // payload bytes of those that Next has given
	seq     uint32
	id      uint16
	ipv4    bool
	head    [MaxHeaderLen + jumboLen]byte
}

// Init prepares the dividing of frame, which must stay unchanged until Next has
// given all. It believes no more of off than Cutter.Init does. The error is
// ErrBadOffload with a reason and does not allocate.
func (d *Divider) Init(frame []byte, off Offload) error {
	head := d.head[:copy(d.head[:], frame)]
	var l Layout
	l.Parse(head)
	removed := 0
	switch {
	case off.GSOType&^GSOECN == GSOTCPv4 && l.Flags&LayoutIPv4 != 0:
		if n := int(IPv4(head[l.L3:]).TotalLen()); n != 0 && n != len(frame)-int(l.L3) {
			return errGSOLength
		}
		IPv4(head[l.L3:]).SetTotalLen(uint16(len(head) - int(l.L3)))
	case off.GSOType&^GSOECN == GSOTCPv6 && l.Flags&LayoutIPv6 != 0:
		rest := len(frame) - int(l.L3) - IPv6Len
		ip := IPv6(head[l.L3:])
		stated := int(ip.PayloadLen())
		if stated != 0 && stated != rest {
			return errGSOLength
		}
		if stated == 0 && ip.NextHeader() == ProtoHopByHop {
			if len(ip) < IPv6Len+jumboLen {
				return errGSOHeaders
			}
			jumbo := ip[IPv6Len:]
			if binary.BigEndian.Uint32(jumbo)&0xffffff != jumboFace || binary.BigEndian.Uint32(jumbo[4:]) != uint32(rest) {
				return errGSOLength
			}
			ip[6] = jumbo[0]
			removed = jumboLen
			head = append(head[:int(l.L3)+IPv6Len], jumbo[jumboLen:]...)
			ip = head[l.L3:]
		}
		ip.SetPayloadLen(uint16(len(ip) - IPv6Len))
	default:
		return errGSOType
	}
	l.Parse(head)
	switch {
	case l.Proto != ProtoTCP:
		return errGSOType
	case l.Flags&LayoutFragment != 0:
		return errGSOFragment
	case l.Flags&(LayoutTruncated|LayoutMalformed|LayoutRouting) != 0 || l.Payload == 0 || l.Payload > MaxHeaderLen:
		return errGSOHeaders
	case off.NeedsChecksum() && (int(off.CsumStart) != int(l.L4)+removed || off.CsumOffset != TCPChecksumOffset):
		return errGSOCsum
	}
	t := TCP(head[l.L4:])
	if t.Flags()&(TCPSyn|TCPRst) != 0 {
		return errGSOFlags
	}
	d.l3, d.l4, d.header = int(l.L3), int(l.L4), int(l.Payload)
	d.ipv4 = l.Flags&LayoutIPv4 != 0
	d.payload = frame[d.header+removed:]
	if len(d.payload) == 0 {
		return errGSOPayload
	}
	if off.GSOSize == 0 {
		return errGSOSize
	}
	size := int(off.GSOSize)
	switch n := (maxDivided - d.header) / size; {
	case n > MaxSegments: // what is smaller would be refused for it
		return errGSOCount
	case n > 0:
		d.step = n * size
	case size <= maxIPLen-d.header+d.l3:
		d.step = size
	default:
		return errGSOSize
	}
	d.done = 0
	d.seq = t.Seq()
	if d.ipv4 {
		d.id = IPv4(head[d.l3:]).ID()
	}
	d.off = off
	d.off.Flags |= FlagNeedsCsum
	d.off.CsumStart, d.off.CsumOffset = l.L4, TCPChecksumOffset
	d.off.HdrLen = l.Payload
	return nil
}

// Count returns the number of superframes that Next gives in all.
func (d *Divider) Count() int { return (len(d.payload) + d.step - 1) / d.step }

// Next writes the next superframe to the front of dst, which must not overlap the one
// that is divided and has room for 64 KiB and an Ethernet header with two tags. It
// returns its length, 0 when there are no more. Its checksum is unfinished, and is so
// where the one that is divided had a finished one. What differs between them is what
// Cutter.Segment names; the last may be no superframe but a plain segment.
func (d *Divider) Next(dst []byte) (n int, off Offload) {
	part := d.payload[d.done:min(d.done+d.step, len(d.payload))]
	if len(part) == 0 {
		return 0, Offload{}
	}
	n = copy(dst, d.head[:d.header])
	n += copy(dst[n:], part)
	t := TCP(dst[d.l4:n])
	length := n - d.l4
	var pseudo uint16
	if d.ipv4 {
		ip := IPv4(dst[d.l3:d.l4])
		ip.SetTotalLen(uint16(n - d.l3))
		ip.SetID(d.id + uint16(d.done/int(d.off.GSOSize)))
		ip.SetChecksum(0)
		ip.SetChecksum(^foldLE(sumWords(ip)))
		pseudo = PseudoIPv4(ip, ProtoTCP, uint16(length))
	} else {
		ip := IPv6(dst[d.l3:n])
		ip.SetPayloadLen(uint16(n - d.l3 - IPv6Len))
		pseudo = PseudoIPv6(ip, ProtoTCP, uint32(length))
	}
	binary.BigEndian.PutUint32(t[4:], d.seq+uint32(d.done))
	if d.done != 0 {
		t[13] &^= uint8(firstOnly(d.off))
	}
	d.done += len(part)
	if d.done != len(d.payload) {
		t[13] &^= TCPFin | TCPPsh
	}
	t.SetChecksum(pseudo)
	off = d.off
	if len(part) <= int(off.GSOSize) {
		off.GSOType, off.GSOSize = GSONone, 0
	}
	return n, off
}
