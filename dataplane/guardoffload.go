package dataplane

import "vtepd/encap"

// guardOffload wants the virtio-net header to speak of the frame's own transport header.
//
// A workload behind a veth that somebody else made may send superframes inside a tunnel of its own: the kernel then describes what is inside, with a header
// that cannot say so, and drops such a frame without a word when it is handed on. And a station may say that its checksum belongs where another header has
// something else, which the guards behind this one would see before it is written.
func guardOffload(f *frame) Reason {
	if !f.off.IsGSO() {
		if f.off.NeedsChecksum() && f.off.ChangesHeaders(f.parse()) {
			return BadOffload
		}
		return ReasonNone
	}
	proto, field := uint8(encap.ProtoTCP), uint16(encap.TCPChecksumOffset)
	if f.off.GSOType == encap.GSOUDPL4 {
		proto, field = encap.ProtoUDP, encap.UDPChecksumOffset
	}
	l := f.parse()
	if l.L4 != 0 && (l.Proto != proto || f.off.NeedsChecksum() && (f.off.CsumStart != l.L4 || f.off.CsumOffset != field)) {
		return BadOffload
	}
	return ReasonNone
}
