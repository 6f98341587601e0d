package xdp

import (
	"errors"
	"log/slog"
	"net/netip"
)

// Errors to test for.
var (
	// ErrLocked: another process uses the pin directory.
	ErrLocked = errors.New("in use by another process")
	// ErrUnsupported: the kernel lacks what the fast path needs; the text names it.
	ErrUnsupported = errors.New("not supported by the kernel")
	// ErrInvalid: an argument out of its bounds.
	ErrInvalid = errors.New("invalid argument")
	// ErrFull: a map has no room for another entry.
	ErrFull = errors.New("map is full")
	// ErrClosed: after Close or Abandon.
	ErrClosed = errors.New("fast path is closed")
)

// DecapMode chooses where datagrams are unwrapped.
type DecapMode uint8

const (
	// Auto chooses for each device what pays, see [FastPath.AttachUnderlay].
	Auto DecapMode = iota
	// TCX uses tcx alone.
	TCX
	// XDPNative uses XDP in the driver wherever it has it. XDP behind the driver (generic) comes after GRO and gains nothing.
	XDPNative
)

// Refuse makes the kernel say no to something, for tests.
type Refuse struct {
	Privileges   []string // that the process lacks, such as CAP_BPF
	Capabilities []string // that the kernel lacks, by the names of Capabilities.List
	Maps         []string // asked for with a type that no kernel has, by their names in the objects
	Programs     []string // given a body that no verifier takes, likewise
	Places       []string // where nothing can be attached: port-ingress, port-egress, underlay, xdp, cell
}

// Options say how the fast path is made. Zero sizes get defaults.
type Options struct {
	// PinDir is a directory on a bpffs, made when missing. Empty: nothing is pinned.
	PinDir string
	// Name tells this instance from others of the host, and is the same for the next process that takes its place: the devices that it
	// makes are named after it. Empty: PinDir, or a name that nobody has.
	Name string
	// Locals are the own underlay addresses, at most 8 a family; the first of a family is the source of what is sent.
	Locals []netip.Addr
	// Ports are the UDP ports datagrams are taken from, at most 32.
	Ports []uint16
	// VRF says that the sockets on these ports are bound to a VRF, where the programs do not find them: they go by whether the process lives.
	VRF bool
	// SourcePorts are the first and last outer UDP source port; zero means 49152 to 65535 (RFC 7348 section 5).
	SourcePorts [2]uint16
	// SourcePortList names the outer UDP source ports toward IPv4 peers one by one instead, SourcePortList6 those toward IPv6 peers, at most
	// 64 each. The kernel hears of a smaller path MTU only by errors about ports that have a socket: with those of user space's
	// sockets, fast traffic finds it out too.
	SourcePortList, SourcePortList6 []uint16
	// Bounds of the maps. MaxPorts, MaxPeers and MaxDomains also bound the indices: 0 to one less.
	MaxEntries, MaxPorts, MaxPeers, MaxDomains, MaxSources int
	// LearnEvents bounds the events a second and CPU. Frames of more new sources go to user space.
	LearnEvents int
	// Decap chooses where datagrams are unwrapped.
	Decap DecapMode
	// Alone says that no packet socket reads the ports, so that nobody asks SocketFilter: the programs take what
	// they can and drop the rest.
	Alone bool
	// Log hears of what is degraded; nil: nobody.
	Log *slog.Logger
	// Refuse is for tests.
	Refuse Refuse
}

// Kind says how frames get into a port's device.
type Kind uint8

const (
	// TAP is a TAP device whose interface is in this network namespace: the workload uses it there.
	TAP Kind = iota
	// Veth is a veth device whose other end is in another network namespace.
	Veth
	// Netdev is any other device, a veth with both ends in this namespace included.
	Netdev
)

// Port is a local port.
type Port struct {
	Index     uint32 // below Options.MaxPorts
	Ifindex   int
	Kind      Kind
	MaxFrame  int      // bytes of the largest frame it takes, untagged, Ethernet header included
	Untagged  uint32   // VNI of untagged frames, both ways; 0: none allowed
	NativeVID uint16   // also means Untagged when tagged so; 0: none
	Tagged    []VIDMap // of a trunk
	PeerMAC   [6]byte  // of the other end of a Veth; zero: everything goes through its queue
	ToUser    bool     // frames from it all go to user space
	Isolated  bool     // frames to another such port go to user space
	// Filtered says that the packet sockets of the device have SocketFilter: to be set after they got it, and taken back before they lose it. They
	// also lose it when the process dies; the programs then go on by themselves.
	Filtered bool
	// Serial names the port in events: no other port or source may ever have had it. 0: frames of new sources go to user space.
	Serial uint32
}

// VIDMap names a VNI by a VLAN ID on one port's wire.
type VIDMap struct {
	VID uint16
	VNI uint32
}

// Domain is a VNI and the policies that the programs know.
type Domain struct {
	VNI      uint32
	Learning bool // sources behind peers must be known at this peer; otherwise only static entries of other places count
	Strict   bool // reserved VXLAN bits must be zero
	// ZeroChecksumTx allows UDP checksum zero toward IPv4 peers, ZeroChecksum6Tx toward IPv6 peers (RFC 6935). Without,
	// frames toward such peers go to user space.
	ZeroChecksumTx, ZeroChecksum6Tx bool
	ZeroChecksum6Rx                 bool // takes it from IPv6 peers
	InheritTTL, InheritDSCP         bool
	ECNLinux                        bool // encap.ECNLinux; otherwise RFC 6040 normal mode
	// ClampMSS has an eye on TCP SYN, both ways: what announces an MSS above MSS4 or MSS6, by the version of the inner IP, goes to user space, and so does what
	// says it in an odd way. ClampByPath lowers both to what the peer's MaxFrame takes where a peer has a part in it.
	ClampMSS, ClampByPath bool
	MSS4, MSS6            uint16
	SpoofGuard            bool // what a port sends to a VXLAN port of ours goes to user space
	GuardMore             bool // with SpoofGuard: to a port of GuardPorts, too
	// NewSources lets frames be carried whose source no entry names, or a dynamic one of another place, when their destination is known: events tell of
	// them. It asks for all entries of the VNI that are static or sticky to be there.
	NewSources bool
	TTL        uint8 // of the outer header where nothing is inherited; 0: 64
	TOS        uint8 // outer DSCP<<2 where nothing is inherited
	ToUser     bool  // all its frames go to user space
}

// Peer is a remote VTEP and the way there.
type Peer struct {
	Index    uint32 // below Options.MaxPeers
	Addr     netip.AddrPort
	Ifindex  int        // of the device that the route leaves by; a route of type local has no use here
	NextHop  netip.Addr // gateway, or the peer itself on a connected route
	MaxFrame int        // bytes of the largest inner frame that the way takes, Ethernet header included
	Divided  bool       // superframes of UDP leave the device as datagrams: see DividesUDP
}

// SourceKey names an underlay source in a VNI.
type SourceKey struct {
	VNI  uint32
	Addr netip.Addr
}

// Source is one that is admitted, as a peer. The serial names it in events, as that of a [Port].
type Source struct {
	SourceKey
	Peer, Serial uint32
}

// EntryKey names a forwarding entry.
type EntryKey struct {
	VNI uint32
	MAC [6]byte
}

// Entry is a forwarding entry.
type Entry struct {
	VNI    uint32
	MAC    [6]byte
	ToPeer bool   // Index is a peer's; otherwise a port's
	Index  uint32 //
	Static bool   // never refreshed; holds against any other source of the MAC
	Sticky bool   // does not move; frames of the MAC from elsewhere go to user space
	Seen   uint32 // second of FastPath.Now
}

// Counters count inner frames: a superframe of N segments counts as N packets, and its bytes are those of its segments.
type Counters struct {
	RxPackets, RxBytes, TxPackets, TxBytes uint64
}

// LearnEvent tells of a source that the programs do not know at the place it sent from, and whose frame they carried.
type LearnEvent struct {
	VNI    uint32
	MAC    [6]byte
	Serial uint32 // of the port, or of the source at the time
}

// State is what a former process left behind.
type State struct {
	Ports   []FormerPort
	Peers   []FormerPeer
	Entries []FormerEntry
}

// FormerPort is a port of a former process.
type FormerPort struct {
	Index   uint32
	Ifindex int
}

// FormerPeer is a peer of a former process.
type FormerPeer struct {
	Index uint32
	Addr  netip.AddrPort
}

// FormerEntry is a forwarding entry of a former process: at a port, and then Ifindex is not 0, or at a peer.
type FormerEntry struct {
	VNI     uint32
	MAC     [6]byte
	Ifindex int
	Peer    netip.AddrPort
	Static  bool // or sticky
	Seen    uint32
}
