package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// nested is a frame of station 1 to all, with a datagram of VXLAN in it.
func nested(dst netip.Addr, change func(*encaptest.Packet)) encaptest.Packet {
	p := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, V6: dst.Is6(), Dst: dst, Proto: encap.ProtoUDP, SrcPort: 50000, DstPort: DefaultPort,
		Payload: datagramOf(42, frameOf(station(9), broadcast))}
	if dst.Is6() {
		p.Src = netip.MustParseAddr("2001:db8:1::1")
	} else {
		p.Src = netip.MustParseAddr("198.51.100.1")
	}
	if change != nil {
		change(&p)
	}
	return p
}

// What a station sends as VXLAN to a VTEP is dropped, by whatever road the headers go; overlays between stations and other traffic to VTEPs pass.
//
//	p0 p1 (VNI 42, guarded), trunk (VNI 42 as 7), q0 q1 (VNI 43, not guarded; keeps tags), k0 k1 (VNI 44, guarded, keeps tags) ── switch ════ r0 (VNIs 42 43 44)
func TestSpoofGuard(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, offload := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/offload=%t", family, offload), func(t *testing.T) { testSpoofGuard(t, family == "IPv6", offload) })
		}
	}
}

func testSpoofGuard(t *testing.T, v6, offload bool) {
	change := func(c *Config) { c.Offload = offload }
	make, tenant := newScene, netip.MustParseAddr("198.51.100.9")
	if v6 {
		make, tenant = newScene6, netip.MustParseAddr("2001:db8:1::9")
	}
	s := make(t, 2, change)
	own, peer := s.config.Local, s.remotes[0].addr
	keep := HeaderPolicy{KeepInnerVLAN: true}
	s.set(VNIConfig{VNI: 42, Learning: true, SpoofGuard: true}, peer)
	s.set(VNIConfig{VNI: 43, Learning: true, Header: keep}, peer)
	s.set(VNIConfig{VNI: 44, Learning: true, Header: keep, SpoofGuard: true}, peer)
	for _, p := range []string{"p0", "p1"} {
		s.port(p, 42)
	}
	s.configuredPort(PortConfig{Name: "trunk", Tagged: []VIDMap{{7, 42}}})
	for _, p := range []string{"q0", "q1"} {
		s.port(p, 43)
	}
	for _, p := range []string{"k0", "k1"} {
		s.port(p, 44)
	}
	// The remote hears nothing from here on but what is meant to pass, and a frame from the wire is nobody's spoof.
	type packet = encaptest.Packet
	tagged := func(tcis ...uint16) func(*packet) { return func(p *packet) { p.Tags = tcis } }
	hop := encaptest.Extension{Proto: encap.ProtoHopByHop, Body: []byte{0, 0, 1, 4, 0, 0, 0, 0}}
	fragment := func(offset uint16) encaptest.Extension {
		return encaptest.Extension{Proto: encap.ProtoFragment, Body: []byte{0, 0, byte(offset >> 8), byte(offset), 0, 0, 0, 1}}
	}
	cases := []struct {
		name string
		port string
		sent []byte
		pass string // who gets it; empty: dropped
	}{
		{"to our own address", "p0", nested(own, nil).Frame(), ""},
		{"to a peer", "p0", nested(peer, nil).Frame(), ""},
		{"unicast, unknown", "p0", nested(peer, func(p *packet) { p.DstMAC = station(5) }).Frame(), ""},
		{"between tenants", "p0", nested(tenant, nil).Frame(), "p1:1 r0:1 trunk:1"},
		{"to a host of the underlay that is no peer", "p0", nested(s.remotes[1].addr, nil).Frame(), "p1:1 r0:1 trunk:1"},
		{"to another port of a peer", "p0", nested(peer, func(p *packet) { p.DstPort = 4790 }).Frame(), "p1:1 r0:1 trunk:1"},
		{"from the port, not to it", "p0", nested(peer, func(p *packet) { p.SrcPort, p.DstPort = DefaultPort, 50000 }).Frame(), "p1:1 r0:1 trunk:1"},
		{"TCP to the port", "p0", nested(peer, func(p *packet) { p.Proto = encap.ProtoTCP }).Frame(), "p1:1 r0:1 trunk:1"},
		{"not guarded", "q0", nested(peer, nil).Frame(), "q1:1 r0:1"},
		{"through a trunk's tag", "trunk", nested(peer, tagged(7)).Frame(), ""},
		{"through a priority tag", "p0", nested(peer, tagged(0xe000)).Frame(), ""},
		{"through a kept tag", "k0", nested(peer, tagged(100)).Frame(), ""},
		{"through two kept tags", "k0", nested(peer, tagged(100, 200)).Frame(), ""},
		{"tenants through two kept tags", "k0", nested(tenant, tagged(100, 200)).Frame(), "k1:1 r0:1"},
		{"empty datagram", "p0", nested(peer, func(p *packet) { p.Payload = nil }).Frame(), ""},
	}
	if v6 {
		cutChain := nested(peer, func(p *packet) { p.Extensions = []encaptest.Extension{fragment(1), hop}; p.Payload = nil }).Frame()
		cutChain = cutChain[:14+40+8]
		cutChain[14+5] = 8
		many := slices.Repeat([]encaptest.Extension{{Proto: encap.ProtoDestOpts, Body: hop.Body}}, 9)
		cases = append(cases, []struct {
			name string
			port string
			sent []byte
			pass string
		}{
			{"behind a hop-by-hop header", "p0", nested(peer, func(p *packet) { p.Extensions = []encaptest.Extension{hop} }).Frame(), ""},
			{"first fragment", "p0", nested(peer, func(p *packet) { p.Extensions = []encaptest.Extension{fragment(1)} }).Frame(), ""},
			{"later fragment", "p0", nested(peer, func(p *packet) { p.Extensions = []encaptest.Extension{fragment(8)} }).Frame(), "p1:1 r0:1 trunk:1"},
			{"first fragment that hides what it is", "p0", cutChain, ""},
			{"too many extension headers", "p0", nested(peer, func(p *packet) { p.Extensions = many }).Frame(), ""},
			{"too many extension headers between tenants", "p0", nested(tenant, func(p *packet) { p.Extensions = many }).Frame(), "p1:1 r0:1 trunk:1"},
		}...)
	} else {
		cases = append(cases, []struct {
			name string
			port string
			sent []byte
			pass string
		}{
			{"behind IP options", "p0", nested(peer, func(p *packet) { p.Options = []byte{1, 1, 1, 1} }).Frame(), ""},
			{"first fragment", "p0", nested(peer, func(p *packet) { p.Fragment = encap.IPv4MoreFragments }).Frame(), ""},
			{"later fragment", "p0", nested(peer, func(p *packet) { p.Fragment = 4 }).Frame(), "p1:1 r0:1 trunk:1"},
		}...)
	}
	for _, c := range cases {
		s.forget()
		dropped := uint64(0)
		if c.pass == "" {
			dropped = 1
		}
		s.drops(dropped, VXLANSpoof, func() { s.Inject(c.port, c.sent) })
		if got := s.counts(); got != c.pass {
			t.Errorf("%s: %q, want %q", c.name, got, c.pass)
		}
	}
	s.forget()
	s.drops(0, VXLANSpoof, func() { s.remotes[0].send(42, nested(peer, nil).Frame()) })
	if got := strings.Contains(s.counts(), "p0:1"); !got {
		t.Error("VXLAN in VXLAN from a peer did not arrive")
	}
	if offload {
		super, off := nested(peer, func(p *packet) { p.Payload = encaptest.Payload(5000, 1) }).Superframe(1000)
		s.drops(5, VXLANSpoof, func() { s.InjectSuperframe("p0", encodeOffload(off), super) })
	}
	for _, d := range s.Drops() {
		if d.Reason == VXLANSpoof && (d.VNI == 0 || d.Port == "") {
			t.Errorf("a drop that does not say where: %+v", d)
		}
	}
	// The port of a peer is guarded as long as there is the peer.
	odd := netip.AddrPortFrom(s.remotes[1].addr, 4790)
	s.do(func() error {
		return s.SetVNI(VNIConfig{VNI: 42, Learning: true, SpoofGuard: true, Peers: []netip.AddrPort{netip.AddrPortFrom(peer, 0), odd}})
	})
	toOdd := nested(odd.Addr(), func(p *packet) { p.DstPort = 4790 }).Frame()
	s.drops(1, VXLANSpoof, func() { s.Inject("p0", toOdd) })
	s.set(VNIConfig{VNI: 42, Learning: true, SpoofGuard: true}, peer)
	eventually(t, "the peer is gone", func() bool { return !s.peers.knows(odd.Addr()) })
	s.drops(0, VXLANSpoof, func() { s.Inject("p0", toOdd) })
}

// Every address that VXLAN is taken at is guarded, of either family, and so is every port.
func TestSpoofGuardAddresses(t *testing.T) {
	s := &Switch{config: Config{Local: netip.MustParseAddr("192.0.2.1"), OtherLocal: netip.MustParseAddr("2001:db8::1")}, peers: newRegistry(1)}
	s.peers.dports.add(DefaultPort)
	for _, a := range []string{"192.0.2.2:4789", "[2001:db8::2]:8472", "239.1.1.1:4789"} {
		if _, err := s.peers.obtain(netip.MustParseAddrPort(a), 1); err != nil {
			t.Fatal(err)
		}
	}
	w := &worker{s: s}
	for _, c := range []struct {
		dst  string
		want Reason
	}{
		{"192.0.2.1:4789", VXLANSpoof}, {"[2001:db8::1]:4789", VXLANSpoof}, {"192.0.2.2:4789", VXLANSpoof}, {"[2001:db8::2]:4789", VXLANSpoof},
		{"[2001:db8::2]:8472", VXLANSpoof}, {"192.0.2.1:8472", VXLANSpoof}, {"239.1.1.1:4789", VXLANSpoof},
		{"192.0.2.3:4789", ReasonNone}, {"[2001:db8::3]:4789", ReasonNone}, {"192.0.2.2:4790", ReasonNone}, {"239.1.1.2:4789", ReasonNone},
	} {
		dst := netip.MustParseAddrPort(c.dst)
		f := &w.frame
		f.reset(nested(dst.Addr(), func(p *encaptest.Packet) { p.DstPort = dst.Port() }).Frame(), 0, encap.Offload{})
		f.domain = &domain{spoofGuard: true}
		if got := w.guardSpoof(f); got != c.want {
			t.Errorf("to %s: %s, want %s", c.dst, got, c.want)
		}
	}
}

// The first fragment of a datagram, which ends before its UDP header, does not pass either: who puts it together sees what we do not.
//
//	p0, p1 ── switch ════ r0
func TestSpoofGuardFragments(t *testing.T) {
	t.Parallel()
	s := newScene6(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, SpoofGuard: true}, s.remotes[0].addr)
	s.port("p0", 42)
	s.port("p1", 42)
	for _, part := range []int{0, 4} { // bytes of the UDP header in the fragment
		p := nested(s.remotes[0].addr, func(p *encaptest.Packet) {
			p.Extensions = []encaptest.Extension{
				{Proto: encap.ProtoFragment, Body: []byte{0, 0, 0, 1, 0, 0, 0, 9}},
				{Proto: encap.ProtoDestOpts, Body: []byte{0, 0, 1, 4, 0, 0, 0, 0}},
			}
		})
		first := p.Frame()[:encap.EthernetLen+encap.IPv6Len+8+8+part]
		encap.IPv6(first[encap.EthernetLen:]).SetPayloadLen(uint16(8 + 8 + part))
		s.drops(1, VXLANSpoof, func() { s.Inject("p0", first) })
	}
}

// A checksum that the sender left to be written elsewhere makes a frame into one to a VTEP only after the guard has seen it. It is refused, and left by the
// programs to user space, which says so; the checksums that stacks leave unfinished pass.
//
//	p0 (station 1) ── switch ════ r0 (station 5)
func TestSpoofGuardUnfinishedChecksum(t *testing.T) {
	t.Parallel()
	for _, mode := range []FastPathMode{FastPathOff, FastPathOn} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 1, func(c *Config) { c.FastPath = mode })
			peer := s.remotes[0].addr
			s.set(VNIConfig{VNI: 42, Learning: true, SpoofGuard: true}, peer)
			s.openUnchecked(peer)
			s.port("p0", 42)
			s.pinned(42, "p0", station(1))
			s.pinned(42, "", station(5))
			const l3, l4 = encap.EthernetLen, encap.EthernetLen + encap.IPv4MinLen
			to := func(change func(*encaptest.Packet)) []byte {
				return nested(peer, func(p *encaptest.Packet) {
					p.DstMAC = station(5)
					change(p)
				}).Frame()
			}
			for _, c := range []struct {
				name          string
				sent          []byte
				start, offset uint16
				pass          bool
			}{
				{"the port", to(func(p *encaptest.Packet) { p.DstPort = 9 }), l4, 2, false},
				{"the port, by the offset that UDP has", to(func(p *encaptest.Packet) { p.DstPort = 9 }), l4 - 4, 6, false},
				{"the protocol", to(func(p *encaptest.Packet) { p.Proto = 253 }), l3 + 6, 2, false},
				{"the protocol of TCP", to(func(p *encaptest.Packet) { p.Proto = encap.ProtoTCP }), l3 + 6, 2, false},
				{"the address", to(func(p *encaptest.Packet) { p.Dst, p.DstPort = netip.MustParseAddr("198.51.100.9"), 9 }), l4 - 4, 2, false},
				{"UDP's checksum", to(func(p *encaptest.Packet) { p.DstPort = 9 }), l4, encap.UDPChecksumOffset, true},
				{"TCP's checksum", to(func(p *encaptest.Packet) { p.Proto = encap.ProtoTCP }), l4, encap.TCPChecksumOffset, true},
				{"one inside of what UDP carries", to(func(p *encaptest.Packet) { p.DstPort = 9 }), l4 + 8, 16, true},
				{"one of another protocol", to(func(p *encaptest.Packet) { p.Proto = 253 }), l4, 8, true},
				{"none", to(func(p *encaptest.Packet) { p.DstPort = 9 }), 0, 0, true},
			} {
				off := encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: c.start, CsumOffset: c.offset}
				if c.start == 0 {
					off = encap.Offload{}
				}
				s.forget()
				carried := s.Status().FastPath.Encap
				refused := uint64(1)
				if c.pass {
					refused = 0
				}
				s.drops(refused, BadOffload, func() { s.InjectSuperframe("p0", encodeOffload(off), c.sent) })
				if got := len(s.remotes[0].received()) == 1; got != c.pass {
					t.Errorf("%s: arrived: %v, want %v", c.name, got, c.pass)
				}
				if n := s.Status().FastPath.Encap - carried; mode == FastPathOn && (n == 1) != c.pass {
					t.Errorf("%s: the programs carried %d frames", c.name, n)
				}
			}
		})
	}
}

// The set of ports counts: a port that two peers listen on stays until both are gone.
func TestPortSet(t *testing.T) {
	var s portSet
	for _, p := range []uint16{0, 63, 64, 4789, 65535, 4789} {
		s.add(p)
	}
	s.remove(4789)
	s.remove(63)
	for p, want := range map[uint16]bool{0: true, 1: false, 62: false, 63: false, 64: true, 4788: false, 4789: true, 4790: false, 65535: true, 65534: false} {
		if s.has(p) != want {
			t.Errorf("port %d: %t, want %t", p, !want, want)
		}
	}
	s.remove(4789)
	if s.has(4789) || len(s.times) != 3 {
		t.Errorf("after the last: %t, %v", s.has(4789), s.times)
	}
}

// BenchmarkGuardSpoof measures the guard alone, on frames that are parsed already as those toward a peer must be in any case, and with the parse, as for
// those between two ports.
func BenchmarkGuardSpoof(b *testing.B) {
	s := &Switch{config: Config{Local: netip.MustParseAddr("192.0.2.1")}, peers: newRegistry(1)}
	s.peers.dports.add(DefaultPort)
	for i := range 1000 {
		if _, err := s.peers.obtain(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(2 + i>>8), byte(i)}), DefaultPort), 1); err != nil {
			b.Fatal(err)
		}
	}
	w := &worker{s: s}
	for _, c := range []struct {
		name string
		sent encaptest.Packet
		want Reason
	}{
		{"TCP", encaptest.Packet{Proto: encap.ProtoTCP}, ReasonNone},
		{"UDP", encaptest.Packet{Proto: encap.ProtoUDP, DstPort: 53}, ReasonNone},
		{"tenant", nested(netip.MustParseAddr("198.51.100.9"), nil), ReasonNone},
		{"spoof", nested(netip.MustParseAddr("192.0.3.7"), nil), VXLANSpoof},
	} {
		for _, parsed := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/parsed=%t", c.name, parsed), func(b *testing.B) {
				f := &w.frame
				f.reset(c.sent.Frame(), 0, encap.Offload{})
				f.domain = &domain{spoofGuard: true}
				f.parse()
				b.ReportAllocs()
				for b.Loop() {
					f.parsed = parsed
					if got := w.guardSpoof(f); got != c.want {
						b.Fatal(got)
					}
				}
			})
		}
	}
}
