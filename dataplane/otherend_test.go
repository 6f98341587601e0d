package dataplane

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"vtepd/bench/lab"
	"vtepd/encap"
)

// A workload gives its end of a pair a smaller MTU: what does not fit is told of as for a port of that MTU, until it is larger again. The kernel drops it
// in silence.
//
//	p0 (1200) ══ p0 ──┐
//	       p1 ══ p1 ──┤ switch ── eth0 ══ r0
//	    (out)  (sw)   ┘
func TestOtherEndTakesLess(t *testing.T) {
	t.Parallel()
	for _, kind := range []PortType{PortVeth, PortNetdev} {
		for _, fast := range []FastPathMode{FastPathOff, FastPathOn} {
			t.Run(fmt.Sprintf("%s/fastpath=%s", kind, fast), func(t *testing.T) {
				s := newSceneOf(t, kind, nil, 1, func(c *Config) { c.FastPath = fast })
				s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
				s.port("p0", 42)
				s.port("p1", 42)
				s.Inject("p0", frameOf(station(1), broadcast))
				s.Inject("p1", frameOf(station(2), broadcast))
				s.remotes[0].send(42, frameOf(station(4), broadcast))
				s.forget()
				judged := func(mtu int) {
					t.Helper()
					eventually(t, fmt.Sprintf("p0 is judged by %d", mtu), func() bool {
						return s.portInfo("p0").MTU == mtu && s.current.Load().ports[0].maxFrame == mtu+encap.EthernetLen
					})
					s.settleFrame()
				}
				judged(1450)
				s.outside.Must("ip", "link", "set", "p0", "mtu", "1200")
				judged(1200)
				s.wants("to a port", s.answers("p1", func() {
					s.drops(1, TooBig, func() { s.Inject("p1", bigPacket(false, 1201, station(2), station(1)).Frame()) })
				}), answer{src: station(1), dst: station(2), mtu: 1200})
				s.forget()
				s.drops(1, TooBig, func() { s.remotes[0].send(42, bigPacket(false, 1201, station(4), station(1)).Frame()) })
				got := s.remotes[0].received()
				if len(got) != 1 || answerIn(got[0].frame).mtu != 1200 {
					t.Errorf("%d datagrams to the peer, want one answer that says 1200", len(got))
				}
				s.drops(0, TooBig, func() { s.Inject("p1", bigPacket(false, 1200, station(2), station(1)).Frame()) })
				if n := len(s.seen("p0")); n != 1 {
					t.Errorf("%d frames that fit came out, want 1", n)
				}
				s.outside.Must("ip", "link", "set", "p0", "mtu", "1450")
				judged(1450)
				s.drops(0, TooBig, func() { s.Inject("p1", bigPacket(false, 1450, station(2), station(1)).Frame()) })
				if n := len(s.seen("p0")); n != 1 {
					t.Errorf("%d frames came out when it was larger again, want 1", n)
				}
			})
		}
	}
}

// A workload that lowers the MTU of its end below IPv6's least loses the addresses there, and has them back with it; a port whose mtu is more than the other
// end takes is warned of.
//
//	eth0 (2001:db8:1::1, out) ══ web0 ── switch
func TestOtherEndLosesIPv6(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host, out := l.Host("sw"), l.Host("out")
	l.Link(host, l.Host("wire"), lab.LinkOptions{})
	n := startNode(t, host, nil)
	n.vni(42)
	n.do(func() error {
		return n.AddPort(PortConfig{Name: "web0", Type: PortVeth, NetNS: out.Name(), Untagged: 42, MTU: 1450,
			Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64")}})
	})
	has := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("the address is there: %t", want), func() bool {
			n.portInfo("web0") // which looks
			return strings.Contains(out.Must("ip", "-6", "address", "show", "dev", "eth0"), "2001:db8:1::1") == want
		})
	}
	has(true)
	out.Must("ip", "link", "set", "eth0", "mtu", "1200")
	has(false)
	if w := n.portInfo("web0").Warning; w != "its mtu is 1450, and its interface or the other end of that takes 1200" {
		t.Errorf("warning %q", w)
	}
	out.Must("ip", "link", "set", "eth0", "mtu", "1450")
	has(true)
	if w := n.portInfo("web0").Warning; w != "" {
		t.Errorf("warning %q when it is over", w)
	}
}
