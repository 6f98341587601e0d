package netdev

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ancillary data (cmsg(3)): a header, and struct tpacket_auxdata behind it (linux/if_packet.h), host byte order:
//
//	 0          4          8          12        14        16         18         20
//	+----------+----------+----------+---------+---------+----------+----------+
//	|  status  |  length  | captured |   mac   |   net   | vlan tci |vlan tpid |
//	+----------+----------+----------+---------+---------+----------+----------+
const (
	cmsgWord = int(unsafe.Sizeof(uintptr(0)))
	// auxdataLen is sizeof(struct tpacket_auxdata) in bytes.
	auxdataLen = 20
	// controlSize in bytes holds one auxdata entry, and what else a kernel may add.
	controlSize = 64
)

// auxdata is what a packet socket says beside the frame.
type auxdata struct {
	tagged     bool
	tpid       uint16 // of the tag that the kernel took off
	tci        uint16
	unfinished bool // the transport checksum is left to hardware
}

// parseAuxdata walks the entries that the kernel wrote. It trusts no length:
// what does not fit ends the walk.
func parseAuxdata(b []byte) (a auxdata) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
		length := int(h.Len)
		if length < unix.SizeofCmsghdr || length > len(b) {
			return a
		}
		if h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && length >= unix.SizeofCmsghdr+auxdataLen {
			a.decode(b[unix.SizeofCmsghdr:length])
		}
		next := (length + cmsgWord - 1) &^ (cmsgWord - 1)
		if next >= len(b) {
			return a
		}
		b = b[next:]
	}
	return a
}

// decode reads struct tpacket_auxdata. Kernels before 3.14 do not tell the TPID,
// which was always 802.1Q's then.
func (a *auxdata) decode(b []byte) {
	status := binary.NativeEndian.Uint32(b)
	a.unfinished = status&unix.TP_STATUS_CSUMNOTREADY != 0
	a.tagged = status&unix.TP_STATUS_VLAN_VALID != 0
	if !a.tagged {
		return
	}
	a.tci = binary.NativeEndian.Uint16(b[16:])
	a.tpid = unix.ETH_P_8021Q
	if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		a.tpid = binary.NativeEndian.Uint16(b[18:])
	}
}
