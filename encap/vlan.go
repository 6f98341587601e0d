package encap

import "encoding/binary"

// Parts of a tag control information field (IEEE 802.1Q 9.6).
const (
	VIDMask  = 0x0fff // VLAN identifier; 0 means priority only, 4095 is reserved
	DEIBit   = 0x1000 // drop eligible
	PCPShift = 13     // priority, three bits
)

// VLANTag is a view of a tag, from its TPID on. It needs VLANTagLen bytes.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|             TPID              | PCP |D|          VID          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type VLANTag []byte

// TPID returns EtherTypeVLAN or EtherTypeQinQ in a valid tag.
func (t VLANTag) TPID() uint16 { return binary.BigEndian.Uint16(t) }

// TCI returns priority, drop eligibility and VID together.
func (t VLANTag) TCI() uint16 { return binary.BigEndian.Uint16(t[2:]) }

// VID returns the VLAN identifier.
func (t VLANTag) VID() uint16 { return t.TCI() & VIDMask }

// PCP returns the priority, 0 to 7.
func (t VLANTag) PCP() uint8 { return t[2] >> 5 }

// DEI returns the drop eligible indicator.
func (t VLANTag) DEI() bool { return t.TCI()&DEIBit != 0 }

// SetTCI writes priority, drop eligibility and VID.
func (t VLANTag) SetTCI(tci uint16) { binary.BigEndian.PutUint16(t[2:], tci) }

// PushedLen is the number of bytes PushTagHeader writes.
const PushedLen = 12 + VLANTagLen

// PopTag takes the outermost tag away: it moves the twelve bytes of the addresses
// four to the right, in place, and returns frame[4:]. The frame must have at
// least EthernetLen+VLANTagLen bytes and a tag; PopTag does not look. The four
// bytes in front of the returned frame are left as they were. An Offload of the
// frame must follow with Shift(-VLANTagLen), and a Layout is to be parsed anew.
func PopTag(frame []byte) []byte {
	_ = frame[EthernetLen+VLANTagLen-1]
	lo := binary.NativeEndian.Uint64(frame)
	hi := binary.NativeEndian.Uint32(frame[8:])
	binary.NativeEndian.PutUint64(frame[4:], lo)
	binary.NativeEndian.PutUint32(frame[12:], hi)
	return frame[VLANTagLen:]
}

// PushTagHeader writes to dst the addresses of frame and an 802.1Q tag with the
// given TCI: PushedLen bytes, to be followed by frame[12:]. The frame is not
// changed. dst and frame may overlap only when dst starts at or before frame. An
// Offload of the frame must follow with Shift(VLANTagLen).
func PushTagHeader(dst, frame []byte, tci uint16) {
	_, _ = dst[PushedLen-1], frame[11]
	lo := binary.NativeEndian.Uint64(frame)
	hi := binary.NativeEndian.Uint32(frame[8:])
	binary.NativeEndian.PutUint64(dst, lo)
	binary.NativeEndian.PutUint32(dst[8:], hi)
	binary.BigEndian.PutUint32(dst[12:], EtherTypeVLAN<<16|uint32(tci))
}

// Shift returns the Offload of a frame whose Ethernet header has grown by n bytes
// (a tag pushed) or shrunk (n negative, a tag popped). Offsets that would leave
// the frame's 16-bit range at the front become 0, which Cutter.Init and
// FinishChecksum refuse.
func (o Offload) Shift(n int) Offload {
	if o.CsumStart != 0 {
		o.CsumStart = uint16(max(int(o.CsumStart)+n, 0))
	}
	if o.HdrLen != 0 {
		o.HdrLen = uint16(max(int(o.HdrLen)+n, 0))
	}
	return o
}
