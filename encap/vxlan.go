package encap

import "encoding/binary"

const (
	// VXLANLen is the length of the VXLAN header in bytes (RFC 7348 5).
	VXLANLen = 8
	// MaxVNI is the largest VXLAN network identifier: 24 bits.
	MaxVNI = 1<<24 - 1
	// VXLANFlagVNI is the I flag: the VNI field is valid.
	VXLANFlagVNI = 0x08
)

// VXLAN is a view of a VXLAN header (RFC 7348 5). It needs VXLANLen bytes.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|R|R|R|R|I|R|R|R|                    Reserved                   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|         VXLAN Network Identifier (VNI)        |    Reserved   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type VXLAN []byte

// Flags returns the first byte.
func (v VXLAN) Flags() uint8 { return v[0] }

// VNI returns the network identifier. It means something only when Valid.
func (v VXLAN) VNI() uint32 { return binary.BigEndian.Uint32(v[4:]) >> 8 }

// Valid says whether the I flag is set. RFC 7348 5 requires it.
func (v VXLAN) Valid() bool { return v[0]&VXLANFlagVNI != 0 }

// ReservedZero says whether the seven other flags and both reserved fields are
// zero. RFC 7348 5 has a receiver ignore them; Linux drops what has one set.
func (v VXLAN) ReservedZero() bool {
	return binary.BigEndian.Uint64(v)&^(VXLANFlagVNI<<56|MaxVNI<<8) == 0
}

// PutVXLAN writes the VXLANLen bytes at the front of b: the I flag, the low 24
// bits of vni, and zero in all that is reserved.
func PutVXLAN(b []byte, vni uint32) {
	NewVXLANHeader(vni).Put(b)
}
