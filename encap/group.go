package encap

import "encoding/binary"

// Bits of a Group.
const (
	groupFlag      Group = 1 << 31 // G: the extension is there
	groupDontLearn Group = 1 << 22 // D: the egress VTEP must not learn the source address
	groupApplied   Group = 1 << 19 // A: policy has been applied already
	groupID        Group = 0xffff
	groupBits            = groupFlag | groupDontLearn | groupApplied | groupID
)

// Group is what the group policy extension of VXLAN says about a frame, its bits
// where they lie in the first word of the header
// (draft-smith-vxlan-group-policy-05 2.1). Zero is a frame without the extension,
// whose group is 0.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|G|R|R|R|I|R|R|R|R|D|R|R|A|R|R|R|        Group Policy ID        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|         VXLAN Network Identifier (VNI)        |    Reserved   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Group uint32

// NewGroup is a group without flags. Group 0 takes no extension to say, as Linux
// has it (vxlan_build_gbp_hdr, drivers/net/vxlan).
func NewGroup(id uint16) Group {
	if id == 0 {
		return 0
	}
	return groupFlag | Group(id)
}

// ID is the group policy ID.
func (g Group) ID() uint16 { return uint16(g) }

// DontLearn says whether the source address must not be learned.
func (g Group) DontLearn() bool { return g&groupDontLearn != 0 }

// Applied says whether policy has been applied, and must not be again.
func (g Group) Applied() bool { return g&groupApplied != 0 }

// WithDontLearn is g with the D bit.
func (g Group) WithDontLearn() Group { return g | groupFlag | groupDontLearn }

// WithApplied is g with the A bit.
func (g Group) WithApplied() Group { return g | groupFlag | groupApplied }

// Group returns what the group policy extension says: zero without its G flag.
func (v VXLAN) Group() Group {
	g := Group(binary.BigEndian.Uint32(v))
	if g&groupFlag == 0 {
		return 0
	}
	return g & groupBits
}

// GroupReservedZero is ReservedZero where the group policy extension is spoken:
// its fields are not reserved when its G flag is set.
func (v VXLAN) GroupReservedZero() bool {
	return binary.BigEndian.Uint64(v)&^(VXLANFlagVNI<<56|MaxVNI<<8|uint64(v.Group())<<32) == 0
}
