package encap

import "encoding/binary"

const (
	ARPLen     = 28 // bytes of an ARP packet for IPv4 over Ethernet (RFC 826)
	ARPRequest = 1
	ARPReply   = 2
)

// ARP is a view of an ARP packet for IPv4 over Ethernet (RFC 826). It needs
// ARPLen bytes.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|       Hardware type (1)       |    Protocol type (0x0800)     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Hw length (6) | Pr length (4) |           Operation           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|   Sender hardware address (6 bytes), protocol address (4)     |
//	|   Target hardware address (6 bytes), protocol address (4)     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type ARP []byte

// Valid says whether the four fixed fields are those of IPv4 over Ethernet.
func (a ARP) Valid() bool { return binary.BigEndian.Uint64(a)>>16 == 0x0001_0800_0604 }

// Op returns the operation: ARPRequest, ARPReply or another.
func (a ARP) Op() uint16 { return binary.BigEndian.Uint16(a[6:]) }

// SenderMAC returns the sender's hardware address.
func (a ARP) SenderMAC() uint64 { return MAC(a[8:]) }

// SenderIP returns the sender's protocol address.
func (a ARP) SenderIP() [4]byte { return [4]byte(a[14:18]) }

// TargetMAC returns the target's hardware address, usually zero in a request.
func (a ARP) TargetMAC() uint64 { return MAC(a[18:]) }

// TargetIP returns the target's protocol address.
func (a ARP) TargetIP() [4]byte { return [4]byte(a[24:28]) }

// Encode writes the ARPLen bytes of a whole packet.
func (a ARP) Encode(op uint16, senderMAC uint64, senderIP [4]byte, targetMAC uint64, targetIP [4]byte) {
	_ = a[ARPLen-1]
	binary.BigEndian.PutUint64(a, 0x0001_0800_0604<<16|uint64(op))
	PutMAC(a[8:], senderMAC)
	copy(a[14:], senderIP[:])
	PutMAC(a[18:], targetMAC)
	copy(a[24:], targetIP[:])
}
