package underlay

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ICMPError is one entry of a socket's error queue (ip(7), IP_RECVERR): what
// became of a datagram that had left, or why it could not.
type ICMPError struct {
	// Dest is where the datagram was going.
	Dest netip.AddrPort
	// From is the router or host that reported it; zero when Local.
	From netip.Addr
	// Errno the kernel made of it: ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ...
	Errno unix.Errno
	// Type and Code of the ICMP or ICMPv6 message; zero when Local.
	Type, Code uint8
	// MTU of the path in bytes, outer IP header included, with EMSGSIZE; else 0.
	MTU int
	// Local: this host found it out by itself, nothing came from the network.
	Local bool
}

// maxPendingICMP bounds what Flush keeps for the next DrainErrors.
const maxPendingICMP = 256

// maxErrorsAtOnce bounds what is taken from one socket at a time. A queue holds
// some 270 entries (rmem_default at 768 bytes each), so this is for one that
// somebody fills with forged ICMP as fast as it is emptied.
const maxErrorsAtOnce = 1024

// DrainErrors empties the error queues of all transmit sockets and calls f for
// each entry. Safe from any goroutine; of several at once, each entry goes to
// one. f may call other methods of Sockets.
func (s *Sockets) DrainErrors(f func(ICMPError)) {
	for _, e := range s.takeErrors() {
		f(e)
	}
}

func (s *Sockets) takeErrors() []ICMPError {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.pending
	s.pending = nil
	if s.closed {
		return found
	}
	var q errorQueue
	for _, p := range []*pool{s.checked, s.unchecked.Load()} {
		if p == nil {
			continue
		}
		for _, fd := range p.fds {
			for range maxErrorsAtOnce {
				e, ok := q.next(fd)
				if !ok {
					break
				}
				s.icmp.Add(1)
				found = append(found, e)
			}
		}
	}
	return found
}

// setAside empties one socket's error queue for the next DrainErrors.
func (s *Sockets) setAside(fd int) {
	var q errorQueue
	s.mu.Lock()
	defer s.mu.Unlock()
	for range maxErrorsAtOnce {
		e, ok := q.next(fd)
		if !ok {
			return
		}
		s.icmp.Add(1)
		if len(s.pending) < maxPendingICMP {
			s.pending = append(s.pending, e)
		}
		s.errors.nudge()
	}
}

// errorQueue is the room for one entry.
type errorQueue struct {
	name    unix.RawSockaddrInet6
	control [256]byte
}

// next takes one entry. The datagram itself, which the kernel hands back too,
// is of no interest.
func (q *errorQueue) next(fd int) (ICMPError, bool) {
	for {
		var h unix.Msghdr
		h.Name = (*byte)(unsafe.Pointer(&q.name))
		h.Namelen = unix.SizeofSockaddrInet6
		h.Control = &q.control[0]
		h.SetControllen(len(q.control))
		_, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)),
			unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return ICMPError{}, false
		}
		if e, ok := parseExtendedError(q.control[:min(int(h.Controllen), len(q.control))]); ok {
			e.Dest = sourceOf(&q.name)
			return e, true
		}
	}
}

// parseExtendedError finds the IP_RECVERR entry. Its data is a struct
// sock_extended_err, host byte order, followed by the offender's address:
//
//	 0       4        5      6      7     8      12     16
//	+-------+--------+------+------+-----+------+------+----------+
//	| errno | origin | type | code | pad | info | data | sockaddr |
//	+-------+--------+------+------+-----+------+------+----------+
func parseExtendedError(b []byte) (ICMPError, bool) {
	const fixed = 16
	for len(b) >= cmsgHeader {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		length := int(h.Len)
		if length < cmsgHeader || length > len(b) {
			break
		}
		data := b[cmsgHeader:length]
		v4 := h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR
		v6 := h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR
		if (v4 || v6) && len(data) >= fixed {
			e := ICMPError{
				Errno: unix.Errno(binary.NativeEndian.Uint32(data)),
				Local: data[4] == unix.SO_EE_ORIGIN_LOCAL,
				Type:  data[5],
				Code:  data[6],
			}
			if e.Errno == unix.EMSGSIZE {
				e.MTU = int(binary.NativeEndian.Uint32(data[8:]))
			}
			if !e.Local && len(data) >= fixed+4 {
				e.From = offender(data[fixed:])
			}
			return e, true
		}
		next := (length + cmsgWord - 1) &^ (cmsgWord - 1)
		if next >= len(b) {
			break
		}
		b = b[next:]
	}
	return ICMPError{}, false
}

// offender reads the raw socket address behind the extended error; family
// AF_UNSPEC and cut-off ones give the zero Addr.
func offender(b []byte) netip.Addr {
	var sa unix.RawSockaddrInet6
	room := unsafe.Slice((*byte)(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	n := copy(room, b)
	switch {
	case sa.Family == unix.AF_INET && n >= 8, sa.Family == unix.AF_INET6 && n >= 24:
		return sourceOf(&sa).Addr()
	}
	return netip.Addr{}
}
