package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"vtepd/encap"
)

// probePath probes, or fails.
func (n *node) probePath(a netip.Addr) PathProbe {
	n.t.Helper()
	p, err := n.ProbePath(context.Background(), a)
	if err != nil {
		n.t.Fatal(err)
	}
	p.WithoutEcho = ""
	return p
}

// Probing says what a path carries, to the byte: where all is as it seems, where a router says so, and where one loses larger packets without a word.
//
//	a vtep0, switch ── eth0 ══ r1 ══ (1500, 1400, or 1400 on r2's side only) ══ r2 ══ eth0 ── switch, vtep0 b
func TestProbePath(t *testing.T) {
	t.Parallel()
	for _, underlay6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("underlay6=%t", underlay6), func(t *testing.T) {
			w := newRouted(t, 1500, 1500)
			a, _ := w.switches(t, underlay6, true, 0, MSSDefault)
			over := 50
			if underlay6 {
				over = 70
			}
			peer := a.theOther()
			want := PathProbe{Peer: a.Peers()[0].Addr, VNI: 42, Evidence: EvidenceProbe, Fits: 1500, Tried: 1500, Known: 1500, Learned: 1500, Inside: 1500 - over,
				Ports: map[string]PortMTU{}, Clamped: true}
			if diff := cmp.Diff(want, a.probePath(peer), sameAddr); diff != "" {
				t.Errorf("all fits (-want +got):\n%s", diff)
			}
			// What r1 sends is more than r2's end takes: the link loses it. A veth pair takes a VLAN tag's 4 bytes more (is_skb_forwardable).
			w.r2.MTU("eth0", 1400)
			want.Fits, want.Inside, want.Ports = 1404, 1404-over, map[string]PortMTU{"vtep0": {1500 - over, true}}
			if diff := cmp.Diff(want, a.probePath(peer), sameAddr); diff != "" {
				t.Errorf("a black hole (-want +got):\n%s", diff)
			}
			w.r1.MTU("eth1", 1400)
			want.Fits, want.Inside, want.Learned = 1400, 1400-over, 1400
			if diff := cmp.Diff(want, a.probePath(peer), sameAddr); diff != "" {
				t.Errorf("a router speaks up (-want +got):\n%s", diff)
			}
			a.balance()
		})
	}
}

// A peer that is no vtepd is asked by ICMP echo; one that answers nothing is said to.
//
//	p0 ── switch ── eth0 ══ eth0 ── r0
func TestProbePathOfStrangers(t *testing.T) {
	t.Parallel()
	for _, build := range []func(testing.TB, int, func(*Config)) *scene{newScene, newScene6} {
		s := build(t, 1, nil)
		s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
		s.port("p0", 42)
		peer := s.remotes[0].addr
		s.MTU("eth0", 1450)
		s.awaitPath(peer, 1450)
		s.wire.MTU("eth0", 1400)
		if got := s.probePath(peer); got.Evidence != EvidenceEcho || got.Fits != 1404 || got.Tried != 1450 || got.Refused {
			t.Errorf("%s: %+v, want 1404 of 1450 by echo, of a host where somebody listens", peer, got)
		}
		deaf := netip.PrefixFrom(mustAddr("192.0.2.99"), 24)
		if peer.Is6() {
			deaf = netip.PrefixFrom(mustAddr("2001:db8::99"), 64)
		}
		s.wire.Addr("eth0", deaf)
		s.set(VNIConfig{VNI: 42, Learning: true}, append(s.addrs(), deaf.Addr())...)
		s.awaitPath(deaf.Addr(), 1450)
		if got := s.probePath(deaf.Addr()); got.Evidence != EvidenceEcho || !got.Refused {
			t.Errorf("%s: %+v, want an echo, and that nobody listens", deaf, got)
		}
		for _, key := range []string{"net/ipv4/icmp_echo_ignore_all", "net/ipv6/icmp/echo_ignore_all"} {
			if err := s.wire.Sysctl(key, "1"); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.probePath(peer); got.Evidence != EvidenceNone || got.Fits != 0 {
			t.Errorf("%s: %+v, want no evidence", peer, got)
		}
		if _, err := s.ProbePath(context.Background(), mustAddr("192.0.2.77")); !errors.Is(err, ErrNotFound) {
			t.Errorf("a stranger: %v", err)
		}
	}
}

// Where this host itself does not let datagrams leave, probing says so, and not that nobody answers or listens there.
//
//	p0 ── switch ── nft output chain ── eth0 ══ r0
func TestProbePathFilteredHere(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not installed (Debian: nftables)")
	}
	for _, build := range []func(testing.TB, int, func(*Config)) *scene{newScene, newScene6} {
		s := build(t, 1, nil)
		s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
		s.port("p0", 42)
		peer := s.remotes[0].addr
		if out, err := s.Command("nft", "add", "table", "inet", "test"); err != nil {
			t.Skipf("this kernel takes no nftables table: %s", out)
		}
		s.Must("nft", "add", "chain", "inet", "test", "out", "{ type filter hook output priority 0; }")
		for _, verdict := range []string{"drop", "reject"} {
			s.Must("nft", "add", "rule", "inet", "test", "out", "udp", "dport", "4789", verdict)
			if got := s.probePath(peer); got.Evidence != EvidenceEcho || !errors.Is(got.Unsent, unix.EPERM) {
				t.Errorf("%s, %s: %+v, want EPERM", peer, verdict, got)
			}
			s.Must("nft", "flush", "chain", "inet", "test", "out")
		}
		if got := s.probePath(peer); got.Unsent != nil {
			t.Errorf("%s: %+v, want no error", peer, got)
		}
	}
}

// A question is answered to admitted peers, with no more bytes than it has, so many times a second, and goes no further than this.
//
//	p0 ── switch ══ r0, and r1, which is no peer
func TestProbesAreBounded(t *testing.T) {
	s := newScene(t, 2, func(c *Config) { c.Workers = 1 })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs(0)...)
	s.port("p0", 42)
	question := func(n int) []byte {
		p := encap.Probe(make([]byte, n))
		p.Encode(encap.ProbeQuestion, station(7), 99, uint32(n))
		return p
	}
	for _, n := range []int{encap.ProbeLen, 1000} {
		s.forget()
		s.drops(1, LinkLocalMulticast, func() { s.remotes[0].send(42, question(n)) })
		got := s.remotes[0].received()
		if len(got) != 1 || got[0].vni != 42 {
			t.Fatalf("%d answers to %d bytes", len(got), n)
		}
		p := encap.Probe(got[0].frame)
		if !p.Valid() || p.Kind() != encap.ProbeAnswer || p.ID() != 99 || int(p.Length()) != n || len(p) != encap.ProbeLen {
			t.Errorf("%d bytes: answer % x", n, p)
		}
		if got := s.seen("p0"); len(got) != 0 {
			t.Errorf("%d frames came out of the port", len(got))
		}
	}
	if s.known(42, station(7)) {
		t.Error("the source of a probe was learned")
	}
	s.drops(1, LinkLocalMulticast, func() { s.remotes[0].send(42, question(encap.ProbeLen)[:encap.ProbeLen-1]) })
	s.drops(1, UnknownPeer, func() { s.remotes[1].send(42, question(100)) })
	s.drops(1, LinkLocalMulticast, func() { s.Inject("p0", question(100)) })
	if a, b := s.remotes[0].received(), s.remotes[1].received(); len(a)+len(b) != 0 {
		t.Errorf("%d and %d answers, want none", len(a), len(b))
	}
	for range 3 {
		for range 500 {
			s.remotes[0].send(42, question(encap.ProbeLen))
		}
		s.rest()
	}
	if got := len(s.remotes[0].received()); got > 2*answersPerSecond {
		t.Errorf("%d answers", got)
	}
	s.balance()
}

var sameAddr = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})
