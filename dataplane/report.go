package dataplane

import (
	"net"
	"net/netip"
	"time"

	"vtepd/fdb"
)

// PortState is what the interface of a port is doing.
type PortState string

// The states of a port.
const (
	PortUp      PortState = "up"      // administratively up
	PortIsDown  PortState = "down"    // there, but down
	PortMissing PortState = "missing" // there is no such interface, or no more; it is made again, or taken, as soon as that is possible
)

// PortInfo is a port as configured and as it is now.
type PortInfo struct {
	Config PortConfig
	State  PortState
	// Ifname is the present name of the interface: it differs from Config.Name after a rename.
	Ifname  string
	Ifindex int
	MTU     int
	MAC     net.HardwareAddr
	// NetNS is the name of the namespace that the interface, or the workload's end of a veth, is in now; empty: vtepd's own.
	NetNS string
	// Peer is the name of the workload's end of a veth; MAC is that end's then.
	Peer string
	// Reason says why a port is missing.
	Reason string
	// Warning says what keeps the interface of the port from serving it well; empty: nothing.
	Warning string
	// KernelDrops counts frames from the interface that the kernel dropped because the port's queue was full.
	KernelDrops uint64
	// Queues is the number of queues of the device; Offload says what was negotiated, and OffloadReason why not the rest.
	Queues        int
	Offload       []string
	OffloadReason string
	// MACs counts the entries that point to it.
	MACs int
	// FastPath: known traffic from and to it passes user space by. FastPathReason says why not, or for which of its VNIs not.
	FastPath       bool
	FastPathReason string
}

// VNIInfo is a VNI as configured, and its size.
type VNIInfo struct {
	Config VNIConfig
	// FastPath: known traffic of it passes user space by. FastPathReason says why not, or what of it does not.
	FastPath       bool
	FastPathReason string
	// MACs counts the entries of the VNI, dynamic and static.
	MACs int
	// GroupInterface is where Config.Group is joined now; empty: nowhere.
	GroupInterface string
}

// PeerInfo is a remote VTEP. It is known while a VNI or a forwarding entry names it, or while MACs learned from it live.
type PeerInfo struct {
	Addr netip.AddrPort
	// VNIs whose flood list it is on, ascending.
	VNIs []uint32
	// MACs counts the entries that point to it.
	MACs int
	// PMTU is what the path to it carries, RouteMTU the same without what ICMP errors said, both in bytes with the outer IP header; Inside is PMTU less
	// the overhead: the largest packet inside. 0: not known: NoRoute says why, or it has not been asked about yet.
	PMTU, RouteMTU, Inside int
	// NoRoute says why nothing gets there, or back; empty: it may.
	NoRoute string
	// FastPath: known traffic to it passes user space by. FastPathReason says why not.
	FastPath       bool
	FastPathReason string
}

// Counters of one port or one peer. A superframe of N segments counts as N packets; bytes are those of the Ethernet frames, without VXLAN
// and outer headers. For a port rx is what entered the switch from it, for a peer what arrived from it.
type Counters struct {
	RxPackets, RxBytes   uint64
	TxPackets, TxBytes   uint64
	RxDropped, TxDropped uint64
}

// PortStats are the counters of a port.
type PortStats struct {
	Port string
	Counters
}

// PeerStats are the counters of a peer.
type PeerStats struct {
	Peer netip.AddrPort
	Counters
}

// VNIStats are the counters of a VNI: received into it (from ports and peers), sent from it (copies).
type VNIStats struct {
	VNI uint32
	Counters
}

// Drop is one line of the drop ledger. Port, VNI and Peer are set where they are known.
type Drop struct {
	Reason Reason
	Port   string
	VNI    uint32
	Peer   netip.AddrPort // zero: unknown, or not a peer of ours
	Count  uint64
}

// Totals hold the equation Received = Forwarded + Dropped once the workers are idle. Frames are counted as segments.
type Totals struct {
	Received, Forwarded, Dropped uint64
}

// Capability is one thing the kernel may or may not do for us.
type Capability struct {
	Name   string
	On     bool
	Reason string // why it is off; empty when on
}

// StormInfo is a source that has more of a kind flooded in a VNI than it may: what is over it is dropped (StormLimited).
type StormInfo struct {
	Port string         // or
	Peer netip.AddrPort // of those that share a budget the one that was over it first
	VNI  uint32
	Kind FloodKinds
	Rate Rate
	// Dropped is what was dropped since it began, Age ago.
	Dropped uint64
	Age     time.Duration
}

// Status is the switch as a whole.
type Status struct {
	Local netip.Addr
	// Locals are Local and, where there is one, the address of the other family.
	Locals []netip.Addr
	// VRF is the name of the VRF that they are in; empty: they are in none.
	VRF     string
	DstPort uint16
	// Listen are all ports listened on, DstPort first; SourcePorts are the first and the last one that datagrams leave from.
	Listen      []uint16
	SourcePorts [2]uint16
	Workers     int
	// Away are those of Locals that no interface has, or may use, now, Down those whose interface is down or has no carrier.
	Away, Down []netip.Addr
	// UnderlayInterface and UnderlayMTU are those that carry Local, or the other address when it is away; empty and 0 when both are nowhere now.
	UnderlayInterface string
	UnderlayMTU       int
	// Offload lists the capabilities of the underlay and of ports.
	Offload []Capability
	// ReceiveBuffer is what the kernel granted each underlay socket, in bytes.
	ReceiveBuffer int
	// KernelDrops counts what the kernel dropped because a receive buffer was full: messages of up to 64 datagrams each.
	KernelDrops uint64
	// PortKernelDrops counts frames that the kernel dropped because the queue of a netdev or veth port was full.
	PortKernelDrops uint64
	Totals          Totals
	// TooBigAnswered counts the ICMP messages sent about frames that were too big, TooBigSilenced those that were not because there were too many.
	TooBigAnswered, TooBigSilenced uint64
	// MSSClamped counts the frames whose MSS was lowered.
	MSSClamped uint64
	// Storms are those that are on, in the order in which they began.
	Storms     []StormInfo
	FDB        fdb.Stats
	Ports      int
	VNIs       int
	Peers      int
	FastPath   FastPathInfo
	CPULatency CPULatencyInfo
}

// FDBEntry is one forwarding entry in the words of the outside. Exactly one of Dst and Port is set. The all-zero MAC with Flood set is a
// destination of the head-end replication list.
type FDBEntry struct {
	VNI   uint32
	MAC   fdb.MAC
	Dst   netip.AddrPort
	Port  string
	State fdb.State
	Flood bool
	// Age is the time since it was last seen; dynamic entries only.
	Age   time.Duration
	Moves uint32
}

// FDBFilter selects forwarding entries; zero fields select all.
type FDBFilter struct {
	VNI    uint32
	MAC    fdb.MAC
	HasMAC bool
	Port   string
	Dst    netip.AddrPort // Port 0: any port
	// Static and Dynamic restrict the state; both false means all for showing and dynamic for flushing. Static includes sticky.
	Static, Dynamic bool
}

// Event is one change, as `vtepctl monitor` streams it.
type Event struct {
	Time time.Time
	// Object is "fdb", "port", "peer", "vni" or "underlay"; Action is "add", "del", "change", "move", "expire", "evict", "flush", "up", "down", "missing", "pmtu" (Reason says
	// from what to what), "error" (the underlay answered Count datagrams with an ICMP error), "storm" and "calm" (more is flooded than a bound allows, and no more:
	// Reason says which one, Count what was dropped), or "lost" (the subscriber was too slow: Count events are missing).
	Object, Action string
	FDB            *FDBEntry // Object fdb
	From           string    // Action move: where it was (port name or peer)
	Port           string    // Object port
	Peer           netip.AddrPort
	Local          netip.Addr // Object underlay: which of our addresses
	VNI            uint32
	Reason         string
	Count          uint64
}

// Move is one change of place of a MAC: port names or peer addresses, empty where they are gone.
type Move struct {
	From, To string
	Ago      time.Duration
}
