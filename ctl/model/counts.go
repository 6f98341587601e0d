package model

import (
	"net/netip"

	"vtepd/dataplane"
)

// VNITable holds VNIs by their numbers, and counts their peers: a change of one VNI must not ask all others for theirs. A VNI must not be written into
// once it is in a table.
type VNITable struct {
	Table[uint32, *VNI]
	// mentions is how often each peer is on a flood list.
	mentions Table[netip.AddrPort, int]
}

func (t VNITable) clone() VNITable {
	return VNITable{t.Table.clone(), t.mentions.clone()}
}

// Put adds a VNI, or replaces the one that is there.
func (t *VNITable) Put(n uint32, v *VNI) {
	t.recount(t.At(n), v)
	t.Table.Put(n, v)
}

// Delete removes a VNI if it is there.
func (t *VNITable) Delete(n uint32) {
	t.recount(t.At(n), nil)
	t.Table.Delete(n)
}

func (t *VNITable) recount(was, is *VNI) {
	var before, now []netip.AddrPort
	if was != nil {
		before = was.Peers
	}
	if is != nil {
		now = is.Peers
	}
	// The beginnings and the ends of long lists are alike when one peer comes or goes.
	for len(before) > 0 && len(now) > 0 && before[0] == now[0] {
		before, now = before[1:], now[1:]
	}
	for len(before) > 0 && len(now) > 0 && before[len(before)-1] == now[len(now)-1] {
		before, now = before[:len(before)-1], now[:len(now)-1]
	}
	for _, p := range now {
		tally(&t.mentions, p, 1)
	}
	for _, p := range before {
		tally(&t.mentions, p, -1)
	}
}

// tally counts, and keeps no zeros.
func tally[K comparable](counts *Table[K, int], k K, n int) {
	if n += counts.At(k); n == 0 {
		counts.Delete(k)
		return
	}
	counts.Put(k, n)
}

// Peers counts the peers of all VNIs together, each once.
func (t *VNITable) Peers() int { return t.mentions.Len() }

// PeersFit says whether the peers of the VNIs of two tables are few enough for a switch to know all of them.
func (t *VNITable) PeersFit(old *VNITable) bool {
	n := t.Peers()
	for _, p := range t.mentions.Since(&old.mentions) {
		if !t.mentions.Has(p) {
			n++
		}
	}
	return n <= dataplane.MaxPeers
}

// VLANTable holds VNIs by the VLANs that name them, and counts the VLANs of each.
type VLANTable struct {
	Table[uint16, uint32]
	names Table[uint32, int]
}

func (t VLANTable) clone() VLANTable {
	return VLANTable{t.Table.clone(), t.names.clone()}
}

// Put has a VLAN name a VNI.
func (t *VLANTable) Put(vid uint16, n uint32) {
	t.Delete(vid)
	t.Table.Put(vid, n)
	tally(&t.names, n, 1)
}

// Delete removes a VLAN if it is there.
func (t *VLANTable) Delete(vid uint16) {
	if n, ok := t.Get(vid); ok {
		t.Table.Delete(vid)
		tally(&t.names, n, -1)
	}
}

// Names counts the VLANs that name a VNI.
func (t *VLANTable) Names(n uint32) int { return t.names.At(n) }
