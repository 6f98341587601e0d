package underlay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Prober sends single packets with DF whose size is the point of them, past what
// the kernel believes of the path: only the interface's MTU stops them
// (IP_PMTUDISC_PROBE, ip(7)). It is for one goroutine.
type Prober struct {
	to   netip.AddrPort
	udp  int
	icmp int // -1: the kernel gives us no socket for echo requests
	id   uint16
	seq  uint16
	// WhyNoEcho says why there is no ICMP echo; empty when there is.
	WhyNoEcho string
	refused   bool
}

// Sizes of what precedes the payload, in bytes.
const (
	udpHeader  = 8
	icmpHeader = 8
)

// NewProber opens sockets in the namespace of the calling thread, for the address
// and the VRF that Config has.
func NewProber(vrf string, local netip.Addr, to netip.AddrPort) (*Prober, error) {
	p := &Prober{to: to, icmp: -1}
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if local.Is6() {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	var err error
	if p.udp, err = probeSocket(family, unix.SOCK_DGRAM, unix.IPPROTO_UDP, vrf, local); err != nil {
		return nil, fmt.Errorf("underlay: probe: %w", err)
	}
	recverr, level := unix.IP_RECVERR, unix.SOL_IP
	if local.Is6() {
		recverr, level = unix.IPV6_RECVERR, unix.SOL_IPV6
	}
	if err := set(p.udp, level, recverr, 1, "IP_RECVERR"); err != nil { // else a socket that is not connected hears no refusal
		unix.Close(p.udp)
		return nil, fmt.Errorf("underlay: probe: %w", err)
	}
	// A raw socket needs CAP_NET_RAW, a ping socket net.ipv4.ping_group_range. The
	// kernel fills in the identifier of the second and gives it its own answers
	// alone.
	p.icmp, err = probeSocket(family, unix.SOCK_DGRAM, proto, vrf, local)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		p.icmp, err = probeSocket(family, unix.SOCK_RAW, proto, vrf, local)
		p.id = uint16(time.Now().UnixNano())
	}
	if err != nil {
		p.icmp, p.WhyNoEcho = -1, err.Error()
	}
	return p, nil
}

func probeSocket(family, kind, proto int, vrf string, local netip.Addr) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err = bindToVRF(fd, vrf); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if family == unix.AF_INET {
		err = set(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE, "IP_MTU_DISCOVER")
	} else {
		err = set(fd, unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE, "IPV6_MTU_DISCOVER")
	}
	if err == nil {
		err = bind(fd, local, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Close gives the sockets back.
func (p *Prober) Close() {
	unix.Close(p.udp)
	if p.icmp >= 0 {
		unix.Close(p.icmp)
	}
}

func (p *Prober) headers() (ip int) {
	if p.to.Addr().Is6() {
		return 40
	}
	return 20
}

// UDPPayload is how many bytes of payload make a packet of size bytes.
func (p *Prober) UDPPayload(size int) int { return size - p.headers() - udpHeader }

// SendUDP sends one datagram to the peer. An error is one of the socket, EMSGSIZE
// among them: the interface takes less.
func (p *Prober) SendUDP(payload []byte) error { return p.send(p.udp, payload, int(p.to.Port())) }

func (p *Prober) send(fd int, b []byte, port int) error {
	var sa unix.Sockaddr
	if a := p.to.Addr(); a.Is4() {
		sa = &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	} else {
		scope, err := scopeID(a)
		if err != nil {
			return err
		}
		sa = &unix.SockaddrInet6{Port: port, Addr: a.As16(), ZoneId: scope}
	}
	err := unix.Sendto(fd, b, 0, sa)
	if e, ok := err.(unix.Errno); ok && mayBeStale(e) {
		p.refused = p.refused || fd == p.udp && e == unix.ECONNREFUSED
		// An ICMP error of the packet before is told now; the next call is about this
		// packet.
		err = unix.Sendto(fd, b, 0, sa)
	}
	return err
}

// Refused says whether the peer's host has answered a datagram so far with the ICMP error that nobody listens on the port. The error for the last one is
// not told by a send, and may have come late: a neighbour that has to be found first holds datagrams back for a second and more.
func (p *Prober) Refused() bool {
	e, err := unix.GetsockoptInt(p.udp, unix.SOL_SOCKET, unix.SO_ERROR)
	p.refused = p.refused || err == nil && unix.Errno(e) == unix.ECONNREFUSED
	return p.refused
}

// Echo sends an ICMP echo request in a packet of size bytes and waits for its
// answer.
func (p *Prober) Echo(size int, wait time.Duration) (bool, error) {
	if p.icmp < 0 {
		return false, unix.EPROTONOSUPPORT
	}
	const request4, request6 = 8, 128
	p.seq++
	b := make([]byte, size-p.headers())
	b[0] = request4
	if p.to.Addr().Is6() {
		b[0] = request6 // the kernel computes ICMPv6 checksums
	}
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], p.seq)
	if p.to.Addr().Is4() {
		var sum uint32
		for i := 0; i+1 < icmpHeader; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:])) // the rest is zero
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
	}
	if err := p.send(p.icmp, b, 0); err != nil {
		return false, err
	}
	for end := time.Now().Add(wait); ; {
		left := time.Until(end)
		if left <= 0 {
			return false, nil
		}
		fds := []unix.PollFd{{Fd: int32(p.icmp), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil || n == 0 {
			continue
		}
		buf := make([]byte, 1<<16)
		n, from, err := unix.Recvfrom(p.icmp, buf, 0)
		if err != nil {
			continue // an ICMP error, or nothing after all
		}
		if p.isEcho(buf[:n], from) {
			return true, nil
		}
	}
}

// isEcho says whether a packet from the socket answers the last request.
func (p *Prober) isEcho(b []byte, from unix.Sockaddr) bool {
	reply := byte(129)
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		if netip.AddrFrom4(a.Addr) != p.to.Addr() {
			return false
		}
		reply = 0
		if len(b) > 0 && b[0]>>4 == 4 { // a raw socket shows the IP header
			n := int(b[0]&15) * 4
			if n > len(b) {
				return false
			}
			b = b[n:]
		}
	case *unix.SockaddrInet6:
		if netip.AddrFrom16(a.Addr) != p.to.Addr().WithZone("") {
			return false
		}
	}
	if len(b) < icmpHeader || b[0] != reply || binary.BigEndian.Uint16(b[6:]) != p.seq {
		return false
	}
	return p.id == 0 || binary.BigEndian.Uint16(b[4:]) == p.id
}
