package underlay

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ancillary data (cmsg(3)), host byte order, every entry padded to the word:
//
//	 0               8       12      16
//	+---------------+-------+-------+--------------------+---------+
//	| length        | level | type  | data               | padding |
//	+---------------+-------+-------+--------------------+---------+
//	  header + data, padding not counted
//
// (64-bit machines; length is 4 bytes on others.)
const (
	cmsgWord   = int(unsafe.Sizeof(uintptr(0)))
	cmsgHeader = unix.SizeofCmsghdr
	// cmsgSlot is the room of one entry that carries at most an int.
	cmsgSlot = cmsgHeader + 8
)

// putCmsg writes one entry with size bytes of data room and gives the room it
// takes. The data is the caller's to write at b[cmsgHeader:].
func putCmsg(b []byte, level, kind int32, size int) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level = level
	h.Type = kind
	h.SetLen(cmsgHeader + size)
	return cmsgHeader + (size+cmsgWord-1)&^(cmsgWord-1)
}

// putSegment writes the UDP_SEGMENT entry: a u16 in host order.
func putSegment(b []byte, size uint16) int {
	n := putCmsg(b, unix.SOL_UDP, unix.UDP_SEGMENT, 2)
	binary.NativeEndian.PutUint16(b[cmsgHeader:], size)
	return n
}

// putInt writes an entry that carries an int.
func putInt(b []byte, level, kind int32, value int) int {
	n := putCmsg(b, level, kind, 4)
	binary.NativeEndian.PutUint32(b[cmsgHeader:], uint32(value))
	return n
}

// ancillary is what a receive socket says beside the data.
type ancillary struct {
	segment int   // UDP_GRO, bytes; 0 when one datagram came
	tos     uint8 // IPv4 TOS or IPv6 traffic class
}

// parseAncillary walks the entries the kernel wrote. It trusts no length:
// what does not fit ends the walk.
//
// UDP_GRO is a 4-byte int (put_cmsg in udp_cmsg_recv), IP_TOS one byte,
// IPV6_TCLASS a 4-byte int.
func parseAncillary(b []byte) (a ancillary) {
	for len(b) >= cmsgHeader {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		length := int(h.Len)
		if length < cmsgHeader || length > len(b) {
			return a
		}
		data := b[cmsgHeader:length]
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			a.segment = int(int32(binary.NativeEndian.Uint32(data)))
		case h.Level == unix.SOL_IP && h.Type == unix.IP_TOS && len(data) >= 1:
			a.tos = data[0]
		case h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			a.tos = uint8(binary.NativeEndian.Uint32(data))
		}
		next := (length + cmsgWord - 1) &^ (cmsgWord - 1)
		if next >= len(b) {
			return a
		}
		b = b[next:]
	}
	return a
}
