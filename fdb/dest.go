package fdb

import "strconv"

// Dest is where a MAC lives: a port or a peer, by an index that the caller
// chose. The table never interprets the index. The zero Dest is [None].
//
//	 31       24 23  22 21                    0
//	+-----------+------+-----------------------+
//	|     0     | kind |         index         |   kind: 1 port, 2 peer
//	+-----------+------+-----------------------+
//
// An index may be given to another port or peer after a [Table.FlushDest] of
// all states: nothing that was stored for the former owner comes back.
type Dest uint32

const (
	// None is no destination: what a lookup that found nothing returns.
	None Dest = 0

	// MaxIndex is the highest index of a port and of a peer.
	MaxIndex = 1<<destIndexBits - 1

	destIndexBits = 22
	destBits      = 24
	destKindPort  = Dest(1) << destIndexBits
	destKindPeer  = Dest(2) << destIndexBits
	destKindMask  = Dest(3) << destIndexBits
)

// PortDest returns the Dest of the port with this index, [None] when index
// exceeds [MaxIndex].
func PortDest(index uint32) Dest {
	if index > MaxIndex {
		return None
	}
	return destKindPort | Dest(index)
}

// PeerDest returns the Dest of the peer with this index, [None] when index
// exceeds [MaxIndex].
func PeerDest(index uint32) Dest {
	if index > MaxIndex {
		return None
	}
	return destKindPeer | Dest(index)
}

// IsPort reports whether d is a port.
func (d Dest) IsPort() bool { return d&^MaxIndex == destKindPort }

// IsPeer reports whether d is a peer.
func (d Dest) IsPeer() bool { return d&^MaxIndex == destKindPeer }

// Index returns the index given to [PortDest] or [PeerDest].
func (d Dest) Index() uint32 { return uint32(d & MaxIndex) }

// String returns "port 3", "peer 7" or "none".
func (d Dest) String() string {
	switch {
	case d.IsPort():
		return "port " + strconv.FormatUint(uint64(d.Index()), 10)
	case d.IsPeer():
		return "peer " + strconv.FormatUint(uint64(d.Index()), 10)
	}
	return "none"
}

func (d Dest) valid() bool { return d.IsPort() || d.IsPeer() }
