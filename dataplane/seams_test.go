package dataplane

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// A superframe of UDP that the kernel of a peer on the same machine wrapped up whole, and its veth pair did not cut, is dropped: what lies at its seams is never
// taken for datagrams. A station wrote VXLAN headers of another VNI there.
//
//	p0 (VNI 42), q0 (VNI 43) ── switch ── eth0 ══ eth0 ── vx (VNI 42, the kernel's, with r0's address)
func TestUncutUDP(t *testing.T) {
	t.Parallel()
	for _, underlay6 := range []bool{false, true} {
		for _, inside6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("underlay6=%t/inside6=%t", underlay6, inside6), func(t *testing.T) {
				build := newScene
				if underlay6 {
					build = newScene6
				}
				s := build(t, 1, nil)
				for vni, port := range map[uint32]string{42: "p0", 43: "q0"} {
					s.set(VNIConfig{VNI: vni, Learning: true, MSSClamp: MSSOff}, s.addrs()...)
					s.port(port, vni)
				}
				s.wire.Must("ip", "link", "add", "vx", "type", "vxlan", "id", "42", "local", s.remotes[0].addr.String(), "dev", "eth0", "dstport", "14789", "udpcsum")
				s.wire.Must("sysctl", "-q", "-w", "net.ipv6.conf.vx.disable_ipv6=1")
				s.wire.Must("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx", "dst", s.config.Local.String(), "port", fmt.Sprint(s.config.DstPort))
				s.wire.Up("vx")
				in := s.wire.Injector("vx")
				s.Inject("p0", frameOf(station(1), broadcast))
				s.Inject("q0", frameOf(station(2), broadcast))
				s.forget()

				const size = 1000
				p := encaptest.Packet{V6: inside6, SrcMAC: station(11), DstMAC: station(1), Proto: encap.ProtoUDP, SrcPort: 1000, DstPort: 2000, Payload: make([]byte, 4*size)}
				for name, tags := range map[string][]byte{
					"untagged": nil, "802.1Q": {0x81, 0, 0, 5}, "802.1ad": {0x88, 0xa8, 0, 5}, "two of 802.1ad": {0x88, 0xa8, 0, 5, 0x88, 0xa8, 0, 6},
				} {
					headers := encap.VXLANLen + len(p.Frame()) - len(p.Payload) + len(tags)
					clear(p.Payload)
					for i := 1; i < 4; i++ {
						copy(p.Payload[i*size-headers:], datagramOf(43, frameOf(station(12), station(2))))
					}
					f, off := p.Superframe(size)
					off.CsumStart += uint16(len(tags))
					off.HdrLen += uint16(len(tags))
					f = slices.Insert(f, 12, tags...)
					var header [encap.OffloadLen]byte
					off.Encode(header[:])
					before := s.Totals().Dropped
					if err := in.Send(header, f); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if got := s.counts(); strings.Contains(got, "q0") {
						t.Errorf("%s: %q came out", name, got)
					}
					if s.Totals().Dropped == before {
						t.Errorf("%s: nothing was dropped", name)
					}
				}
				// A datagram of that size arrives.
				p.Payload = p.Payload[:size]
				if err := in.Send([encap.OffloadLen]byte{}, p.Frame()); err != nil {
					t.Fatal(err)
				}
				if got := s.counts(); got != "p0:1" {
					t.Errorf("%q of one datagram came out", got)
				}
			})
		}
	}
}

// What is believed of a message that the kernel calls several datagrams, by the first of them.
func TestSeams(t *testing.T) {
	t.Parallel()
	ip4 := datagramOf(42, encaptest.Packet{Proto: encap.ProtoUDP, Payload: make([]byte, 100)}.Frame())
	ip6 := datagramOf(42, encaptest.Packet{V6: true, Proto: encap.ProtoTCP, Payload: make([]byte, 100)}.Frame())
	tagged := func(d []byte, tags ...byte) []byte { return slices.Insert(slices.Clone(d), encap.VXLANLen+12, tags...) }
	as := func(kind uint16) []byte {
		d := slices.Clone(ip4)
		d[encap.VXLANLen+12], d[encap.VXLANLen+13] = byte(kind>>8), byte(kind)
		return d
	}
	for _, c := range []struct {
		name  string
		first []byte
		want  seams
	}{
		{"IPv4", ip4, seamsHold},
		{"IPv6", ip6, seamsHold},
		{"IPv4 with padding", append(slices.Clone(ip4), 0, 0, 0), seamsHold},
		{"IPv4 of one byte more", ip4[:len(ip4)-1], seamsForged},
		{"IPv6 of one byte more", ip6[:len(ip6)-1], seamsForged},
		{"802.1Q", tagged(ip4, 0x81, 0, 0, 5), seamsHold},
		{"802.1Q, cut", tagged(ip4, 0x81, 0, 0, 5)[:150], seamsForged},
		{"802.1ad, cut", tagged(ip4, 0x88, 0xa8, 0, 5)[:150], seamsForged},
		{"three tags, cut", tagged(ip6, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 5, 0x88, 0xa8, 0, 6)[:150], seamsForged},
		{"PPPoE", as(etherTypePPPoE), seamsOfOneVNI},
		{"BATMAN", as(etherTypeBATMAN), seamsOfOneVNI},
		{"802.1Q and PPPoE", tagged(as(etherTypePPPoE), 0x81, 0, 0, 5), seamsOfOneVNI},
		{"ARP", as(encap.EtherTypeARP), seamsHold},
		{"all tags", tagged(ip4[:20], 0x81, 0), seamsHold},
		{"a header alone", ip4[:encap.VXLANLen], seamsHold},
	} {
		message := append(slices.Clone(c.first), make([]byte, 200)...)
		if got := seamsOf(message, len(c.first)); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
