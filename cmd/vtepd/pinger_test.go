package main_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
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
	request  []byte
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

// send sends a request with size bytes of data.
func (p *pinger) send(size int) error {
	p.seq++
	r := append(p.request[:0], make([]byte, icmpHeader)...)
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
	p.request = r
	return unix.Sendto(p.fd, r, 0, p.sockaddr)
}

// ping sends a request and fails the test when the answer does not come, or is not what was sent.
func (p *pinger) ping(size int) {
	p.t.Helper()
	for range pingTries {
		if err := p.send(size); err != nil {
			p.t.Fatalf("%s: ping of %d bytes: %v", p.to, size, err)
		}
		if reply, ok := p.reply(); ok {
			if !bytes.Equal(reply, p.request[icmpHeader:]) {
				p.t.Fatalf("%s: ping of %d bytes came back changed", p.to, size)
			}
			return
		}
		p.lost++
	}
	p.t.Fatalf("%s: ping of %d bytes: no answer in %d tries", p.to, size, pingTries)
}

// reply waits for the answer to the last request and returns its data, borrowed until the next call.
func (p *pinger) reply() (data []byte, ok bool) {
	for end := time.Now().Add(pingPatience); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(p.fd, p.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, false
		}
		b, answer := p.buf[:n], byte(129)
		if p.to.Is4() {
			b, answer = b[int(b[0]&15)*4:], 0
		}
		if len(b) >= icmpHeader && b[0] == answer && bytes.Equal(b[4:icmpHeader], p.request[4:icmpHeader]) {
			return b[icmpHeader:], true
		}
	}
	return nil, false
}
