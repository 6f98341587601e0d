package ctl

import (
	"fmt"
	"net/netip"
	"slices"

	"vtepd/ctl/model"
	"vtepd/fdb"
)

// The edits of single commands. Each checks what only it can say well; the whole is validated afterwards in any case.

// addVNI declares a VNI. One that only a VLAN declares so far may be declared by itself, once.
func addVNI(m *model.Model, vni uint32, v *model.VNI) error {
	if m.VNIs.Has(vni) {
		return model.Exists(fmt.Sprintf("vnis/%d", vni), "VNI %d exists already: change it with vni set", vni)
	}
	m.VNIs.Put(vni, v)
	return nil
}

// setVNI changes a VNI through a copy of its declaration.
func setVNI(m *model.Model, vni uint32, edit func(v *model.VNI) error) error {
	if err := needVNI(m, vni); err != nil {
		return err
	}
	v := model.VNI{}
	if old := m.VNIs.At(vni); old != nil {
		v = *old
	}
	if err := edit(&v); err != nil {
		return err
	}
	m.VNIs.Put(vni, &v)
	return nil
}

func needVNI(m *model.Model, vni uint32) error {
	if !m.HasVNI(vni) {
		return noVNI(vni)
	}
	return nil
}

func noVNI(vni uint32) error {
	return model.NotFound(fmt.Sprintf("vnis/%d", vni), "VNI %d does not exist: make it with vni add", vni)
}

// delVNI removes a VNI with its peers and static entries. It is refused while a port or a VLAN names it.
func delVNI(m *model.Model, vni uint32) error {
	path := fmt.Sprintf("vnis/%d", vni)
	if !m.HasVNI(vni) {
		return model.NotFound(path, "VNI %d does not exist: see vni show", vni)
	}
	for _, vid := range vlansOf(m, vni) {
		return model.InUse(path, "VNI %d is VLAN %d: delete that first with vlan del", vni, vid)
	}
	if name := firstPort(m, func(p *model.Port) bool { return p.VNI == vni }); name != "" {
		return model.InUse(path, "VNI %d is in use by port %s: delete the port first, or move it with port set", vni, name)
	}
	m.VNIs.Delete(vni)
	var doomed []model.StaticKey
	for k := range m.Statics.Keys() { // a batch that deletes thousands of VNIs looks through them for each
		if k.VNI == vni {
			doomed = append(doomed, k)
		}
	}
	for _, k := range doomed {
		m.Statics.Delete(k)
	}
	return nil
}

// firstPort is the first by name of the ports that are chosen; "" when none is. It sorts nothing: a batch that deletes thousands asks for each.
func firstPort(m *model.Model, chosen func(p *model.Port) bool) string {
	first := ""
	for name, p := range m.Ports.All() {
		if chosen(p) && (first == "" || model.CompareNames(name, first) < 0) {
			first = name
		}
	}
	return first
}

// vlansOf lists the VLANs that name a VNI, ascending.
func vlansOf(m *model.Model, vni uint32) []uint16 {
	if m.VLANs.Names(vni) == 0 {
		return nil
	}
	var vids []uint16
	for vid, n := range m.VLANs.All() {
		if n == vni {
			vids = append(vids, vid)
		}
	}
	slices.Sort(vids)
	return vids
}

func addVLAN(m *model.Model, vid uint16, vni uint32) error {
	if n, ok := m.VLANs.Get(vid); ok {
		return model.Exists(fmt.Sprintf("vlans/%d", vid), "VLAN %d exists already: it is VNI %d: for another VNI delete it first with vlan del", vid, n)
	}
	m.VLANs.Put(vid, vni)
	return nil
}

// delVLAN removes a VLAN, and with it its VNI when nothing else declares that. It is refused while a port uses it.
func delVLAN(m *model.Model, vid uint16) error {
	path := fmt.Sprintf("vlans/%d", vid)
	vni, ok := m.VLANs.Get(vid)
	if !ok {
		return model.NotFound(path, "VLAN %d does not exist: see vlan show", vid)
	}
	if name := firstPort(m, func(p *model.Port) bool { return p.Names(vid) }); name != "" {
		return model.InUse(path, "VLAN %d is in use by port %s: delete the port first, or change it with port set", vid, name)
	}
	m.VLANs.Delete(vid)
	if m.HasVNI(vni) {
		return nil
	}
	if name := firstPort(m, func(p *model.Port) bool { return p.VNI == vni }); name != "" {
		return model.InUse(path, "VLAN %d declares VNI %d, which port %s is in: declare it with vni add %d first", vid, vni, name, vni)
	}
	var first *fdb.MAC
	for k := range m.Statics.Keys() {
		if k.VNI == vni && (first == nil || k.MAC < *first) {
			first = &k.MAC
		}
	}
	if first != nil {
		return model.InUse(path, "VLAN %d declares VNI %d, which static entry %s is in: declare it with vni add %d first", vid, vni, *first, vni)
	}
	return nil
}

func addPort(m *model.Model, name string, p *model.Port) error {
	if m.Ports.Has(name) {
		return model.Exists("ports/"+name, "port %s exists already: change it with port set", name)
	}
	m.Ports.Put(name, p)
	return nil
}

func setPort(m *model.Model, name string, edit func(p *model.Port) error) error {
	old := m.Ports.At(name)
	if old == nil {
		return noPort(m, name)
	}
	p := *old
	if err := edit(&p); err != nil {
		return err
	}
	m.Ports.Put(name, &p)
	return nil
}

// delPort removes a port with its static entries, as deleting an interface does.
func delPort(m *model.Model, name string) error {
	if !m.Ports.Has(name) {
		return noPort(m, name)
	}
	m.Ports.Delete(name)
	deleteStatics(m, func(_ model.StaticKey, s model.Static) bool { return s.Port == name })
	return nil
}

// deleteStatics removes the static entries that are chosen.
func deleteStatics(m *model.Model, chosen func(k model.StaticKey, s model.Static) bool) {
	var doomed []model.StaticKey
	for k, s := range m.Statics.All() {
		if chosen(k, s) {
			doomed = append(doomed, k)
		}
	}
	for _, k := range doomed {
		m.Statics.Delete(k)
	}
}

func noPort(m *model.Model, name string) error {
	return model.NotFound("ports/"+name, "port %s does not exist%s: see port show", name, model.DidYouMean(name, m.PortNames()))
}

// addPeer puts an address on the flood list of a VNI; a multicast group becomes the VNI's, of which it takes one.
func addPeer(m *model.Model, vni uint32, p netip.AddrPort) error {
	p = m.Endpoint(p)
	return setVNI(m, vni, func(v *model.VNI) error {
		if p.Addr().IsMulticast() {
			if v.Group.IsValid() {
				return model.Exists(fmt.Sprintf("vnis/%d/group", vni), "VNI %d has the group %s already: change it with vni set %d group %s", vni, m.PeerText(v.Group), vni, m.PeerText(p))
			}
			v.Group = p
			return nil
		}
		if slices.Contains(v.Peers, p) {
			return model.Exists(fmt.Sprintf("vnis/%d/peers/%s", vni, m.PeerText(p)), "peer %s is in VNI %d already", m.PeerText(p), vni)
		}
		v.Peers = append(slices.Clone(v.Peers), p)
		return nil
	})
}

// delPeer takes an address off the flood list of one VNI, or of all when vni is 0; port 0 matches any.
func delPeer(m *model.Model, vni uint32, p netip.AddrPort) error {
	vnis := []uint32{vni}
	if vni == 0 {
		vnis = m.Declared()
	} else if err := needVNI(m, vni); err != nil {
		return err
	}
	found := false
	for _, n := range vnis {
		v := m.VNIs.At(n)
		if v == nil {
			continue
		}
		isIt := func(q netip.AddrPort) bool { return matchPeer(q, p) }
		group := v.Group.IsValid() && isIt(v.Group)
		if !group && !slices.ContainsFunc(v.Peers, isIt) {
			continue // thousands of VNIs may not have it: they are not copied
		}
		c := *v
		c.Peers = slices.DeleteFunc(slices.Clone(v.Peers), isIt)
		if group {
			c.Group = netip.AddrPort{}
		}
		found = true
		m.VNIs.Put(n, &c)
	}
	switch {
	case found:
		return nil
	case vni != 0:
		return model.NotFound(fmt.Sprintf("vnis/%d/peers/%s", vni, peerFilterText(p)), "peer %s is not in VNI %d: see peer show", peerFilterText(p), vni)
	}
	return model.NotFound("vnis/0/peers/"+peerFilterText(p),
		"peer %s is on the flood list of no VNI; a learned one that peer show lists goes with its entries: fdb flush dst %s", peerFilterText(p), p.Addr())
}

// matchPeer compares with a filter whose port may be 0 for any.
func matchPeer(p, filter netip.AddrPort) bool {
	return p.Addr() == filter.Addr() && (filter.Port() == 0 || filter.Port() == p.Port())
}

func peerFilterText(p netip.AddrPort) string {
	return model.PeerText(p, 0)
}
