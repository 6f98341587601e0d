// Package encap is the wire: views of Ethernet, 802.1Q, ARP, IP, TCP, UDP,
// ICMP and VXLAN headers, Internet checksums, flow hashes, ECN and VLAN
// rewriting, and the cutting and joining of superframes.
//
// It knows nothing about sockets, devices, ports, peers or forwarding tables.
// It starts no goroutine, reads no clock and imports no system call package;
// everything it needs comes in as an argument, and nothing on a frame's path
// allocates.
//
// Words, each with one meaning:
//
//	frame       an Ethernet frame without its FCS
//	superframe  a frame larger than the MTU, together with the virtio-net
//	            header (Offload) that says how it is to be cut
//	segment     one frame cut out of a superframe: a header and a payload
//	datagram    the UDP payload that carries one VXLAN header and one frame
//
// Fields on the wire are big-endian. The one exception is Offload, which the
// kernel and vtepd exchange in host byte order. MAC addresses travel as uint64:
// the low 48 bits, the first byte of the wire most significant.
//
// A type such as Ethernet or IPv4 is a view: a byte slice with accessors. A view
// neither copies nor checks; its methods need the length that the type's
// comment names and panic below it. Layout.Parse is what decides, for any bytes
// at all, which views may be taken.
package encap
