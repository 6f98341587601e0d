package xdp

import (
	"github.com/cilium/ebpf"
)

// zero clears the element of a per-CPU map of counters.
func zero(m *ebpf.Map, index uint32) error {
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	return m.Put(index, make([]programsCounters, n))
}

// sum adds up what the CPUs counted; an index that is not there counts nothing.
func sum(m *ebpf.Map, index uint32) Counters {
	var each []programsCounters
	var c Counters
	if m.Lookup(index, &each) != nil {
		return c
	}
	for i := range each {
		c.RxPackets += each[i].RxPackets
		c.RxBytes += each[i].RxBytes
		c.TxPackets += each[i].TxPackets
		c.TxBytes += each[i].TxBytes
	}
	return c
}

// PortCounters is what the programs carried for a port.
func (f *FastPath) PortCounters(index uint32) Counters { return sum(f.objects.PortCounters, index) }

// PeerCounters is what the programs carried for a peer.
func (f *FastPath) PeerCounters(index uint32) Counters { return sum(f.objects.PeerCounters, index) }

// VNICounters is what the programs carried in a VNI.
func (f *FastPath) VNICounters(vni uint32) Counters {
	f.mu.Lock()
	slot, ok := f.domains[vni]
	f.mu.Unlock()
	if !ok {
		return Counters{}
	}
	return sum(f.objects.VniCounters, slot)
}

// Verdicts in the order of enum verdict in maps.h.
const (
	toPeer = iota
	fromPeer
	toPort
	race
	noPort
	portToUser
	notIP
	groupAddress
	badSource
	tagged
	noDomain
	domainPolicy
	oddIP
	oddOuter
	oddVXLAN
	udpChecksum
	unknownPeer
	unknownSource
	unknownDestination
	samePlace
	noRoute
	tooLarge
	oddSuperframe
	oddChecksum
	ecnDrop
	refused
	givenBack
	learnRate
	learnQueue
	behindSuperframe
	numVerdicts
)

// puntWords names why frames were left to user space. The words are stable.
var puntWords = [numVerdicts]string{
	noPort:             "no_port",
	portToUser:         "port_policy",
	notIP:              "not_ip",
	groupAddress:       "group_address",
	badSource:          "bad_source",
	tagged:             "tagged",
	noDomain:           "no_vni",
	domainPolicy:       "vni_policy",
	oddIP:              "odd_ip_header",
	oddOuter:           "odd_outer_header",
	oddVXLAN:           "odd_vxlan_header",
	udpChecksum:        "udp_checksum",
	unknownPeer:        "unknown_peer",
	unknownSource:      "unknown_source",
	unknownDestination: "unknown_destination",
	samePlace:          "same_place",
	noRoute:            "no_route",
	tooLarge:           "too_large",
	oddSuperframe:      "odd_superframe",
	oddChecksum:        "odd_checksum",
	ecnDrop:            "ecn",
	refused:            "refused",
	givenBack:          "given_back",
	learnRate:          "learn_rate",
	learnQueue:         "learn_queue",
	behindSuperframe:   "behind_superframe",
}

// Totals are frames; a superframe that was carried counts as its segments.
type Totals struct {
	Encap uint64 // from a port to a peer
	Decap uint64 // from a peer to a port
	Local uint64 // from a port to a port
	Races uint64 // dropped: the destination vanished when the frame was unwrapped already
	Busy  uint64 // dropped: there was no room where segments are joined
	// Punted counts frames left to user space, by reason; a superframe counts once, and one the kernel was asked to carry in vain may
	// count twice.
	Punted map[string]uint64
}

// Totals sums over the CPUs.
func (f *FastPath) Totals() Totals {
	t := Totals{Punted: make(map[string]uint64)}
	var each []programsTotals
	if f.objects.Totals.Lookup(uint32(0), &each) != nil {
		return t
	}
	t.Busy = f.lostInCell()
	for i := range each {
		c := &each[i].Count
		t.Encap += c[toPeer]
		t.Decap += c[fromPeer]
		t.Local += c[toPort]
		t.Races += c[race]
		for v := noPort; v < numVerdicts; v++ {
			if c[v] != 0 {
				t.Punted[puntWords[v]] += c[v]
			}
		}
	}
	return t
}
