package dataplane

import (
	"encoding/binary"

	"vtepd/encap"
)

// uncut says whether a message that the kernel calls several datagrams is a superframe of UDP inside one: a VTEP of the same machine's kernel wrapped it up
// whole, and its veth pair did not cut it. The kernel tells the receiving socket the size of the datagrams inside, as if it had joined as many outside
// (udp_cmsg_recv), and what lies at the seams is the sender's payload: taken for datagrams, it would let any station write VXLAN headers. An inner IP header that
// covers the whole message tells. One that lies about that in the first of datagrams that were joined is no reason to believe the rest.
func uncut(message []byte) bool {
	const l2 = encap.VXLANLen + encap.EthernetLen
	if len(message) < l2+encap.IPv6Len {
		return false
	}
	at := l2
	kind := binary.BigEndian.Uint16(message[at-2:])
	if kind == encap.EtherTypeVLAN {
		at += encap.VLANTagLen
		kind = binary.BigEndian.Uint16(message[at-2:])
	}
	switch kind {
	case encap.EtherTypeIPv4:
		return at+int(binary.BigEndian.Uint16(message[at+2:])) == len(message)
	case encap.EtherTypeIPv6:
		return at+encap.IPv6Len+int(binary.BigEndian.Uint16(message[at+4:])) == len(message)
	}
	return false
}
