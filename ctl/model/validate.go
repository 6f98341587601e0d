package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vtepd/dataplane"
	"vtepd/fdb"
)

// maxProblems bounds what one Validate reports: the first is shown, the others serve to find the first in a file.
const maxProblems = 1000

// Validate checks the model as a whole and returns what is wrong with it, nil when nothing is. Every value is assumed to have come from a parser of
// this package; what is checked is how values go together. The order is fixed: global options, VLANs, VNIs, ports, static entries.
func (m *Model) Validate() []*Error {
	v := validation{m: m, vids: slices.Sorted(m.VLANs.Keys()), vniKeys: slices.Sorted(m.VNIs.Keys()), portNames: m.PortNames(), staticKeys: m.StaticKeys()}
	v.all()
	return v.problems
}

// all checks what is to be looked at.
func (v *validation) all() {
	v.global()
	v.vlans()
	v.vnis()
	v.ports()
	v.statics()
}

// Check is the first problem that Validate finds.
func (m *Model) Check() error { return first(m.Validate()) }

type validation struct {
	m        *Model
	problems []*Error
	// What is to be looked at, in this order; see Model.CheckSince.
	vids       []uint16 // not all of them need be there any more
	vniKeys    []uint32
	portNames  []string
	staticKeys []StaticKey
	// apart: whether ports want one name is not looked at.
	apart bool
	// before holds VNIs that were right, under the same top level; nil: none.
	before *VNITable
}

func (v *validation) add(e *Error) {
	if len(v.problems) < maxProblems {
		v.problems = append(v.problems, e)
	}
}

func (v *validation) global() {
	g := &v.m.Global
	if !g.Local.IsValid() && g.Interface == "" { // else the interface has not been asked for its address yet
		v.add(Invalid("local", "neither local nor interface is set: say which address of this host the underlay uses"))
	}
	for _, a := range g.Locals() {
		v.local(a)
	}
	if g.Settings.GBP.V && g.Settings.GPE.V {
		v.add(Invalid("gpe", "gbp and gpe exclude each other: set one of them off here, and on in the VNIs that need it"))
	}
	v.listen()
}

func (v *validation) vlans() {
	for _, vid := range v.vids {
		if v.m.VLANs.Has(vid) && (vid < 1 || vid > MaxVID) {
			v.add(Invalid(fmt.Sprintf("vlans/%d/vid", vid), "VLAN ID %d is out of range: 1 to %d", vid, MaxVID))
		}
	}
}

func (v *validation) vnis() {
	rx := v.m.Global.Settings.UDP6Zero.V.Rx
	for _, n := range v.vniKeys {
		vni := v.m.VNIs.At(n)
		path := fmt.Sprintf("vnis/%d", n)
		if n < 1 || n > dataplane.MaxVNI {
			v.add(Invalid(path+"/vni", "VNI %d is out of range: 1 to %d", n, dataplane.MaxVNI))
		}
		var was *VNI
		if v.before != nil {
			was = v.before.At(n)
		}
		if !onlyLost(was, vni) {
			v.peers(path, n, was, vni)
		}
		v.extension(path, n, vni)
		if g := vni.Group; g.Addr().IsValid() {
			v.multicast(path+"/group", n, g)
		}
		if z := vni.Settings.UDP6Zero; z.Set && z.V.Rx != rx {
			v.add(Invalid(path+"/udp6-zero-checksum", "udp6-zero-checksum %s: receiving without checksum is decided for all VNIs at once when vtepd starts: write %s or %s here, or change the top level and restart vtepd",
				z.V, ZeroChecksum{Rx: rx}, ZeroChecksum{Rx: rx, Tx: true}))
		}
	}
	v.peerCount()
}

// onlyLost says whether a VNI that changed got no peer by that: what is left of a list that was right is. Peers are taken off hundreds of lists of a thousand.
func onlyLost(was, is *VNI) bool {
	if was == nil {
		return false
	}
	rest := was.Peers
	for _, p := range is.Peers {
		i := slices.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
	}
	return true
}

// fewPeers are so many that come to a list that each is looked for in it.
const fewPeers = 8

// peers checks the peers of a VNI but for those that stand at the beginning of its list before, which was right: most often one is appended.
func (v *validation) peers(path string, n uint32, was, vni *VNI) {
	right := 0
	if was != nil {
		for right < min(len(was.Peers), len(vni.Peers)) && was.Peers[right] == vni.Peers[right] {
			right++
		}
	}
	var listed map[netip.AddrPort]bool // nil: few are new
	if len(vni.Peers)-right > fewPeers {
		listed = make(map[netip.AddrPort]bool, len(vni.Peers))
		for _, p := range vni.Peers[:right] {
			listed[p] = true
		}
	}
	for i := right; i < len(vni.Peers); i++ {
		p := vni.Peers[i]
		at := func() string { return path + "/peers/" + v.m.PeerText(p) }
		if listed[p] || listed == nil && slices.Contains(vni.Peers[:i], p) {
			v.add(Exists(at(), "peer %s is listed twice in VNI %d: leave one away", v.m.PeerText(p), n))
		}
		if listed != nil {
			listed[p] = true
		}
		if flaw := v.flawOf(p.Addr()); flaw != "" {
			v.add(Invalid(at(), "peer %s %s", p.Addr(), flaw))
		}
	}
}

// peerCount bounds the peers of all VNIs together.
func (v *validation) peerCount() {
	if n := v.m.VNIs.Peers(); n > dataplane.MaxPeers {
		v.add(&Error{Path: "vnis", Msg: fmt.Sprintf("%d peers are more than the %d that a switch takes: split them over several hosts", n, dataplane.MaxPeers), Kind: dataplane.ErrLimit})
	}
}

// flawOf says why an address cannot be that of another VTEP; "" is no flaw. Each of thousands of peers is asked about whenever one of them comes or goes: nothing
// is built for one that is right.
func (v *validation) flawOf(a netip.Addr) string {
	g := &v.m.Global
	switch {
	case a.IsMulticast():
		return "is a multicast group, not a host: a group stands under group, beside the peers"
	case a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is not the address of a host: write the underlay address of the other VTEP"
	case a.IsLoopback():
		return "is a loopback address: write the underlay address of the other VTEP"
	case a.Is6() && a.IsLinkLocalUnicast():
		return "is link-local, which needs an interface to be unique: write a global or unique local address"
	case !g.reaches(a):
		return fmt.Sprintf("is %s, but local %s is %s: add an address of that family to local", family(a), g.Local, family(g.Local))
	case a == g.Local || a == g.OtherLocal:
		return "is this host itself: write the address of the other VTEP"
	}
	return ""
}

// multicast checks the multicast group of a VNI.
func (v *validation) multicast(path string, vni uint32, g netip.AddrPort) {
	a, local := g.Addr(), v.m.Global.Local
	switch {
	case notJoined(a) != "":
		v.add(Invalid(path, "group %s %s", a, notJoined(a)))
	case !v.m.Global.reaches(a):
		v.add(Invalid(path, "group %s is %s, but local %s is %s: add an address of that family to local", a, family(a), local, family(local)))
	case !v.m.listens(g.Port()) && v.m.VNIConfig(vni).Learning:
		v.add(Invalid(path, "group %s: its members answer at UDP port %d, where this host does not listen, and VNI %d learns: add %d to listen (a running vtepd needs a restart for that), or set learning off",
			v.m.PeerText(g), g.Port(), vni, g.Port()))
	}
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func (v *validation) ports() {
	if n := v.m.Ports.Len(); n > dataplane.MaxPorts {
		v.add(&Error{Path: "ports", Msg: fmt.Sprintf("%d ports are more than the %d that a switch takes: split them over several hosts", n, dataplane.MaxPorts), Kind: dataplane.ErrLimit})
		return
	}
	for _, name := range v.portNames {
		v.port(name, v.m.Ports.At(name))
	}
	if !v.apart {
		v.ends()
	}
}

func (v *validation) port(name string, p *Port) {
	path := "ports/" + name
	v.portKind(path, name, p)
	var said []string
	if p.VNI != 0 {
		said = append(said, "vni")
	}
	if p.Access != 0 {
		said = append(said, "access")
	}
	if len(p.Trunk) > 0 {
		said = append(said, "trunk")
	}
	switch {
	case len(said) == 0 && p.Native != 0:
		v.add(Invalid(path+"/native", "port %s: native without trunk: write access %d for an untagged port, or add the trunk's VLANs", name, p.Native))
	case len(said) == 0:
		v.add(Invalid(path, "port %s belongs nowhere: give it one of vni, access or trunk", name))
	case len(said) > 1:
		v.add(Invalid(path+"/"+said[1], "port %s has both %s: keep one of them", name, strings.Join(said, " and ")))
	case p.Native != 0 && said[0] != "trunk":
		v.add(Invalid(path+"/native", "port %s: native goes with trunk only: %s says already where untagged frames go", name, said[0]))
	}
	if p.VNI != 0 && !v.m.HasVNI(p.VNI) {
		v.add(NotFound(path+"/vni", "port %s names undeclared VNI %d%s: declare it under vnis, or with vtepctl vni add", name, p.VNI, v.nearVNI(p.VNI)))
	}
	if p.Access != 0 && !v.m.VLANs.Has(p.Access) {
		v.unknownVLAN(path+"/access", name, p.Access)
	}
	if p.Native != 0 && !v.m.VLANs.Has(p.Native) {
		v.unknownVLAN(path+"/native", name, p.Native)
	}
	v.trunk(path, name, p)
	v.groups(path, name, p)
	for i, a := range p.Addresses {
		if slices.Contains(p.Addresses[:i], a) {
			v.add(Exists(path+"/addresses/"+a.String(), "port %s: address %s is listed twice: leave one away", name, a))
		}
		if p.NetNS == "" && slices.Contains(v.m.Global.Locals(), a.Addr()) {
			v.add(Invalid(path+"/addresses/"+a.String(), "port %s: address %s is that of this host on the underlay: write one of the overlay's", name, a))
		}
		// The kernel takes its IPv6 addresses from an interface whose MTU is set below that, and says nothing.
		if a.Addr().Is6() && p.MTU != 0 && p.MTU < minMTU6 {
			v.add(Invalid(path+"/addresses/"+a.String(), "port %s: address %s with mtu %d: IPv6 needs %d at least: raise mtu, or leave the address away", name, a, p.MTU, minMTU6))
		}
	}
}

// trunk checks the VLANs of a trunk. A thousand trunks may have four thousand each: nothing is built for one that is right.
func (v *validation) trunk(path, name string, p *Port) {
	seen := map[uint32]uint16{}
	if n, ok := v.m.VLANs.Get(p.Native); ok && p.Native != 0 {
		seen[n] = p.Native
	}
	for _, vid := range p.Trunk {
		n, ok := v.m.VLANs.Get(vid)
		if !ok {
			v.unknownVLAN(fmt.Sprintf("%s/trunk/%d", path, vid), name, vid)
			continue
		}
		if vid == p.Native || v.m.VLANs.Names(n) < 2 {
			continue
		}
		if other, twice := seen[n]; twice {
			v.add(Invalid(fmt.Sprintf("%s/trunk/%d", path, vid), "port %s: VLANs %d and %d are both VNI %d, which a trunk can call by one VLAN only: leave one away",
				name, min(vid, other), max(vid, other), n))
		}
		seen[n] = vid
	}
}

// unknownVLAN reports a VLAN that a port names and nobody declares.
func (v *validation) unknownVLAN(path, port string, vid uint16) {
	v.add(NotFound(path, "port %s names undeclared VLAN %d: declare it under vlans, or with vtepctl vlan add", port, vid))
}

// nearVNI names the declared VNIs when they are few: most mistakes are a digit.
func (v *validation) nearVNI(vni uint32) string {
	if max(v.m.VNIs.Len(), v.m.VLANs.names.Len()) > maxNear {
		return ""
	}
	var words []string
	for _, n := range v.m.Declared() {
		words = append(words, fmt.Sprint(n))
	}
	slices.Sort(words)
	return DidYouMean(fmt.Sprint(vni), words)
}

func (v *validation) nearPort(name string) string {
	if v.m.Ports.Len() > maxNear {
		return ""
	}
	return DidYouMean(name, v.m.PortNames())
}

func (v *validation) statics() {
	for _, k := range v.staticKeys {
		v.static(k, v.m.Statics.At(k))
	}
}

// StaticPath is the place of a static entry in the paths of errors.
func StaticPath(k StaticKey) string {
	return fmt.Sprintf("static/%d %s", k.VNI, k.MAC)
}

func (v *validation) static(k StaticKey, s Static) {
	path := StaticPath(k)
	switch {
	case k.MAC.IsZero():
		v.add(Invalid(path+"/mac", "the all-zero MAC is the flood list: a static entry needs a unicast address"))
	case k.MAC.IsMulticast():
		v.add(Invalid(path+"/mac", "%s is a group address: groups are flooded, so write a unicast address", k.MAC))
	}
	if !v.m.HasVNI(k.VNI) {
		v.add(NotFound(path+"/vni", "static entry %s names undeclared VNI %d%s: declare it under vnis, or with vtepctl vni add", k.MAC, k.VNI, v.nearVNI(k.VNI)))
	}
	if s.State != fdb.Static && s.State != fdb.Sticky {
		v.add(Invalid(path+"/state", "entry %s is neither static nor sticky", k.MAC))
	}
	switch {
	case s.Dst.IsValid() == (s.Port != ""):
		v.add(Invalid(path, "static entry %s needs one place: dst for a peer, or port", k.MAC))
	case s.Dst.IsValid():
		if flaw := v.flawOf(s.Dst.Addr()); flaw != "" {
			v.add(Invalid(path+"/dst", "dst %s %s", s.Dst.Addr(), flaw))
		}
	default:
		p, ok := v.m.Ports.Get(s.Port)
		if !ok {
			v.add(NotFound(path+"/port", "static entry %s names unknown port %s%s: declare it under ports, or with vtepctl port add", k.MAC, s.Port, v.nearPort(s.Port)))
		} else if !slices.Contains(v.m.PortVNIs(p), k.VNI) {
			v.add(Invalid(path+"/port", "static entry %s: port %s is not in VNI %d: name a port of that VNI, put it there, or delete the entry first", k.MAC, s.Port, k.VNI))
		}
	}
}

// PeerText is the text of a peer: its address, with the UDP port only where it is not the switch's.
func (m *Model) PeerText(p netip.AddrPort) string {
	return PeerText(p, m.Global.DstPort)
}

// PeerText is the text of a peer: its address, with the UDP port only where it is not dstport.
func PeerText(p netip.AddrPort, dstport uint16) string {
	if p.Port() == dstport || p.Port() == 0 {
		return p.Addr().String()
	}
	return p.String()
}
