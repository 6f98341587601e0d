package dataplane

import (
	"fmt"
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
				headers := encap.VXLANLen + len(p.Frame()) - len(p.Payload)
				for i := 1; i < 4; i++ {
					copy(p.Payload[i*size-headers:], datagramOf(43, frameOf(station(12), station(2))))
				}
				f, off := p.Superframe(size)
				var header [encap.OffloadLen]byte
				off.Encode(header[:])
				s.drops(1, TooBig, func() {
					if err := in.Send(header, f); err != nil {
						t.Fatal(err)
					}
				})
				if got := s.counts(); got != "" {
					t.Errorf("%q came out", got)
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
