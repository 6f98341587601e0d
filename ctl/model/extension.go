package model

// extension checks the extensions of the VXLAN header that a VNI speaks.
func (v *validation) extension(path string, n uint32, vni *VNI) {
	s, g := vni.Settings, v.m.Global.Settings
	gbp, gpe := s.GBP.or(g.GBP).V, s.GPE.or(g.GPE).V
	if gbp && gpe && (s.GBP.Set || s.GPE.Set) { // else the top level has said so
		word, other := "gpe", "gbp"
		if !s.GPE.Set {
			word, other = other, word
		}
		v.add(Invalid(path+"/"+word, "VNI %d has both gbp and gpe, which exclude each other: set %s off", n, other))
	}
	if len(s.GBPDrop.V) > 0 && !gbp {
		v.add(Invalid(path+"/gbp-drop", "VNI %d has gbp-drop, but its frames carry no group: set gbp on, or take gbp-drop away", n))
	}
}
