package underlay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxMessages in one sendmmsg(2); the kernel allows 1024 (UIO_MAXIOV). With
	// runs of 40 datagrams 128 messages are far more than a batch holds.
	maxMessages = 128
	// maxIovecs: a datagram takes two at most, so the batch is the bound. One
	// message takes two for each of segmentsNew, within UIO_MAXIOV.
	maxIovecs = 2 * MaxDatagrams
	// controlRoom of one message, in bytes: four entries of an int at most, and
	// IP_PKTINFO or IPV6_PKTINFO.
	controlRoom = 4*cmsgSlot + pktinfoSlot
)

// datagram is one entry of the batch: two borrowed slices.
type datagram struct {
	header, payload       *byte
	headerLen, payloadLen uint32
	tag                   uint32
	next                  int32 // the following one of the lane, -1: last
}

func (d *datagram) size() int { return int(d.headerLen + d.payloadLen) }

// point makes the datagram borrow two slices.
func (d *datagram) point(header, payload []byte) {
	d.header, d.headerLen = unsafe.SliceData(header), uint32(len(header))
	d.payload, d.payloadLen = unsafe.SliceData(payload), uint32(len(payload))
}

// assembly is the room in which lanes become messages. The kernel reads it in
// place; nothing in it moves or is allocated again.
type assembly struct {
	headers [maxMessages]mmsghdr
	// UDP_SEGMENT comes first and keeps its header; TOS and TTL follow where a
	// class asks for them, then the flow label, and the interface of a group.
	control [maxMessages][controlRoom]byte
	parts   [maxMessages]part
	iovecs  [maxIovecs]unix.Iovec

	// Of the running Flush.
	failed func(tag uint32, err error)
	waited bool // one wait for the send buffer is allowed in a Flush
	tally  tally
	// The last true failure, -1: none yet.
	badLane  int32
	badErrno unix.Errno
}

// part says which datagrams a message carries.
type part struct {
	lane  int32
	first int32 // datagram
	count int32
}

// tally is what a Flush counted, in plain integers, published at its end.
type tally struct {
	calls, messages, datagrams, gsoRuns, gsoRefused uint64
	eagain, enobufs, emsgsize, unsent, retries      uint64
}

// prepare writes what stays the same for ever.
func (a *assembly) prepare() {
	for i := range a.control {
		putSegment(a.control[i][:], 0)
	}
}

func (a *assembly) begin(failed func(uint32, error)) {
	a.failed = failed
	a.waited = false
	a.badLane = -1
	a.tally = tally{}
}

func (a *assembly) publish(c *txCounters) {
	a.failed = nil
	n := &a.tally
	bump(&c.calls, n.calls)
	bump(&c.messages, n.messages)
	bump(&c.datagrams, n.datagrams)
	bump(&c.gsoRuns, n.gsoRuns)
	bump(&c.gsoRefused, n.gsoRefused)
	bump(&c.eagain, n.eagain)
	bump(&c.enobufs, n.enobufs)
	bump(&c.emsgsize, n.emsgsize)
	bump(&c.unsent, n.unsent)
	bump(&c.retries, n.retries)
}

// cursor is a place in the lanes of one socket: the next datagram to put into a
// message. Going back to an earlier place is how messages are built anew.
type cursor struct {
	lane     int32 // -1: all done
	datagram int32
	// single datagrams to come that must not share a message, since the kernel
	// refused them as a run.
	single int32
}

// enter sets the cursor to the beginning of a lane, or of the next one that is
// not empty.
func (t *Transmitter) enter(cur *cursor, lane int32) {
	for lane >= 0 && t.lanes[lane].first < 0 {
		lane = t.lanes[lane].next
	}
	if cur.lane = lane; lane >= 0 {
		cur.datagram = t.lanes[lane].first
	}
}

// assemble builds up to maxMessages messages from the cursor on, and moves it
// behind them.
func (t *Transmitter) assemble(cur *cursor) (messages int) {
	a := &t.out
	segments := int32(1)
	if t.s.gso.Load() {
		segments = t.s.maxSegments.Load()
	}
	room := maxPayload4
	if t.s.is6 {
		room = maxPayload6
	}
	iov := 0
	for cur.lane >= 0 && messages < maxMessages {
		l := &t.lanes[cur.lane]
		limit := segments
		if l.key&keyNoChecksum != 0 || cur.single > 0 {
			limit = 1
		}
		first := iov
		p := &a.parts[messages]
		*p = part{lane: cur.lane, first: cur.datagram, count: 1}
		g := &t.datagrams[cur.datagram]
		size := g.size()
		total := size
		iov = a.add(g, iov, first)
		next := g.next
		if size == 0 {
			limit = 1 // a segment size of 0 means no segmentation
		}
		for next >= 0 && p.count < limit {
			g = &t.datagrams[next]
			s := g.size()
			if s > size || s == 0 || total+s > room {
				break
			}
			iov = a.add(g, iov, first)
			total += s
			p.count++
			next = g.next
			if s < size {
				break
			}
		}
		if cur.single > 0 {
			cur.single--
		}
		t.finish(messages, l, a.iovecs[first:iov], size, p.count > 1)
		messages++
		if cur.datagram = next; next < 0 {
			t.enter(cur, l.next)
		}
	}
	return messages
}

// add appends the bytes of a datagram to the message whose iovecs begin at
// first. Neighbours in memory become one iovec.
func (a *assembly) add(g *datagram, iov, first int) int {
	if g.headerLen > 0 {
		iov = a.extend(g.header, g.headerLen, iov, first)
	}
	if g.payloadLen > 0 {
		iov = a.extend(g.payload, g.payloadLen, iov, first)
	}
	return iov
}

func (a *assembly) extend(base *byte, length uint32, iov, first int) int {
	if iov > first {
		last := &a.iovecs[iov-1]
		if uintptr(unsafe.Pointer(last.Base))+uintptr(last.Len) == uintptr(unsafe.Pointer(base)) {
			last.SetLen(int(last.Len) + int(length))
			return iov
		}
	}
	a.iovecs[iov].Base = base
	a.iovecs[iov].SetLen(int(length))
	return iov + 1
}

// finish writes the message header.
func (t *Transmitter) finish(i int, l *Lane, iovecs []unix.Iovec, segment int, run bool) {
	a := &t.out
	h := &a.headers[i].hdr
	h.Name = l.dest.name
	h.Namelen = l.dest.nameLen
	h.Iov = unsafe.SliceData(iovecs)
	h.SetIovlen(len(iovecs))

	control := &a.control[i]
	start, end := cmsgSlot, cmsgSlot
	if run {
		start = 0
		putSegment(control[:], uint16(segment))
	}
	if l.key&0xffff != 0 {
		end = putClass(control, l, end)
	}
	if label := t.s.labels.label(l.key); label != 0 {
		end += putFlowLabel(control[end:], label)
	}
	if l.dest.scoped {
		end += putInterface(control[end:], l.dest, t.s.cfg.Local)
	}
	if start == end {
		h.Control = nil
		h.SetControllen(0)
		return
	}
	h.Control = &control[start]
	h.SetControllen(end - start)
}

// putClass writes TOS and TTL behind the first slot.
func putClass(control *[controlRoom]byte, l *Lane, end int) int {
	tos, ttl := int(l.key&0xff), int(l.key>>8&0xff)
	level, tosType, ttlType := int32(unix.SOL_IP), int32(unix.IP_TOS), int32(unix.IP_TTL)
	if l.dest.nameLen == unix.SizeofSockaddrInet6 {
		level, tosType, ttlType = unix.SOL_IPV6, unix.IPV6_TCLASS, unix.IPV6_HOPLIMIT
	}
	if tos != 0 {
		end += putInt(control[end:], level, tosType, tos)
	}
	if ttl != 0 {
		end += putInt(control[end:], level, ttlType, ttl)
	}
	return end
}
