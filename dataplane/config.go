package dataplane

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"vtepd/dataplane/netdev"
	"vtepd/dataplane/tap"
	"vtepd/dataplane/underlay"
	"vtepd/dataplane/xdp"
	"vtepd/encap"
)

// Limits of one switch. They bound what configuration and peers can make it hold.
const (
	// MaxVNI is the largest VXLAN network identifier: 24 bits (RFC 7348 section 5).
	MaxVNI = 1<<24 - 1
	// MaxPorts bounds the ports of a switch; counters are laid out by port index.
	MaxPorts = 4096
	// MaxPeers bounds the remote VTEPs a switch knows, configured and learned together.
	MaxPeers = 16384
	// MaxListen bounds the UDP ports listened on.
	MaxListen = underlay.MaxPorts
	// MaxGroups bounds the multicast groups of a switch, each with a socket.
	MaxGroups = 4096
	// MaxWorkers is the kernel's limit of queues on one TAP device (MAX_TAP_QUEUES, tun.c).
	MaxWorkers = 256
	// DefaultMaxMACs bounds the dynamic forwarding entries of a switch when nothing else is said.
	DefaultMaxMACs = 262144
	// DefaultPort is the UDP port that IANA assigned to VXLAN (RFC 7348 section 8).
	DefaultPort = underlay.DefaultPort
	// FirstSourcePort and LastSourcePort are the range of UDP source ports when nothing else is said (RFC 7348 section 5).
	FirstSourcePort = underlay.FirstSource
	LastSourcePort  = underlay.LastSource
	// DefaultTTL is the outer TTL or hop limit (RFC 1700's recommended default).
	DefaultTTL = 64
)

// Config is what a Switch is born with and keeps for its life.
type Config struct {
	// Local is the underlay source address, IPv4 or IPv6. Datagrams leave from it and are accepted on it alone.
	Local netip.Addr
	// OtherLocal is the underlay address for peers of the other address family; the zero Addr: none, and all peers are of Local's.
	OtherLocal netip.Addr
	// VRF is the name of the VRF that the underlay is in (Documentation/networking/vrf.rst of the kernel); empty: it is in none.
	VRF string
	// DstPort is the UDP port to listen on and to send to where a peer names no other. 0 means DefaultPort.
	DstPort uint16
	// Listen are further UDP ports to listen on. A source that is learned is answered at the port that it sent to.
	Listen []uint16
	// SourcePorts are the first and the last UDP source port of datagrams, of which 16 at most are used. Zeros mean FirstSourcePort and
	// LastSourcePort.
	SourcePorts [2]uint16
	// FlowLabels gives inner flows that share a source port IPv6 flow labels of their own. Their datagrams do not share messages then, which costs where
	// there are many small ones.
	FlowLabels bool
	// Workers is the number of worker threads; 0 is one a CPU, at most MaxWorkers.
	Workers int
	// Offload allows virtio-net headers on TAPs and UDP GSO/GRO on the underlay, each where the kernel takes it.
	Offload bool
	// MaxMACs bounds the dynamic forwarding entries of the whole switch. 0 means DefaultMaxMACs.
	MaxMACs int
	// UDP6ZeroChecksumRx accepts datagrams without UDP checksum over IPv6 (RFC 6935); off by default.
	UDP6ZeroChecksumRx bool
	// GroupInterface is the interface on which multicast groups are joined and sent to; empty: the one that holds Local or OtherLocal, whichever is of
	// the group's family.
	GroupInterface string
	// FastPath says whether eBPF programs may carry known traffic past user space. With FastPathOn, New fails where they cannot.
	FastPath FastPathMode
	// CPULatency says whether CPUs are held quick to wake up while there are requests and responses.
	CPULatency CPULatencyMode
	// PinDir is a directory on a bpffs where the programs are pinned, so that they carry on while the process is killed and started again; it is made when
	// missing. Empty: they go with the process, and PinReason may say why.
	PinDir, PinReason string
	// Instance is the same for a process and for the next one in its place, and no other's: what the one left when it was killed is the other's to remove.
	// Empty: such things stay.
	Instance string
	// HoldUnderlay leaves datagrams in the buffers of the sockets until TakeOver: a start drops nothing for a VNI or a peer that it is about to declare.
	HoldUnderlay bool
	// Log receives state changes, never a line a frame. Nil discards.
	Log *slog.Logger

	// What tests have the kernel refuse, so that the ways without it are walked everywhere.
	refuseTAP      tap.Refuse
	refuseNetdev   netdev.Refuse
	refuseUnderlay underlay.Refuse
	refusePrograms xdp.Refuse
	fastDecap      xdp.DecapMode
	// openPrograms loads the programs of the fast path; tests put others in their place.
	openPrograms func(xdp.Options) (programs, error)
}

// Policy says who may send into a VNI.
type Policy uint8

const (
	// Strict admits the peers of the VNI, the destinations of its static entries and the Allow prefixes.
	Strict Policy = iota
	// Learn admits any source and learns MACs from it; it never adds the source to the flood list.
	Learn
)

func (p Policy) String() string {
	if p == Learn {
		return "learn"
	}
	return "strict"
}

// UDPChecksum says whether datagrams toward IPv4 peers carry a UDP checksum.
type UDPChecksum uint8

const (
	// ChecksumAuto writes a checksum: it lets the receiver's kernel join datagrams (UDP GRO needs it) and costs nothing with UDP GSO.
	ChecksumAuto UDPChecksum = iota
	// ChecksumOn always writes one.
	ChecksumOn
	// ChecksumOff writes zero (RFC 7348 section 5). UDP GSO is not used then: the kernel excludes the two.
	ChecksumOff
)

func (c UDPChecksum) String() string {
	return [...]string{"auto", "on", "off"}[c]
}

// HeaderPolicy is how the outer headers of a VNI are written and judged.
type HeaderPolicy struct {
	// TTL is the outer TTL or hop limit, 1..255; 0 means DefaultTTL.
	TTL uint8
	// InheritTTL copies the inner TTL or hop limit; frames that are not IP get TTL.
	InheritTTL bool
	// DSCP is the outer DSCP, 0..63.
	DSCP uint8
	// InheritDSCP copies the inner DSCP; frames that are not IP get DSCP.
	InheritDSCP bool
	// ECN chooses the encapsulation rule: RFC 6040 normal mode or what Linux does.
	ECN encap.ECNMode
	// UDPChecksum applies to IPv4 peers.
	UDPChecksum UDPChecksum
	// UDP6ZeroChecksumTx sends without UDP checksum to IPv6 peers (RFC 6935).
	UDP6ZeroChecksumTx bool
	// StrictReserved drops datagrams whose reserved VXLAN bits are set, as the kernel does; RFC 7348 says to ignore them.
	StrictReserved bool
	// KeepInnerVLAN keeps an 802.1Q tag inside the VNI, both ways; without it such frames are discarded (RFC 7348 section 6.1).
	KeepInnerVLAN bool
	// GBP speaks the group policy extension (draft-smith-vxlan-group-policy): the group policy IDs of ports cross the underlay.
	GBP bool
	// GPE speaks the generic protocol extension (draft-ietf-nvo3-vxlan-gpe) with Ethernet as the next protocol. It excludes GBP: their bits overlap.
	GPE bool
}

// VNIConfig is one broadcast domain.
type VNIConfig struct {
	// VNI is its number, 1..MaxVNI.
	VNI uint32
	// Peers is the head-end replication list: where broadcast, unknown unicast and multicast go. No doubles. A port of 0 means Config.DstPort.
	Peers []netip.AddrPort
	// Group is a multicast group that floods the VNI beside Peers, and the UDP port that its members listen on (0 means Config.DstPort). The zero
	// AddrPort: none. With a group and neither Peers nor Allow the policy is Learn whatever it says, since nobody can list the members.
	Group netip.AddrPort
	// GroupTTL is the outer TTL or hop limit of datagrams to the group, 1..255, whatever Header says of it; 0: as Header says.
	GroupTTL uint8
	// NoFlood are the kinds of frames that are not flooded in the VNI, neither to ports nor to peers or the group.
	NoFlood FloodKinds
	// StormControl bounds what each port and each peer may have flooded in it. The zero value bounds nothing.
	StormControl StormControl
	// Learning learns inner source MAC to peer from the overlay. Local ports always learn.
	Learning bool
	// Ageing is how long a dynamic entry lives without being seen, rounded up to seconds; 0 is for ever.
	Ageing time.Duration
	// MaxMACs bounds the dynamic entries of the VNI; 0 leaves the switch's bound alone.
	MaxMACs int
	// Policy says who may send.
	Policy Policy
	// Allow widens Strict by prefixes.
	Allow []netip.Prefix
	// MSSClamp lowers the MSS of TCP connections; MSSDefault is MSSAuto.
	MSSClamp MSSClamp
	// SpoofGuard drops what ports send as VXLAN to a VTEP.
	SpoofGuard bool
	// GBPDrop are the group policy IDs whose frames may not enter the VNI, from ports and from peers that have not applied policy themselves. Needs
	// Header.GBP. When there are any, frames toward peers say that policy has been applied.
	GBPDrop []GBPRange
	// Header is the outer header policy.
	Header HeaderPolicy
}

// PortType says what kind of device a port is.
type PortType string

// The kinds of device.
const (
	PortTAP    PortType = "tap"    // a TAP device that vtepd creates and owns
	PortNetdev PortType = "netdev" // an interface that exists, or will: taken over, and given back as it was found
	PortVeth   PortType = "veth"   // a veth pair that vtepd creates: the host end is the port, the other end the workload's
)

// VIDMap names a VNI by a VLAN ID on one port's wire.
type VIDMap struct {
	// VID is 1..4094.
	VID uint16
	// VNI is declared.
	VNI uint32
}

// PortConfig is one port.
type PortConfig struct {
	// Name is the interface name, at most 15 bytes (IFNAMSIZ).
	Name string
	// Type is the kind of device.
	Type PortType
	// Untagged is the VNI of untagged frames, both ways; 0 means that untagged frames are not allowed.
	Untagged uint32
	// NativeVID is a trunk's native VLAN: it is accepted tagged as well and means Untagged. 0: none.
	NativeVID uint16
	// Tagged maps VIDs to VNIs: a trunk. Empty on access ports. No VID and no VNI twice; neither NativeVID nor Untagged among them.
	Tagged []VIDMap
	// MTU is the interface's MTU in bytes of Ethernet payload; 0 is the underlay's less the overhead, and on a netdev whatever the interface has.
	MTU int
	// MAC is the interface's address, that of the workload's end on a veth; nil leaves what there is, or the kernel's choice.
	MAC net.HardwareAddr
	// NetNS names the network namespace that the interface, or the workload's end, is moved into; empty stays.
	NetNS string
	// IfName is the name of the workload's end of a veth; empty is netdev.DefaultIfName in a namespace.
	IfName string
	// Addresses are put on the interface, or on the workload's end. A netdev has none.
	Addresses []netip.Prefix
	// MaxMACs bounds the dynamic entries of the port; 0 leaves the other bounds alone.
	MaxMACs int
	// GBPID marks the frames from the port, in VNIs with HeaderPolicy.GBP; 0 is none.
	GBPID uint16
	// MSSClamp replaces the VNI's for the frames from the port and to it.
	MSSClamp MSSClamp
	// StormControl replaces the VNIs' for the frames from the port; nil leaves them. Shared, and not to be changed.
	StormControl *StormControl
	// Isolated: nothing goes from the port to another isolated one of this switch, as between isolated ports of a Linux bridge.
	Isolated bool
	// GBPDrop are the group policy IDs whose frames are not delivered to the port, in VNIs with HeaderPolicy.GBP.
	GBPDrop []GBPRange
}
