package xdp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reader is a packet socket on a port, as user space has it.
type reader struct {
	t  *testing.T
	fd int
}

func (s *side) reader(ifindex int) *reader {
	s.t.Helper()
	r := &reader{t: s.t}
	s.do(func() (err error) {
		all := int(wire16(unix.ETH_P_ALL))
		if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
		return unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: wire16(unix.ETH_P_ALL), Ifindex: ifindex})
	})
	s.t.Cleanup(func() { unix.Close(r.fd) })
	return r
}

func (r *reader) filter(f *FastPath) {
	r.t.Helper()
	if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, f.SocketFilter()); err != nil {
		r.t.Fatal(err)
	}
}

// frames is what came in so far, by EtherType and, over IPv4, the protocol.
func (r *reader) frames() map[[2]uint16]int {
	seen := make(map[[2]uint16]int)
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(r.fd, buf, 0)
		if err != nil {
			return seen
		}
		if n < 34 {
			continue
		}
		k := [2]uint16{binary.BigEndian.Uint16(buf[12:])}
		if k[0] == 0x0800 {
			k[1] = uint16(buf[23])
		}
		seen[k]++
	}
}

var (
	arp  = [2]uint16{0x0806}
	icmp = [2]uint16{0x0800, unix.IPPROTO_ICMP}
	udp  = [2]uint16{0x0800, unix.IPPROTO_UDP}
)

// TestSocketFilter reads a port as user space does: every frame either is carried or reaches the socket, once, and the host sees none.
//
//	workload ── veth ── packet socket, slow_only, vtepd_device ── underlay
func TestSocketFilter(t *testing.T) {
	t.Parallel()
	a, b := newSides(t, false, false, func(o *Options, _ *Domain) { o.Alone = false })
	sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
	meet(sa, sb)
	rb := b.reader(sb.port.Ifindex)
	rb.filter(b.f)

	// Without a filter the socket has everything, and so nothing is carried.
	r := a.reader(sa.port.Ifindex)
	if sa.pingInVain(sb.host.Overlay4()) {
		t.Error("carried, though the socket has seen it")
	}
	if n := r.frames()[icmp]; n != 5 {
		t.Errorf("the socket saw %d of 5 echo requests", n)
	}

	// With it, it has the rest.
	r.filter(a.f)
	if err := sa.ping(sb.host.Overlay4()); err != nil {
		t.Error(err)
	}
	if n := r.frames()[icmp]; n != 0 {
		t.Errorf("the socket saw %d echo requests that were carried", n)
	}
	sa.host.Command("ping", "-n", "-c", "1", "-W", "1", "198.51.100.77")
	seen := r.frames()
	if seen[arp] == 0 || a.f.Totals().Punted["not_ip"]+a.f.Totals().Punted["group_address"] == 0 {
		t.Errorf("no question for an address reached the socket: %v %+v", seen, a.f.Totals())
	}

	// A frame that is in a tunnel of its own already looks carriable and is not: it comes back to the socket.
	for _, s := range [][2]*station{{sa, sb}, {sb, sa}} {
		me, other := s[0].host, s[1].host
		me.Must("ip", "link", "add", "vx", "type", "vxlan", "id", "5", "dstport", "8472", "remote", other.Overlay4().String(), "dev", "eth0")
		me.Addr("vx", netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, me.Overlay4().As4()[3]}), 24))
		me.Up("vx")
	}
	for _, s := range [][2]*station{{sa, sb}, {sb, sa}} {
		me, other := s[0].host, s[1].host
		address := netip.AddrFrom4([4]byte{203, 0, 113, other.Overlay4().As4()[3]}).String()
		me.Must("ip", "neigh", "replace", address, "lladdr", other.MAC("vx").String(), "dev", "vx", "nud", "permanent")
	}
	r.frames()
	sa.host.Do(func() error {
		_, err := net.DialTimeout("tcp", "203.0.113."+sb.host.Overlay4().String()[len("198.51.100."):]+":9", 300*time.Millisecond)
		return err
	})
	if n := r.frames()[udp]; n != 1 {
		t.Errorf("the socket saw %d of one SYN in a tunnel", n)
	}
	if n := a.f.Totals().Punted["given_back"]; n != 1 {
		t.Errorf("%d frames given back: %+v", n, a.f.Totals())
	}

	// The process dies, and its sockets with it: what is known goes on.
	sa.port.Filtered, sb.port.Filtered = true, true
	if err := errors.Join(a.f.PutPort(sa.port), b.f.PutPort(sb.port)); err != nil {
		t.Fatal(err)
	}
	if err := sa.ping(sb.host.Overlay4()); err != nil {
		t.Error(err)
	}
	unix.Close(r.fd)
	unix.Close(rb.fd)
	r.fd, rb.fd = -1, -1
	if err := sa.ping(sb.host.Overlay4()); err != nil {
		t.Error(err)
	}
	carries(t, sa, sb)

	// The host behind the port has seen nothing: no address was learned, no packet counted.
	if out := a.host.Must("ip", "neigh", "show", "dev", "vwa"); out != "" {
		t.Errorf("the host's neighbours: %s", out)
	}
}
