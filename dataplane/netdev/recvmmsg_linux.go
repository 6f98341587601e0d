package netdev

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"vtepd/encap"
)

const (
	// MaxFrames is the most that one Recv takes.
	MaxFrames = 64
	// Headroom in bytes is the least there is in front of every frame that Recv
	// gives: the caller's to overwrite, for instance with a VXLAN header.
	Headroom = frameAt - encap.VLANTagLen

	// frameAt is where the kernel puts a frame in its slot: behind the virtio-net
	// header, and far enough from the slot's start that a tag put back leaves room
	// for a VXLAN header.
	frameAt = 16
	// slotSize in bytes: the room in front, 64 KiB of IP packet, an Ethernet header
	// with two tags, and one byte that tells a frame that just fits from one that
	// does not.
	slotSize = frameAt + 22 + 65536 + 1
	// slotStride is slotSize in whole pages, and three cache lines more: with whole
	// pages alone the headers of all slots would fall into the same sets of a
	// first-level cache.
	slotStride = (slotSize+4095)&^4095 + 3*64
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received or sent; the kernel's to write
}

// Frame is what one message of a packet socket brought.
type Frame struct {
	// Buf[Start:] is the frame, with the tag in it that the kernel had taken off.
	// Buf[:Start] is free, Headroom bytes or more. Both are valid until the next
	// Recv of this Receiver, and the caller may write to them.
	Buf   []byte
	Start int
	// Off is the zero Offload of a finished frame.
	Off encap.Offload
	// Oversize: the frame was longer than 64 KiB and could not be divided. Buf may be
	// a part of it.
	Oversize bool
}

// Receiver has the memory that one worker reads into, from whatever queue.
type Receiver struct {
	headers [MaxFrames]mmsghdr
	iovecs  [MaxFrames]unix.Iovec
	control [MaxFrames][controlSize]byte
	out     []Frame
	names   [MaxFrames]unix.RawSockaddrLinklayer
	layout  encap.Layout
	slots   []byte // mmap'ed: only pages that were written to count
	big     *bigRoom
}

// NewReceiver maps the slots. Close lets them go.
func NewReceiver() (*Receiver, error) {
	const size = MaxFrames * slotStride
	slots, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("netdev: mmap %d bytes for %d receive slots: %w", size, MaxFrames, err)
	}
	r := &Receiver{slots: slots, out: make([]Frame, MaxFrames)}
	for i := range r.headers {
		h := &r.headers[i].hdr
		h.Iov = &r.iovecs[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
		h.SetControllen(controlSize)
	}
	return r, nil
}

// Close unmaps the slots. No frame of the last Recv may be in use.
func (r *Receiver) Close() {
	// A failure to unmap leaves address space behind that nothing refers to.
	_ = unix.Munmap(r.slots)
	if r.big != nil {
		_ = unix.Munmap(r.big.slots)
	}
}

// Recv takes at most limit frames, no more than MaxFrames, with one recvmmsg(2)
// and never waits. drained: the queue had no more. lost counts superframes of a
// kind that a virtio-net header cannot tell (SCTP, tunnels), which the kernel threw
// away on the way to us. A TCP superframe of more than 64 KiB is given as several,
// except in the first Recv of a queue that brings any, where they are Oversize.
//
// An interface that is down, or gone, has nothing to read; Attr tells which.
func (r *Receiver) Recv(q *Queue, limit int) (frames []Frame, lost int, drained bool) {
	limit = min(limit, MaxFrames)
	if q.big.Load() {
		if !r.makeRoom() {
			q.big.Store(false)
		} else {
			limit = min(limit, bigFrames)
			r.big.used = 0
		}
	}
	at := frameAt - encap.OffloadLen
	if !q.vnet {
		at = frameAt
	}
	for i := range limit {
		slot := r.slot(i, q)[at:]
		r.iovecs[i].Base = &slot[0]
		r.iovecs[i].SetLen(len(slot))
		h := &r.headers[i].hdr
		h.SetControllen(controlSize)
		h.Flags = 0
		h.Name, h.Namelen = nil, 0
		if q.checkOwn {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&r.names[i])), unix.SizeofSockaddrLinklayer
		}
	}
	n, errno := r.recvmmsg(q.fd, limit)
	if errno == unix.EINVAL {
		lost = 1
	}
	drained = n < limit && lost == 0 // what is behind one that was lost can be read
	lost += q.unread
	q.unread = 0
	kept, big := 0, false
	for i := range n {
		if q.checkOwn && r.names[i].Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		f := &r.out[kept]
		r.take(f, i, q)
		f.Oversize = f.Oversize || len(f.Buf) > slotSize && !f.Off.IsGSO()
		switch {
		case !f.isBig():
			kept++
		case q.big.Load():
			kept = r.divide(*f, kept)
		default:
			kept++
			big = true
		}
	}
	if big && q.vnet { // only now: it says where the messages lie
		q.big.Store(true)
	}
	return r.out[:kept], lost, drained
}

// recvmmsg is recvmmsg(2); the call never sleeps, so the scheduler need not know.
// ENETDOWN stands in front of frames that came before the interface went down, and
// of those that come once it is up again: it is stepped over.
func (r *Receiver) recvmmsg(fd, limit int) (int, unix.Errno) {
	for range 3 {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&r.headers)), uintptr(limit), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR, unix.ENETDOWN:
			continue
		}
		return 0, errno
	}
	return 0, unix.EAGAIN
}

// take makes f of what is in slot i.
func (r *Receiver) take(f *Frame, i int, q *Queue) {
	h := &r.headers[i]
	slot := r.slot(i, q)
	end := frameAt + int(h.n)
	f.Off = encap.Offload{}
	if q.vnet {
		end -= encap.OffloadLen
		if end < frameAt { // not even the header: the kernel does not do that
			end = frameAt
		} else {
			f.Off.Decode(slot[frameAt-encap.OffloadLen:])
		}
	}
	f.Oversize = h.hdr.Flags&unix.MSG_TRUNC != 0
	f.Start = frameAt
	f.Buf = slot[:min(end, len(slot))]
	a := parseAuxdata(r.control[i][:min(int(h.hdr.Controllen), controlSize)])
	if a.tagged && len(f.Buf) >= frameAt+encap.EthernetLen {
		f.restoreTag(&a)
	}
	if !q.vnet && a.unfinished {
		size := int(q.mtu.Load()) + encap.EthernetLen
		if a.tagged {
			size += encap.VLANTagLen // the MTU does not count it
		}
		r.layout.Parse(f.Buf[f.Start:])
		f.Off, _ = encap.Unfinished(f.Buf[f.Start:], &r.layout, size)
	}
}

// restoreTag puts a tag back between the addresses and the type, where it was on
// the wire (skb_vlan_untag took it off).
func (f *Frame) restoreTag(a *auxdata) {
	const addresses = 12
	f.Start -= encap.VLANTagLen
	b := f.Buf[f.Start:]
	copy(b[:addresses], b[encap.VLANTagLen:encap.VLANTagLen+addresses])
	binary.BigEndian.PutUint16(b[addresses:], a.tpid)
	binary.BigEndian.PutUint16(b[addresses+2:], a.tci)
	if f.Off.NeedsChecksum() || f.Off.IsGSO() {
		f.Off = f.Off.Shift(encap.VLANTagLen)
	}
}
