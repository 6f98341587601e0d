package api

// TraceSpec is a frame of which is asked what would become of it: from Port, or in VNI from Peer.
type TraceSpec struct {
	Port string `json:"port,omitempty"`
	Peer string `json:"peer,omitempty"`
	VNI  uint32 `json:"vni,omitempty"`
	// OuterDPort is the UDP port of ours that the datagram from Peer is sent to (0: dstport), OuterTOS its TOS or traffic class, GBPID the group policy ID in its
	// header.
	OuterDPort uint16 `json:"outer_dport,omitempty"`
	OuterTOS   uint8  `json:"outer_tos,omitempty"`
	GBPID      uint16 `json:"gbp_id,omitempty"`
	// Frame in hexadecimal, from the destination address on, without FCS.
	Frame string `json:"frame"`
}

// Trace is what would become of a frame.
type Trace struct {
	// Verdict is forwarded or dropped, and Reason what it is dropped for.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
	// VNI that it belongs to; 0: that was not found out.
	VNI    uint32       `json:"vni"`
	Stages []TraceStage `json:"stages"`
	Copies []TraceCopy  `json:"copies"`
	// ICMPMTU is what the sender is told by ICMP, in bytes, because the frame is too big; 0: nothing.
	ICMPMTU int `json:"icmp_mtu,omitempty"`
}

// TraceStage is one step of a frame; Reason is what it was dropped for there.
type TraceStage struct {
	Stage  string `json:"stage"`
	Found  string `json:"found"`
	Reason string `json:"reason,omitempty"`
}

// TraceCopy is a frame on its way out: to a port, with a tag where VID is not 0, or to a peer.
type TraceCopy struct {
	Port string      `json:"port,omitempty"`
	VID  uint16      `json:"vid,omitempty"`
	PCP  uint8       `json:"pcp,omitempty"`
	Peer string      `json:"peer,omitempty"`
	Out  *TraceOuter `json:"outer,omitempty"`
	// Bytes of the frame with its tag, or of the packet to the peer; Most is what port or path carry, 0: not known.
	Bytes int `json:"bytes"`
	Most  int `json:"most,omitempty"`
	// MSSClamped: the MSS that it announces is lowered.
	MSSClamped bool `json:"mss_clamped,omitempty"`
	// Dropped is the reason why the destination does not get it, Note more about it.
	Dropped        string `json:"dropped,omitempty"`
	Note           string `json:"note,omitempty"`
	FastPath       bool   `json:"fastpath"`
	FastPathReason string `json:"fastpath_reason,omitempty"`
}

// TraceOuter are the outer headers of a datagram.
type TraceOuter struct {
	Source string `json:"src"`
	SPort  uint16 `json:"sport,omitempty"` // 0: not known; the fast path has a choice of its own
	DPort  uint16 `json:"dport"`
	TTL    uint8  `json:"ttl"`
	TOS    uint8  `json:"tos"`
	// UDPChecksum: the datagram has one.
	UDPChecksum bool `json:"udp_checksum"`
}
