package encap

import "encoding/binary"

// Bits of the first byte of a GPE header besides VXLANFlagVNI.
const (
	gpeVersion = 0x30 // Ver, two bits
	gpeNext    = 0x04 // P: the next protocol field is valid
	gpeBUM     = 0x02 // B: ingress-replicated broadcast, unknown unicast or multicast
	gpeOAM     = 0x01 // O: operations, administration, maintenance
)

// GPEEthernet is the next protocol number of an Ethernet frame
// (draft-ietf-nvo3-vxlan-gpe-13 3.2).
const GPEEthernet = 3

// GPE is a view of a VXLAN header with the generic protocol extension
// (draft-ietf-nvo3-vxlan-gpe-13 3). It needs VXLANLen bytes. The I flag and the VNI
// are those of VXLAN, and a plain VXLAN header is a GPE header without P.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|R|R|Ver|I|P|B|O|            Reserved           | Next Protocol |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|         VXLAN Network Identifier (VNI)        |    Reserved   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type GPE []byte

// Version is the version of the protocol; there is only 0.
func (g GPE) Version() uint8 { return g[0] & gpeVersion >> 4 }

// OAM says whether the payload is an OAM message.
func (g GPE) OAM() bool { return g[0]&gpeOAM != 0 }

// BUM says whether the sender replicated the frame itself.
func (g GPE) BUM() bool { return g[0]&gpeBUM != 0 }

// Next is what the payload is: the next protocol when the P flag is set, and
// GPEEthernet without it, as in plain VXLAN.
func (g GPE) Next() uint8 {
	if g[0]&gpeNext == 0 {
		return GPEEthernet
	}
	return g[3]
}

// ReservedZero says whether all reserved bits are zero. Without P the next protocol
// field is one of them.
func (g GPE) ReservedZero() bool {
	const fields = (VXLANFlagVNI|gpeVersion|gpeNext|gpeBUM|gpeOAM)<<56 | MaxVNI<<8
	h := binary.BigEndian.Uint64(g)
	if g[0]&gpeNext != 0 {
		h &^= 0xff << 32
	}
	return h&^fields == 0
}

// WithNext is h as a GPE header whose payload is of the protocol next.
func (h VXLANHeader) WithNext(next uint8) VXLANHeader {
	return h | gpeNext<<56 | VXLANHeader(next)<<32
}
