package cli

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"vtepd/encap"
)

// craft is a frame to be made. It is written out by hand because gopacket's layers would double the time that every vtepctl takes to start (3.1 to 6.2 ms).
type craft struct {
	dst, src uint64 // MACs
	tci      uint16 // of its tag, where tagged
	tagged   bool
	// arp and ip exclude each other; neither: the frame holds nothing that anybody understands.
	arp, ip  bool
	proto    uint8 // encap.ProtoUDP, ProtoTCP, ProtoICMP
	from, to netip.Addr
	sport    uint16
	dport    uint16
	tos, ttl uint8
	size     int // bytes of the frame without FCS; 0: as few as there may be
}

const (
	// etherTypeExperimental is what IEEE gives to experiments on a local network (802-2014 9.2.4).
	etherTypeExperimental = 0x88b5
	// ipv4Len is an IPv4 header without options, in bytes (RFC 791 section 3.1).
	ipv4Len = 20
	// minFrame is the least that Ethernet carries, in bytes without FCS (802.3 4.2.3.3).
	minFrame = 60
)

// errSize: there is not even room for the headers.
var errSize = errors.New("too short for its headers")

// frame makes the frame. Checksums are right, and the payload is zeros.
func (c *craft) frame() ([]byte, error) {
	b := make([]byte, 0, minFrame)
	b = append(b, mac48(c.dst)...)
	b = append(b, mac48(c.src)...)
	if c.tagged {
		b = binary.BigEndian.AppendUint16(b, encap.EtherTypeVLAN)
		b = binary.BigEndian.AppendUint16(b, c.tci)
	}
	headers := len(b) + 2
	switch {
	case c.arp:
		headers += arpLen
	case c.ip:
		headers += c.ipLen() + transportLen(c.proto)
	}
	size := c.size
	if size == 0 {
		size = max(minFrame, headers)
	}
	if size < headers {
		return nil, fmt.Errorf("%d bytes: it takes %d at least: %w", size, headers, errSize)
	}
	switch {
	case c.arp:
		b = c.putARP(b)
	case c.ip:
		return c.putIP(b, size), nil
	default:
		b = binary.BigEndian.AppendUint16(b, etherTypeExperimental)
	}
	return append(b, make([]byte, size-len(b))...), nil
}

func mac48(m uint64) []byte { return binary.BigEndian.AppendUint64(nil, m<<16)[:6] }

// arpLen is an ARP packet for IPv4 over Ethernet, in bytes (RFC 826).
const arpLen = 28

// putARP appends a question for the address to, from the station that has from.
func (c *craft) putARP(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, encap.EtherTypeARP)
	b = append(b, 0, 1, 0x08, 0, 6, 4, 0, 1)
	b = append(b, mac48(c.src)...)
	b = append(b, c.from.AsSlice()...)
	b = append(b, make([]byte, 6)...)
	return append(b, c.to.AsSlice()...)
}

func (c *craft) ipLen() int {
	if c.from.Is6() {
		return encap.IPv6Len
	}
	return ipv4Len
}

// transportLen is the length of the headers that are made, in bytes.
func transportLen(proto uint8) int {
	if proto == encap.ProtoTCP {
		return 20
	}
	return 8
}

func (c *craft) putIP(b []byte, size int) []byte {
	v6 := c.from.Is6()
	proto := c.proto
	length := size - len(b) - 2 - c.ipLen() // of what follows the IP header
	var l3 int
	if v6 {
		if proto == encap.ProtoICMP {
			proto = encap.ProtoICMPv6
		}
		b = binary.BigEndian.AppendUint16(b, encap.EtherTypeIPv6)
		l3 = len(b)
		b = binary.BigEndian.AppendUint32(b, 6<<28|uint32(c.tos)<<20)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, proto, c.ttl)
	} else {
		b = binary.BigEndian.AppendUint16(b, encap.EtherTypeIPv4)
		l3 = len(b)
		b = append(b, 0x45, c.tos)
		b = binary.BigEndian.AppendUint16(b, uint16(ipv4Len+length))
		b = append(b, 0, 0, 0x40, 0, c.ttl, proto, 0, 0) // DF
	}
	b = append(b, c.from.AsSlice()...)
	b = append(b, c.to.AsSlice()...)
	l4 := len(b)
	b = append(b, make([]byte, length)...)
	if !v6 {
		encap.IPv4(b[l3:]).SetChecksum(encap.Checksum(b[l3:l4], 0))
	}
	c.putTransport(b, l3, l4, proto)
	return b
}

// putTransport writes the header at l4 into zeros: the first segment after a handshake, a datagram, or an echo request.
func (c *craft) putTransport(b []byte, l3, l4 int, proto uint8) {
	p := b[l4:]
	var field int
	var pseudo uint16
	if c.from.Is6() {
		pseudo = encap.PseudoIPv6(encap.IPv6(b[l3:]), proto, uint32(len(p)))
	} else {
		pseudo = encap.PseudoIPv4(encap.IPv4(b[l3:]), proto, uint16(len(p)))
	}
	switch proto {
	case encap.ProtoTCP:
		binary.BigEndian.PutUint16(p, c.sport)
		binary.BigEndian.PutUint16(p[2:], c.dport)
		p[12], p[13] = 5<<4, 0x10 // ACK
		binary.BigEndian.PutUint16(p[14:], 0xffff)
		field = int(encap.TCPChecksumOffset)
	case encap.ProtoUDP:
		binary.BigEndian.PutUint16(p, c.sport)
		binary.BigEndian.PutUint16(p[2:], c.dport)
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)))
		field = int(encap.UDPChecksumOffset)
	case encap.ProtoICMP:
		p[0], pseudo, field = 8, 0, 2
	case encap.ProtoICMPv6:
		p[0], field = 128, 2
	}
	sum := encap.Checksum(p, pseudo)
	if sum == 0 && proto == encap.ProtoUDP {
		sum = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(p[field:], sum)
}
