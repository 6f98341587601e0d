package encap

import "encoding/binary"

// ICMP messages that concern the path MTU, and the bounds of what they say.
const (
	ICMPUnreachable         = 3    // RFC 792
	ICMPFragmentationNeeded = 4    // code of ICMPUnreachable: larger than the next hop takes, and DF is set
	ICMPv6PacketTooBig      = 2    // RFC 4443 3.2
	IPv4MinMTU              = 68   // bytes every IPv4 link carries (RFC 791 3.2)
	IPv6MinMTU              = 1280 // bytes every IPv6 link carries (RFC 8200 5)

	// MaxTooBigLen bounds what TooBig writes, in bytes: Ethernet, two tags and an IPv6 packet of IPv6MinMTU.
	MaxTooBigLen = EthernetLen + 2*VLANTagLen + IPv6MinMTU

	maxTooBig4  = 576 // bytes of an ICMP error over IPv4 (RFC 1812 4.3.2.3)
	leastQuote4 = 8   // bytes behind the quoted IP header that the sender's transport needs (RFC 792)
	tooBigHops  = 64  // TTL or hop limit: the answer may have a router to pass inside the segment
)

// TooBig writes to buf the frame that tells the sender of another frame that a way carries mtu bytes of IP packet at most:
// ICMP "fragmentation needed" (RFC 792, RFC 1191 4) or ICMPv6 "packet too big" (RFC 4443 3.2). It speaks in the name of the destination, as
// Linux does for bridged tunnels (iptunnel_pmtud_build_icmp, net/ipv4/ip_tunnel_core.c): MAC and IP addresses change places, tags stay.
//
//	Ethernet, tags │ IPv4 20 or IPv6 40 │ ICMP 8 │ the packet's first bytes
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|    Type 3     |    Code 4     |           Checksum            |   ICMP
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|               0               |         Next-hop MTU          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|    Type 2     |    Code 0     |           Checksum            |   ICMPv6
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                              MTU                              |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// head and rest together are the frame that did not fit, without padding behind its IP packet; of a superframe they are one segment. l is the
// layout of that frame, or of the superframe. All headers lie in head. buf must not overlap them.
//
// IPv4 packets without DF get an answer like those with it. A router would fragment them, and the kernel's tunnels fragment the outer packet, which RFC
// 7348 4.3 forbids: here they are lost, and the sender's host is the only one that can fragment. Linux does so for all that it sends from then on,
// its echo replies included, which never have DF.
//
// The result is the length written, which is bounded by len(buf), by MaxTooBigLen, and over IPv4 by 576 bytes of packet. It is 0 where there
// must be no answer:
//   - to what is not IP, is cut short or contradicts itself
//   - to ICMP errors and redirects, and to fragments other than the first (RFC 1122 3.2.2, RFC 4443 2.4)
//   - to group addresses and broadcast, and from addresses that name no single host
//   - with an MTU that every link must carry: below IPv4MinMTU or IPv6MinMTU
func TooBig(buf, head, rest []byte, l *Layout, mtu int) int {
	const unfit = LayoutTruncated | LayoutMalformed
	l3 := int(l.L3)
	if l3 == 0 || l.L4 == 0 || l.Flags&unfit != 0 || mtu > 0xffff || len(buf) < l3 || int(l.L4) > len(head) {
		return 0
	}
	e := Ethernet(head)
	if src := e.Src(); MulticastMAC(e.Dst()) || MulticastMAC(src) || src == 0 {
		return 0
	}
	packet, out := head[l3:], buf[l3:]
	var n int
	switch {
	case l.Flags&LayoutIPv4 != 0:
		n = tooBig4(out, packet, rest, int(l.L4)-l3, l.Proto, mtu)
	case l.Flags&LayoutIPv6 != 0:
		n = tooBig6(out, packet, rest, int(l.L4)-l3, l.Proto, mtu)
	}
	if n == 0 {
		return 0
	}
	Ethernet(buf).SetDst(e.Src())
	Ethernet(buf).SetSrc(e.Dst())
	copy(buf[12:l3], head[12:l3])
	return l3 + n
}

// station4 says whether an address can be that of a station: not 0/8, 127/8, 224/4 (multicast), nor 240/4 (reserved, broadcast) (RFC 1122 section 3.2.1.3).
func station4(a [4]byte) bool { return a[0] != 0 && a[0] != 127 && a[0] < 224 }

// station6 is station4 for IPv6: not ::, ::1 or ff00::/8 (RFC 4291 section 2).
func station6(a [16]byte) bool { return a != [16]byte{} && a != [16]byte{15: 1} && a[0] != 0xff }

// tooBig4 writes the packet; l4 counts from the start of the one to quote.
func tooBig4(out, packet, rest []byte, l4 int, proto uint8, mtu int) int {
	h := IPv4(packet)
	src, dst := h.Src(), h.Dst()
	if mtu < IPv4MinMTU || h.Fragment()&^(IPv4DontFragment|IPv4MoreFragments) != 0 ||
		!station4(src) || !station4(dst) {
		return 0
	}
	if proto == ProtoICMP && (l4 >= len(packet) || icmpError(packet[l4])) {
		return 0
	}
	const headers = IPv4MinLen + ICMPLen
	n := min(len(out), maxTooBig4)
	if n < headers+l4+leastQuote4 {
		return 0
	}
	n = headers + copyBoth(out[headers:n], packet, rest)

	out = out[:n]
	clear(out[:headers])
	out[0] = 4<<4 | IPv4MinLen/4
	IPv4(out).SetTotalLen(uint16(n))
	binary.BigEndian.PutUint16(out[6:], IPv4DontFragment)
	out[8], out[9] = tooBigHops, ProtoICMP
	copy(out[12:], dst[:])
	copy(out[16:], src[:])
	IPv4(out).SetChecksum(Checksum(out[:IPv4MinLen], 0))

	m := out[IPv4MinLen:]
	m[0], m[1] = ICMPUnreachable, ICMPFragmentationNeeded
	binary.BigEndian.PutUint16(m[6:], uint16(mtu))
	binary.BigEndian.PutUint16(m[2:], Checksum(m, 0))
	return n
}

// tooBig6 is tooBig4 for IPv6.
func tooBig6(out, packet, rest []byte, l4 int, proto uint8, mtu int) int {
	h := IPv6(packet)
	src, dst := h.Src(), h.Dst()
	if mtu < IPv6MinMTU || !station6(src) || !station6(dst) {
		return 0
	}
	if proto == ProtoICMPv6 && (l4 >= len(packet) || icmp6Error(packet[l4])) {
		return 0
	}
	const headers = IPv6Len + ICMPLen
	n := min(len(out), IPv6MinMTU)
	if n < headers+l4+leastQuote4 {
		return 0
	}
	n = headers + copyBoth(out[headers:n], packet, rest)

	out = out[:n]
	clear(out[:headers])
	out[0] = 6 << 4
	IPv6(out).SetPayloadLen(uint16(n - IPv6Len))
	out[6], out[7] = ProtoICMPv6, tooBigHops
	copy(out[8:], dst[:])
	copy(out[24:], src[:])

	m := out[IPv6Len:]
	m[0] = ICMPv6PacketTooBig
	binary.BigEndian.PutUint32(m[4:], uint32(mtu))
	binary.BigEndian.PutUint16(m[2:], Checksum(m, PseudoIPv6(IPv6(out), ProtoICMPv6, uint32(len(m)))))
	return n
}

// copyBoth copies a and then b, as much as fits, and returns how much that was.
func copyBoth(to, a, b []byte) int {
	n := copy(to, a)
	return n + copy(to[n:], b)
}

// icmpError says whether an ICMP type is an error or a redirect (RFC 1122 3.2.2): unreachable, source quench, redirect, time exceeded, parameter
// problem.
func icmpError(kind uint8) bool {
	return kind >= ICMPUnreachable && kind <= 5 || kind == 11 || kind == 12
}

// icmp6Error says whether an ICMPv6 type is an error (RFC 4443 2.1) or a redirect (RFC 4861 4.5).
func icmp6Error(kind uint8) bool { return kind < 128 || kind == 137 }
