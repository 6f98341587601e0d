package encap

import "encoding/binary"

// EtherTypes (IEEE 802 Numbers, IANA).
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100 // 802.1Q customer tag
	EtherTypeIPv6 = 0x86dd
	EtherTypeQinQ = 0x88a8 // 802.1ad service tag

	MinEtherType = 0x0600 // what is less is a length (IEEE 802.3 3.2.6)
)

const (
	EthernetLen = 14 // bytes: two MACs and the EtherType
	VLANTagLen  = 4  // bytes: TPID and TCI
)

// MACMask keeps the 48 bits a MAC address has in a uint64.
const MACMask = 1<<48 - 1

// Ethernet is a view of a frame. It needs EthernetLen bytes.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                      Destination address                      |
//	+                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                               |                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
//	|                        Source address                         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|           EtherType           |            payload ...
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Ethernet []byte

// Dst returns the destination address.
func (e Ethernet) Dst() uint64 { return binary.BigEndian.Uint64(e) >> 16 }

// Src returns the source address.
func (e Ethernet) Src() uint64 { return binary.BigEndian.Uint64(e[4:]) & MACMask }

// EtherType returns the type field behind the addresses, which is the TPID when
// the frame is tagged.
func (e Ethernet) EtherType() uint16 { return binary.BigEndian.Uint16(e[12:]) }

// SetDst writes the destination address.
func (e Ethernet) SetDst(mac uint64) { PutMAC(e[0:], mac) }

// SetSrc writes the source address.
func (e Ethernet) SetSrc(mac uint64) { PutMAC(e[6:], mac) }

// SetEtherType writes the type field behind the addresses.
func (e Ethernet) SetEtherType(t uint16) { binary.BigEndian.PutUint16(e[12:], t) }

// MAC reads the six bytes at the front of b.
func MAC(b []byte) uint64 {
	_ = b[5]
	return uint64(binary.BigEndian.Uint32(b))<<16 | uint64(binary.BigEndian.Uint16(b[4:]))
}

// PutMAC writes the low 48 bits of mac to the six bytes at the front of b.
func PutMAC(b []byte, mac uint64) {
	_ = b[5]
	binary.BigEndian.PutUint32(b, uint32(mac>>16))
	binary.BigEndian.PutUint16(b[4:], uint16(mac))
}

// MulticastMAC says whether mac is a group address, broadcast included
// (IEEE 802, the I/G bit: the lowest bit of the first byte).
func MulticastMAC(mac uint64) bool { return mac&(1<<40) != 0 }
