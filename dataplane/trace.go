package dataplane

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"vtepd/encap"
)

// TraceQuery is a frame of which is asked what would become of it, and how it comes in: from a port, or from a peer, in a VNI.
type TraceQuery struct {
	// Port that it comes from; empty: it comes from Peer.
	Port string
	// Peer is the source address of the datagram, Arrival the UDP port of ours that it is sent to (0: the first one), VNI what its header says, TOS the outer
	// TOS or traffic class, and GBP its group policy ID and flags (0: none, but where the VNI speaks that).
	Peer    netip.Addr
	Arrival uint16
	VNI     uint32
	TOS     uint8
	GBP     encap.GBP
	// Frame from the destination address on, without FCS. It is not changed.
	Frame []byte
}

// Trace is what would become of a frame now: decided by the stages that frames pass, on the present state, and without any effect.
type Trace struct {
	// VNI that it belongs to; 0: that was not found out.
	VNI uint32
	// Stages it passed, in their order; the last one is what dropped it, where Reason is not ReasonNone before any copy was made.
	Stages []TraceStage
	// Copies are the destinations, those that would not get theirs among them.
	Copies []TraceCopy
	// Reason is what it is dropped for; ReasonNone: a copy leaves.
	Reason Reason
	// Answer is the MTU in bytes that the sender is told by ICMP, because the frame is too big; 0: nothing is said.
	Answer int
}

// TraceStage is one step, and what it found.
type TraceStage struct {
	// Name is one word.
	Name string
	// Text is for people.
	Text string
	// Reason is what the frame is dropped for here; ReasonNone: it goes on.
	Reason Reason
}

// TraceCopy is a frame on its way out, to a port or to a peer.
type TraceCopy struct {
	// Port, and the VLAN ID and priority (PCP and DEI, in their bits of a TCI) of the tag that it gets there; VID 0: none.
	Port     string
	VID      uint16
	Priority uint16
	// Peer, and what the outer headers say.
	Peer  netip.AddrPort
	Outer TraceOuter
	// Bytes of the frame as it leaves, a tag and outer headers included. Most is how many there may be: of the port, its tag included, or of the
	// path to the peer; 0: that is not known.
	Bytes, Most int
	// Clamped: the MSS that it announces is lowered.
	Clamped bool
	// Reason is what the destination does not get it for, and Text says more; ReasonNone: it does.
	Reason Reason
	Text   string
	// FastPath: the programs know its port, VNI and destination. They leave some kinds of frames to user space still. FastPathReason says why not.
	FastPath       bool
	FastPathReason string
}

// TraceOuter are the fields of the outer headers that the switch chooses.
type TraceOuter struct {
	Source   netip.Addr
	SrcPort  uint16 // UDP; 0: not known before the first datagram. The fast path has a choice of its own.
	TOS, TTL uint8
	Checksum bool // of UDP
}

// Trace says what would become of a frame. Nothing is sent, learned or counted.
func (s *Switch) Trace(q TraceQuery) (Trace, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Trace{}, ErrClosed
	}
	if len(q.Frame) > MaxTraced {
		return Trace{}, fmt.Errorf("frame: %d bytes: there are none of more than %d: %w", len(q.Frame), MaxTraced, ErrInvalid)
	}
	t := s.newTracer(q)
	if q.Port == "" {
		if err := s.checkTraced(&q); err != nil {
			return Trace{}, err
		}
		t.out.Reason = t.fromPeer(q)
	} else {
		r := s.ports[q.Port]
		if r == nil {
			return Trace{}, fmt.Errorf("port %s: %w", q.Port, ErrNotFound)
		}
		t.f.port = r.published
		t.out.Reason = t.fromPort()
	}
	if t.f.domain != nil {
		t.out.VNI = t.f.domain.vni
	}
	t.answer()
	return t.out, nil
}

// checkTraced refuses datagrams that no socket of ours would hear, and fills in what was left away.
func (s *Switch) checkTraced(q *TraceQuery) error {
	q.Peer = q.Peer.Unmap().WithZone("")
	q.Arrival = cmp.Or(q.Arrival, s.config.DstPort)
	heard := slices.Contains(s.config.Ports(), q.Arrival)
	for group := range s.groups {
		heard = heard || group.Port() == q.Arrival
	}
	switch a := q.Peer; {
	case !a.IsValid() || q.VNI == 0 || q.VNI > MaxVNI:
		return fmt.Errorf("a frame comes from a port, or from a peer in a VNI: %w", ErrInvalid)
	case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("peer %s: is no address of another host: %w", a, ErrInvalid)
	case s.sockets[familyOf(a)] == nil:
		return fmt.Errorf("peer %s: is not of the same address family as local %s: %w", a, s.config.Local, ErrInvalid)
	case !heard:
		return fmt.Errorf("peer %s: nobody listens on UDP port %d here: %w", a, q.Arrival, ErrInvalid)
	}
	return nil
}

// MaxTraced bounds a frame that is traced, in bytes: what a TAP takes, with two tags.
const MaxTraced = maxMTU + encap.EthernetLen + 2*encap.VLANTagLen
