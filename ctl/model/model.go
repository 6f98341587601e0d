package model

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"time"

	"vtepd/dataplane"
	"vtepd/encap"
	"vtepd/fdb"
)

const (
	// DefaultSocket is where the control API listens when nothing else is said.
	DefaultSocket = "/run/vtepd/vtepd.sock"
	// DefaultAgeing is how long a dynamic entry lives unseen: 300 s, as IEEE 802.1Q table 8-6 recommends.
	DefaultAgeing = 300 * time.Second
)

// FastPath says whether the eBPF fast path is wanted.
type FastPath string

// The values of fastpath.
const (
	FastPathOff  FastPath = "off"
	FastPathAuto FastPath = "auto"
	FastPathOn   FastPath = "on"
)

// Mode is the value in the data plane's words.
func (f FastPath) Mode() dataplane.FastPathMode {
	switch f {
	case FastPathOff:
		return dataplane.FastPathOff
	case FastPathOn:
		return dataplane.FastPathOn
	}
	return dataplane.FastPathAuto
}

// CPULatency says whether CPUs are held quick to wake up for requests and responses.
type CPULatency string

// The values of cpu-latency.
const (
	CPULatencyOff  CPULatency = "off"
	CPULatencyAuto CPULatency = "auto"
	CPULatencyOn   CPULatency = "on"
)

// Mode is the value in the data plane's words.
func (l CPULatency) Mode() dataplane.CPULatencyMode {
	switch l {
	case CPULatencyOff:
		return dataplane.CPULatencyOff
	case CPULatencyOn:
		return dataplane.CPULatencyOn
	}
	return dataplane.CPULatencyAuto
}

// Model is a desired state. Tables and what they hold are never changed in place once a Model has been handed on: edit a Clone, and replace values
// instead of writing into them.
type Model struct {
	Global Global
	// VLANs are the switch-wide names: VID to VNI. A line declares its VNI.
	VLANs VLANTable
	// VNIs are those declared by themselves; see Declared for all.
	VNIs  VNITable
	Ports Table[string, *Port]
	// Statics are the static and sticky forwarding entries.
	Statics Table[StaticKey, Static]
}

// Global is what concerns the whole switch. Everything but FastPath and Settings is fixed when vtepd starts, and so are two of the settings: see Settings.
type Global struct {
	// Local is the underlay address; Interface, when not empty, is where it was or will be taken from. OtherLocal is that of the other address family,
	// invalid for none.
	Local, OtherLocal netip.Addr
	Interface         string
	// VRF is what the underlay is in; empty is none.
	VRF     string
	DstPort uint16
	// Listen are further ports to listen on. SourcePorts are the first and the last that datagrams leave from, zeros for the default.
	Listen      []uint16
	SourcePorts [2]uint16
	// FlowLabels is flow-label flow: IPv6 flow labels by inner flow.
	FlowLabels bool
	// GroupInterface is where multicast groups are joined and sent to; empty is the interface that holds Local.
	GroupInterface string
	Socket         string
	FastPath       FastPath
	Offload        bool
	// CPULatency says whether CPUs are held quick to wake up for requests and responses.
	CPULatency CPULatency
	// Workers is the number of worker threads, 0 is one a CPU.
	Workers int
	// Settings are the defaults of every VNI. MaxMACs bounds the whole switch here, and receiving without UDP checksum over IPv6 is decided here alone.
	Settings Settings
}

// VNI is one broadcast domain as declared.
type VNI struct {
	// Peers is the head-end replication list, in the order given. No doubles, and no port is 0 in a normalised Model.
	Peers []netip.AddrPort
	// Group is the multicast group that floods the VNI beside Peers, invalid for none. Its port is not 0 in a normalised Model.
	Group netip.AddrPort
	// Settings override the global ones where they are set; Allow widens the global list.
	Settings Settings
}

// Port is one port as declared. Exactly one of VNI, Access and Trunk says where its frames go.
type Port struct {
	Type   dataplane.PortType
	VNI    uint32
	Access uint16
	// Trunk holds VLAN IDs, ascending and without doubles.
	Trunk []uint16
	// Native is the VLAN of a trunk's untagged frames; it need not be in Trunk.
	Native uint16
	// MTU in bytes of Ethernet payload; 0 follows the underlay, and on a netdev the interface.
	MTU   int
	NetNS string
	// IfName is the name of the workload's end of a veth; "" is eth0 where NetNS is given.
	IfName string
	MAC    net.HardwareAddr
	// Addresses are put on the interface.
	Addresses []netip.Prefix

	// MSSClamp replaces the VNI's for its frames; 0 leaves the VNI's.
	MSSClamp dataplane.MSSClamp
	// StormControl replaces the VNIs' for its frames; nil leaves the VNIs'. Never written to.
	StormControl *dataplane.StormControl
	// Isolated ports exchange nothing with each other.
	Isolated bool
	// MaxMACs bounds the dynamic entries of the port; 0 is no bound of its own.
	MaxMACs int
	// GBPID marks its frames, GBPDrop lists the group policy IDs whose frames it does not get; both in VNIs with group policy.
	GBPID   uint16
	GBPDrop []dataplane.GBPRange
}

// Static is a forwarding entry that is not learned. Exactly one of Dst and Port is set.
type Static struct {
	Dst   netip.AddrPort
	Port  string
	State fdb.State
}

// StaticKey names a forwarding entry.
type StaticKey struct {
	VNI uint32
	MAC fdb.MAC
}

// CompareStatics orders keys by VNI, then MAC.
func CompareStatics(a, b StaticKey) int {
	return cmp.Or(cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.MAC, b.MAC))
}

// Settings are what the top level and each VNI may say. An unset field means: as the level above, in the end the default.
type Settings struct {
	Ageing      Opt[time.Duration]
	Learning    Opt[bool]
	Policy      Opt[dataplane.Policy]
	MaxMACs     Opt[int]
	Allow       []netip.Prefix
	TTL         Opt[HeaderByte]
	GroupTTL    Opt[uint8]
	DSCP        Opt[HeaderByte]
	ECN         Opt[encap.ECNMode]
	UDPChecksum Opt[dataplane.UDPChecksum]
	UDP6Zero    Opt[ZeroChecksum]
	// StrictReserved is reserved-bits strict, KeepInnerVLAN is inner-vlan keep.
	StrictReserved Opt[bool]
	KeepInnerVLAN  Opt[bool]
	// Flood are the kinds of frames that are flooded.
	Flood Opt[dataplane.FloodKinds]
	// StormControl bounds what one source may have flooded.
	StormControl Opt[dataplane.StormControl]

	MSSClamp   Opt[dataplane.MSSClamp]
	SpoofGuard Opt[bool]
	// GBP speaks the group policy extension, GPE the generic protocol extension; GBPDrop, which needs GBP, keeps frames by their group policy ID out of the VNI.
	GBP     Opt[bool]
	GPE     Opt[bool]
	GBPDrop Opt[[]dataplane.GBPRange]
}

// HeaderByte is a number for an outer header field, or the inner frame's value.
type HeaderByte struct {
	Inherit bool
	N       uint8
}

// ZeroChecksum says whether UDP datagrams without checksum are accepted and sent over IPv6 (RFC 6935).
type ZeroChecksum struct {
	Rx, Tx bool
}

// Opt is a value that may be absent.
type Opt[T any] struct {
	V   T
	Set bool
}

// Some is a value that is there.
func Some[T any](v T) Opt[T] { return Opt[T]{V: v, Set: true} }

// Or is the value, or def when it is absent.
func (o Opt[T]) Or(def T) T {
	if o.Set {
		return o.V
	}
	return def
}

// or is o when it is set, and other when not.
func (o Opt[T]) or(other Opt[T]) Opt[T] {
	if o.Set {
		return o
	}
	return other
}

// New is an empty model with the defaults of the file.
func New() *Model {
	return &Model{
		Global: Global{
			DstPort:    dataplane.DefaultPort,
			Socket:     DefaultSocket,
			FastPath:   FastPathAuto,
			CPULatency: CPULatencyAuto,
			Offload:    true,
		},
	}
}

// Clone is a model to edit. What its tables point to is shared and must be replaced, not written into.
func (m *Model) Clone() *Model {
	c := *m
	c.VLANs = m.VLANs.clone()
	c.VNIs = m.VNIs.clone()
	c.Ports = m.Ports.clone()
	c.Statics = m.Statics.clone()
	return &c
}

// Normalize brings equal states into one form: peers get the switch's UDP port where they name none, and IPv4-mapped addresses become IPv4.
// It may be called on a model that is still being built, not on one that was handed on.
func (m *Model) Normalize() {
	for n := range m.VNIs.Keys() {
		m.normalizeVNI(n)
	}
	for k := range m.Statics.Keys() {
		m.normalizeStatic(k)
	}
}

func (m *Model) normalizeVNI(n uint32) {
	v := m.VNIs.At(n)
	given := v
	if g := v.Group; g.Addr().IsValid() && m.Endpoint(g) != g {
		c := *v
		c.Group = m.Endpoint(g)
		v = &c
	}
	own := false
	for i, p := range v.Peers {
		if q := m.Endpoint(p); q != p {
			if !own {
				c := *v
				c.Peers = slices.Clone(v.Peers)
				v, own = &c, true
			}
			v.Peers[i] = q
		}
	}
	if v != given {
		m.VNIs.Put(n, v)
	}
}

func (m *Model) normalizeStatic(k StaticKey) {
	s, ok := m.Statics.Get(k)
	if !ok || !s.Dst.IsValid() {
		return
	}
	if dst := m.Endpoint(s.Dst); dst != s.Dst {
		s.Dst = dst
		m.Statics.Put(k, s)
	}
}

// Endpoint is p with the switch's UDP port where it names none.
func (m *Model) Endpoint(p netip.AddrPort) netip.AddrPort {
	port := p.Port()
	if port == 0 {
		port = m.Global.DstPort
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), port)
}

// Declared lists every VNI, by itself or by a VLAN, ascending.
func (m *Model) Declared() []uint32 {
	list := slices.Collect(m.VNIs.Keys())
	for _, n := range m.VLANs.All() {
		if !m.VNIs.Has(n) {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// HasVNI says whether vni is declared, by itself or by a VLAN.
func (m *Model) HasVNI(vni uint32) bool {
	return m.VNIs.Has(vni) || m.VLANs.Names(vni) > 0
}

// PortVNIs lists the VNIs that a port is in, ascending; VLANs without a name are left out.
func (m *Model) PortVNIs(p *Port) []uint32 {
	var vnis []uint32
	if p.VNI != 0 {
		vnis = append(vnis, p.VNI)
	}
	for _, vid := range append([]uint16{p.Access, p.Native}, p.Trunk...) {
		if n, ok := m.VLANs.Get(vid); ok && vid != 0 {
			vnis = append(vnis, n)
		}
	}
	slices.Sort(vnis)
	return slices.Compact(vnis)
}

// Names says whether a port names a VLAN.
func (p *Port) Names(vid uint16) bool {
	_, tagged := slices.BinarySearch(p.Trunk, vid)
	return tagged || p.Access == vid || p.Native == vid
}

// PortNames lists the ports by name, numbers in names compared as numbers: tap2 comes before tap10.
func (m *Model) PortNames() []string {
	return slices.SortedFunc(m.Ports.Keys(), CompareNames)
}

// PortsNaming lists the ports that name any of some VLANs, in no order.
func (m *Model) PortsNaming(vids []uint16) (names []string) {
	if len(vids) == 0 {
		return nil
	}
	for name, p := range m.Ports.All() {
		if slices.ContainsFunc(vids, p.Names) {
			names = append(names, name)
		}
	}
	return names
}

// StaticKeys lists the static entries by VNI, then MAC.
func (m *Model) StaticKeys() []StaticKey {
	return slices.SortedFunc(m.Statics.Keys(), CompareStatics)
}

// CompareNames orders interface names as people count: digits in them compare as numbers.
func CompareNames(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		nx, ny := digits(x), digits(y)
		if nx > 0 && ny > 0 {
			dx, dy := trimZeros(x[:nx]), trimZeros(y[:ny])
			if c := cmp.Or(cmp.Compare(len(dx), len(dy)), cmp.Compare(dx, dy)); c != 0 {
				return c
			}
			x, y = x[nx:], y[ny:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func trimZeros(s string) string {
	for len(s) > 1 && s[0] == '0' {
		s = s[1:]
	}
	return s
}
