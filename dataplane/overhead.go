package dataplane

import (
	"net/netip"

	"vtepd/encap"
)

// overheads are what the underlay adds to an inner packet, in bytes, by address family: inner Ethernet 14, VXLAN 8, UDP 8, and IPv4 20 or IPv6 40
// (RFC 7348 section 5).
var overheads = [families]int{encap.EthernetLen + 36, encap.EthernetLen + 56}

// encapOverhead is what the underlay adds in front of an inner frame on the way to an address, in bytes.
func encapOverhead(to netip.Addr) int { return overheads[familyOf(to)] - encap.EthernetLen }
