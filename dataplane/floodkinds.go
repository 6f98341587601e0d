package dataplane

import (
	"strings"

	"vtepd/encap"
)

// FloodKinds is a set of the kinds of frames that are flooded.
type FloodKinds uint8

// The kinds, by destination address.
const (
	// FloodUnknown is unicast whose place is not known.
	FloodUnknown FloodKinds = 1 << iota
	// FloodBroadcast is ff:ff:ff:ff:ff:ff.
	FloodBroadcast
	// FloodMulticast is every other group address.
	FloodMulticast

	FloodAll = FloodUnknown | FloodBroadcast | FloodMulticast
)

// String is unknown,broadcast for two of them.
func (k FloodKinds) String() string {
	var words []string
	for _, w := range [...]struct {
		kind FloodKinds
		name string
	}{{FloodUnknown, "unknown"}, {FloodBroadcast, "broadcast"}, {FloodMulticast, "multicast"}} {
		if k&w.kind != 0 {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, ",")
}

// broadcastMAC is the destination of a broadcast (802-2014 8.2.2).
const broadcastMAC = 1<<48 - 1

// floodKind is the kind of a frame that is to be flooded.
func floodKind(dst uint64) FloodKinds {
	switch {
	case dst == broadcastMAC:
		return FloodBroadcast
	case encap.MulticastMAC(dst):
		return FloodMulticast
	}
	return FloodUnknown
}

// guardFlood keeps a VNI from flooding the kinds that it does not flood. It looks at nothing else: ports and peers alike get no such frame.
func guardFlood(f *frame) Reason {
	if off := f.domain.noFlood; off != 0 && off&floodKind(encap.Ethernet(f.bytes()).Dst()) != 0 {
		return FloodDisabled
	}
	return ReasonNone
}
