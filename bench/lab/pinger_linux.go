package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pingPatience is how long an answer may take on a busy machine; pingTries is how often Ping sends a request: what is lost by a full queue is
	// nobody's fault.
	pingPatience = time.Second
	pingTries    = 3
	// icmpHeaderLen is the length of the header of an echo, in bytes (RFC 792, RFC 4443 section 4.1).
	icmpHeaderLen = 8
	// pingBuffer is the size of a pinger's socket buffers, in bytes.
	pingBuffer = 4 << 20
	// maxPing is more than what an answer can be, in bytes.
	maxPing = 1 << 16
)

// Types of echoes (RFC 792, RFC 4443).
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// Pinger sends ICMP or ICMPv6 echo requests of any size from a host to one address and compares what comes back; thousands of them take a second.
//
// It is not ping(8): that counts as lost what comes later than two round trip times after its last request, and under load counts as sent what it
// did not send. A Pinger is for one goroutine.
type Pinger struct {
	// Wait is how long Echoes waits for the last answers: Patience, unless it is changed.
	Wait time.Duration

	fd            int
	to            netip.Addr
	sockaddr      unix.Sockaddr
	request, want uint8
	seq           uint16
	buf           []byte
}

// Pinger opens a ping socket of the kernel (icmp(7)), which writes checksums and identifiers, and gets the answers to its own requests alone. Close
// ends it, or the lab does.
func (h *Host) Pinger(to netip.Addr) *Pinger {
	h.lab.help()
	p, err := h.pinger(to)
	if err != nil {
		h.lab.fatalf("host %s: ping socket: %w", h.name, err)
	}
	h.lab.own(p)
	return p
}

func (h *Host) pinger(to netip.Addr) (*Pinger, error) {
	p := &Pinger{Wait: Patience, to: to, request: echoRequest4, want: echoReply4, buf: make([]byte, maxPing)}
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if to.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
		p.request, p.want, p.sockaddr = echoRequest6, echoReply6, &unix.SockaddrInet6{Addr: to.As16()}
	} else {
		p.sockaddr = &unix.SockaddrInet4{Addr: to.As4()}
	}
	// A new namespace lets no group open ping sockets, that of root neither.
	if err := h.Sysctl("net/ipv4/ping_group_range", "0 0"); err != nil {
		return nil, err
	}
	err := h.Do(func() (err error) {
		p.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, protocol)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, pingBuffer),
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, pingBuffer)); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close ends the pinger. A second Close does nothing.
func (p *Pinger) Close() error {
	if p.fd < 0 {
		return nil
	}
	fd := p.fd
	p.fd = -1
	return unix.Close(fd)
}

// Headers is what a packet has around the data of the echo, in bytes.
func (p *Pinger) Headers() int {
	if p.to.Is6() {
		return 40 + icmpHeaderLen
	}
	return 20 + icmpHeaderLen
}

// DontFragment has the stack send whole what the device's MTU allows and refuse the rest (EMSGSIZE), or fragment the rest.
func (p *Pinger) DontFragment(on bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	value := unix.IP_PMTUDISC_DONT
	if on {
		value = unix.IP_PMTUDISC_PROBE
	}
	if p.to.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	return unix.SetsockoptInt(p.fd, level, option, value)
}

// TOS sets the TOS of what is sent to an IPv4 address, ECN field included.
func (p *Pinger) TOS(tos uint8) error {
	return unix.SetsockoptInt(p.fd, unix.IPPROTO_IP, unix.IP_TOS, int(tos))
}

// Send sends a request with size bytes of data and does not wait for the answer.
func (p *Pinger) Send(size int) error {
	_, err := p.send(size)
	return err
}

// send returns what an answer has to have behind type, code, checksum and identifier: sequence number and data.
func (p *Pinger) send(size int) (echo []byte, err error) {
	p.seq++
	b := make([]byte, icmpHeaderLen, icmpHeaderLen+size+8)
	b[0] = p.request
	binary.BigEndian.PutUint16(b[6:], p.seq)
	for data := rand.NewPCG(uint64(p.seq), uint64(size)); len(b) < icmpHeaderLen+size; {
		b = binary.BigEndian.AppendUint64(b, data.Uint64())
	}
	b = b[:icmpHeaderLen+size]
	if err := unix.Sendto(p.fd, b, 0, p.sockaddr); err != nil {
		return nil, fmt.Errorf("echo request of %d bytes to %s: %w", size, p.to, err)
	}
	return b[6:], nil
}

// Ping sends a request of each size, all at once, and those which get no answer again, three times in all. Lost is how many were sent again. An
// error is a request that got no answer, or one that differs from what was sent.
func (p *Pinger) Ping(sizes ...int) (lost int, err error) {
	for range pingTries {
		waiting := map[string]int{}
		for _, size := range sizes {
			echo, err := p.send(size)
			if err != nil {
				return lost, err
			}
			waiting[string(echo)] = size
		}
		for end := time.Now().Add(pingPatience); len(waiting) > 0; {
			echo, err := p.answer(end)
			if err != nil {
				return lost, err
			}
			if echo == nil {
				break
			}
			if _, asked := waiting[string(echo)]; asked {
				delete(waiting, string(echo))
				continue
			}
			for want, size := range waiting {
				if want[:2] == string(echo[:2]) {
					return lost, fmt.Errorf("echo of %d bytes from %s came back changed", size, p.to)
				}
			}
		}
		if len(waiting) == 0 {
			return lost, nil
		}
		sizes = slices.Sorted(maps.Values(waiting))
		lost += len(sizes)
	}
	return lost, fmt.Errorf("echo requests of %d bytes to %s: no answer in %d tries", sizes, p.to, pingTries)
}

// Echoes sends n requests with size bytes of data, one each interval, and wants one answer to each: an error says how many came, and how many too
// many.
func (p *Pinger) Echoes(n int, interval time.Duration, size int) error {
	answered := make(map[string]bool, n)
	left, twice := n, 0
	take := func(end time.Time, enough func() bool) error {
		for !enough() {
			echo, err := p.answer(end)
			if err != nil || echo == nil {
				return err
			}
			before, asked := answered[string(echo)]
			switch {
			case !asked:
				return fmt.Errorf("echo of %d bytes from %s came back changed, or late from before", size, p.to)
			case before:
				twice++
			default:
				answered[string(echo)] = true
				left--
			}
		}
		return nil
	}
	start := time.Now()
	for i := range n {
		echo, err := p.send(size)
		if err != nil {
			return err
		}
		answered[string(echo)] = false
		next := start.Add(time.Duration(i+1) * interval)
		if err := take(next, func() bool { return time.Now().After(next) }); err != nil {
			return err
		}
	}
	if err := take(time.Now().Add(p.Wait), func() bool { return left == 0 }); err != nil {
		return err
	}
	if left > 0 || twice > 0 {
		return fmt.Errorf("echo requests to %s: %d sent, %d answered, %d answers too many", p.to, n, n-left, twice)
	}
	return nil
}

// answer is the next answer's sequence number and data, valid until the next call; nil when none came before end.
func (p *Pinger) answer(end time.Time) ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(p.fd, p.buf, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == nil:
			if n >= icmpHeaderLen && p.buf[0] == p.want {
				return p.buf[6:n], nil
			}
			continue
		case err != unix.EAGAIN:
			return nil, fmt.Errorf("answer of %s: %w", p.to, err)
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, nil
		}
		timeout := unix.NsecToTimespec(int64(left))
		if _, err := unix.Ppoll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, &timeout, nil); err != nil && err != unix.EINTR {
			return nil, fmt.Errorf("poll: %w", err)
		}
	}
}
