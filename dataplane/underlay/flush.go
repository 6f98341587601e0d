package underlay

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sendWait in milliseconds: how long a Flush may wait for the send buffer,
	// once. A worker that waits does not receive.
	sendWait = 1
	// sendRefrain is how long there is no waiting after a wait that found no
	// room: a queue that is fast enough to be worth it had some by then. Without,
	// a port that floods an underlay slower than itself makes the worker wait at
	// each batch, and whatever else it serves has the time in between.
	sendRefrain = 16 * time.Millisecond
	// enobufsTries for one message. The device queue drains while the call
	// returns; more patience would be a wait in disguise.
	enobufsTries = 3
	// staleTries for one message: an error that an earlier datagram left on the
	// socket is cleared by the call that reports it, but other workers send on
	// the same socket and may raise the next one in between.
	staleTries = 3
)

// flushSocket sends all lanes of one socket.
func (t *Transmitter) flushSocket(socket int32) {
	head := t.heads[socket]
	var cur cursor
	t.enter(&cur, head.first)
	fd, err := t.descriptor(socket)
	for {
		n := t.assemble(&cur)
		if n == 0 {
			return
		}
		if err != nil {
			for i := range n {
				t.report(&t.out.parts[i], t.out.parts[i].count, err)
			}
			continue
		}
		t.send(fd, n, &cur)
	}
}

// descriptor opens the twin sockets when this is the first use of one. There is
// none while the local address is away.
func (t *Transmitter) descriptor(socket int32) (int, error) {
	if t.s.away.Load() {
		return -1, unix.EADDRNOTAVAIL
	}
	if socket < int32(t.sockets) {
		return t.s.checked.fds[socket], nil
	}
	p, err := t.s.twins()
	if err != nil {
		return -1, err
	}
	return p.fds[socket-int32(t.sockets)], nil
}

// send gives n assembled messages to the kernel. Each is sent or reported, or
// the cursor is set back to the first that must be assembled anew.
func (t *Transmitter) send(fd, n int, cur *cursor) {
	a := &t.out
	tries := 0
	for i := 0; i < n; {
		sent, errno := t.sendmmsg(fd, a.headers[i:n])
		a.tally.calls++
		if errno == 0 {
			for _, p := range a.parts[i : i+sent] {
				a.tally.datagrams += uint64(p.count)
				if p.count > 1 {
					a.tally.gsoRuns++
				}
			}
			a.tally.messages += uint64(sent)
			i += sent
			tries = 0
			continue
		}
		// The kernel reports an error only for the first message of a call, so
		// it is message i that failed.
		p := &a.parts[i]
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			a.tally.eagain++
			if !a.waited && t.awaitRoom(fd) {
				a.waited = true
				continue
			}
			for ; i < n; i++ {
				t.report(&a.parts[i], a.parts[i].count, errno)
			}
			return
		case unix.ENOBUFS, unix.ENOMEM:
			a.tally.enobufs++
			if tries++; tries < enobufsTries {
				continue
			}
		case unix.EINVAL, unix.EIO:
			if t.withoutLabels(fd, p, errno, cur) {
				return
			}
			if p.count > 1 {
				t.withoutGSO(p, errno, cur)
				return
			}
		default:
			limit := staleTries
			if p.lane == a.badLane && errno == a.badErrno {
				limit = 1 // it was true a moment ago: do not pay for hope
			}
			if tries++; tries <= limit && mayBeStale(errno) {
				a.tally.retries++
				continue
			}
			a.badLane, a.badErrno = p.lane, errno
			if errno == unix.EMSGSIZE && t.oversize(p, cur) {
				return
			}
		}
		t.report(p, p.count, errno)
		tries = 0
		i++
	}
}

// mayBeStale tells the errors that ICMP can raise (icmp_err_convert of
// net/ipv4/icmp.c, icmpv6_err_convert): with IP_RECVERR they meet the next send
// on the socket, whatever its destination. Unlike a true one they are gone with
// the next try.
func mayBeStale(errno unix.Errno) bool {
	switch errno {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE, unix.EHOSTDOWN,
		unix.ENONET, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EPROTO, unix.EACCES:
		return true
	}
	return false
}

// oversize deals with a run that is too large for the path: all its datagrams
// have that size save a shorter last one, which may well fit and gets its own
// message. Returns false when there is no such last one.
func (t *Transmitter) oversize(p *part, cur *cursor) bool {
	if p.count == 1 {
		return false
	}
	last := p.first
	for range p.count - 1 {
		last = t.datagrams[last].next
	}
	if t.datagrams[last].size() == t.datagrams[p.first].size() {
		return false
	}
	t.report(p, p.count-1, unix.EMSGSIZE)
	*cur = cursor{lane: p.lane, datagram: last}
	return true
}

// withoutGSO goes back to a run that the kernel would not take as one.
//
// EINVAL: more segments than this kernel allows, or a run that it finds fault
// with; the datagrams go one by one. EIO: the way out cannot finish the
// checksums (before Linux 6.11) or goes through IPsec; that stays so, and GSO is
// off from here on.
func (t *Transmitter) withoutGSO(p *part, errno unix.Errno, cur *cursor) {
	t.out.tally.gsoRefused++
	*cur = cursor{lane: p.lane, datagram: p.first}
	d := Degradation{Dest: t.lanes[p.lane].dest.addr, Errno: errno}
	switch {
	case errno == unix.EIO:
		if t.s.gso.CompareAndSwap(true, false) {
			d.What = "gso"
			d.Reason = "UDP_SEGMENT: the kernel cannot segment on the way to " + d.Dest.String() +
				" (no checksum offload, or IPsec): switched off"
			t.s.degrade(d)
		}
	case p.count > segmentsOld && t.s.maxSegments.CompareAndSwap(segmentsNew, segmentsOld):
		d.What = "gso-segments"
		d.Reason = "UDP_SEGMENT: the kernel takes 64 segments, not 128"
		t.s.degrade(d)
	case p.count <= segmentsOld:
		cur.single = p.count
	}
}

// report tells the caller about the first count datagrams of a part.
func (t *Transmitter) report(p *part, count int32, err error) {
	a := &t.out
	a.tally.unsent += uint64(count)
	if err == unix.EMSGSIZE {
		a.tally.emsgsize += uint64(count)
	}
	if a.failed == nil {
		return
	}
	at := p.first
	for range count {
		g := &t.datagrams[at]
		a.failed(g.tag, err)
		at = g.next
	}
}
