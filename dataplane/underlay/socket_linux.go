package underlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpNoCheck6RX is UDP_NO_CHECK6_RX of include/uapi/linux/udp.h, which x/sys
// does not name for every architecture.
const udpNoCheck6RX = 102

// dropAll is a classic BPF program that accepts zero bytes of every packet.
var dropAll = [...]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}

// newSocket opens a UDP socket with what receive and transmit share.
func newSocket(c *Config) (fd int, err error) {
	domain := unix.AF_INET
	if c.Local.Is6() {
		domain = unix.AF_INET6
	}
	fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return -1, fmt.Errorf("underlay: socket: %w", err)
	}
	if err = bindToVRF(fd, c.VRF); err != nil {
		unix.Close(fd)
		return -1, err
	}
	// DO sets DF and makes the kernel answer EMSGSIZE where it would fragment:
	// a VTEP must not fragment (RFC 7348 section 4.3).
	if domain == unix.AF_INET {
		err = set(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, "IP_MTU_DISCOVER")
	} else {
		err = errors.Join(
			set(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1, "IPV6_V6ONLY"),
			set(fd, unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, "IPV6_MTU_DISCOVER"))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sharing says how a receive socket stands to others on its address and port.
type sharing int

const (
	// firstOfPort is bound without SO_REUSEPORT: with it, a second vtepd of the
	// same user would silently share the traffic. Only once the port is known to
	// be ours is the option switched on.
	firstOfPort sharing = iota
	// moreOfPort is another worker's: the kernel gives each flow to one of them.
	moreOfPort
	// memberOfGroup is bound to a group. Every member on the host gets its own
	// copy, so there is nothing to guard; without SO_REUSEADDR the first would
	// keep the others out.
	memberOfGroup
)

// openReceiveSocket binds Local:Port.
func openReceiveSocket(c *Config, how sharing) (fd int, err error) {
	if fd, err = newSocket(c); err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if c.Local.Is4() {
		err = set(fd, unix.SOL_IP, unix.IP_RECVTOS, 1, "IP_RECVTOS")
	} else {
		err = set(fd, unix.SOL_IPV6, unix.IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS")
		if err == nil && c.ZeroChecksum6 {
			err = set(fd, unix.SOL_UDP, udpNoCheck6RX, 1, "UDP_NO_CHECK6_RX")
		}
	}
	if err != nil {
		return fd, err
	}
	switch how {
	case moreOfPort:
		err = set(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, "SO_REUSEPORT")
	case memberOfGroup:
		err = set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR")
	}
	if err != nil {
		return fd, err
	}
	if e := bind(fd, c.Local, c.Port); e != nil {
		err = &BindError{netip.AddrPortFrom(c.Local, c.Port), explainBind(e, c, c.Port)}
		return fd, err
	}
	if how == firstOfPort {
		err = set(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, "SO_REUSEPORT")
	}
	return fd, err
}

// openTransmitSocket gives the bare error of bind(2), for the caller to try the
// next port on EADDRINUSE. With shared the port may be another's that allows it.
func openTransmitSocket(c *Config, port uint16, noChecksum, shared bool) (fd int, err error) {
	if fd, err = newSocket(c); err != nil {
		return -1, err
	}
	// Peers answer to Port, never to the source port of a datagram (RFC 7348
	// section 5), so whatever arrives here is a stray and would only fill the
	// buffer. The error queue does not pass the filter.
	prog := unix.SockFprog{Len: uint16(len(dropAll)), Filter: &dropAll[0]}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	if err == nil {
		setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, transmitBuffer)
		err = transmitOptions(fd, c, noChecksum)
	}
	if err == nil && shared {
		err = set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR")
	}
	if err == nil {
		err = bind(fd, c.Local, port)
	}
	if err == nil {
		err = multicastOptions(fd, c)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func transmitOptions(fd int, c *Config, noChecksum bool) error {
	if c.Local.Is4() {
		err := errors.Join(
			set(fd, unix.SOL_IP, unix.IP_RECVERR, 1, "IP_RECVERR"),
			set(fd, unix.SOL_IP, unix.IP_TTL, int(c.TTL), "IP_TTL"))
		if err == nil && noChecksum {
			err = set(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1, "SO_NO_CHECK")
		}
		return err
	}
	err := errors.Join(
		set(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1, "IPV6_RECVERR"),
		// A label from the hash of addresses and ports (RFC 6437 section 3), also
		// where net.ipv6.auto_flowlabels leaves it to the program.
		set(fd, unix.SOL_IPV6, unix.IPV6_AUTOFLOWLABEL, 1, "IPV6_AUTOFLOWLABEL"),
		set(fd, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, int(c.TTL), "IPV6_UNICAST_HOPS"))
	if err == nil && noChecksum {
		err = set(fd, unix.SOL_UDP, unix.UDP_NO_CHECK6_TX, 1, "UDP_NO_CHECK6_TX")
	}
	return err
}

// multicastOptions lets a Dest be a group: out of the interface that holds
// Local unless the Dest says another, with the TTL of unicast unless the Class
// says another (the kernel's default is 1), and without a copy to this host,
// where the frame came from.
func multicastOptions(fd int, c *Config) error {
	if c.Local.Is4() {
		if err := multicastFrom4(fd, c); err != nil {
			return err
		}
		return errors.Join(
			set(fd, unix.SOL_IP, unix.IP_MULTICAST_TTL, int(c.TTL), "IP_MULTICAST_TTL"),
			set(fd, unix.SOL_IP, unix.IP_MULTICAST_LOOP, 0, "IP_MULTICAST_LOOP"))
	}
	if c.VRF == "" {
		if err := set(fd, unix.SOL_IPV6, unix.IPV6_MULTICAST_IF, interfaceOf(c.Local), "IPV6_MULTICAST_IF"); err != nil {
			return err
		}
	}
	return errors.Join(
		set(fd, unix.SOL_IPV6, unix.IPV6_MULTICAST_HOPS, int(c.TTL), "IPV6_MULTICAST_HOPS"),
		set(fd, unix.SOL_IPV6, unix.IPV6_MULTICAST_LOOP, 0, "IPV6_MULTICAST_LOOP"))
}

// multicastFrom4 has groups leave by the interface that has Local. Another VRF
// may have the same address, so that it says nothing there.
func multicastFrom4(fd int, c *Config) error {
	if c.VRF != "" {
		return nil
	}
	// With net.ipv4.ip_nonlocal_bind the address may not be there yet; groups
	// then follow the routing table.
	mreq := unix.IPMreqn{Address: c.Local.As4()}
	err := unix.SetsockoptIPMreqn(fd, unix.SOL_IP, unix.IP_MULTICAST_IF, &mreq)
	if err != nil && err != unix.EADDRNOTAVAIL {
		return fmt.Errorf("underlay: setsockopt IP_MULTICAST_IF %v: %w", c.Local, err)
	}
	return nil
}

// interfaceOf is the index of the interface that holds a, or 0, which leaves
// the choice to the routing table.
func interfaceOf(a netip.Addr) int {
	all, _ := net.Interfaces()
	for _, ifi := range all {
		addrs, _ := ifi.Addrs()
		for _, held := range addrs {
			p, ok := held.(*net.IPNet)
			if !ok || (a.Zone() != "" && a.Zone() != ifi.Name) {
				continue
			}
			if ip, ok := netip.AddrFromSlice(p.IP); ok && ip.Unmap() == a.WithZone("") {
				return ifi.Index
			}
		}
	}
	return 0
}

// set is setsockopt(2) of an int with an error that names the option.
func set(fd, level, option, value int, name string) error {
	if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
		return fmt.Errorf("underlay: setsockopt %s %d: %w", name, value, err)
	}
	return nil
}

// setBuffer asks for size bytes, past the system-wide limit when CAP_NET_ADMIN
// allows it, and reports what was got. The kernel doubles the figure to cover
// its own overhead; the doubling is taken out again here.
func setBuffer(fd, force, plain, size int) int {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		// The socket keeps the system's default size if this fails too, and the
		// figure below says so.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, plain)
	if err != nil {
		return 0
	}
	return got / 2
}

func bind(fd int, a netip.Addr, port uint16) error {
	if a.Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Port: int(port), Addr: a.As4()})
	}
	scope, err := scopeID(a)
	if err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Port: int(port), Addr: a.As16(), ZoneId: scope})
}

// KernelDrops is the number of datagrams the kernel threw away on this socket,
// mostly because the receive buffer was full (SO_MEMINFO, Linux 4.12). The
// kernel counts in 32 bits; ask at least once every four billion drops. Safe
// from any goroutine.
func (r *Receiver) KernelDrops() uint64 {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(r.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	r.dropsMu.Lock()
	defer r.dropsMu.Unlock()
	if errno == 0 && size >= 4*(unix.SK_MEMINFO_DROPS+1) {
		now := info[unix.SK_MEMINFO_DROPS]
		r.drops += uint64(now - r.dropsLast)
		r.dropsLast = now
	}
	return r.drops
}
