package dataplane

import "vtepd/encap"

// guardGPE judges a header where the generic protocol extension is spoken: what is no Ethernet frame is no frame to us
// (draft-ietf-nvo3-vxlan-gpe-13 section 3). A plain VXLAN header is taken as well.
func (f *frame) guardGPE(g encap.GPE) Reason {
	switch {
	case g.Version() != 0:
		return GPEVersion
	case g.OAM():
		return GPEOAM
	case g.Next() != encap.GPEEthernet:
		return GPEProtocol
	case f.domain.strictBits && !g.ReservedZero():
		return BadVXLANHeader
	}
	return ReasonNone
}
