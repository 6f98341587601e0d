package dataplane

import (
	"encoding/binary"

	"vtepd/encap"
)

// seams says what may be believed of a message that the kernel calls several datagrams of one size.
//
// Mostly they were joined on the way in (UDP GRO). But a VTEP of the same machine's kernel wraps a superframe of UDP up whole, and a veth pair does not cut it:
// the kernel then tells the receiving socket the size of the datagrams inside, as if it had joined as many outside (udp_cmsg_recv), and what lies at the seams
// is the sender's payload. Taken for datagrams, it would let any station write VXLAN headers.
type seams uint8

const (
	seamsHold     seams = iota // datagrams
	seamsOfOneVNI              // datagrams, or what a station wrote: nothing of another VNI than the first one's is believed
	seamsForged                // no datagrams, or the first one lies about its length
)

// EtherTypes through which the kernel looks for the UDP header that it wants in a superframe of UDP (__skb_flow_dissect), and this switch does not.
const (
	etherTypePPPoE  = 0x8864 // RFC 2516
	etherTypeBATMAN = 0x4305
	etherTypePRP    = 0x88fb // IEC 62439-3
	etherTypeHSR    = 0x892f
)

// seamsOf looks at the first of the datagrams of size bytes: its inner IP packet has to end where it does.
func seamsOf(message []byte, size int) seams {
	at := encap.VXLANLen + encap.EthernetLen
	if len(message) < at {
		return seamsHold
	}
	kind := binary.BigEndian.Uint16(message[at-2:])
	for kind == encap.EtherTypeVLAN || kind == encap.EtherTypeQinQ {
		if at += encap.VLANTagLen; len(message) < at {
			return seamsHold
		}
		kind = binary.BigEndian.Uint16(message[at-2:])
	}
	end := 0
	switch {
	case kind == encap.EtherTypeIPv4 && len(message) >= at+encap.IPv4MinLen:
		end = at + int(binary.BigEndian.Uint16(message[at+2:]))
	case kind == encap.EtherTypeIPv6 && len(message) >= at+encap.IPv6Len:
		end = at + encap.IPv6Len + int(binary.BigEndian.Uint16(message[at+4:]))
	case kind == etherTypePPPoE, kind == etherTypeBATMAN, kind == etherTypePRP, kind == etherTypeHSR:
		return seamsOfOneVNI
	}
	if end > size {
		return seamsForged
	}
	return seamsHold
}
