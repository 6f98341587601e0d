package underlay

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MaxDatagrams is what one batch holds: a few 64 KiB superframes of 44
	// datagrams each, or 1024 small frames.
	MaxDatagrams = 1024
	// MaxLanes is the number of (socket, destination, class) combinations in one
	// batch: all 16 sockets of the default pool toward 16 peers, or with all
	// flow labels of each toward two.
	MaxLanes = 256
	// laneSlots is the size of the open hash table over the lanes, at most half
	// full.
	laneSlots = 2 * MaxLanes
)

// Class is what the outer headers of a datagram have in common beside the
// destination. Datagrams of different class never share a message, so a batch
// with few classes is a cheap one.
type Class struct {
	TOS uint8 // IPv4 TOS or IPv6 traffic class, DSCP and ECN
	TTL uint8 // 0: Config.TTL
	// NoChecksum sends without a UDP checksum. The kernel does not combine that
	// with GSO (udp_send_skb: EINVAL), so every datagram is a message then.
	NoChecksum bool
}

// key packs a class and a socket number into one comparable word:
//
//	 31        20 19    17  16          15    8 7     0
//	+------------+--------+------------+-------+-------+
//	| socket     | label  | NoChecksum | TTL   | TOS   |
//	+------------+--------+------------+-------+-------+
//
// The label is 0 here, and without Config.FlowLabels.
func (c Class) key(socket uint32) uint32 {
	k := socket<<20 | uint32(c.TTL)<<8 | uint32(c.TOS)
	if c.NoChecksum {
		k |= keyNoChecksum
	}
	return k
}

const keyNoChecksum = 1 << 16

// Transmitter gathers the datagrams of one batch and sends them. It belongs to
// one worker; the sockets behind it are shared by all.
//
// Nothing is copied: the slices given to Queue are the caller's, and must stay
// as they are until Flush returns.
type Transmitter struct {
	s       *Sockets
	sockets uint32 // in the pool
	// labelMask selects the label bits of a key, if any.
	labelMask uint32

	// The batch.
	n         int32 // datagrams
	laneCount int32
	recent    *Lane // the lane of the last datagram, never nil
	datagrams [MaxDatagrams]datagram
	lanes     [MaxLanes]Lane
	slots     [laneSlots]uint16 // lane number + 1, 0: free
	order     []int32           // sockets in use, in order of first use
	heads     []socketLanes     // by socket number, the twins behind the pool

	out          assembly  // messages under construction, see assembly_linux.go
	waitedInVain time.Time // when the last wait for room ended without
	sendmmsg     func(fd int, messages []mmsghdr) (sent int, errno unix.Errno)
	count        txCounters
}

// Lane is a list of datagrams that share all that a message can hold only once:
// destination, class and socket. It is good until the next Flush.
type Lane struct {
	dest        *Dest
	key         uint32
	first, last int32 // datagrams
	next        int32 // the following lane of the socket, -1: last
}

// socketLanes is the list of lanes that leave through one socket.
type socketLanes struct {
	first, last int32 // -1: none
}

// NewTransmitter makes a Transmitter for one worker. It is good until
// Sockets.Close.
func (s *Sockets) NewTransmitter() *Transmitter {
	n := len(s.checked.fds)
	t := &Transmitter{
		s:        s,
		sockets:  uint32(n),
		order:    make([]int32, 0, 2*n),
		heads:    make([]socketLanes, 2*n),
		sendmmsg: sendmmsg,
	}
	for i := range t.heads {
		t.heads[i] = socketLanes{-1, -1}
	}
	if s.labels.on.Load() {
		t.labelMask = keyLabelMask
	}
	t.recent = &t.lanes[0]
	t.out.prepare()
	s.mu.Lock()
	s.transmitters = append(s.transmitters, t)
	s.mu.Unlock()
	return t
}

// Queue adds one datagram, header followed by payload, to the batch; either may
// be empty. Both are borrowed until Flush returns. hash is that of the inner
// flow: equal hashes leave through the same socket whatever the worker, so that
// a flow keeps its source port and its order. tag comes back if the datagram
// cannot be sent.
//
// Queue returns false and takes nothing when the batch is full: Flush first. An
// empty batch takes any datagram.
func (t *Transmitter) Queue(d *Dest, c Class, hash uint32, header, payload []byte, tag uint32) bool {
	l := t.Lane(d, c, hash)
	return l != nil && t.Add(l, header, payload, tag)
}

// Lane finds or begins the lane that Queue puts such datagrams into, so that of
// many that come together only one has to look; nil when the batch is full.
func (t *Transmitter) Lane(d *Dest, c Class, hash uint32) *Lane {
	if t.n == MaxDatagrams {
		return nil
	}
	hash, socket := spread(hash, t.sockets)
	key := c.key(socket) | hash<<keyLabelShift&t.labelMask
	l := t.recent
	if l.dest != d || l.key != key {
		if l = t.findLane(d, key); l == nil {
			return nil
		}
		t.recent = l
	}
	return l
}

// spread picks one of a number of sockets for a flow, and returns its hash as
// mixed.
func spread(hash, sockets uint32) (mixed, socket uint32) {
	// Mixing spreads hashes that differ in few bits only; the high half of the
	// last product is uniform over the pool without division.
	hash = (hash ^ hash>>16) * 0x85ebca6b
	hash = (hash ^ hash>>13) * 0xc2b2ae35
	return hash, uint32(uint64(hash) * uint64(sockets) >> 32)
}

// Add is Queue for a lane of the present batch.
func (t *Transmitter) Add(l *Lane, header, payload []byte, tag uint32) bool {
	if t.n == MaxDatagrams {
		return false
	}
	i := t.n
	t.n++
	g := &t.datagrams[i]
	g.point(header, payload)
	g.tag = tag
	g.next = -1
	if l.first < 0 {
		l.first = i
	} else {
		t.datagrams[l.last].next = i
	}
	l.last = i
	return true
}

// Len is the number of datagrams waiting for Flush.
func (t *Transmitter) Len() int { return int(t.n) }

// findLane looks a lane up, or starts it; nil when there is no room for another.
func (t *Transmitter) findLane(d *Dest, key uint32) *Lane {
	at := (d.hash ^ key>>16*0x85ebca6b ^ key>>20) % laneSlots
	for {
		n := t.slots[at]
		if n == 0 {
			break
		}
		if l := &t.lanes[n-1]; l.dest == d && l.key>>16 == key>>16 {
			if l.key == key {
				return l
			}
			break // another class: a new lane behind it, so that a flow keeps its order
		}
		at = (at + 1) % laneSlots
	}
	if t.laneCount == MaxLanes {
		return nil
	}
	n := t.laneCount
	t.laneCount++
	t.slots[at] = uint16(n + 1)
	l := &t.lanes[n]
	*l = Lane{dest: d, key: key, first: -1, last: -1, next: -1}

	socket := int32(key >> 20)
	if key&keyNoChecksum != 0 {
		socket += int32(t.sockets)
	}
	head := &t.heads[socket]
	if head.first < 0 {
		head.first = n
		t.order = append(t.order, socket)
	} else {
		t.lanes[head.last].next = n
	}
	head.last = n
	return l
}

// Flush sends the batch. When it returns, every datagram has been given to the
// kernel or was reported through failed, once, with its tag and an error that is
// or wraps a unix.Errno; nothing is borrowed any more. failed may be nil and must
// not use the Transmitter. Pass a func kept in a variable: a fresh closure or
// method value at each call would allocate.
func (t *Transmitter) Flush(failed func(tag uint32, err error)) {
	if t.laneCount == 0 {
		return
	}
	t.out.begin(failed)
	for _, socket := range t.order {
		t.flushSocket(socket)
		t.heads[socket] = socketLanes{-1, -1}
	}
	t.out.publish(&t.count)
	for i := range t.lanes[:t.laneCount] {
		t.lanes[i].dest = nil // else recent would match in the next batch
	}
	t.slots = [laneSlots]uint16{}
	t.order = t.order[:0]
	t.n, t.laneCount = 0, 0
}
