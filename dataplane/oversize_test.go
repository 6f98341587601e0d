package dataplane

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// sized is a frame of a number of bytes from p0's station to a remote's.
func sized(n int) []byte {
	return encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: 253, Payload: encaptest.Payload(n-34, uint64(n))}.Frame()
}

// What the underlay does not carry in one piece is dropped and counted, never cut into fragments; the switch follows the underlay's MTU at once.
//
//	p0 ── switch ── eth0 (MTU 1500, then 1400) ══ eth0 (sniffed for fragments) ── r0
func TestTooBigForTheUnderlay(t *testing.T) {
	t.Parallel()
	for _, family := range []int{4, 6} {
		for _, offload := range []bool{true, false} {
			t.Run(fmt.Sprintf("underlay=v%d,offload=%t", family, offload), func(t *testing.T) {
				build, overhead := newScene, 50-14
				if family == 6 {
					build, overhead = newScene6, 70-14
				}
				s := build(t, 1, func(c *Config) { c.Offload = offload })
				s.set(VNIConfig{VNI: 42}, s.addrs()...)
				s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 3000})
				w := newWiretap(s)
				for _, mtu := range []int{1500, 1400, 1500} {
					s.MTU("eth0", mtu)
					s.awaitPath(s.remotes[0].addr, mtu)
					fits := mtu - overhead
					s.drops(0, TooBig, func() { s.Inject("p0", sized(fits), sized(100)) })
					if got := len(w.outers()); got != 2 {
						t.Errorf("underlay MTU %d: %d datagrams, want 2", mtu, got)
					}
					s.drops(3, TooBig, func() { s.Inject("p0", sized(fits+1), sized(2000), sized(2900)) })
					// A flow's batch of mixed sizes: those that fit leave, in their order.
					mixed := [][]byte{sized(100), sized(fits + 1), sized(100), sized(fits), sized(fits), sized(fits + 1), sized(fits + 1), sized(60), sized(fits)}
					w.outers()
					s.drops(3, TooBig, func() { s.Inject("p0", mixed...) })
					var got []int
					for _, o := range w.outers() {
						got = append(got, len(o.inner))
					}
					if want := []int{100, 100, fits, fits, 60, fits}; !slices.Equal(got, want) {
						t.Errorf("underlay MTU %d: frames of %v bytes left, want %v", mtu, got, want)
					}
					if offload {
						s.tooBigSuperframe(w, fits)
					}
				}
			})
		}
	}
}

// tooBigSuperframe sends superframes whose segments do and do not fit; the last segment of the second kind is short and leaves.
func (s *scene) tooBigSuperframe(w *wiretap, fits int) {
	s.t.Helper()
	for _, c := range []struct{ size, segments, lost int }{{fits - 54, 10, 0}, {fits - 53, 10, 9}} {
		p := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(c.size*(c.segments-1)+10, 1)}
		frame, off := p.Superframe(uint16(c.size))
		w.outers()
		s.drops(uint64(c.lost), TooBig, func() { s.InjectSuperframe("p0", encodeOffload(off), frame) })
		if got := len(w.outers()); got != c.segments-c.lost {
			s.t.Errorf("segments of %d bytes: %d datagrams, want %d", c.size, got, c.segments-c.lost)
		}
	}
}

// A port takes what its MTU says and no more, a tag not counted; a superframe counts by its segments. Where another copy leaves, nothing is dropped.
//
//	p0 (MTU 3000) p1 (MTU 1000) t1 (MTU 1000, tagged) ── switch
func TestTooBigForAPort(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 3000})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 1000})
	s.configuredPort(PortConfig{Name: "t1", Tagged: []VIDMap{{7, 42}}, MTU: 1000})
	s.drops(0, TooBig, func() { s.Inject("p0", sized(1014)) })
	if got, want := s.counts(), "p1:1 t1:1"; got != want {
		t.Errorf("just fits: %q, want %q", got, want)
	}
	s.drops(1, TooBig, func() { s.Inject("p0", sized(1015)) })
	if got, want := s.counts(), "p0:1"; got != want {
		t.Errorf("one byte more: %q, want %q, the answer", got, want)
	}
	p := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(9600, 1)}
	frame, off := p.Superframe(960)
	s.drops(0, TooBig, func() { s.InjectSuperframe("p0", encodeOffload(off), frame) })
	if got, want := s.counts(), "p1:1 t1:1"; got != want {
		t.Errorf("superframe that fits: %q, want %q", got, want)
	}
	frame, off = p.Superframe(961)
	s.drops(10, TooBig, func() { s.InjectSuperframe("p0", encodeOffload(off), frame) })
	s.forget()
	before := portStats(s.Switch, "p1").TxDropped
	s.configuredPort(PortConfig{Name: "p2", Untagged: 42, MTU: 3000})
	s.drops(0, TooBig, func() { s.Inject("p0", sized(2000)) })
	if got, want := s.counts(), "p2:1"; got != want {
		t.Errorf("one port of three takes it: %q, want %q", got, want)
	}
	if got := portStats(s.Switch, "p1").TxDropped - before; got != 1 {
		t.Errorf("p1 counts %d undelivered copies, want 1", got)
	}
	// A larger MTU lets it pass at once.
	s.do(func() error { return s.SetPort(PortConfig{Name: "p1", Type: PortTAP, Untagged: 42, MTU: 2000}) })
	s.Inject("p0", sized(2000))
	if got, want := s.counts(), "p1:1 p2:1"; got != want {
		t.Errorf("after the MTU was raised: %q, want %q", got, want)
	}
}

// A tag that the VNI keeps does not count either: what a port's own stack sends at its MTU, tagged, fits a port of the same MTU.
//
//	p0 p1 (MTU 1000) ── switch (VNI 42 keeps inner tags)
func TestKeptTagFitsThePort(t *testing.T) {
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{KeepInnerVLAN: true}})
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 1000})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 1000})
	s.drops(0, TooBig, func() { s.Inject("p0", putTag(sized(1014), 0x8100, 7)) })
	if got, want := s.counts(), "p1:1"; got != want {
		t.Errorf("tagged and just fits: %q, want %q", got, want)
	}
	s.do(func() error { return s.SetPort(PortConfig{Name: "p1", Type: PortTAP, Untagged: 42, MTU: 999}) })
	s.drops(1, TooBig, func() { s.Inject("p0", putTag(sized(1014), 0x8100, 7)) })
	s.do(func() error { return s.SetPort(PortConfig{Name: "p1", Type: PortTAP, Untagged: 42, MTU: 996}) })
	s.drops(1, TooBig, func() { s.Inject("p0", sized(1014)) })
}

// A tag that a VNI keeps does not count either, once.
//
//	p0 (MTU 3000) p1 (MTU 1000, tags kept) ── switch
func TestTooBigWithAKeptTag(t *testing.T) {
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{KeepInnerVLAN: true}})
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 3000})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 1000})
	s.drops(0, TooBig, func() { s.Inject("p0", sized(1014), putTag(sized(1014), 0x8100, 5), putTag(sized(1014), 0x88a8, 5)) })
	if got, want := s.counts(), "p1:3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.drops(2, TooBig, func() { s.Inject("p0", sized(1015), putTag(sized(1015), 0x8100, 5)) })
}

func portStats(s *Switch, name string) Counters {
	for _, p := range s.PortStats() {
		if p.Port == name {
			return p.Counters
		}
	}
	return Counters{}
}

// Where the underlay has no way to a peer the frame is dropped for that, the other peers get theirs, and a route that comes is used at once.
//
//	p0 ── switch ── eth0 ══ eth0 ── r0, and 203.0.113.1 behind r0 or nowhere
func TestNoRoute(t *testing.T) {
	s := newScene(t, 1, nil)
	far := mustAddr("203.0.113.1")
	s.set(VNIConfig{VNI: 42}, far)
	s.set(VNIConfig{VNI: 43}, far, s.remotes[0].addr)
	s.port("p0", 42)
	s.port("q0", 43)
	w := newWiretap(s)
	s.drops(5, NoRoute, func() { s.Inject("p0", times(5, frameOf(station(1), broadcast))...) })
	s.drops(0, NoRoute, func() { s.Inject("q0", times(5, frameOf(station(1), broadcast))...) })
	if got, want := s.counts(), "r0:5"; got != want {
		t.Errorf("the other peer: %q, want %q", got, want)
	}
	for _, kind := range []string{"unreachable", "prohibit", "blackhole"} {
		s.Must("ip", "route", "add", kind, "203.0.113.0/24")
		eventually(t, "the route is known", func() bool {
			return strings.HasSuffix(s.paths.whyNone(s.peers.find(netip.AddrPortFrom(far, DefaultPort))), kind)
		})
		s.drops(5, NoRoute, func() { s.Inject("p0", times(5, frameOf(station(1), broadcast))...) })
		s.Must("ip", "route", "del", kind, "203.0.113.0/24")
	}
	w.outers()
	s.Must("ip", "route", "add", "203.0.113.0/24", "via", s.remotes[0].addr.String())
	s.drops(0, NoRoute, func() { s.Inject("p0", times(5, frameOf(station(1), broadcast))...) })
	if got := len(w.outers()); got != 5 {
		t.Errorf("%d datagrams by the new route, want 5", got)
	}
	s.balance()
}

// A firewall that rejects datagrams makes drops, and nothing else; without it traffic goes on.
//
//	p0 ── switch ── nft output chain ── eth0 ══ r0
func TestFirewall(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not installed (Debian: nftables)")
	}
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42}, s.addrs()...)
	s.port("p0", 42)
	if out, err := s.Command("nft", "add", "table", "inet", "test"); err != nil {
		t.Skipf("this kernel takes no nftables table: %s", out)
	}
	s.Must("nft", "add", "chain", "inet", "test", "out", "{ type filter hook output priority 0; }")
	s.Must("nft", "add", "rule", "inet", "test", "out", "udp", "dport", "4789", "drop")
	s.drops(5, UnderlayRefused, func() { s.Inject("p0", times(5, frameOf(station(1), broadcast))...) })
	s.Must("nft", "flush", "ruleset")
	s.drops(0, UnderlayRefused, func() { s.Inject("p0", times(5, frameOf(station(1), broadcast))...) })
	if got, want := s.counts(), "r0:5"; got != want {
		t.Errorf("without the rule: %q, want %q", got, want)
	}
}

// The underlay's interface goes down and up, and its address goes and comes back: traffic stops and goes on, and an ICMP answer is no reason to stop.
//
//	p0 ── switch ── eth0 ══ r0
func TestUnderlayComesAndGoes(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	events, cancel := s.Subscribe(100)
	defer cancel()
	local := s.config.Local.String()
	works := func(when string) {
		t.Helper()
		s.forget()
		// The neighbour's address may have to be asked for again.
		eventually(t, when+": a frame reaches the peer", func() bool {
			s.Inject("p0", frameOf(station(1), broadcast))
			s.rest()
			return len(s.remotes[0].received()) > 0
		})
		eventually(t, when+": a frame comes from the peer", func() bool {
			s.remotes[0].send(42, frameOf(station(2), station(1)))
			s.rest()
			return len(s.seen("p0")) > 0
		})
	}
	works("at first")
	stopped := func(when string) {
		t.Helper()
		before := s.Totals()
		s.Inject("p0", times(3, frameOf(station(1), broadcast))...)
		s.rest()
		after := s.Totals()
		if after.Received-before.Received != 3 || after.Dropped-before.Dropped != 3 {
			t.Errorf("%s: totals %+v, then %+v, want 3 frames received and dropped; drops %v", when, before, after, s.Drops())
		}
		s.balance()
	}
	s.Must("ip", "link", "set", "eth0", "down")
	stopped("link down")
	s.Must("ip", "link", "set", "eth0", "up")
	works("link up again")
	s.Must("ip", "addr", "del", local+"/24", "dev", "eth0")
	stopped("address gone")
	s.Must("ip", "addr", "add", local+"/24", "dev", "eth0")
	works("address there again")
	s.Must("ip", "link", "set", "eth0", "down")
	s.Must("ip", "addr", "del", local+"/24", "dev", "eth0")
	stopped("both")
	s.Must("ip", "link", "set", "eth0", "up")
	s.Must("ip", "addr", "add", local+"/24", "dev", "eth0")
	works("both there again")

	// Nobody listens at the peer: its kernel answers each datagram with an ICMP error, and datagrams go on leaving.
	s.remotes[0].conn.Close()
	w := newWiretap(s)
	w.outers()
	for range 20 {
		s.Inject("p0", times(5, frameOf(station(1), broadcast))...)
		s.rest()
	}
	if got := len(w.outers()); got != 100 {
		t.Errorf("%d of 100 datagrams left toward a peer that refuses them", got)
	}
	eventually(t, "the event says what the peer answers", func() bool {
		for len(events) > 0 {
			if e := <-events; e.Object == "peer" && e.Action == "error" && strings.Contains(e.Reason, "refused") {
				return true
			}
		}
		return false
	})
}
