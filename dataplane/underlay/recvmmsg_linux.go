package underlay

import (
	"fmt"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// MaxMessages is the most that one Recv takes. With UDP_GRO each message may
	// hold 64 KiB, so 64 of them are 4 MiB, more than any core's second-level
	// cache; a larger batch would only evict itself.
	MaxMessages = 64

	// slotSize in bytes: one GRO message is bounded by the IP length field.
	slotSize = 64 << 10
	// slotStride sets consecutive slots three cache lines apart modulo 64 KiB.
	// Otherwise the headers of all slots would fall into the same few sets of a
	// first-level cache (64 sets of 64 bytes) and evict each other.
	slotStride = slotSize + 3*64

	// controlSize in bytes holds UDP_GRO and IP_TOS or IPV6_TCLASS, and one more.
	controlSize = 3 * cmsgSlot

	// swallow bounds how many pending socket errors one Recv steps over.
	swallow = 8
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received or sent; the kernel's to write
}

// Message is what one entry of recvmmsg(2) brought.
type Message struct {
	// Data holds one datagram, or several of DatagramSize bytes each (the last
	// may be shorter). It lies in the Receiver's memory: the caller may write to
	// it, and it is valid until the next Recv.
	Data []byte
	// DatagramSize in bytes when UDP_GRO joined datagrams; 0: one datagram.
	// Joined datagrams had a correct, non-zero UDP checksum (udp_gro_receive),
	// the same source and the same TOS.
	DatagramSize int
	// Source is the peer's address and port, unmapped and without zone.
	Source netip.AddrPort
	// TOS is the outer IPv4 TOS or IPv6 traffic class; its two low bits are the
	// ECN field (RFC 3168).
	TOS uint8
	// Truncated: the datagram was longer than the slot, or the kernel could not
	// deliver all ancillary data. Drop and count it.
	Truncated bool
}

// Receiver reads one receive socket. It belongs to one worker.
type Receiver struct {
	fd     int
	room   *room
	shared bool // the room is another Receiver's
	port   uint16

	gro       bool
	groReason string
	buffer    int
	count     rxCounters

	dropsMu   sync.Mutex
	drops     uint64
	dropsLast uint32
}

// room is where recvmmsg(2) puts what it reads. The kernel fills it in place.
type room struct {
	headers [MaxMessages]mmsghdr
	out     [MaxMessages]Message
	iovecs  [MaxMessages]unix.Iovec
	control [MaxMessages][controlSize]byte
	names   [MaxMessages]unix.RawSockaddrInet6 // also holds an IPv4 address
	slots   []byte                             // mmap'ed: only pages that were written to count
}

func newRoom() (*room, error) {
	m := new(room)
	var err error
	m.slots, err = unix.Mmap(-1, 0, MaxMessages*slotStride, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("underlay: mmap %d bytes for %d receive slots: %w",
			MaxMessages*slotStride, MaxMessages, err)
	}
	for i := range m.headers {
		m.iovecs[i].Base = &m.slots[i*slotStride]
		m.iovecs[i].SetLen(slotSize)
		h := &m.headers[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&m.names[i]))
		h.Iov = &m.iovecs[i]
		h.SetIovlen(1)
		h.Control = &m.control[i][0]
		m.rearm(i)
	}
	return m, nil
}

// rearm restores what the kernel wrote into header i.
func (m *room) rearm(i int) {
	h := &m.headers[i].hdr
	h.Namelen = unix.SizeofSockaddrInet6
	h.SetControllen(controlSize)
	h.Flags = 0
}

// openReceiver opens a receive socket. With another Receiver given, both read
// into the same room, which stays that one's.
func openReceiver(c *Config, how sharing, with *Receiver) (*Receiver, error) {
	fd, err := openReceiveSocket(c, how)
	if err != nil {
		return nil, err
	}
	r := &Receiver{fd: fd, port: c.Port}
	if with != nil {
		r.room, r.shared = with.room, true
	} else if r.room, err = newRoom(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	r.buffer = setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, c.ReceiveBuffer)
	switch {
	case !c.Offload:
	case c.Refuse.GRO:
		r.groReason = "UDP_GRO: refused for a test"
	default:
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
			r.groReason = fmt.Sprintf("UDP_GRO: %v", err)
		} else {
			r.gro = true
		}
	}
	return r, nil
}

// FD is the socket, for epoll(7). It is non-blocking and stays the Receiver's.
func (r *Receiver) FD() int { return r.fd }

// Port is the UDP port that the socket is bound to.
func (r *Receiver) Port() uint16 { return r.port }

// Recv takes at most limit messages (no more than MaxMessages) with one
// recvmmsg(2) and never waits. Fewer than limit came exactly when the socket is
// drained; none is not an error. The messages and their data are valid until
// the next Recv of this Receiver or of one that shares its memory. An error means
// that the socket is of no more use.
//
// Errors pending on the socket (ICMP) are counted and stepped over: they belong
// to something sent earlier, and datagrams may wait behind them.
func (r *Receiver) Recv(limit int) ([]Message, error) {
	limit = min(limit, MaxMessages)
	if limit <= 0 {
		return nil, nil
	}
	m := r.room
	var n int
	for try := 0; ; try++ {
		got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(r.fd),
			uintptr(unsafe.Pointer(&m.headers)), uintptr(limit), unix.MSG_DONTWAIT, 0, 0)
		r.count.calls.Add(1)
		if errno == 0 {
			n = int(got)
			break
		}
		switch errno {
		case unix.EAGAIN:
			return nil, nil
		case unix.EINTR:
			continue
		case unix.EBADF, unix.ENOTSOCK, unix.EFAULT, unix.EINVAL:
			return nil, fmt.Errorf("underlay: recvmmsg: %w", errno)
		}
		r.count.errors.Add(1)
		if try == swallow {
			return nil, nil
		}
	}
	r.count.messages.Add(uint64(n))
	for i := range n {
		h := &m.headers[i]
		a := parseAncillary(m.control[i][:min(int(h.hdr.Controllen), controlSize)])
		at, length := i*slotStride, int(h.n)
		out := &m.out[i]
		out.Data = m.slots[at : at+length : at+slotSize]
		out.DatagramSize = 0
		if a.segment > 0 && a.segment < length {
			out.DatagramSize = a.segment
		}
		out.Source = sourceOf(&m.names[i])
		out.TOS = a.tos
		out.Truncated = h.hdr.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0
		if out.Truncated {
			r.count.truncated.Add(1)
		}
		m.rearm(i)
	}
	return m.out[:n], nil
}

func (r *Receiver) close() {
	unix.Close(r.fd)
	if r.shared {
		return
	}
	// The slots go with the receiver; a failure to unmap leaves address space
	// behind that nothing refers to, and there is no way to try again.
	_ = unix.Munmap(r.room.slots)
}
