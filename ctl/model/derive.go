package model

import (
	"net/netip"
	"slices"

	"vtepd/dataplane"
	"vtepd/encap"
)

// SwitchConfig is what the switch is born with.
func (m *Model) SwitchConfig() dataplane.Config {
	return dataplane.Config{
		Local:              m.Global.Local,
		OtherLocal:         m.Global.OtherLocal,
		VRF:                m.Global.VRF,
		DstPort:            m.Global.DstPort,
		Listen:             slices.Clone(m.Global.Listen),
		SourcePorts:        m.Global.SourcePorts,
		FlowLabels:         m.Global.FlowLabels,
		GroupInterface:     m.Global.GroupInterface,
		Workers:            m.Global.Workers,
		Offload:            m.Global.Offload,
		MaxMACs:            m.Global.Settings.MaxMACs.Or(dataplane.DefaultMaxMACs),
		UDP6ZeroChecksumRx: m.Global.Settings.UDP6Zero.V.Rx,
		FastPath:           m.Global.FastPath.Mode(),
		CPULatency:         m.Global.CPULatency.Mode(),
	}
}

// VNIConfig is a declared VNI with everything that it leaves to the levels above filled in. Its slices are fresh.
func (m *Model) VNIConfig(vni uint32) dataplane.VNIConfig {
	own := m.VNIs.At(vni)
	if own == nil {
		own = &VNI{}
	}
	g, s := m.Global.Settings, own.Settings
	ttl := s.TTL.or(g.TTL).Or(HeaderByte{N: dataplane.DefaultTTL})
	dscp := s.DSCP.or(g.DSCP).V
	// As the kernel's vxlan device: datagrams to a group stay in the subnet until somebody says otherwise (vxlan_xmit_one, drivers/net/vxlan).
	var groupTTL uint8
	switch given := s.TTL.or(g.TTL); {
	case !own.Group.IsValid():
	case s.GroupTTL.or(g.GroupTTL).Set:
		groupTTL = s.GroupTTL.or(g.GroupTTL).V
	case !given.Set:
		groupTTL = 1
	}
	if ttl.N == 0 {
		ttl.N = dataplane.DefaultTTL
	}
	return dataplane.VNIConfig{
		VNI:          vni,
		Peers:        append([]netip.AddrPort(nil), own.Peers...),
		Group:        own.Group,
		GroupTTL:     groupTTL,
		NoFlood:      dataplane.FloodAll &^ s.Flood.or(g.Flood).Or(dataplane.FloodAll),
		StormControl: s.StormControl.or(g.StormControl).V,
		Learning:     s.Learning.or(g.Learning).Or(true),
		Ageing:       s.Ageing.or(g.Ageing).Or(DefaultAgeing),
		MaxMACs:      s.MaxMACs.V,
		Policy:       s.Policy.or(g.Policy).Or(dataplane.Strict),
		Allow:        distinct(g.Allow, s.Allow),
		MSSClamp:     s.MSSClamp.or(g.MSSClamp).Or(dataplane.MSSAuto),
		SpoofGuard:   s.SpoofGuard.or(g.SpoofGuard).Or(true),
		GBPDrop:      slices.Clone(s.GBPDrop.or(g.GBPDrop).V),
		Header: dataplane.HeaderPolicy{
			TTL:                ttl.N,
			InheritTTL:         ttl.Inherit,
			DSCP:               dscp.N,
			InheritDSCP:        dscp.Inherit,
			ECN:                s.ECN.or(g.ECN).Or(encap.ECNRFC6040),
			UDPChecksum:        s.UDPChecksum.or(g.UDPChecksum).Or(dataplane.ChecksumAuto),
			UDP6ZeroChecksumTx: s.UDP6Zero.or(g.UDP6Zero).V.Tx,
			StrictReserved:     s.StrictReserved.or(g.StrictReserved).V,
			KeepInnerVLAN:      s.KeepInnerVLAN.or(g.KeepInnerVLAN).V,
			GBP:                s.GBP.or(g.GBP).V,
			GPE:                s.GPE.or(g.GPE).V,
		},
	}
}

// PortConfig is a declared port with its VLANs turned into VNIs. Its slices are fresh.
func (m *Model) PortConfig(name string) dataplane.PortConfig {
	p := m.Ports.At(name)
	c := dataplane.PortConfig{
		Name:         name,
		Type:         p.Type,
		Untagged:     p.VNI,
		MTU:          p.MTU,
		MAC:          slices.Clone(p.MAC),
		NetNS:        p.NetNS,
		IfName:       p.IfName,
		Addresses:    append([]netip.Prefix(nil), p.Addresses...),
		MaxMACs:      p.MaxMACs,
		MSSClamp:     p.MSSClamp,
		StormControl: p.StormControl,
		Isolated:     p.Isolated,
		GBPID:        p.GBPID,
		GBPDrop:      slices.Clone(p.GBPDrop),
	}
	if p.Access != 0 {
		c.Untagged = m.VLANs.At(p.Access)
	}
	if p.Native != 0 {
		c.Untagged, c.NativeVID = m.VLANs.At(p.Native), p.Native
	}
	for _, vid := range p.Trunk {
		if vid != p.Native {
			c.Tagged = append(c.Tagged, dataplane.VIDMap{VID: vid, VNI: m.VLANs.At(vid)})
		}
	}
	return c
}
