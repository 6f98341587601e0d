package dataplane

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vtepd/bench/lab"
	"vtepd/dataplane/underlay"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// outer is the outer header of a datagram on the wire, as gopacket reads it.
type outer struct {
	tos, ttl         uint8
	dontFragment     bool
	fragment         bool
	source, dest     uint16
	udpChecksum      uint16
	udpLength, total int
	vni              uint32
	label            uint32 // IPv6
	inner            []byte
}

// wiretap looks at the underlay from the remotes' end, where datagrams are as a network card would send them.
//
//	p0 ── switch ── eth0 ══ eth0 (sniffed)
type wiretap struct {
	*scene
	sniffer *lab.Sniffer
}

func newWiretap(s *scene) *wiretap {
	s.link.OffloadsOff()
	return &wiretap{s, s.wire.Sniff(s.link.B.Name)}
}

// outers takes the VXLAN datagrams that crossed the wire since the last look. Fragments of anything fail the test.
func (w *wiretap) outers() []outer {
	w.t.Helper()
	w.rest()
	var list []outer
	for empty := 0; empty < 2; {
		f, ok := w.sniffer.Next(2 * time.Millisecond)
		if !ok {
			empty++
			continue
		}
		empty = 0
		p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
		var o outer
		switch ip := p.NetworkLayer().(type) {
		case *layers.IPv4:
			o.tos, o.ttl, o.total = ip.TOS, ip.TTL, int(ip.Length)
			o.dontFragment = ip.Flags&layers.IPv4DontFragment != 0
			o.fragment = ip.Flags&layers.IPv4MoreFragments != 0 || ip.FragOffset != 0
		case *layers.IPv6:
			o.tos, o.ttl, o.total = ip.TrafficClass, ip.HopLimit, int(ip.Length)+40
			o.dontFragment = true
			o.label = ip.FlowLabel
			o.fragment = ip.NextHeader == layers.IPProtocolIPv6Fragment
		default:
			continue
		}
		if o.fragment {
			w.t.Errorf("a fragment on the underlay: %v", p)
		}
		if o.total > 1500 {
			w.t.Errorf("a packet of %d bytes on a wire of 1500", o.total)
		}
		udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || udp.DstPort != DefaultPort {
			continue
		}
		o.source, o.dest, o.udpChecksum, o.udpLength = uint16(udp.SrcPort), uint16(udp.DstPort), udp.Checksum, int(udp.Length)
		if o.udpLength != o.total-(len(p.NetworkLayer().LayerContents())) {
			w.t.Errorf("UDP length %d in a packet of %d", o.udpLength, o.total)
		}
		payload := udp.Payload
		if len(payload) < encap.VXLANLen || !encap.VXLAN(payload).ReservedZero() || payload[0] != 0x08 {
			w.t.Errorf("no clean VXLAN header: % x", payload[:min(len(payload), 8)])
			continue
		}
		o.vni, o.inner = encap.VXLAN(payload).VNI(), payload[encap.VXLANLen:]
		list = append(list, o)
	}
	return list
}

// byFlow sorts datagrams by the inner TCP or UDP source port.
func byFlow(list []outer) map[uint16][]outer {
	of := map[uint16][]outer{}
	for _, o := range list {
		var l encap.Layout
		l.Parse(o.inner)
		port := binary.BigEndian.Uint16(o.inner[l.L4:])
		of[port] = append(of[port], o)
	}
	return of
}

// one sends a frame from p0 and returns the one datagram that comes of it.
func (w *wiretap) one(frame []byte) outer {
	w.t.Helper()
	w.Inject("p0", frame)
	got := w.outers()
	if len(got) != 1 {
		w.t.Fatalf("%d datagrams, want 1; drops %v", len(got), w.Drops())
	}
	if string(got[0].inner) != string(frame) {
		w.t.Errorf("the frame was changed:\n got % x\nwant % x", got[0].inner, frame)
	}
	return got[0]
}

// openUnchecked makes the transmit sockets without checksum, which a worker does at their first use: in this process that would be the wrong namespace.
func (n *node) openUnchecked(to netip.Addr) {
	n.t.Helper()
	n.do(func() error {
		tx := n.sockets[familyOf(to)].NewTransmitter()
		tx.Queue(underlay.NewDest(peerAt(to)), underlay.Class{NoChecksum: true}, 0, datagramOf(42, nil), nil, 0)
		var failure error
		tx.Flush(func(_ uint32, err error) { failure = err })
		return failure
	})
}

// The outer header is what the VNI's policy says: TTL, DSCP and ECN fixed and inherited, DF always, checksum as configured, reserved bits zero.
func TestOuterHeader(t *testing.T) {
	t.Parallel()
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprintf("underlay=v%d", family), func(t *testing.T) {
			build := newScene
			if family == 6 {
				build = newScene6
			}
			s := build(t, 1, nil)
			s.set(VNIConfig{VNI: 42}, s.addrs()...)
			s.port("p0", 42)
			w := newWiretap(s)
			packet := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoUDP, TOS: 0xb8, TTL: 17, Payload: encaptest.Payload(100, 1)}
			packet6 := packet
			packet6.V6 = true
			arp := encaptest.ARPRequest(station(1), encaptest.Src4, encaptest.Dst4)
			for _, c := range []struct {
				name     string
				header   HeaderPolicy
				frame    []byte
				tos, ttl uint8
			}{
				{"defaults", HeaderPolicy{}, packet.Frame(), 0, 64},
				{"defaults, inner IPv6", HeaderPolicy{}, packet6.Frame(), 0, 64},
				{"defaults, not IP", HeaderPolicy{}, arp, 0, 64},
				{"fixed", HeaderPolicy{TTL: 7, DSCP: 46}, packet.Frame(), 46 << 2, 7},
				{"fixed, not IP", HeaderPolicy{TTL: 255, DSCP: 63}, arp, 63 << 2, 255},
				{"inherited", HeaderPolicy{InheritTTL: true, InheritDSCP: true}, packet.Frame(), 0xb8, 17},
				{"inherited, inner IPv6", HeaderPolicy{InheritTTL: true, InheritDSCP: true}, packet6.Frame(), 0xb8, 17},
				{"inherited, not IP", HeaderPolicy{TTL: 9, DSCP: 10, InheritTTL: true, InheritDSCP: true}, arp, 40, 9},
			} {
				s.set(VNIConfig{VNI: 42, Header: c.header}, s.addrs()...)
				o := w.one(c.frame)
				if o.tos != c.tos || o.ttl != c.ttl || !o.dontFragment || o.vni != 42 || o.dest != DefaultPort {
					t.Errorf("%s: %+v, want tos %#x, ttl %d, don't fragment", c.name, o, c.tos, c.ttl)
				}
			}
			// Checksums: there unless switched off, and zero then.
			s.openUnchecked(s.remotes[0].addr)
			w.outers()
			for _, c := range []struct {
				name   string
				header HeaderPolicy
				zero   bool
			}{
				{"auto", HeaderPolicy{}, false},
				{"on", HeaderPolicy{UDPChecksum: ChecksumOn}, false},
				{"off", HeaderPolicy{UDPChecksum: ChecksumOff, UDP6ZeroChecksumTx: true}, true},
			} {
				s.set(VNIConfig{VNI: 42, Header: c.header}, s.addrs()...)
				if o := w.one(packet.Frame()); (o.udpChecksum == 0) != c.zero {
					t.Errorf("udp-checksum %s: %#04x", c.name, o.udpChecksum)
				}
				big, off := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(20000, 1)}.Superframe(1000)
				s.InjectSuperframe("p0", encodeOffload(off), big)
				got := w.outers()
				if len(got) != 20 {
					t.Errorf("udp-checksum %s: %d datagrams of a superframe, want 20", c.name, len(got))
				}
				for _, o := range got {
					if (o.udpChecksum == 0) != c.zero || !o.dontFragment {
						t.Errorf("udp-checksum %s: a segment with %#04x, don't fragment %t", c.name, o.udpChecksum, o.dontFragment)
					}
				}
			}
		})
	}
}

// The ECN field of the outer header is that of the inner one (RFC 6040 section 4.1), or as Linux makes it; DSCP beside it is not touched.
func TestECNEncap(t *testing.T) {
	everyMode(t, 1, testECNEncap)
}

func testECNEncap(t *testing.T, s *scene) {
	s.set(VNIConfig{VNI: 42}, s.addrs()...)
	s.port("p0", 42)
	s.pinned(42, "p0", station(1))
	s.pinned(42, "", station(2))
	w := newWiretap(s)
	for _, c := range []struct {
		mode encap.ECNMode
		want [4]uint8
	}{{encap.ECNRFC6040, [4]uint8{0, 1, 2, 3}}, {encap.ECNLinux, [4]uint8{0, 1, 2, 2}}} {
		for _, inherit := range []bool{false, true} {
			s.set(VNIConfig{VNI: 42, Header: HeaderPolicy{ECN: c.mode, DSCP: 8, InheritDSCP: inherit, UDP6ZeroChecksumTx: s.fastPathOn()}}, s.addrs()...)
			dscp := uint8(8 << 2)
			if inherit {
				dscp = 0x14
			}
			for inner, outer := range c.want {
				for _, v6 := range []bool{false, true} {
					frame := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), V6: v6, Proto: encap.ProtoUDP, TOS: 0x14 | uint8(inner), Payload: encaptest.Payload(20, 1)}.Frame()
					if o := w.one(frame); o.tos != dscp|outer {
						t.Errorf("mode %d, inherit %t, v6 %t, inner %d: outer TOS %#x, want %#x", c.mode, inherit, v6, inner, o.tos, dscp|outer)
					}
				}
			}
		}
	}
	s.wantCarried(16, 0)
}

// What of the outer ECN field reaches the inner one: the sixteen cases of RFC 6040 figure 4, as the kernel's selftest expects them, over both underlays
// and for both inner families; single datagrams and runs that the kernel joins.
func TestECNDecap(t *testing.T) {
	const drop = 0xff
	want := [4][4]uint8{ // [inner][outer]
		{0, 0, 0, drop},
		{1, 1, 1, 3},
		{2, 1, 2, 3},
		{3, 3, 3, 3},
	}
	everyMode(t, 1, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: 42}, s.addrs()...)
		s.port("p0", 42)
		s.pinned(42, "p0", station(2))
		r := s.remotes[0]
		for inner := range want {
			for outer, result := range want[inner] {
				r.tos(0x28 | uint8(outer)) // the DSCP of the outer header is not to be seen inside
				for _, v6 := range []bool{false, true} {
					for _, count := range []int{1, 5} {
						name := fmt.Sprintf("inner %d, outer %d, v6 %t, %d datagrams", inner, outer, v6, count)
						p := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), V6: v6, Proto: encap.ProtoUDP, TOS: 0x50 | uint8(inner), Payload: encaptest.Payload(100, 1)}
						frame := p.Frame()
						expected := p
						expected.TOS = 0x50 | result
						if result == drop {
							s.drops(uint64(count), ECNNotECT, func() { r.send(42, times(count, frame)...) })
							if got := s.counts(); got != "" {
								t.Errorf("%s: forwarded: %q", name, got)
							}
							continue
						}
						s.drops(0, ECNNotECT, func() { r.send(42, times(count, frame)...) })
						got := s.seen("p0")
						if count == 1 && len(got) != 1 || len(got) == 0 {
							t.Errorf("%s: %d frames", name, len(got))
							continue
						}
						var payload int
						for _, f := range got {
							tos := f[15]
							if v6 {
								tos = f[14]<<4 | f[15]>>4
							}
							if tos != 0x50|result {
								t.Errorf("%s: inner TOS %#x, want %#x", name, tos, 0x50|result)
							}
							var l encap.Layout
							l.Parse(f)
							payload += int(l.End) - int(l.Payload)
						}
						if payload != 100*count {
							t.Errorf("%s: %d bytes of payload, want %d", name, payload, 100*count)
						}
						if count == 1 && string(got[0]) != string(expected.Frame()) {
							t.Errorf("%s: frame changed beyond its ECN field", name)
						}
					}
				}
			}
		}
		// What is not IP has no such field: the mark is lost with the outer header.
		r.tos(3)
		s.drops(0, ECNNotECT, func() { r.send(42, encaptest.ARPRequest(station(1), encaptest.Src4, encaptest.Dst4)) })
		if got, want := s.counts(), "p0:1"; got != want {
			t.Errorf("ARP under an outer CE: %q, want %q", got, want)
		}
		s.wantCarried(0, 20) // what is marked or joined goes up
	})
}

// The UDP source port is that of the flow: between 49152 and 65535, always the same for a flow whatever worker sends it, and spread over the pool.
func TestSourcePorts(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42}, s.addrs()...)
	s.port("p0", 42)
	s.port("p1", 42)
	w := newWiretap(s)
	const flows, rounds = 512, 4
	of := map[string]uint16{}
	used := map[uint16]int{}
	for round := range rounds {
		var frames [][]byte
		for flow := range flows {
			frames = append(frames, encaptest.Packet{
				SrcMAC: station(1), DstMAC: station(2), V6: flow%2 == 0, Proto: []uint8{encap.ProtoUDP, encap.ProtoTCP}[flow/2%2],
				SrcPort: uint16(1000 + flow/4), DstPort: 80, Payload: encaptest.Payload(10+round, 1),
			}.Frame())
		}
		// The kernel chooses the queue, and with it the worker, by its own hash; from another port it is another one.
		port := []string{"p0", "p1"}[round%2]
		for batch := range slices.Chunk(frames, 256) {
			s.Inject(port, batch...)
			s.rest()
		}
		for _, o := range w.outers() {
			if o.source < underlay.FirstSource {
				t.Errorf("source port %d", o.source)
			}
			var l encap.Layout
			l.Parse(o.inner)
			key := string(o.inner[12:14]) + string(o.inner[l.L4:l.L4+4]) + string(rune(l.Proto))
			if before, ok := of[key]; !ok {
				of[key] = o.source
				used[o.source]++
			} else if before != o.source {
				t.Fatalf("a flow left from port %d and then from %d", before, o.source)
			}
		}
	}
	if len(of) != flows {
		t.Errorf("%d flows seen, want %d", len(of), flows)
	}
	if len(used) != underlay.DefaultSourcePorts {
		t.Errorf("%d source ports in use, want all %d: %v", len(used), underlay.DefaultSourcePorts, used)
	}
	mean := flows / underlay.DefaultSourcePorts
	for _, port := range slices.Sorted(maps.Keys(used)) {
		if n := used[port]; n < mean/3 || n > 3*mean {
			t.Errorf("port %d carries %d of %d flows", port, n, flows)
		}
	}
	// Not by the ports alone: fragments and what is not IP have addresses; a tag or the payload makes no difference.
	first := w.one(encaptest.ARPRequest(station(1), encaptest.Src4, encaptest.Dst4)).source
	for range 3 {
		if got := w.one(encaptest.ARPRequest(station(1), encaptest.Src4, encaptest.Dst4)).source; got != first {
			t.Errorf("ARP left from port %d and then from %d", first, got)
		}
	}
	fragment := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoUDP, ID: 9, Fragment: encap.IPv4MoreFragments, Payload: encaptest.Payload(1000, 1)}
	a := w.one(fragment.Frame()).source
	fragment.Fragment = 126
	fragment.Payload = encaptest.Payload(500, 2)
	if b := w.one(fragment.Frame()).source; a != b {
		t.Errorf("two fragments of one packet left from ports %d and %d", a, b)
	}
}
