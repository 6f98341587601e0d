package api

import (
	"encoding/json"
	"time"
)

// FDBEntry is one forwarding entry. Exactly one of Dst and Port is set.
type FDBEntry struct {
	MAC string `json:"mac"`
	VNI uint32 `json:"vni"`
	// Dst is the underlay address of the peer, DPort its UDP port.
	Dst   string `json:"dst,omitempty"`
	DPort uint16 `json:"dport,omitempty"`
	Port  string `json:"port,omitempty"`
	// State is dynamic, static, sticky, or flood for a destination of the head-end replication list.
	State string `json:"state"`
	// Age is in seconds since the address was last seen; dynamic entries only.
	Age   *int64 `json:"age,omitempty"`
	Moves uint32 `json:"moves"`
	// History are the last moves, oldest first; only where one entry is asked for.
	History []Move `json:"history,omitempty"`
}

// Move is one change of place of a forwarding entry. From and To are port names or peer addresses, empty where they are gone.
type Move struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Ago is in seconds.
	Ago int64 `json:"ago"`
}

// FDBSpec is a forwarding entry to make: POST refuses what exists, PUT takes its place. The all-zero MAC stands for a peer of the VNI.
type FDBSpec struct {
	MAC   string `json:"mac"`
	VNI   uint32 `json:"vni"`
	Dst   string `json:"dst,omitempty"`
	DPort uint16 `json:"dport,omitempty"`
	Port  string `json:"port,omitempty"`
	// State is static when empty.
	State string `json:"state,omitempty"`
}

// FDBFilter selects forwarding entries; what is empty selects all.
type FDBFilter struct {
	VNI     uint32 `json:"vni,omitempty"`
	MAC     string `json:"mac,omitempty"`
	Dst     string `json:"dst,omitempty"`
	DPort   uint16 `json:"dport,omitempty"`
	Port    string `json:"port,omitempty"`
	Static  bool   `json:"static,omitempty"`
	Dynamic bool   `json:"dynamic,omitempty"`
}

// Flushed is the answer to a flush.
type Flushed struct {
	Flushed int `json:"flushed"`
}

// VNI is a broadcast domain with the settings in force.
type VNI struct {
	VNI uint32 `json:"vni"`
	// Peers are underlay addresses, with the UDP port (192.0.2.2:4790) only where it is not the switch's.
	Peers []string `json:"peers"`
	// Group is the multicast group that floods it beside the peers, with the UDP port only where it is not the switch's; null for none.
	Group *string `json:"group"`
	// GroupInterface is where the group is joined now; absent when it is not.
	GroupInterface string `json:"group_interface,omitempty"`
	// GroupTTL is a number or inherit; only with a group.
	GroupTTL Value `json:"group_ttl,omitzero"`
	// Flood are the kinds of frames that are flooded: unknown, broadcast, multicast.
	Flood []string `json:"flood"`
	// VLANs are the switch-wide VLAN IDs that name this VNI.
	VLANs []uint16 `json:"vlans,omitempty"`
	// Ageing is in seconds; 0 is never.
	Ageing int64 `json:"ageing"`
	// MACs counts its entries, dynamic and static.
	MACs       int      `json:"macs"`
	MaxMACs    int      `json:"max_macs,omitempty"`
	Learning   bool     `json:"learning"`
	PeerPolicy string   `json:"peer_policy"`
	Allow      []string `json:"allow,omitempty"`
	// TTL and DSCP are a number or inherit.
	TTL              Value  `json:"ttl"`
	DSCP             Value  `json:"dscp"`
	ECN              string `json:"ecn"`
	UDPChecksum      string `json:"udp_checksum"`
	UDP6ZeroChecksum string `json:"udp6_zero_checksum"`
	ReservedBits     string `json:"reserved_bits"`
	InnerVLAN        string `json:"inner_vlan"`
	// StormControl is off, a rate for each kind of flooded frames (1kpps), or such by kind (unknown=1kpps,broadcast=100pps).
	StormControl string `json:"storm_control"`
	// MSSClamp is auto, off or a number of bytes.
	MSSClamp   Value `json:"mss_clamp"`
	SpoofGuard bool  `json:"spoof_guard"`
	// GPE is the generic protocol extension.
	GPE bool `json:"gpe"`
	// GBP is the group policy extension; GBPDrop lists the groups that may not enter, as "5" and "10-20".
	GBP     bool     `json:"gbp"`
	GBPDrop []string `json:"gbp_drop,omitempty"`
	// FastPath: known traffic passes user space by; FastPathReason says why not, or what of it does not.
	FastPath       bool      `json:"fastpath"`
	FastPathReason string    `json:"fastpath_reason,omitempty"`
	Stats          *Counters `json:"stats,omitempty"`
}

// VNISpec adds a VNI (POST) or changes one (PATCH). What is absent is left alone; null, or the word default, goes back to the switch's value.
type VNISpec struct {
	VNI uint32 `json:"vni,omitempty"`
	// Peers, when present, is the whole list.
	Peers List `json:"peers,omitzero"`
	// Group is a multicast group; none, default and null take it away.
	Group            Value `json:"group,omitzero"`
	Ageing           Value `json:"ageing,omitzero"`
	Learning         Value `json:"learning,omitzero"`
	PeerPolicy       Value `json:"peer_policy,omitzero"`
	Allow            List  `json:"allow,omitzero"`
	MaxMACs          Value `json:"max_macs,omitzero"`
	TTL              Value `json:"ttl,omitzero"`
	GroupTTL         Value `json:"group_ttl,omitzero"`
	Flood            Value `json:"flood,omitzero"`
	StormControl     Value `json:"storm_control,omitzero"`
	DSCP             Value `json:"dscp,omitzero"`
	ECN              Value `json:"ecn,omitzero"`
	UDPChecksum      Value `json:"udp_checksum,omitzero"`
	UDP6ZeroChecksum Value `json:"udp6_zero_checksum,omitzero"`
	ReservedBits     Value `json:"reserved_bits,omitzero"`
	InnerVLAN        Value `json:"inner_vlan,omitzero"`
	MSSClamp         Value `json:"mss_clamp,omitzero"`
	SpoofGuard       Value `json:"spoof_guard,omitzero"`
	GBP              Value `json:"gbp,omitzero"`
	GPE              Value `json:"gpe,omitzero"`
	// GBPDrop lists group policy IDs and ranges: 5,10-20; none is an empty list.
	GBPDrop Value `json:"gbp_drop,omitzero"`
}

// Settings lists the settings of a VNISpec by their words, in the order of the struct; Allow and Peers are apart.
func (s *VNISpec) Settings() []NamedValue {
	return []NamedValue{
		{"ageing", &s.Ageing}, {"learning", &s.Learning}, {"peer-policy", &s.PeerPolicy}, {"max-macs", &s.MaxMACs}, {"ttl", &s.TTL}, {"group-ttl", &s.GroupTTL}, {"flood", &s.Flood}, {"storm-control", &s.StormControl}, {"dscp", &s.DSCP},
		{"ecn", &s.ECN}, {"udp-checksum", &s.UDPChecksum}, {"udp6-zero-checksum", &s.UDP6ZeroChecksum}, {"reserved-bits", &s.ReservedBits},
		{"inner-vlan", &s.InnerVLAN}, {"mss-clamp", &s.MSSClamp}, {"spoof-guard", &s.SpoofGuard}, {"gbp", &s.GBP}, {"gpe", &s.GPE}, {"gbp-drop", &s.GBPDrop},
	}
}

// NamedValue is a setting with its word.
type NamedValue struct {
	Name  string
	Value *Value
}

// Port is a port as configured and as it is now. One of VNI, Access and Trunk says where its frames go.
type Port struct {
	Port string `json:"port"`
	Type string `json:"type"`
	// State is up, down or missing.
	State   string   `json:"state"`
	MTU     int      `json:"mtu"`
	MAC     string   `json:"mac"`
	Ifindex int      `json:"ifindex"`
	NetNS   string   `json:"netns"`
	VNI     uint32   `json:"vni,omitempty"`
	Access  uint16   `json:"access,omitempty"`
	Trunk   []uint16 `json:"trunk,omitempty"`
	Native  uint16   `json:"native,omitempty"`
	// Ifname is the name of the workload's end of a veth, and on other ports the present name of the interface where it is not the port's.
	Ifname string `json:"ifname,omitempty"`
	// HostIfname is the present name of a veth's host end where it is not the port's.
	HostIfname string `json:"host_ifname,omitempty"`
	// Reason says why a port is missing.
	Reason string `json:"reason,omitempty"`
	// Warning says what keeps the interface of the port from serving it well.
	Warning   string   `json:"warning,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// MACs counts its dynamic entries.
	MACs    int `json:"macs"`
	MaxMACs int `json:"max_macs,omitempty"`
	// MSSClamp is auto, off or a number of bytes where the port has its own.
	MSSClamp Value `json:"mss_clamp,omitzero"`
	// StormControl is as that of a VNI, where the port has its own.
	StormControl string `json:"storm_control,omitempty"`
	// Isolated: it exchanges nothing with other isolated ports of this switch.
	Isolated bool `json:"isolated,omitempty"`
	// GBPID is the group of its frames, GBPDrop the groups whose frames it does not get, as "5" and "10-20".
	GBPID   uint16   `json:"gbp_id,omitempty"`
	GBPDrop []string `json:"gbp_drop,omitempty"`
	Queues  int      `json:"queues"`
	// KernelDrops counts frames from the interface that the kernel dropped because the queue of a netdev or veth port was full.
	KernelDrops uint64 `json:"kernel_drops,omitempty"`
	// Offload is what was negotiated with the interface, OffloadReason why not the rest.
	Offload       []string `json:"offload"`
	OffloadReason string   `json:"offload_reason,omitempty"`
	// FastPath: known traffic passes user space by; FastPathReason says why not, or for which VNIs not.
	FastPath       bool      `json:"fastpath"`
	FastPathReason string    `json:"fastpath_reason,omitempty"`
	Stats          *Counters `json:"stats,omitempty"`
}

// PortSpec adds a port (POST) or changes one (PATCH). What is absent is left alone. Where a port belongs is one thing: naming one of VNI, Access and
// Trunk replaces the others.
type PortSpec struct {
	Port string `json:"port,omitempty"`
	// Type is tap, netdev or veth; tap when empty.
	Type   string `json:"type,omitempty"`
	VNI    Value  `json:"vni,omitzero"`
	Access Value  `json:"access,omitzero"`
	// Trunk lists VLAN IDs and ranges: 10,20-30, or a list of them.
	Trunk Value `json:"trunk,omitzero"`
	// Native is a VLAN ID; default means none.
	Native Value `json:"native,omitzero"`
	// MTU is a number; default follows the underlay, and on a netdev the interface.
	MTU Value `json:"mtu,omitzero"`
	// MAC of the interface; default leaves it to the kernel when the interface is made.
	MAC Value `json:"mac,omitzero"`
	// NetNS is the name of a network namespace; default is vtepd's own.
	NetNS Value `json:"netns,omitzero"`
	// IfName is the name of the workload's end of a veth; default is eth0 where netns is given.
	IfName Value `json:"ifname,omitzero"`
	// Addresses, when present, is the whole list.
	Addresses List `json:"addresses,omitzero"`
	// MaxMACs is a number; default is no bound of the port's own.
	MaxMACs Value `json:"max_macs,omitzero"`
	// MSSClamp is auto, off or a number of bytes; default is the VNI's.
	MSSClamp Value `json:"mss_clamp,omitzero"`
	// StormControl is off, a rate, or rates by kind; default is the VNIs'.
	StormControl Value `json:"storm_control,omitzero"`
	// Isolated is on or off; default is off.
	Isolated Value `json:"isolated,omitzero"`
	// GBPID is the group policy ID of its frames; default is 0, no group.
	GBPID Value `json:"gbp_id,omitzero"`
	// GBPDrop lists group policy IDs and ranges: 5,10-20; none and default are an empty list.
	GBPDrop Value `json:"gbp_drop,omitzero"`
}

// Peer is a remote VTEP.
type Peer struct {
	Peer  string `json:"peer"`
	DPort uint16 `json:"dport"`
	// VNIs are those whose flood list it is on.
	VNIs []uint32 `json:"vnis"`
	// MACs counts the dynamic entries behind it.
	MACs int `json:"macs"`
	// PMTU is what the path to it carries in bytes, outer IP header included; RouteMTU the same without what ICMP errors said. Inside is the
	// largest packet inside. 0: there is no route.
	PMTU     int `json:"pmtu"`
	RouteMTU int `json:"route_mtu"`
	Inside   int `json:"inside_mtu"`
	// NoRoute says why nothing gets there, or back.
	NoRoute string `json:"no_route,omitempty"`
	// FastPath: known traffic to it passes user space by; FastPathReason says why not.
	FastPath       bool      `json:"fastpath"`
	FastPathReason string    `json:"fastpath_reason,omitempty"`
	Stats          *Counters `json:"stats,omitempty"`
}

// DoctorSpec asks for a path to be probed.
type DoctorSpec struct {
	Peer string `json:"peer"`
}

// PathDiagnosis is what probing the path to a peer found. Sizes are bytes; those of the underlay have the outer IP header in them.
type PathDiagnosis struct {
	Peer string `json:"peer"`
	// OK says that nothing is wrong.
	OK bool `json:"ok"`
	// Evidence is probe (answered by the other vtepd through the VXLAN port), icmp-echo (answered by the peer's kernel) or none.
	Evidence string `json:"evidence"`
	// VNI that probes were sent in; 0: none is shared with the peer.
	VNI uint32 `json:"vni"`
	// Fits is the largest packet that arrived, 0 when none did; Inside the same less the overhead.
	Fits   int `json:"fits"`
	Inside int `json:"inside_mtu"`
	// RouteMTU is what routes and interfaces carry, PMTU what is believed of the path after the probing.
	RouteMTU int `json:"route_mtu"`
	PMTU     int `json:"pmtu"`
	// Ports are those whose packets to the peer may be larger than Inside.
	Ports []PortMTU `json:"ports,omitempty"`
	// Findings say in words what was found, Advice what to change.
	Findings []string `json:"findings"`
	Advice   []string `json:"advice,omitempty"`
}

// PortMTU is the MTU of a port.
type PortMTU struct {
	Port string `json:"port"`
	MTU  int    `json:"mtu"`
}

// PeerSpec puts a peer on the flood list of a VNI.
type PeerSpec struct {
	Peer  string `json:"peer"`
	DPort uint16 `json:"dport,omitempty"`
	VNI   uint32 `json:"vni"`
}

// VLAN is a switch-wide name of a VNI.
type VLAN struct {
	VID uint16 `json:"vid"`
	VNI uint32 `json:"vni"`
}

// Counters of a port, a peer or a VNI. A superframe of N segments counts as N packets; bytes are those of the inner Ethernet frames.
type Counters struct {
	RxPackets uint64 `json:"rx_packets"`
	RxBytes   uint64 `json:"rx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
	RxDropped uint64 `json:"rx_dropped"`
	TxDropped uint64 `json:"tx_dropped"`
}

// Stats are the counters of one port, peer or VNI: the one of the three that is set.
type Stats struct {
	Port  string `json:"port,omitempty"`
	Peer  string `json:"peer,omitempty"`
	DPort uint16 `json:"dport,omitempty"`
	VNI   uint32 `json:"vni,omitempty"`
	Counters
}

// StatsFilter selects counters; empty selects every port and every peer.
type StatsFilter struct {
	Port, Peer string
	VNI        uint32
}

// Drop counts frames dropped for one reason, at one place where it is known.
type Drop struct {
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
	Port   string `json:"port,omitempty"`
	VNI    uint32 `json:"vni,omitempty"`
	Peer   string `json:"peer,omitempty"`
	// Senders are who was dropped of late for being unknown, or for naming a VNI that is: the last one first.
	Senders []Sender `json:"senders,omitempty"`
}

// Sender is a source of datagrams that were refused.
type Sender struct {
	Source string `json:"source"`
	VNI    uint32 `json:"vni"`
	Count  uint64 `json:"count"`
	// Age is in seconds since the last.
	Age int64 `json:"age"`
}

// Status is the switch as a whole.
type Status struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// Uptime is in seconds.
	Uptime int64  `json:"uptime"`
	Local  string `json:"local"`
	// Locals are Local and, where there is one, the address of the other family.
	Locals []string `json:"locals"`
	// LocalsAway are those of them that no interface has, or may use (tentative, dadfailed), now.
	LocalsAway []string `json:"locals_away,omitempty"`
	// LocalsDown are those whose interface is down or has no carrier.
	LocalsDown []string `json:"locals_down,omitempty"`
	// VRF is what the underlay is in; absent when it is in none.
	VRF     string `json:"vrf,omitempty"`
	DstPort uint16 `json:"dstport"`
	// Listen are the UDP ports listened on, DstPort first; SourcePorts is the range that datagrams leave from: 49152-65535.
	Listen            []uint16     `json:"listen"`
	SourcePorts       string       `json:"source_ports"`
	Workers           int          `json:"workers"`
	FastPath          FastPath     `json:"fastpath"`
	CPULatency        CPULatency   `json:"cpu_latency"`
	Offload           []Capability `json:"offload"`
	UnderlayInterface string       `json:"underlay_interface"`
	UnderlayMTU       int          `json:"underlay_mtu"`
	// ReceiveBuffer is what the kernel granted each underlay socket, in bytes.
	ReceiveBuffer int `json:"receive_buffer"`
	// KernelDrops counts what the kernel dropped because a receive buffer was full: messages, each of which is up to 64 datagrams joined where there is UDP GRO.
	KernelDrops uint64 `json:"kernel_drops"`
	// PortKernelDrops counts frames from netdev and veth ports that the kernel dropped because a queue was full.
	PortKernelDrops uint64    `json:"port_kernel_drops"`
	Ports           int       `json:"ports"`
	VNIs            int       `json:"vnis"`
	Peers           int       `json:"peers"`
	FDB             FDBTotals `json:"fdb"`
	Frames          Frames    `json:"frames"`
	// TooBigAnswered counts the ICMP messages sent about frames that were too big, TooBigSilenced those that were not because there were too many.
	TooBigAnswered uint64 `json:"too_big_answered"`
	TooBigSilenced uint64 `json:"too_big_silenced"`
	// MSSClamped counts the frames whose MSS was lowered.
	MSSClamped uint64 `json:"mss_clamped"`
	// Storms are the sources that have more flooded than storm-control allows them, in the order in which that began.
	Storms []Storm `json:"storms,omitempty"`
}

// Storm is a source, a port or a peer, that has more of a kind flooded in a VNI than storm-control allows. Of peers that share a budget it is the one that was
// over it first.
type Storm struct {
	Port  string `json:"port,omitempty"`
	Peer  string `json:"peer,omitempty"`
	DPort uint16 `json:"dport,omitempty"`
	VNI   uint32 `json:"vni"`
	Kind  string `json:"kind"`
	Rate  string `json:"rate"`
	// Dropped counts frames since it began, Age seconds ago.
	Dropped uint64 `json:"dropped"`
	Age     int64  `json:"age"`
}

// Settings are what concerns the whole switch and may change while it runs.
type Settings struct {
	// FastPath is "off", "auto" or "on"; empty leaves it.
	FastPath string `json:"fastpath,omitempty"`
}

// FastPath says whether eBPF programs carry known traffic past user space, and why not.
type FastPath struct {
	// Mode is what was asked for: "off", "auto" or "on". Active says whether programs carry traffic, Reason why not.
	Mode   string `json:"mode"`
	Active bool   `json:"active"`
	Reason string `json:"reason"`
	// Pins is where the programs are pinned; without it they go with the process, and PinsReason says why.
	Pins       string `json:"pins,omitempty"`
	PinsReason string `json:"pins_reason,omitempty"`
	// NoFlowCache says why the programs ask all maps about each frame; empty when they need not.
	NoFlowCache string `json:"no_flow_cache,omitempty"`
	// Encap, Decap and Local are the frames carried to peers, from peers, and between ports, in segments.
	Encap uint64 `json:"encap"`
	Decap uint64 `json:"decap"`
	Local uint64 `json:"local"`
	// Punted counts the frames left to user space, by reason.
	Punted map[string]uint64 `json:"punted,omitempty"`
	// Heard counts the frames of new sources that were carried and learned from, Outdated those that were not learned from: their port, peer or VNI had gone
	// or changed meanwhile.
	Heard       uint64       `json:"heard"`
	Outdated    uint64       `json:"outdated"`
	Attachments []Attachment `json:"attachments"`
}

// CPULatency is what is asked of the CPUs for requests and responses.
type CPULatency struct {
	// Held: there are some at present, and CPUs are to wake up within BoundUS microseconds. With Polls they do not sleep at all.
	Held    bool    `json:"held"`
	BoundUS float64 `json:"bound_us"`
	Polls   bool    `json:"polls,omitempty"`
	// Reason says why they never are.
	Reason string `json:"reason,omitempty"`
}

// Attachment is an interface that a program of the fast path is attached to.
type Attachment struct {
	Interface string `json:"interface"`
	Ifindex   int    `json:"ifindex"`
	// Port names the port that it is of; empty for an interface of the underlay.
	Port string `json:"port,omitempty"`
	// Kind is "tcx", "tcx+gro" or "xdp+tcx"; empty when nothing could be attached.
	Kind string `json:"kind"`
	// Reason says why it is not the better kind.
	Reason string `json:"reason,omitempty"`
}

// Capability is one thing that the kernel may do for the switch.
type Capability struct {
	Name string `json:"name"`
	On   bool   `json:"on"`
	// Reason says why it is off.
	Reason string `json:"reason,omitempty"`
}

// FDBTotals are the totals of the forwarding table.
type FDBTotals struct {
	Dynamic int    `json:"dynamic"`
	Static  int    `json:"static"`
	Max     int    `json:"max_dynamic"`
	Learned uint64 `json:"learned"`
	Moved   uint64 `json:"moved"`
	Expired uint64 `json:"expired"`
	Evicted uint64 `json:"evicted"`
	Refused uint64 `json:"refused"`
}

// Frames hold the equation received = forwarded + dropped once the switch is idle.
type Frames struct {
	Received  uint64 `json:"received"`
	Forwarded uint64 `json:"forwarded"`
	Dropped   uint64 `json:"dropped"`
}

// Event is one change.
type Event struct {
	Time time.Time `json:"time"`
	// Object is fdb, port, peer, vni or underlay.
	Object string `json:"object"`
	// Action is add, del, change, move, expire, evict, flush, up, down, missing, pmtu, error, storm or calm; lost says that Count events were not delivered because the reader was
	// too slow. A flush is about a VNI, a port or a peer, and Count entries.
	Action string `json:"action"`
	MAC    string `json:"mac,omitempty"`
	VNI    uint32 `json:"vni,omitempty"`
	Dst    string `json:"dst,omitempty"`
	DPort  uint16 `json:"dport,omitempty"`
	Port   string `json:"port,omitempty"`
	State  string `json:"state,omitempty"`
	// From is where a moved entry was: a port name or a peer address.
	From string `json:"from,omitempty"`
	Peer string `json:"peer,omitempty"`
	// Local is the own address that an event of the underlay is about.
	Local  string `json:"local,omitempty"`
	Reason string `json:"reason,omitempty"`
	Count  uint64 `json:"count,omitempty"`
}

// Error is the body of every answer with a status of 400 and above.
type Error struct {
	// Message is `what: remedy`.
	Message string `json:"error"`
	// Field is the word for the wrong value, empty when it is none in particular.
	Field string `json:"field"`
	// Request is the number of the request in a batch, counted from 1; 0 outside a batch.
	Request int `json:"request,omitempty"`
	// Status is that of the answer.
	Status int `json:"-"`
}

func (e *Error) Error() string { return e.Message }

// Request is one request of a batch: method, path and body are those of a single one.
type Request struct {
	Method string          `json:"method"`
	Path   string          `json:"path"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// EventObjects are the objects that events are about.
var EventObjects = []string{"fdb", "port", "peer", "vni", "underlay"}

// ApplySpec asks for the running state to become equal to a configuration file.
type ApplySpec struct {
	// File is what errors call it.
	File string `json:"file,omitempty"`
	// Text are its contents, YAML.
	Text string `json:"text"`
	// DryRun says what would change, and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
}

// Applied is what differed between the running state and the file.
type Applied struct {
	Differences []Difference `json:"differences"`
}

// Difference is one object that was not as in the file.
type Difference struct {
	// Action is add, set or del: what became of it.
	Action string `json:"action"`
	// Object is vlan, vni, port or fdb, and settings for the top level of the file.
	Object string `json:"object"`
	// Name is the VID, the VNI, the port, or MAC and VNI, as after the object in a command of vtepctl; none at the top level.
	Name string `json:"name,omitempty"`
	// Values are those that differed, of a new object those that are set.
	Values []ValueDifference `json:"values,omitempty"`
}

// ValueDifference is one value of an object. What was not set is empty.
type ValueDifference struct {
	// Name is that in the file.
	Name string `json:"name"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Added and Removed are what differed in a list; neither is there when its order did.
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
}
