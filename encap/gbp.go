package encap

import "encoding/binary"

// Bits of a GBP.
const (
	gbpFlag      GBP = 1 << 31 // G: the extension is there
	gbpDontLearn GBP = 1 << 22 // D: the egress VTEP must not learn the source address
	gbpApplied   GBP = 1 << 19 // A: policy has been applied already
	gbpID        GBP = 0xffff
	gbpBits          = gbpFlag | gbpDontLearn | gbpApplied | gbpID
)

// GBP is what the group policy extension of VXLAN says about a frame, its bits
// where they lie in the first word of the header
// (draft-smith-vxlan-group-policy-05 2.1). Zero is a frame without the extension,
// whose group policy ID is 0.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|G|R|R|R|I|R|R|R|R|D|R|R|A|R|R|R|        Group Policy ID        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|         VXLAN Network Identifier (VNI)        |    Reserved   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type GBP uint32

// NewGBP is a group policy ID without flags. 0 takes no extension to say, as Linux
// has it (vxlan_build_gbp_hdr, drivers/net/vxlan).
func NewGBP(id uint16) GBP {
	if id == 0 {
		return 0
	}
	return gbpFlag | GBP(id)
}

// ID is the group policy ID.
func (g GBP) ID() uint16 { return uint16(g) }

// DontLearn says whether the source address must not be learned.
func (g GBP) DontLearn() bool { return g&gbpDontLearn != 0 }

// Applied says whether policy has been applied, and must not be again.
func (g GBP) Applied() bool { return g&gbpApplied != 0 }

// WithDontLearn is g with the D bit.
func (g GBP) WithDontLearn() GBP { return g | gbpFlag | gbpDontLearn }

// WithApplied is g with the A bit.
func (g GBP) WithApplied() GBP { return g | gbpFlag | gbpApplied }

// GBP returns what the group policy extension says: zero without its G flag.
func (v VXLAN) GBP() GBP {
	g := GBP(binary.BigEndian.Uint32(v))
	if g&gbpFlag == 0 {
		return 0
	}
	return g & gbpBits
}

// GBPReservedZero is ReservedZero where the group policy extension is spoken:
// its fields are not reserved when its G flag is set.
func (v VXLAN) GBPReservedZero() bool {
	return binary.BigEndian.Uint64(v)&^(VXLANFlagVNI<<56|MaxVNI<<8|uint64(v.GBP())<<32) == 0
}
