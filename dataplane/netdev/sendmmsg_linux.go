package netdev

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"vtepd/encap"
)

const (
	// maxPending bounds the frames that wait for Flush.
	maxPending = 64
	// headLen in bytes: that much of every frame is copied by Add. It holds Ethernet
	// with two tags, IPv4 or IPv6, and TCP with all options (142 bytes), and then
	// some, so that who rewrites a header after Add does not change what was added.
	headLen = 256
	// maxIovecs is the pieces of memory of all frames that wait. A superframe joined
	// from 1450-byte datagrams has 48.
	maxIovecs = 1024
)

// head is what stands in front of a frame's borrowed part, in one piece.
type head struct {
	vnet  [encap.OffloadLen]byte
	bytes [headLen]byte
}

// Queue is one packet socket of a device, to read by a Receiver and to write to.
// It belongs to one worker, and stays good until Device.Close.
//
// Frames are gathered by Add and leave, in that order, with Flush.
type Queue struct {
	fd       int
	vnet     bool
	checkOwn bool          // the socket shows what the host itself sends
	mtu      *atomic.Int32 // what superframes without virtio-net header are cut to, bytes
	big      atomic.Bool   // it has brought a superframe of more than 64 KiB
	unread   int           // superframes that the kernel threw away, told to Flush: for the next Recv to say

	pending int
	used    int // iovecs
	tags    [maxPending]uint32
	headers [maxPending]mmsghdr
	iovecs  [maxIovecs]unix.Iovec
	heads   [maxPending]head
}

func newQueue(fd int, vnet, checkOwn bool, mtu *atomic.Int32) *Queue {
	return &Queue{fd: fd, vnet: vnet, checkOwn: checkOwn, mtu: mtu}
}

// FD is the descriptor, for epoll(7). It is non-blocking and stays the Queue's.
func (q *Queue) FD() int { return q.fd }

// Big says whether the queue has brought a superframe of more than 64 KiB. Any
// goroutine may ask.
func (q *Queue) Big() bool { return q.big.Load() }

// Pending is the number of frames that wait for Flush.
func (q *Queue) Pending() int { return q.pending }

// Add takes one frame, or superframe: the concatenation of parts, of which the
// first bytes are copied and the rest is borrowed until Flush. false: there is no
// room, and Flush must come first; with nothing pending, that the frame has too
// many parts ever to fit. tag comes back when the frame does not leave.
//
// With an unfinished checksum the length of the headers is read from the frame and
// not from off.HdrLen, which is wrong more often than not. On a queue without
// virtio-net header off must be zero.
func (q *Queue) Add(off encap.Offload, parts [][]byte, tag uint32) bool {
	if q.pending == maxPending || q.used+1+len(parts) > maxIovecs {
		return false
	}
	h := &q.heads[q.pending]
	start := q.used
	first := &q.iovecs[start]
	q.used++
	copied, total := 0, 0
	for _, p := range parts {
		total += len(p)
		if copied < headLen {
			n := copy(h.bytes[copied:], p)
			copied += n
			p = p[n:]
		}
		if len(p) > 0 {
			v := &q.iovecs[q.used]
			v.Base = unsafe.SliceData(p)
			v.SetLen(len(p))
			q.used++
		}
	}
	if q.vnet {
		off.Advise(h.bytes[:copied], total)
		off.Encode(h.vnet[:])
		first.Base = &h.vnet[0]
		first.SetLen(encap.OffloadLen + copied)
	} else {
		first.Base = &h.bytes[0]
		first.SetLen(copied)
	}
	m := &q.headers[q.pending].hdr
	m.Iov = first
	m.SetIovlen(q.used - start)
	q.tags[q.pending] = tag
	q.pending++
	return true
}

// Covers says whether Add copies all of a frame's headers, its checksum field
// included: the caller may then finish the checksum in place before Flush.
func Covers(off encap.Offload) bool {
	return !off.NeedsChecksum() || CoversHeaders(int(off.CsumStart)+int(off.CsumOffset)+2)
}

// CoversHeaders says whether Add copies the first n bytes of a frame, also where a tag
// was put in front of it: the caller may then change them in place before Flush.
func CoversHeaders(n int) bool { return n+encap.VLANTagLen <= headLen }

// Flush gives everything that was added to the kernel, in order, and never waits.
// failed hears of each frame that the kernel refused: EINVAL when the virtio-net
// header contradicts the frame, EMSGSIZE when it is larger than the MTU, ENETDOWN
// when the interface is down, ENXIO or ENODEV when it is gone, ENOBUFS or EAGAIN when
// its queue is full. Nothing is borrowed any more.
func (q *Queue) Flush(failed func(tag uint32, err error)) {
	pending := unix.Errno(0) // what the frame in hand may have met in another's place
	for i := 0; i < q.pending; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(q.fd),
			uintptr(unsafe.Pointer(&q.headers[i])), uintptr(q.pending-i), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			if pending == unix.EINVAL {
				q.unread++
			}
			i += int(n)
			pending = 0
		case errno == unix.EINTR:
		case pending == 0 && mayBePending(errno):
			pending = errno
		default:
			failed(q.tags[i], errno)
			i++
			pending = 0
		}
	}
	q.pending, q.used = 0, 0
}

// mayBePending tells the errors that wait on a packet socket for its next call, whatever that is, and are gone with it: of an interface that went down
// (packet_notifier), and of a superframe that recvmmsg(2) could not hand out behind others that it did (do_recvmmsg).
func mayBePending(errno unix.Errno) bool { return errno == unix.ENETDOWN || errno == unix.EINVAL }
