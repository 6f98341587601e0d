package dataplane

import "vtepd/encap"

// guardOffload wants the virtio-net header of a superframe to speak of the outermost transport header. A workload behind a veth that somebody else made
// may send superframes inside a tunnel of its own: the kernel then describes what is inside, with a header that cannot say so, and drops such a frame
// without a word when it is handed on.
func guardOffload(f *frame) Reason {
	if !f.off.IsGSO() {
		return ReasonNone
	}
	proto := uint8(encap.ProtoTCP)
	if f.off.GSOType == encap.GSOUDPL4 {
		proto = encap.ProtoUDP
	}
	l := f.parse()
	if l.L4 != 0 && (l.Proto != proto || f.off.NeedsChecksum() && f.off.CsumStart != l.L4) {
		return BadOffload
	}
	return ReasonNone
}
