package dataplane

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel forgets the address of the underlay's neighbour while the host's own stack sends through a TAP: datagrams that wait for it leave by the underlay
// with its address, and nobody asks for it inside the overlay, where the frame was routed to.
//
//	198.51.100.1, 2001:db8:1::1 on p0 ── switch ── eth0 ══ eth0 ── r0 (station 2: 198.51.100.2, 2001:db8:1::2)
func TestFastPathNeighbourForgotten(t *testing.T) {
	t.Parallel()
	for _, underlay6 := range []bool{false, true} {
		for _, inner := range []string{"198.51.100.2", "2001:db8:1::2"} {
			t.Run(fmt.Sprintf("underlay6=%t/%s", underlay6, inner), func(t *testing.T) {
				t.Parallel()
				build := newScene
				if underlay6 {
					build = newScene6
				}
				s := build(t, 1, func(c *Config) { c.FastPath = FastPathOn })
				s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}}, s.addrs()...)
				s.openUnchecked(s.remotes[0].addr)
				if underlay6 {
					s.remotes[0].option(unix.SOL_UDP, unix.UDP_NO_CHECK6_RX, 1)
				}
				s.port("p0", 42)
				s.do(func() error { return s.Sysctl("net/ipv6/conf/p0/disable_ipv6", "0") })
				s.Must("ip", "address", "add", "198.51.100.1/24", "dev", "p0")
				s.Must("ip", "address", "add", "2001:db8:1::1/64", "dev", "p0", "nodad")
				two := station(2)
				s.Must("ip", "neigh", "add", inner, "dev", "p0", "lladdr",
					net.HardwareAddr{byte(two >> 40), byte(two >> 32), byte(two >> 24), byte(two >> 16), byte(two >> 8), byte(two)}.String())
				s.remotes[0].send(42, frameOf(two, broadcast))
				to := netip.AddrPortFrom(netip.MustParseAddr(inner), 9)
				var conn *net.UDPConn
				s.do(func() (err error) {
					conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
					return err
				})
				defer conn.Close()
				send := func() {
					if _, err := conn.Write([]byte("steady")); err != nil {
						t.Fatal(err)
					}
				}
				for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
					send()
				}
				s.forget()
				const rounds = 5
				for range rounds {
					s.Must("ip", "neigh", "flush", "dev", "eth0")
					for range 3 {
						send()
					}
					time.Sleep(50 * time.Millisecond)
				}
				s.rest()
				arrived := 0
				for _, a := range s.remotes[0].received() {
					switch {
					case bytes.HasSuffix(a.frame, []byte("steady")):
						arrived++
					case bytes.Contains(a.frame, s.remotes[0].addr.AsSlice()):
						t.Errorf("the peer was asked for inside the overlay: % x", a.frame)
					}
				}
				if arrived != 3*rounds {
					t.Errorf("%d datagrams arrived, want %d", arrived, 3*rounds)
				}
			})
		}
	}
}

// A peer whose address the kernel asks for in vain is user space's, which hears of it and says so; when it answers again the fast path has it back.
//
//	p0 ── switch ── eth0 ══ eth0 ── r0
func TestFastPathNeighbourSilent(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.FastPath = FastPathOn })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	peer := s.remotes[0].addr
	s.pinned(42, "", station(2))
	s.Inject("p0", frameOf(station(1), broadcast))
	s.rest()
	events, cancel := s.Subscribe(100)
	defer cancel()
	onFastPath := func() (bool, string) { i := s.Peers()[0]; return i.FastPath, i.FastPathReason }
	eventually(t, "the peer is on the fast path at first", func() bool { on, _ := onFastPath(); return on })
	s.wire.Must("ip", "link", "set", s.link.B.Name, "arp", "off")
	s.Must("ip", "neigh", "flush", "dev", "eth0")
	told := false
	for end := time.Now().Add(30 * time.Second); !told && time.Now().Before(end); {
		s.Inject("p0", frameOf(station(1), station(2)))
		select {
		case e := <-events:
			told = e.Object == "peer" && e.Action == "error" && e.Peer.Addr() == peer
		case <-time.After(20 * time.Millisecond):
		}
	}
	if !told {
		t.Error("nobody says that the peer does not answer")
	}
	if on, why := onFastPath(); on || !strings.Contains(why, "does not answer") {
		t.Errorf("on the fast path: %v, reason %q", on, why)
	}
	s.wire.Must("ip", "link", "set", s.link.B.Name, "arp", "on")
	eventually(t, "back on the fast path", func() bool {
		s.Inject("p0", frameOf(station(1), station(2)))
		on, _ := onFastPath()
		return on
	})
}
