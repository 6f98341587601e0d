package dataplane

// Reason says why a frame was dropped. Every frame that enters the switch is forwarded (at least one copy left) or dropped with exactly one Reason.
// The words are stable: scripts rely on them, and docs/drops.md explains each.
type Reason uint8

// The reasons, grouped by where they arise. The order in which they are looked for is that of portStages and wireStages.
const (
	// ReasonNone is the zero value: not dropped.
	ReasonNone Reason = iota

	// Underlay, before a VNI is known.

	// TruncatedDatagram: the datagram was larger than the receive slot.
	TruncatedDatagram
	// BadVXLANHeader: shorter than 8 bytes, I flag clear, or reserved bits set with reserved-bits strict (RFC 7348 section 5).
	BadVXLANHeader
	// UnknownVNI: no such VNI here.
	UnknownVNI
	// GPEVersion: a VXLAN-GPE header of another version than 0.
	GPEVersion
	// GPEOAM: a VXLAN-GPE OAM message.
	GPEOAM
	// GPEProtocol: the payload of a VXLAN-GPE header is no Ethernet frame.
	GPEProtocol
	// OwnSource: our own address is the source: a datagram of ours that came back, or a forged one.
	OwnSource
	// UnknownPeer: peer-policy strict, and the source is not a peer of the VNI.
	UnknownPeer

	// Frame validity, both sides.

	// ShortFrame: less than an Ethernet header.
	ShortFrame
	// BadOffload: the virtio-net header does not describe the frame.
	BadOffload
	// LinkLocalMulticast: destination 01:80:C2:00:00:00-0F, which bridges are not to forward (802.1Q-2018 table 8-1).
	LinkLocalMulticast
	// VLANNotAllowed: the tag, or its absence, names no VNI on this port.
	VLANNotAllowed
	// InnerVLANTag: a tag inside the VNI, which does not keep tags (RFC 7348 section 6.1).
	InnerVLANTag
	// ECNNotECT: the outer header says congestion experienced and the inner one cannot (RFC 6040 section 4.2).
	ECNNotECT
	// InvalidSourceMAC: multicast or all-zero.
	InvalidSourceMAC
	// VXLANSpoof: from a port, and itself VXLAN to a VTEP.
	VXLANSpoof

	// Learning.

	// StaticMACElsewhere: the source MAC is a static entry of another place.
	StaticMACElsewhere
	// MACLimit: the source MAC could not be learned: a bound is reached and nothing may be evicted for it.
	MACLimit

	// Forwarding.

	// SamePlace: the destination is where the frame came from.
	SamePlace
	// SplitHorizon: from a peer, and the destination is behind a peer.
	SplitHorizon
	// FloodDisabled: it would have to be flooded, and the VNI does not flood its kind.
	FloodDisabled
	// StormLimited: it would have to be flooded, and its source has had as much of its kind flooded of late as storm-control allows.
	StormLimited
	// NoDestination: nowhere to send to: nobody else in the VNI.
	NoDestination
	// GBPDenied: its group may not enter the VNI, or not go to the port.
	GBPDenied
	// PortIsolated: from an isolated port, and for another one.
	PortIsolated

	// Egress. Given to a frame only when no copy of it left.

	// TooBig: larger than the port's MTU, or than the underlay carries in one piece (EMSGSIZE).
	TooBig
	// PortDown: the interface is down.
	PortDown
	// PortGone: the interface has vanished.
	PortGone
	// PortBusy: the queue of the interface is full (ENOBUFS, EAGAIN).
	PortBusy
	// PortRefused: the kernel refused the frame for another reason.
	PortRefused
	// NoRoute: the underlay has no route to the peer (ENETUNREACH, EHOSTUNREACH, and EINVAL or EACCES where the kernel was asked for one and has none).
	NoRoute
	// UnderlayBusy: the underlay's queues stayed full (EAGAIN, ENOBUFS).
	UnderlayBusy
	// UnderlayRefused: the kernel refused the datagram for another reason (EPERM from a firewall, ...).
	UnderlayRefused

	// FastPathRace: the fast path had unwrapped the frame when the port that it was for left.
	FastPathRace
	// FastPathBusy: the fast path had unwrapped the frame, and where segments are joined the queue was full.
	FastPathBusy

	numReasons
)

var reasonWords = [numReasons]string{
	ReasonNone:         "none",
	TruncatedDatagram:  "truncated_datagram",
	BadVXLANHeader:     "bad_vxlan_header",
	UnknownVNI:         "unknown_vni",
	GPEVersion:         "gpe_version",
	GPEOAM:             "gpe_oam",
	GPEProtocol:        "gpe_protocol",
	OwnSource:          "own_source",
	UnknownPeer:        "unknown_peer",
	ShortFrame:         "short_frame",
	BadOffload:         "bad_offload",
	LinkLocalMulticast: "link_local_multicast",
	VLANNotAllowed:     "vlan_not_allowed",
	InnerVLANTag:       "inner_vlan_tag",
	ECNNotECT:          "ecn_not_ect",
	InvalidSourceMAC:   "invalid_source_mac",
	VXLANSpoof:         "vxlan_spoof",
	StaticMACElsewhere: "static_mac_elsewhere",
	MACLimit:           "mac_limit",
	SamePlace:          "same_place",
	SplitHorizon:       "split_horizon",
	FloodDisabled:      "flood_disabled",
	StormLimited:       "storm_control",
	NoDestination:      "no_destination",
	GBPDenied:          "gbp_denied",
	PortIsolated:       "port_isolated",
	TooBig:             "too_big",
	PortDown:           "port_down",
	PortGone:           "port_gone",
	PortBusy:           "port_busy",
	PortRefused:        "port_refused",
	NoRoute:            "no_route",
	UnderlayBusy:       "underlay_busy",
	UnderlayRefused:    "underlay_refused",
	FastPathRace:       "fastpath_race",
	FastPathBusy:       "fastpath_busy",
}

// String is the stable snake_case word.
func (r Reason) String() string {
	if r >= numReasons {
		return "unknown"
	}
	return reasonWords[r]
}

// Reasons lists every reason there is.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons-1)
	for r := ReasonNone + 1; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}
