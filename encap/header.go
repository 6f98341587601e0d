package encap

import "encoding/binary"

// VXLANHeader is a VXLAN header as a number, its most significant byte the first on
// the wire. What all frames of a VNI have in common is put together once, so that
// writing a header is one store.
type VXLANHeader uint64

// NewVXLANHeader is the header of RFC 7348 5 for the low 24 bits of vni: the I flag,
// and zero in all that is reserved.
func NewVXLANHeader(vni uint32) VXLANHeader {
	return VXLANFlagVNI<<56 | VXLANHeader(vni&MaxVNI)<<8
}

// WithGBP is h with the group policy extension.
func (h VXLANHeader) WithGBP(g GBP) VXLANHeader { return h | VXLANHeader(g)<<32 }

// Put writes the VXLANLen bytes at the front of b.
func (h VXLANHeader) Put(b []byte) { binary.BigEndian.PutUint64(b, uint64(h)) }
