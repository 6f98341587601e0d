package dataplane

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// Datagrams that the kernel joined (UDP GSO of the sender) reach the programs as one superframe. The first says by its IP length that it is all of them:
// nothing tells that from a superframe that a station sent, and none of them is believed.
//
//	p0 (VNI 42), q0 (VNI 43) ── switch ════ r0: a frame to p0 that claims to be longer, and one to q0
func TestFastPathForgedSuperframe(t *testing.T) {
	t.Parallel()
	for _, kind := range []PortType{PortTAP, PortVeth} {
		t.Run(string(kind), func(t *testing.T) {
			s := newSceneOf(t, kind, nil, 1, func(c *Config) { c.FastPath = FastPathOn })
			for vni, port := range map[uint32]string{42: "p0", 43: "q0"} {
				s.set(VNIConfig{VNI: vni, Learning: true, MSSClamp: MSSOff}, s.addrs()...)
				s.port(port, vni)
			}
			s.Inject("p0", frameOf(station(1), broadcast))
			s.Inject("q0", frameOf(station(2), broadcast))
			s.remotes[0].send(42, frameOf(station(11), broadcast))
			s.remotes[0].send(43, frameOf(station(12), broadcast))
			s.forget()
			s.settleFrame()

			secret := bytes.Repeat([]byte("of VNI 43 "), 12)
			victim := encaptest.Packet{SrcMAC: station(12), DstMAC: station(2), Proto: encap.ProtoUDP, SrcPort: 1000, DstPort: 2000, Payload: secret}.Frame()
			forged := encaptest.Packet{SrcMAC: station(11), DstMAC: station(1), Flags: encap.TCPAck, SrcPort: 1000, DstPort: 2000,
				Payload: make([]byte, len(victim)-encap.EthernetLen-encap.IPv4MinLen-20)}.Frame()
			second := datagramOf(43, victim)
			ip := encap.IPv4(forged[encap.EthernetLen:])
			ip.SetTotalLen(uint16(len(forged) - encap.EthernetLen + len(second)))
			ip.SetChecksum(0)
			ip.SetChecksum(encap.Checksum(ip[:encap.IPv4MinLen], 0))
			first := datagramOf(42, forged)

			err := s.wire.Do(func() error {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 55555, Addr: s.remotes[0].addr.As4()}); err != nil {
					return err
				}
				if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, len(first)); err != nil {
					return err
				}
				for range 10 {
					if err := unix.Sendto(fd, append(bytes.Clone(first), second...), 0, &unix.SockaddrInet4{Port: DefaultPort, Addr: s.config.Local.As4()}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			s.rest()
			for _, f := range s.seen("p0") {
				if bytes.Contains(f, secret[:10]) {
					t.Fatalf("a frame of VNI 43 came out in VNI 42: % x", f[:80])
				}
			}
			if got := len(s.seen("q0")); got != 0 {
				t.Errorf("%d frames arrived in VNI 43", got)
			}
			if got := s.dropped(TooBig); got != 10 {
				t.Errorf("%d messages were dropped for too_big, want 10", got)
			}
		})
	}
}

// The UDP port of any peer is guarded in every guarded VNI, whichever VNI the peer came with, and what does not go there is carried all the same.
//
//	p0, p1 (VNI 42, guarded) ── switch ════ r0 (VNI 42), r1 (VNI 43, port 8472)
func TestFastPathSpoofGuardOfAllPeers(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, func(c *Config) { c.FastPath = FastPathOn })
	s.set(VNIConfig{VNI: 42, Learning: true, SpoofGuard: true, MSSClamp: MSSOff}, s.addrs(0)...)
	s.port("p0", 42)
	s.port("p1", 42)
	s.Inject("p0", frameOf(station(1), broadcast))
	s.Inject("p1", frameOf(station(2), broadcast))
	s.forget()
	foreign := netip.AddrPortFrom(s.remotes[1].addr, 8472)
	spoofed := nested(foreign.Addr(), func(p *encaptest.Packet) { p.DstMAC, p.DstPort = station(2), foreign.Port() }).Frame()
	for range 2 {
		s.do(func() error { return s.SetVNI(VNIConfig{VNI: 43, Learning: true, Peers: []netip.AddrPort{foreign}}) })
		s.drops(5, VXLANSpoof, func() { s.Inject("p0", times(5, spoofed)...) })
		for _, v := range s.VNIs() {
			if v.Config.VNI == 42 && !v.FastPath {
				t.Fatalf("VNI 42 is off the fast path: %s", v.FastPathReason)
			}
		}
		s.do(func() error { return s.SetVNI(VNIConfig{VNI: 43, Learning: true}) })
		eventually(t, "the peer is gone", func() bool { return !s.peers.knows(foreign.Addr()) })
		s.forget()
		s.Inject("p0", times(5, spoofed)...)
		s.rest()
		if got := len(s.seen("p1")); got != 5 {
			t.Errorf("%d of 5 datagrams to where no VTEP is any more arrived", got)
		}
	}
}

// VXLAN of stations to stations is carried, and to a VTEP it never is, however that came to be known: a peer by name, one that was learned, a group, or this host.
//
//	p0, p1 (VNI 42, guarded) ── switch ════ r0, group (VNI 42), r1 (learned)
func TestFastPathOverlaysOfStations(t *testing.T) {
	t.Parallel()
	for _, kind := range []PortType{PortTAP, PortVeth} {
		t.Run(string(kind), func(t *testing.T) {
			s := newSceneOf(t, kind, nil, 2, func(c *Config) { c.FastPath = FastPathOn })
			group := netip.MustParseAddr("239.1.1.1")
			s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn, SpoofGuard: true, MSSClamp: MSSOff, Group: netip.AddrPortFrom(group, DefaultPort)}, s.addrs(0)...)
			s.port("p0", 42)
			s.port("p1", 42)
			s.pinned(42, "p0", station(1))
			s.pinned(42, "p1", station(2))
			to := func(a netip.Addr) []byte {
				return nested(a, func(p *encaptest.Packet) { p.DstMAC = station(2) }).Frame()
			}
			learned := s.remotes[1]
			s.carries("between stations", 0, 0, 10, func() { s.Inject("p0", times(10, to(netip.MustParseAddr("198.51.100.9")))...) })
			s.carries("to whom nobody has heard of", 0, 0, 10, func() { s.Inject("p0", times(10, to(learned.addr))...) })
			learned.send(42, frameOf(station(20), broadcast))
			eventually(t, "the peer is learned", func() bool { return s.peers.knows(learned.addr) })
			s.rest()
			for _, a := range []netip.Addr{s.config.Local, s.remotes[0].addr, learned.addr, group} {
				s.carries(a.String(), 0, 0, 0, func() { s.drops(10, VXLANSpoof, func() { s.Inject("p0", times(10, to(a))...) }) })
			}
			s.carries("between stations", 0, 0, 10, func() { s.Inject("p0", times(10, to(netip.MustParseAddr("198.51.100.9")))...) })
			s.balance()
		})
	}
}

// What a peer sends is counted for it while nothing can be sent to it, and not for the next one of its index.
//
//	p0 ── switch ════ r0 (no way to it), then r1
func TestFastPathCountsSilencedPeer(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, func(c *Config) { c.FastPath = FastPathOn })
	s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff}, s.addrs(0)...)
	s.port("p0", 42)
	s.Inject("p0", frameOf(station(1), broadcast))
	s.remotes[0].send(42, frameOf(station(4), broadcast))
	s.forget()
	s.settleFrame()
	s.Host.Must("ip", "route", "add", "blackhole", s.remotes[0].addr.String())
	time.Sleep(fastPathPoll)
	received := func(r *remote) uint64 { return s.account().Peers[netip.AddrPortFrom(r.addr, DefaultPort)].RxPackets }
	before := received(s.remotes[0])
	s.remotes[0].send(42, times(100, frameOf(station(4), station(1)))...)
	s.rest()
	if got := received(s.remotes[0]) - before; got != 100 {
		t.Errorf("%d frames counted, want 100", got)
	}
	s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff}, s.addrs(1)...)
	if got := received(s.remotes[1]); got != 0 {
		t.Errorf("the next peer begins with %d frames", got)
	}
}

// Peers whose way depends on more than addresses are not sent to.
func TestFastPathRoutesByPolicy(t *testing.T) {
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	peer := map[string]netip.Addr{"-4": netip.MustParseAddr("192.0.2.2"), "-6": netip.MustParseAddr("2001:db8::2")}
	for _, c := range []struct{ name, add, reason string }{
		{"rule by port", "rule add ipproto 17 dport 4789 lookup 100", "routing rules"},
		{"rule by TOS", "rule add tos 0x10 lookup 100", "routing rules"},
	} {
		for family, to := range peer {
			t.Run(fmt.Sprintf("%s %s", c.name, family), func(t *testing.T) {
				err := h.Do(func() error {
					r, err := newRoutes(slog.New(slog.DiscardHandler), vrf{})
					if err != nil {
						return err
					}
					defer r.close()
					if got := r.find(to, netip.Addr{}); strings.Contains(got.reason, c.reason) {
						t.Fatalf("refused before: %s", got.reason)
					}
					h.Must("ip", append([]string{family}, strings.Fields(c.add)...)...)
					r.forget()
					if got := r.find(to, netip.Addr{}); !strings.Contains(got.reason, c.reason) {
						t.Errorf("reason %q", got.reason)
					}
					h.Must("ip", append([]string{family}, strings.Fields(strings.Replace(c.add, " add", " del", 1))...)...)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// A peer that is not sent to by the fast path says why, for as long as that is so.
//
//	switch ════ r0, r1
func TestFastPathOfPeers(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, func(c *Config) { c.FastPath = FastPathAuto })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	says := func(on bool, reason string) func() bool {
		return func() bool {
			list := s.Peers()
			for _, p := range list {
				if p.FastPath != on || !strings.Contains(p.FastPathReason, reason) || (p.FastPathReason == "") != on {
					return false
				}
			}
			return len(list) == 2
		}
	}
	if s.Status().FastPath.Active {
		eventually(t, "both are on", says(true, ""))
		s.Host.Must("ip", "rule", "add", "ipproto", "17", "dport", "4789", "lookup", "100")
		eventually(t, "both are off", says(false, "routing rules"))
		s.Host.Must("ip", "rule", "del", "ipproto", "17", "dport", "4789", "lookup", "100")
		eventually(t, "both are on again", says(true, ""))
		if err := s.SetFastPath(FastPathOff); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nothing is on", says(false, s.Status().FastPath.Reason))
}

// Where IPsec is required of what comes in, datagrams in the clear are taken by nobody.
//
//	p0 ── switch ════ r0
func TestFastPathLeavesIPsecToTheKernel(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.FastPath = FastPathOn })
	s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff}, s.addrs()...)
	s.port("p0", 42)
	s.Inject("p0", frameOf(station(1), broadcast))
	s.remotes[0].send(42, frameOf(station(4), broadcast))
	s.forget()
	s.settleFrame()
	policy := []string{"dir", "in", "src", s.remotes[0].addr.String(), "dst", s.config.Local.String()}
	command := append(append([]string{"xfrm", "policy", "add"}, policy...), "tmpl", "proto", "esp", "mode", "transport", "level", "required")
	if out, err := s.Host.Command("ip", command...); err != nil {
		t.Skipf("no IPsec policies in this kernel: %s", out)
	}
	inTheClear := func() int {
		s.forget()
		s.remotes[0].send(42, times(5, frameOf(station(4), station(1)))...)
		time.Sleep(100 * time.Millisecond)
		return len(s.seen("p0"))
	}
	// Policies are not announced.
	eventually(t, "nothing in the clear comes out", func() bool { return inTheClear() == 0 })
	if got := inTheClear(); got != 0 {
		t.Errorf("%d frames in the clear came out", got)
	}
	s.Host.Must("ip", append([]string{"xfrm", "policy", "del"}, policy...)...)
	eventually(t, "the fast path takes over after the policy has gone", func() bool {
		before := s.Status().FastPath.Decap
		s.remotes[0].send(42, times(5, frameOf(station(4), station(1)))...)
		s.rest()
		return s.Status().FastPath.Decap == before+5
	})
}
