package underlay

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func setMTU(tb testing.TB, name string, mtu int) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	must(tb, netlink.LinkSetMTU(link, mtu))
}

// awaitErrors drains until something is there.
func awaitErrors(tb testing.TB, s *Sockets) (all []ICMPError) {
	tb.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		s.DrainErrors(func(e ICMPError) { all = append(all, e) })
		if len(all) > 0 {
			return all
		}
		time.Sleep(5 * time.Millisecond)
	}
	tb.Fatalf("no ICMP error within %s", patience)
	return nil
}

// TestPortUnreachable: a peer without VXLAN must not cost another peer a single
// datagram, though both are reached through the same socket.
func TestPortUnreachable(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(familyName(v6), func(t *testing.T) {
			l := newLab(t)
			a, b := l.pair(v6, func(c *Config) { c.SourcePorts = 1 })
			closed := NewDest(netip.AddrPortFrom(b.Local().Addr(), 9))
			good := NewDest(b.Local())
			tx := a.NewTransmitter()
			p := payload(100, 1)
			for range 5 {
				// The ICMP error comes back within the system call on a veth pair:
				// the next message of the same call meets it.
				for range 3 {
					tx.Queue(closed, Class{}, 0, p[:60], nil, 1)
					tx.Queue(good, Class{}, 0, p, nil, 2)
					tx.Queue(closed, Class{TOS: 4}, 0, p[:60], nil, 1)
					tx.Queue(good, Class{TOS: 4}, 0, p, nil, 2)
				}
				tx.Flush(func(tag uint32, err error) { t.Errorf("datagram to peer %d: %v", tag, err) })
				collect(t, b.Receiver(0), 6)
			}
			all := awaitErrors(t, a)
			e := all[0]
			want := ICMPError{Dest: closed.AddrPort(), From: b.Local().Addr(), Errno: unix.ECONNREFUSED, Type: 3, Code: 3}
			if v6 {
				want.Type, want.Code = 1, 4
			}
			if e != want {
				t.Errorf("error %+v, want %+v", e, want)
			}
			if c := a.Counters(); c.ICMP != uint64(len(all)) || c.Unsent != 0 {
				t.Errorf("counters %+v with %d errors read", c, len(all))
			}
			a.DrainErrors(func(e ICMPError) { t.Errorf("drained twice: %+v", e) })
		})
	}
}

// TestSmallLocalMTU: what the own interface cannot carry is reported, with the
// datagrams of other sizes unharmed.
func TestSmallLocalMTU(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(familyName(v6), func(t *testing.T) {
			l := newLab(t)
			setMTU(t, "left", 1400)
			a, b := l.pair(v6, nil)
			tx, to := a.NewTransmitter(), NewDest(b.Local())
			fits, over := 1400-28, 1400-27
			if v6 {
				fits, over = fits-20, over-20
			}
			reported := map[uint32]error{}
			for i, n := range []int{fits, fits, over, over, 50, fits, over} {
				p := payload(n, 0)
				tx.Queue(to, Class{}, 0, p, nil, uint32(i))
			}
			tx.Flush(func(tag uint32, err error) { reported[tag] = err })
			collect(t, b.Receiver(0), 4)
			nothingMore(t, b.Receiver(0))
			for _, i := range []uint32{2, 3, 6} {
				if reported[i] != unix.EMSGSIZE {
					t.Errorf("datagram %d: %v, want EMSGSIZE", i, reported[i])
				}
			}
			if len(reported) != 3 || a.Counters().EMSGSIZE != 3 {
				t.Errorf("reported %v, counters %+v", reported, a.Counters())
			}
			e := awaitErrors(t, a)[0]
			if !e.Local || e.MTU != 1400 || e.Errno != unix.EMSGSIZE || e.Dest.Addr() != b.Local().Addr() {
				t.Errorf("error %+v, want the local MTU of 1400 toward %v", e, b.Local())
			}
		})
	}
}

// TestPathMTU: a router further on has the smaller MTU. The first datagrams are
// lost on the way; then the path is known.
//
//	A left 1500 ── right 1500 B (router) mid 1300 ── far C 203.0.113.2
func TestPathMTU(t *testing.T) {
	l := newLab(t)
	far := ip("203.0.113.2")
	l.inB(func() {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "mid", MTU: 1300}, PeerName: "far"}
		must(t, netlink.LinkAdd(veth))
		configure(t, "mid", "203.0.113.1/24")
		bringUp(t, "far")
		knows(t, "mid", net.HardwareAddr{2, 0, 0, 0, 0, 9}, far.String())
		writeSysctl(t, "net/ipv4/ip_forward", "1")
	})
	_, cidr, _ := net.ParseCIDR("203.0.113.0/24")
	must(t, netlink.RouteAdd(&netlink.Route{Dst: cidr, Gw: net.ParseIP(addrB4)}))
	a := mustOpen(t, Config{Local: ip(addrA4), Offload: true})
	tx, to := a.NewTransmitter(), NewDest(netip.AddrPortFrom(far, DefaultPort))
	p := payload(1400, 0)
	send := func() (reported []error) {
		for i := range 3 {
			tx.Queue(to, Class{}, 0, p, nil, uint32(i))
		}
		tx.Queue(to, Class{}, 0, p[:700], nil, 9)
		tx.Flush(func(tag uint32, err error) {
			reported = append(reported, err)
			if tag == 9 {
				t.Error("the datagram that fits was reported")
			}
		})
		return reported
	}
	if r := send(); len(r) != 0 {
		t.Fatalf("before anybody knew: %v", r)
	}
	e := awaitErrors(t, a)[0]
	if e.Local || e.MTU != 1300 || e.Type != 3 || e.Code != 4 || e.Dest != to.AddrPort() || e.From != ip(addrB4) {
		t.Errorf("error %+v, want ICMP 3/4 from %s, MTU 1300", e, addrB4)
	}
	if r := send(); len(r) != 3 || r[0] != unix.EMSGSIZE {
		t.Errorf("afterwards: %v, want EMSGSIZE three times", r)
	}
}

// TestStrangersAreDropped: nothing that is sent to a transmit socket stays there.
func TestStrangersAreDropped(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, func(c *Config) { c.SourcePorts = 1 })
	tx := b.NewTransmitter()
	tx.Queue(NewDest(netip.AddrPortFrom(ip(addrA4), a.SourcePorts()[0])), Class{}, 0, payload(100, 0), nil, 0)
	tx.Flush(func(_ uint32, err error) { t.Error(err) })
	time.Sleep(20 * time.Millisecond)
	if _, _, err := unix.Recvfrom(a.checked.fds[0], make([]byte, 200), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("receive on a transmit socket: %v, want EAGAIN", err)
	}
}

// await waits until the kernel reports an event of a socket, beside others.
func await(tb testing.TB, r *Receiver, event int16) {
	tb.Helper()
	fds := []unix.PollFd{{Fd: int32(r.FD()), Events: event}}
	for end := time.Now().Add(patience); fds[0].Revents&event == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("event %#x not within %s", event, patience)
		}
		poll(tb, fds, patience)
	}
}

// TestErrorOnReceiveSocket: an error that is pending on the socket does not hide
// the datagram behind it.
func TestErrorOnReceiveSocket(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, nil)
	r := b.Receiver(0)
	// A connected socket gets the ICMP error of its own datagrams.
	must(t, unix.SetsockoptInt(r.FD(), unix.SOL_IP, unix.IP_RECVERR, 1))
	must(t, unix.Sendto(r.FD(), []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: ip(addrA4).As4()}))
	await(t, r, unix.POLLERR)
	tx := a.NewTransmitter()
	tx.Queue(NewDest(b.Local()), Class{}, 0, payload(100, 0), nil, 0)
	tx.Flush(nil)
	await(t, r, unix.POLLIN)
	messages, err := r.Recv(8)
	if err != nil || len(messages) != 1 {
		t.Errorf("%d messages, %v; want the one behind the error", len(messages), err)
	}
	if n := b.Counters().RecvErrors; n != 1 {
		t.Errorf("%d errors counted, want 1", n)
	}
}

func TestKernelDrops(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, func(c *Config) { c.ReceiveBuffer = 4096; c.Offload = false })
	tx, to := a.NewTransmitter(), NewDest(b.Local())
	p := payload(1000, 0)
	for range 100 {
		tx.Queue(to, Class{}, 0, p, nil, 0)
	}
	tx.Flush(func(_ uint32, err error) { t.Error(err) })
	r := b.Receiver(0)
	received, drops := uint64(0), uint64(0)
	for end := time.Now().Add(patience); received+drops < 100 && time.Now().Before(end); {
		// Not before something was dropped: what is read makes room for what is still to come.
		if drops = r.KernelDrops(); drops == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		messages, err := r.Recv(MaxMessages)
		must(t, err)
		received += uint64(len(messages))
	}
	if drops == 0 || drops+received != 100 || r.KernelDrops() != drops {
		t.Errorf("%d received, %d dropped, of 100", received, drops)
	}
}
