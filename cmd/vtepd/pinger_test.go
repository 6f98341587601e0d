package main_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// pinger sends ICMP or ICMPv6 echo requests of any size from a raw socket, and compares what comes back: thousands of them take a second.
type pinger struct {
	t        *testing.T
	fd       int
	to       netip.Addr
	sockaddr unix.Sockaddr
	id, seq  uint16
	buf      []byte
	lost     int // requests without an answer
}

const (
	// pingPatience is how long an answer may take on a busy machine; pingTries is how often a size is tried: what is lost by a full queue is nobody's fault.
	pingPatience = time.Second
	pingTries    = 3
	// icmpHeader is the length of the header of an echo, in bytes (RFC 792, RFC 4443 section 4.1).
	icmpHeader = 8
)

func newPinger(t *testing.T, from *lab.Host, to netip.Addr) *pinger {
	t.Helper()
	p := &pinger{t: t, to: to, id: 0x5650, buf: make([]byte, 1<<16+100)}
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	p.sockaddr = &unix.SockaddrInet4{Addr: [4]byte(to.AsSlice()[:4])}
	if to.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
		p.sockaddr = &unix.SockaddrInet6{Addr: to.As16()}
	}
	if err := from.Do(func() (err error) {
		p.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	wait := unix.NsecToTimeval(int64(pingPatience))
	err := errors.Join(
		unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20),
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20))
	if err != nil {
		p.close()
		t.Fatal(err)
	}
	return p
}

func (p *pinger) close() { _ = unix.Close(p.fd) }

// headers is what a packet has around the data of the echo, in bytes.
func (p *pinger) headers() int {
	if p.to.Is4() {
		return encap.IPv4MinLen + icmpHeader
	}
	return encap.IPv6Len + icmpHeader
}

// dontFragment has the stack send whole what the device's MTU allows and refuse the rest, or fragment the rest.
func (p *pinger) dontFragment(on bool) {
	p.t.Helper()
	level, option := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	value := unix.IP_PMTUDISC_DONT
	if on {
		value = unix.IP_PMTUDISC_PROBE
	}
	if p.to.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	if err := unix.SetsockoptInt(p.fd, level, option, value); err != nil {
		p.t.Fatal(err)
	}
}

// tos sets the TOS of what is sent to an IPv4 address, ECN field included.
func (p *pinger) tos(tos uint8) {
	p.t.Helper()
	if err := unix.SetsockoptInt(p.fd, unix.IPPROTO_IP, unix.IP_TOS, int(tos)); err != nil {
		p.t.Fatal(err)
	}
}

// send sends a request with size bytes of data, and returns what an answer has to have behind its type, code and checksum.
func (p *pinger) send(size int) (echo []byte, err error) {
	p.seq++
	r := make([]byte, icmpHeader, icmpHeader+size)
	r[0] = 8
	if p.to.Is6() {
		r[0] = 128
	}
	binary.BigEndian.PutUint16(r[4:], p.id)
	binary.BigEndian.PutUint16(r[6:], p.seq)
	r = append(r, encaptest.Payload(size, uint64(p.seq))...)
	if p.to.Is4() { // of ICMPv6 the kernel writes it
		binary.BigEndian.PutUint16(r[2:], ^encaptest.ReferenceSum(r, 0))
	}
	return r[4:], unix.Sendto(p.fd, r, 0, p.sockaddr)
}

// ping sends a request of each size, all at once, and fails the test when an answer does not come, or is not what was sent.
func (p *pinger) ping(sizes ...int) {
	p.t.Helper()
	for range pingTries {
		waiting := map[string]int{}
		for _, size := range sizes {
			echo, err := p.send(size)
			if err != nil {
				p.t.Fatalf("%s: ping of %d bytes: %v", p.to, size, err)
			}
			waiting[string(echo)] = size
		}
		p.answers(waiting)
		sizes = slices.Collect(maps.Values(waiting))
		if len(sizes) == 0 {
			return
		}
		p.lost += len(sizes)
	}
	p.t.Fatalf("%s: pings of %d bytes: no answer in %d tries", p.to, sizes, pingTries)
}

// answers takes out of waiting what is answered, until nothing is left or an answer takes too long. An answer that was changed on its way fails the test.
func (p *pinger) answers(waiting map[string]int) {
	p.t.Helper()
	for end := time.Now().Add(pingPatience); len(waiting) > 0 && time.Now().Before(end); {
		n, _, err := unix.Recvfrom(p.fd, p.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		b, answer := p.buf[:n], byte(129)
		if p.to.Is4() {
			b, answer = b[int(b[0]&15)*4:], 0
		}
		if len(b) < icmpHeader || b[0] != answer || binary.BigEndian.Uint16(b[4:]) != p.id {
			continue
		}
		if _, asked := waiting[string(b[4:])]; asked {
			delete(waiting, string(b[4:]))
			continue
		}
		for echo := range waiting {
			if echo[:4] == string(b[4:icmpHeader]) {
				p.t.Fatalf("%s: ping of %d bytes came back changed", p.to, waiting[echo])
			}
		}
	}
}
