package underlay

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Hint is an ICMP error about a packet that was too big, as anybody may have
// sent it. What it quotes need not have been sent by a socket of ours: the eBPF
// fast path has source ports that no socket has, and the kernel believes nothing
// that is said about those.
type Hint struct {
	Dest netip.AddrPort // where the quoted datagram was going
	MTU  int            // bytes, outer IP header included
}

// Hints listens to such errors.
type Hints struct {
	fd    int
	local netip.Addr
	buf   [1 << 11]byte

	mu     sync.Mutex
	closed bool
}

// icmpFilter is ICMP_FILTER of include/uapi/linux/icmp.h, and icmp6Filter is
// ICMPV6_FILTER of icmpv6.h: bit masks of the types to leave out.
const (
	icmpFilter  = 1
	icmp6Filter = 1
)

// OpenHints needs CAP_NET_RAW, and is for the namespace of the calling thread.
func OpenHints(local netip.Addr) (*Hints, error) {
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if local.Is6() {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("underlay: ICMP socket: %w", err)
	}
	if local.Is4() {
		mask := ^uint32(1 << 3) // destination unreachable
		err = unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, int(int32(mask)))
	} else {
		var mask unix.ICMPv6Filter
		for i := range mask.Data {
			mask.Data[i] = ^uint32(0)
		}
		mask.Data[0] &^= 1 << 2 // packet too big
		err = unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, icmp6Filter, &mask)
	}
	if err == nil {
		err = bind(fd, local, 0)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("underlay: ICMP socket: %w", err)
	}
	return &Hints{fd: fd, local: local}, nil
}

// Local is the address that it listens on.
func (h *Hints) Local() netip.Addr { return h.local }

// End ends Next, now and for good. Any goroutine may call it, also after Close.
func (h *Hints) End() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		// The socket is not connected, and shutdown(2) says so, but whoever waits in it
		// is woken and reads nothing (inet_shutdown, net/ipv4/af_inet.c).
		_ = unix.Shutdown(h.fd, unix.SHUT_RD)
	}
}

// Close gives the socket back. Nobody may be in Next.
func (h *Hints) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	unix.Close(h.fd)
}

// Next waits for a hint. It is false for what is none, and after End.
func (h *Hints) Next() (Hint, bool) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(h.fd), uintptr(unsafe.Pointer(&h.buf)), uintptr(len(h.buf)), 0, 0, 0)
	if errno != 0 {
		return Hint{}, false
	}
	b := h.buf[:n]
	if h.local.Is4() {
		// A raw IPv4 socket shows the header in front.
		if len(b) < 20 || int(b[0]&15)*4 > len(b) {
			return Hint{}, false
		}
		b = b[int(b[0]&15)*4:]
	}
	return parseHint(b, h.local)
}

// parseHint reads an ICMP or ICMPv6 message about a datagram from local.
func parseHint(b []byte, local netip.Addr) (hint Hint, ok bool) {
	const icmp, udp = 8, 4 // bytes: the ICMP header; the ports of UDP
	if local.Is4() {
		if len(b) < icmp+20 || b[0] != 3 || b[1] != 4 {
			return hint, false
		}
		q := b[icmp:]
		size := int(q[0]&15) * 4
		if q[0]>>4 != 4 || size < 20 || len(q) < size+udp || q[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(q[6:])&0x1fff != 0 ||
			netip.AddrFrom4([4]byte(q[12:])) != local {
			return hint, false
		}
		hint.MTU = int(binary.BigEndian.Uint16(b[6:]))
		hint.Dest = netip.AddrPortFrom(netip.AddrFrom4([4]byte(q[16:])), binary.BigEndian.Uint16(q[size+2:]))
		return hint, hint.MTU > 0 && hint.MTU < int(binary.BigEndian.Uint16(q[2:]))
	}
	if len(b) < icmp+40+udp || b[0] != 2 || b[1] != 0 {
		return hint, false
	}
	q := b[icmp:]
	if q[0]>>4 != 6 || q[6] != unix.IPPROTO_UDP || netip.AddrFrom16([16]byte(q[8:])) != local.WithZone("") {
		return hint, false
	}
	mtu := binary.BigEndian.Uint32(b[4:])
	hint.Dest = netip.AddrPortFrom(netip.AddrFrom16([16]byte(q[24:])), binary.BigEndian.Uint16(q[40+2:]))
	hint.MTU = int(min(mtu, 1<<16))
	return hint, hint.MTU > 0 && hint.MTU < 40+int(binary.BigEndian.Uint16(q[4:]))
}
