package dataplane

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// routed is two hosts with routers between them, on a way whose middle may be narrower than its ends.
//
//	a eth0 ══ eth0 r1 eth1 ══ eth0 r2 eth1 ══ eth0 b
//	192.0.2.1       203.0.113.128/25          203.0.113.2
//	2001:db8::1     2001:db8:c::/64           2001:db8:b::2
type routed struct {
	lab          *lab.Lab
	a, r1, r2, b *lab.Host
}

var (
	routedB4 = netip.MustParseAddr("203.0.113.2")
	routedB6 = netip.MustParseAddr("2001:db8:b::2")
)

// newRouted makes the way; mtu is that of the links at the ends, middle that between the routers.
func newRouted(t *testing.T, mtu, middle int) *routed {
	t.Helper()
	l := lab.New(t)
	w := &routed{lab: l, a: l.Host("a"), r1: l.Host("r1"), r2: l.Host("r2"), b: l.Host("b")}
	join := func(x, y *lab.Host, mtu int, xs, ys []string) {
		link := l.Link(x, y, lab.LinkOptions{MTU: mtu, Addressing: lab.Bare})
		for _, end := range []struct {
			lab.End
			addrs []string
		}{{link.A, xs}, {link.B, ys}} {
			if err := end.Host.Sysctl("net/ipv6/conf/"+end.Name+"/disable_ipv6", "0"); err != nil {
				t.Fatal(err)
			}
			for _, a := range end.addrs {
				end.Host.Addr(end.Name, netip.MustParsePrefix(a))
			}
		}
	}
	join(w.a, w.r1, mtu, []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.254/24", "2001:db8::fe/64"})
	join(w.r1, w.r2, middle, []string{"203.0.113.129/25", "2001:db8:c::1/64"}, []string{"203.0.113.130/25", "2001:db8:c::2/64"})
	join(w.r2, w.b, mtu, []string{"203.0.113.1/25", "2001:db8:b::fe/64"}, []string{"203.0.113.2/25", "2001:db8:b::2/64"})
	for _, r := range []*lab.Host{w.r1, w.r2} {
		for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
			if err := r.Sysctl(key, "1"); err != nil {
				t.Fatal(err)
			}
		}
		// The test is about what routers say, not about how often.
		for _, limit := range [][2]string{{"net/ipv4/icmp_ratelimit", "0"}, {"net/ipv6/icmp/ratelimit", "0"}} {
			if err := r.Sysctl(limit[0], limit[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, way := range []struct {
		h       *lab.Host
		to, via string
	}{{w.a, "default", "192.0.2.254"}, {w.a, "default", "2001:db8::fe"}, {w.b, "default", "203.0.113.1"}, {w.b, "default", "2001:db8:b::fe"},
		{w.r1, "203.0.113.0/25", "203.0.113.130"}, {w.r1, "2001:db8:b::/64", "2001:db8:c::2"},
		{w.r2, "192.0.2.0/24", "203.0.113.129"}, {w.r2, "2001:db8::/64", "2001:db8:c::1"}} {
		family := "-4"
		if netip.MustParseAddr(way.via).Is6() {
			family = "-6"
		}
		way.h.Must("ip", family, "route", "add", way.to, "via", way.via)
	}
	return w
}

// narrow gives the link between the routers another MTU.
func (w *routed) narrow(mtu int) {
	w.r1.MTU("eth1", mtu)
	w.r2.MTU("eth0", mtu)
}

// switches starts a switch on each end, with VNI 42 and a port vtep0 of overlay addresses.
func (w *routed) switches(t *testing.T, underlay6, offload bool, portMTU int, header MSSClamp) (a, b *node) {
	t.Helper()
	locals := [2]netip.Addr{w.a.Underlay4(), routedB4}
	if underlay6 {
		locals = [2]netip.Addr{w.a.Underlay6(), routedB6}
	}
	nodes := [2]*node{}
	for i, h := range []*lab.Host{w.a, w.b} {
		n := startNode(t, h, func(c *Config) { c.Local, c.Offload = locals[i], offload })
		n.do(func() error {
			return n.SetVNI(VNIConfig{VNI: 42, Learning: true, Ageing: 300 * time.Second, MSSClamp: header, Peers: []netip.AddrPort{netip.AddrPortFrom(locals[1-i], 0)}})
		})
		n.do(func() error {
			return n.AddPort(PortConfig{Name: "vtep0", Type: PortTAP, Untagged: 42, MTU: portMTU, Addresses: h.OverlayPrefixes()})
		})
		nodes[i] = n
	}
	return nodes[0], nodes[1]
}

var routeMTU = regexp.MustCompile(`\bmtu (\d+)`)

// exception is the path MTU that a host's kernel has learned for a destination; 0: none.
func exception(h *lab.Host, to netip.Addr) int {
	m := routeMTU.FindStringSubmatch(h.Must("ip", "route", "get", to.String()))
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// carries sends n bytes by TCP from one host to an address of another, and wants them there: what nobody says does not fit is lost for ever.
func carries(t *testing.T, from, to *lab.Host, at netip.Addr, n int) {
	t.Helper()
	var l net.Listener
	if err := to.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err
			return
		}
		defer c.Close()
		if read, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
			got <- fmt.Errorf("%d of %d bytes: %w", read, n, err)
			return
		}
		got <- nil
	}()
	var c net.Conn
	if err := from.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", l.Addr().String(), lab.Patience)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(lab.Patience):
		t.Errorf("%d bytes to %s have not arrived within %s", n, at, lab.Patience)
	}
}

// The bridged cases of the kernel's own test, tools/testing/selftests/net/pmtu.sh: pmtu_ipv4_br_vxlan4_exception, pmtu_ipv6_br_vxlan4_exception,
// pmtu_ipv4_br_vxlan6_exception and pmtu_ipv6_br_vxlan6_exception. A host behind a bridge (c) and the one that the bridge is on (a) ping and send a
// megabyte to b, on a way narrower (4000 bytes) than all else (5000), and must come to know what fits: 4000 less the overhead.
//
//	c eth0 ══ br0 a ── vtep0, switch ── eth0 ══ r1 ══ (4000) ══ r2 ══ eth0 ── switch, vtep0 b
func TestKernelSelftestPMTUBridged(t *testing.T) {
	t.Parallel()
	for _, underlay6 := range []bool{false, true} {
		for _, inner6 := range []bool{false, true} {
			for _, offload := range []bool{true, false} {
				name := fmt.Sprintf("pmtu_ipv%d_br_vxlan%d_exception,offload=%t", version(inner6), version(underlay6), offload)
				t.Run(name, func(t *testing.T) {
					w := newRouted(t, 5000, 4000)
					a, b := w.switches(t, underlay6, offload, 5000, MSSOff)
					c := w.behind(t, 5000)
					want := 4000 - 50
					if underlay6 {
						want = 4000 - 70
					}
					dst := b.Overlay4()
					if inner6 {
						dst = b.Overlay6()
					}
					hosts := []*lab.Host{c, w.a}
					for _, h := range hosts { // a lost question for a neighbour's address is asked again only after a second
						eventually(t, "the overlay carries pings", func() bool {
							_, err := h.Command("ping", "-q", "-c", "1", "-W", "1", dst.String())
							return err == nil
						})
						eventually(t, "it carries large ones", func() bool {
							_, err := h.Command("ping", "-q", "-M", "want", "-i", "0.1", "-c", "10", "-s", "4500", dst.String())
							return err == nil
						})
						if got := exception(h, dst); got != want {
							t.Errorf("%s after pings: path MTU %d, want %d", h.Name(), got, want)
						}
					}
					for _, h := range hosts {
						forgetPaths(c, w.a, w.b)
						carries(t, h, w.b, dst, 1<<20)
						if got := exception(h, dst); got != want {
							t.Errorf("%s after TCP: path MTU %d, want %d", h.Name(), got, want)
						}
					}
					a.balance()
					b.balance()
				})
			}
		}
	}
}

// forgetPaths has stations forget what ICMP taught them about the overlay, by taking its routes away and putting them back: to flush all of a host's cache
// would take what its kernel knows of the underlay too.
func forgetPaths(hosts ...*lab.Host) {
	for _, h := range hosts {
		for _, p := range h.OverlayPrefixes() {
			ip := []string{"-6", "route"}
			if p.Addr().Is4() {
				ip[0] = "-4"
			}
			route := strings.Fields(h.Must("ip", append(slices.Clone(ip), "show", p.Masked().String())...))
			h.Must("ip", append(append(slices.Clone(ip), "del"), route...)...)
			h.Must("ip", append(append(slices.Clone(ip), "add"), route...)...)
		}
	}
}

func version(six bool) int {
	if six {
		return 6
	}
	return 4
}

// behind puts host c behind a bridge on a, which takes vtep0 and its addresses in.
func (w *routed) behind(t *testing.T, mtu int) *lab.Host {
	t.Helper()
	c := w.lab.Host("c")
	link := w.lab.Link(w.a, c, lab.LinkOptions{MTU: mtu, Addressing: lab.Bare, NameA: "toc"})
	for _, p := range w.a.OverlayPrefixes() {
		w.a.Must("ip", "addr", "del", p.String(), "dev", "vtep0")
	}
	w.a.Bridge("br0", "vtep0", "toc")
	w.a.MTU("br0", mtu)
	for _, x := range []struct {
		h    *lab.Host
		name string
	}{{w.a, "br0"}, {c, link.B.Name}} {
		if err := x.h.Sysctl("net/ipv6/conf/"+x.name+"/disable_ipv6", "0"); err != nil {
			t.Fatal(err)
		}
		x.h.Addr(x.name, x.h.OverlayPrefixes()...)
	}
	return c
}

// The first flight of a TLS client today, 1900 bytes, is two packets where it used to be one. It arrives across an underlay whose MTU was lowered to 1400
// on the way: by path MTU discovery, and, once the path is known or where a number says so, by the clamp without losing a packet.
//
//	a vtep0, switch ── eth0 ══ r1 ══ (1500, then 1400) ══ r2 ══ eth0 ── switch, vtep0 b
func TestFirstFlight(t *testing.T) {
	t.Parallel()
	const flight = 1900
	for _, underlay6 := range []bool{false, true} {
		for _, inner6 := range []bool{false, true} {
			for _, offload := range []bool{true, false} {
				t.Run(fmt.Sprintf("underlay6=%t,inner6=%t,offload=%t", underlay6, inner6, offload), func(t *testing.T) {
					w := newRouted(t, 1500, 1500)
					a, b := w.switches(t, underlay6, offload, 0, MSSOff)
					at := func(h *lab.Host) netip.Addr {
						if inner6 {
							return h.Overlay6()
						}
						return h.Overlay4()
					}
					eventually(t, "the overlay carries pings", func() bool {
						_, err := w.a.Command("ping", "-q", "-c", "1", "-W", "1", at(w.b).String())
						return err == nil
					})
					w.narrow(1400)
					carries(t, w.a, w.b, at(w.b), flight) // nobody knows: ICMP from r1, then ICMP inside
					forgetPaths(w.a, w.b)
					carries(t, w.b, w.a, at(w.a), flight)
					for _, n := range []*node{a, b} {
						n.awaitPath(n.theOther(), 1400)
					}
					forgetPaths(w.a, w.b)
					carries(t, w.a, w.b, at(w.b), flight) // the path is known: ICMP inside
					if a.dropped(TooBig) == 0 || a.Status().TooBigAnswered == 0 {
						t.Errorf("nothing was too big, %+v: the test shows nothing", a.Drops())
					}
					for _, clamp := range []MSSClamp{MSSAuto, 1200} {
						for _, n := range []*node{a, b} {
							n.do(func() error {
								return n.SetVNI(VNIConfig{VNI: 42, Learning: true, Ageing: 300 * time.Second, MSSClamp: clamp, Peers: []netip.AddrPort{netip.AddrPortFrom(n.theOther(), 0)}})
							})
						}
						forgetPaths(w.a, w.b)
						before := a.dropped(TooBig) + b.dropped(TooBig)
						carries(t, w.a, w.b, at(w.b), flight)
						carries(t, w.b, w.a, at(w.a), flight)
						if got := a.dropped(TooBig) + b.dropped(TooBig); got != before {
							t.Errorf("mss-clamp %s: %d packets were too big", clamp, got-before)
						}
					}
					a.balance()
					b.balance()
				})
			}
		}
	}
}

// theOther is the only peer there is.
func (n *node) theOther() netip.Addr { return n.Peers()[0].Addr.Addr() }

// A path MTU that ICMP taught is forgotten when the kernel forgets it, is shown, told once, and never goes below what the kernel believes.
//
//	a vtep0, switch ── eth0 ══ r1 ══ (1400) ══ r2 ══ eth0 ── switch, vtep0 b
func TestPathMTUIsForgotten(t *testing.T) {
	for _, underlay6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("underlay6=%t", underlay6), func(t *testing.T) {
			w := newRouted(t, 1500, 1400)
			for _, key := range []string{"net/ipv4/route/mtu_expires", "net/ipv6/route/mtu_expires"} {
				if err := w.a.Sysctl(key, "2"); err != nil {
					t.Fatal(err)
				}
			}
			a, b := w.switches(t, underlay6, true, 0, MSSOff)
			events, cancel := a.Subscribe(100)
			defer cancel()
			peer := a.theOther()
			if got := a.pathMTU(peer); got != 1500 {
				t.Errorf("at first the path carries %d, want 1500 as the route says", got)
			}
			carries(t, w.a, w.b, b.Overlay4(), 1900)
			a.awaitPath(peer, 1400)
			over := 50
			if underlay6 {
				over = 70
			}
			if got := a.Peers()[0]; got.PMTU != 1400 || got.RouteMTU != 1500 || got.Inside != 1400-over {
				t.Errorf("shown as %+v", got)
			}
			if i, _ := a.portMTU("vtep0"); i != 1500-over {
				t.Errorf("the port has MTU %d: what ICMP says is no reason to change it", i)
			}
			a.awaitPath(peer, 1500)
			said := 0
			count := func() bool {
				for len(events) > 0 {
					if e := <-events; e.Object == "peer" && e.Action == "pmtu" {
						said++
					}
				}
				return said >= 2
			}
			eventually(t, "the path is told to be narrow, and wide again", count) // after it is
			time.Sleep(50 * time.Millisecond)
			count()
			if said != 2 {
				t.Errorf("%d events, want one down and one up", said)
			}
		})
	}
}

// A path that widens is not told like one that narrows, and a group is no peer.
func TestPathMTUWords(t *testing.T) {
	t.Parallel()
	log := new(lines)
	s := newScene(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	group := netip.MustParseAddrPort("239.1.1.1:4789")
	s.set(VNIConfig{VNI: 42}, s.addrs()...)
	s.setGroup(43, group)
	events, cancel := s.Subscribe(100)
	defer cancel()
	all := s.peers.all()
	for _, p := range all {
		s.pathsChanged([]pathChange{{peer: p, from: 1500, to: 1400}, {peer: p, from: 1400, to: 1500}})
	}
	for _, want := range []string{
		`peer=192.0.2.2 from=1500 to=1400 inside=1350 hint="larger packets are answered with ICMP; see vtepctl doctor mtu"`,
		`peer=192.0.2.2 from=1400 to=1500 inside=1450 hint="packets that fit are carried again"`,
		"group=239.1.1.1 from=1500",
	} {
		if log.count(want) != 1 {
			t.Errorf("not said once: %s in\n%s", want, log.b.String())
		}
	}
	if log.count("peer=239") != 0 {
		t.Errorf("a group is called a peer:\n%s", log.b.String())
	}
	for len(events) > 0 {
		if e := <-events; e.Action == "pmtu" && e.Peer.Addr().IsMulticast() {
			t.Errorf("event of a group: %+v", e)
		}
	}
}
