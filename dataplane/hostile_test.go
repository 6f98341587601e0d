package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// What a peer, or somebody who pretends to be one, may send instead of a frame: each is dropped for its reason and nothing comes out.
//
//	p0 p1 (VNI 42) ── switch ════ r0
func TestHostileDatagrams(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	s.port("p1", 42)
	frame := frameOf(station(1), broadcast)
	good := datagramOf(42, frame)
	with := func(change func(d []byte) []byte) []byte { return change(append([]byte(nil), good...)) }
	fromNobody := frameOf(station(1), broadcast)
	clear(fromNobody[6:12])
	toNobody := frameOf(station(1), broadcast)
	clear(toNobody[:6])
	nested := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, Proto: encap.ProtoUDP, SrcPort: 50000, DstPort: DefaultPort, Payload: good}.Frame()
	for _, c := range []struct {
		name   string
		sent   []byte
		reason Reason // ReasonNone: forwarded
	}{
		{"empty", nil, BadVXLANHeader},
		{"1 byte", good[:1], BadVXLANHeader},
		{"7 bytes", good[:7], BadVXLANHeader},
		{"I flag clear", with(func(d []byte) []byte { d[0] = 0; return d }), BadVXLANHeader},
		{"all flags but I", with(func(d []byte) []byte { d[0] = 0xf7; return d }), BadVXLANHeader},
		{"VNI 0", datagramOf(0, frame), UnknownVNI},
		{"VNI unknown", datagramOf(43, frame), UnknownVNI},
		{"VNI largest", datagramOf(MaxVNI, frame), UnknownVNI},
		{"no inner frame", good[:8], ShortFrame},
		{"inner frame of 1 byte", good[:9], ShortFrame},
		{"inner frame of 13 bytes", good[:21], ShortFrame},
		{"inner frame of 14 bytes", good[:22], ReasonNone},
		{"inner tag without its end", datagramOf(42, putTag(frame, 0x8100, 0)[:16]), ShortFrame},
		{"source zero", datagramOf(42, fromNobody), InvalidSourceMAC},
		{"source multicast", datagramOf(42, frameOf(0x01005e000001, broadcast)), InvalidSourceMAC},
		{"source broadcast", datagramOf(42, frameOf(broadcast, broadcast)), InvalidSourceMAC},
		{"destination zero", datagramOf(42, toNobody), ReasonNone},
		{"ARP cut short", datagramOf(42, encaptest.ARPRequest(station(1), encaptest.Src4, encaptest.Dst4)[:20]), ReasonNone},
		{"IPv4 cut short", datagramOf(42, frame[:20]), ReasonNone},
		{"IPv4 header length 0", datagramOf(42, append(append([]byte(nil), frame[:14]...), 0x40, 0, 0, 0)), ReasonNone},
		{"IPv6 cut short", datagramOf(42, encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, V6: true}.Frame()[:30]), ReasonNone},
		{"nested VXLAN", datagramOf(42, nested), ReasonNone},
		{"802.3 length", datagramOf(42, append(append([]byte(nil), frame[:12]...), 0, 3, 0x42, 0x42, 3)), ReasonNone},
		{"larger than the port", datagramOf(42, encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, Payload: encaptest.Payload(1431, 1), Proto: 253}.Frame()), TooBig},
		{"largest", datagramOf(42, append(append([]byte(nil), frame[:14]...), make([]byte, 65507-22)...)), TooBig},
	} {
		want := ""
		if c.reason == ReasonNone {
			want = "p0:1 p1:1"
			s.drops(0, c.reason, func() { s.remotes[0].sendRaw(c.sent) })
		} else {
			s.drops(1, c.reason, func() { s.remotes[0].sendRaw(c.sent) })
		}
		if got := s.counts(); got != want {
			t.Errorf("%s: %q, want %q", c.name, got, want)
		}
	}
	for _, d := range s.Drops() {
		if d.Reason == ShortFrame && (d.VNI != 42 || d.Peer != peerAt(s.remotes[0].addr)) {
			t.Errorf("a drop that does not say where: %+v", d)
		}
	}
}

// Each of the 39 reserved bits of the header is ignored, or drops the datagram where the VNI says so; what vtepd sends has none set (see the wiretap).
func TestReservedBits(t *testing.T) {
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.set(VNIConfig{VNI: 43, Learning: true, Header: HeaderPolicy{StrictReserved: true}}, s.addrs()...)
	s.port("p0", 42)
	s.port("q0", 43)
	var bits []int
	for bit := range 64 {
		if inVNI := bit >= 32 && bit < 56; !inVNI && bit != 4 {
			bits = append(bits, bit)
		}
	}
	if len(bits) != 39 {
		t.Fatalf("%d reserved bits", len(bits))
	}
	flip := func(vni uint32, bit int) []byte {
		d := datagramOf(vni, frameOf(station(1), broadcast))
		binary.BigEndian.PutUint64(d, binary.BigEndian.Uint64(d)|1<<(63-bit))
		return d
	}
	s.Inject("p0", frameOf(station(2), broadcast)) // somebody is there
	s.forget()
	for _, bit := range bits {
		s.remotes[0].sendRaw(flip(42, bit))
	}
	if got, want := s.counts(), "p0:39"; got != want {
		t.Errorf("ignored: %q, want %q", got, want)
	}
	s.drops(39, BadVXLANHeader, func() {
		for _, bit := range bits {
			s.remotes[0].sendRaw(flip(43, bit))
		}
	})
	s.remotes[0].send(43, frameOf(station(1), broadcast))
	if got, want := s.counts(), "q0:1"; got != want {
		t.Errorf("strict: %q, want %q", got, want)
	}
}

// Who may send into a VNI: its peers, the allowed prefixes, or anybody.
//
//	p0 (VNIs 42, 43, 44) ── switch ════ r0 (peer of 42) r1 r2
func TestWhoMaySend(t *testing.T) {
	s := newScene(t, 3, nil)
	r := s.remotes
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs(0)...)
	s.set(VNIConfig{VNI: 43, Learning: true, Allow: []netip.Prefix{netip.PrefixFrom(r[1].addr, 32)}}, s.addrs(0)...)
	s.set(VNIConfig{VNI: 44, Learning: true, Policy: Learn})
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, Tagged: []VIDMap{{43, 43}, {44, 44}}})
	for _, c := range []struct {
		vni   uint32
		admit [3]bool
	}{
		{42, [3]bool{true, false, false}},
		{43, [3]bool{true, true, false}},
		{44, [3]bool{true, true, true}},
	} {
		for i, want := range c.admit {
			frame := frameOf(station(10*int(c.vni)+i), broadcast)
			if want {
				s.drops(0, UnknownPeer, func() { r[i].send(c.vni, frame) })
				if e := s.entry(c.vni, station(10*int(c.vni)+i)); e.Dst != peerAt(r[i].addr) {
					t.Errorf("vni %d: learned at %v, want %v", c.vni, e.Dst, r[i].addr)
				}
			} else {
				s.drops(2, UnknownPeer, func() { r[i].send(c.vni, frame, frame) })
				if s.known(c.vni, station(10*int(c.vni)+i)) {
					t.Errorf("vni %d: learned from a stranger", c.vni)
				}
			}
		}
	}
	s.forget()
	// A learned source gets what is for its MACs, and no flood.
	s.Inject("p0", putTag(frameOf(station(1), broadcast), 0x8100, 44), putTag(frameOf(station(1), station(440+2)), 0x8100, 44), putTag(frameOf(station(1), station(430+1)), 0x8100, 43))
	if got, want := s.counts(), "r1:1 r2:1"; got != want {
		t.Errorf("to learned sources: %q, want %q", got, want)
	}
	// A change of policy holds from then on.
	s.set(VNIConfig{VNI: 44, Learning: true}, s.addrs(0)...)
	s.drops(1, UnknownPeer, func() { r[2].send(44, frameOf(station(442), broadcast)) })
	s.balance()
}

// A datagram without UDP checksum is accepted over IPv4 (RFC 7348 section 5), and over IPv6 only when allowed (RFC 6935); one with a wrong checksum never.
func TestDatagramChecksums(t *testing.T) {
	t.Parallel()
	frame := frameOf(station(1), broadcast)
	zero4 := func(s *scene, on int) { s.remotes[0].option(unix.SOL_SOCKET, unix.SO_NO_CHECK, on) }
	zero6 := func(s *scene, on int) { s.remotes[0].option(unix.SOL_UDP, unix.UDP_NO_CHECK6_TX, on) }
	for _, c := range []struct {
		name  string
		scene func(testing.TB, int, func(*Config)) *scene
		rx    bool
		zero  func(*scene, int)
		want  string
	}{
		{"IPv4", newScene, false, zero4, "p0:4"},
		{"IPv6", newScene6, false, zero6, "p0:1"},
		{"IPv6 allowed", newScene6, true, zero6, "p0:4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.scene(t, 1, func(conf *Config) { conf.UDP6ZeroChecksumRx = c.rx })
			s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
			s.port("p0", 42)
			c.zero(s, 1)
			s.remotes[0].send(42, times(3, frame)...)
			c.zero(s, 0)
			s.remotes[0].send(42, frame)
			if got := s.counts(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}

	// The link's ends finish checksums here, so that a wrong one is wrong.
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	packet := encaptest.Packet{
		SrcMAC: macOf(s.wire.MAC("eth0")), DstMAC: macOf(s.MAC("eth0")), Src: s.remotes[0].addr, Dst: s.config.Local,
		Proto: encap.ProtoUDP, SrcPort: 50000, DstPort: DefaultPort, Payload: datagramOf(42, frame),
	}
	s.wire.Inject("eth0", packet.Frame())
	packet.BadChecksum = true
	s.wire.Inject("eth0", packet.Frame(), packet.Frame())
	if got, want := s.counts(), "p0:1"; got != want {
		t.Errorf("one right and two wrong checksums: %q, want %q", got, want)
	}
	// Source port 0 is none (RFC 768), and says nothing about the sender.
	packet.BadChecksum, packet.SrcPort = false, 1
	s.wire.Inject("eth0", packet.Frame())
	if got, want := s.counts(), "p0:1"; got != want {
		t.Errorf("a low source port: %q, want %q", got, want)
	}
	// Fragments of a datagram are put together by the kernel, or never arrive: never a piece of one.
	packet.Fragment = encap.IPv4MoreFragments
	s.drops(0, ReasonNone, func() { s.wire.Inject("eth0", packet.Frame()) })
	if got := s.counts(); got != "" {
		t.Errorf("a first fragment alone: %q", got)
	}
}

func macOf(b []byte) uint64 { return encap.MAC(b) }

// Noise in every length, bare and behind a valid header, neither stops the switch nor gets anything but accounted for.
//
//	p0 p1 (VNI 42) ── switch ════ r0
func TestNoise(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn}, s.addrs()...)
	s.port("p0", 42)
	s.port("p1", 42)
	rng := rand.New(rand.NewPCG(7, 7))
	before := s.Totals().Received
	const rounds = 4000
	for i := range rounds {
		noise := encaptest.Payload(rng.IntN(1400), rng.Uint64())
		switch i % 4 {
		case 0:
			s.remotes[0].sendRaw(noise)
		case 1:
			s.remotes[0].send(42, noise)
		case 2: // a plausible frame with a few bytes wrong
			frame, _ := randomFrame(rng)
			for range 3 {
				if len(frame) > 0 {
					frame[rng.IntN(len(frame))] = byte(rng.Uint32())
				}
			}
			s.remotes[0].send(42, frame[:min(len(frame), 65000)])
		case 3: // and cut short
			frame, _ := randomFrame(rng)
			s.remotes[0].send(42, frame[:rng.IntN(min(len(frame), 65000)+1)])
		}
		if i%64 == 63 { // a fragmented datagram is many packets, and the kernel's backlog holds 1000
			s.rest()
			s.seen("p0")
			s.seen("p1")
		}
	}
	s.rest()
	if got := s.Totals().Received - before; got != rounds {
		t.Errorf("%d datagrams sent, %d accounted for, %d lost in the kernel", rounds, got, s.Status().KernelDrops)
	}
	s.balance()
	s.forget()
	s.Inject("p0", frameOf(station(1), broadcast))
	s.rest() // another worker may read the answer
	s.remotes[0].send(42, frameOf(station(2), station(1)))
	if got, want := s.counts(), "p0:1 p1:1 r0:1"; got != want {
		t.Errorf("after the noise: %q, want %q", got, want)
	}
}
