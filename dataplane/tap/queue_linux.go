package tap

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"vtepd/encap"
)

const (
	// Headroom is the number of bytes in front of every frame that Read returns.
	// They are the caller's to overwrite, for instance with a VXLAN header.
	Headroom = encap.OffloadLen
	// BufferSize in bytes is what Read needs to never cut a frame short: the
	// headroom, 64 KiB of IP packet, and an Ethernet header with two VLAN tags.
	// One byte more tells a frame that just fits from one that does not.
	BufferSize = Headroom + 22 + 65536 + 1
	// MaxParts is the most that one Write takes: those of a joined superframe, and one
	// more for a tag put in front.
	MaxParts = encap.MaxParts + 1
)

// Queue is one queue of a device. It belongs to one worker, and stays good until
// Device.Close.
//
// The kernel gives the frames of a flow to the queue on which frames of the same
// flow in the other direction were last written (tun_flow_update): a worker that
// writes on its own queue gets the answers there.
type Queue struct {
	fd     int
	vnet   bool
	header [encap.OffloadLen]byte
	iovecs [1 + MaxParts]unix.Iovec
}

func newQueue(fd int, vnet bool) *Queue {
	q := &Queue{fd: fd, vnet: vnet}
	q.iovecs[0].Base = &q.header[0]
	q.iovecs[0].SetLen(len(q.header))
	return q
}

// FD is the descriptor, for epoll(7). It is non-blocking and stays the Queue's.
func (q *Queue) FD() int { return q.fd }

// Read takes one frame with one read(2) and never waits. The frame is in
// buf[Headroom:Headroom+n]; buf[:Headroom] is free for the caller. buf should
// have BufferSize bytes; a frame that fills buf to its end may have been cut by
// the kernel, and is ErrTooShort.
//
// off is the zero Offload on a plain device. Its HdrLen is a hint that the
// kernel gets wrong for forwarded frames.
//
// err is a unix.Errno: EAGAIN when no frame is waiting, EBADFD when the device
// has been deleted.
func (q *Queue) Read(buf []byte) (n int, off encap.Offload, err error) {
	room := buf
	if !q.vnet {
		room = buf[Headroom:]
	}
	// The call never sleeps, so the scheduler need not know.
	got, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(q.fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(room))), uintptr(len(room)))
	if errno != 0 {
		return 0, off, errno
	}
	n = int(got)
	if n == len(room) {
		return 0, off, ErrTooShort
	}
	if !q.vnet {
		return n, off, nil
	}
	if n < Headroom {
		return 0, off, ErrTooShort
	}
	off.Decode(buf)
	return n - Headroom, off, nil
}

// Write gives one frame, or superframe, to the kernel with one writev(2) and
// never waits. The frame is the concatenation of parts, none of which is kept.
// With an unfinished checksum, parts[0] should hold all headers: their length is
// read from there and not from off.HdrLen, which is wrong more often than not.
//
// err is ErrOffload when the device is plain and off is not, ErrParts beyond
// MaxParts, else a unix.Errno as the kernel gave it: EIO when the interface is
// down, EBADFD when it has been deleted, EINVAL when header and frame do not
// agree. The frame is gone then.
func (q *Queue) Write(off encap.Offload, parts [][]byte) error {
	if len(parts) > MaxParts {
		return ErrParts
	}
	total := 0
	for i, p := range parts {
		v := &q.iovecs[1+i]
		v.Base = unsafe.SliceData(p)
		v.SetLen(len(p))
		total += len(p)
	}
	first, count := 1, len(parts)
	if q.vnet {
		var head []byte
		if len(parts) > 0 {
			head = parts[0]
		}
		off.Advise(head, total)
		off.Encode(q.header[:])
		first, count = 0, count+1
	} else if off.NeedsChecksum() || off.IsGSO() {
		return ErrOffload
	}
	_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(q.fd),
		uintptr(unsafe.Pointer(&q.iovecs[first])), uintptr(count))
	if errno != 0 {
		return errno
	}
	return nil
}
