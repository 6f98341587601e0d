package dataplane

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// TestKernelSelftestInherit has the VXLAN cases of the kernel's l2_tos_ttl_inherit.sh (tools/testing/selftests/net): what an outer header has of the inner
// one, or by configuration, for outer IPv4 and IPv6, inner IPv4, IPv6 and other, TOS and TTL inherited and fixed, with and without an inner 802.1Q tag.
//
// The script switches TOS and TTL together and takes ARP for "other", which makes 24 cases; here they are switched apart, and another EtherType stands
// beside ARP, which makes 64. A tag inside the VNI needs `inner-vlan: keep` (RFC 7348 section 6.1).
//
//	p0 (VNI 100) ── switch ════ r0 (sniffed)
func TestKernelSelftestInherit(t *testing.T) {
	const vni, vid = 100, 99
	everyMode(t, 1, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: vni}, s.addrs()...)
		s.port("p0", vni)
		s.pinned(vni, "p0", station(1))
		s.pinned(vni, "", station(2))
		w := newWiretap(s)
		// As the script's random values, the same in every run: never those that are there without being set.
		rng := rand.New(rand.NewPCG(1, 2))
		tos := func() uint8 { return uint8(1+rng.IntN(63)) << 2 }
		ttl := func() uint8 {
			for {
				if n := uint8(1 + rng.IntN(255)); n != 64 {
					return n
				}
			}
		}
		payload := encaptest.Payload(56, 1)
		for _, inner := range []string{"IPv4", "IPv6", "ARP", "other"} {
			for _, inheritTOS := range []bool{true, false} {
				for _, inheritTTL := range []bool{true, false} {
					for _, vlan := range []bool{false, true} {
						p := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoICMP, Type: 8, TOS: tos(), TTL: ttl(), Payload: payload}
						if vlan {
							p.Tags = []uint16{vid}
						}
						policy := HeaderPolicy{InheritDSCP: inheritTOS, InheritTTL: inheritTTL, KeepInnerVLAN: vlan, UDP6ZeroChecksumTx: s.fastPathOn()}
						wantTOS, wantTTL := p.TOS, p.TTL
						switch inner {
						case "IPv6":
							p.V6, p.Proto, p.Type = true, encap.ProtoICMPv6, 128
						case "ARP":
							arp := encaptest.ARPRequest(station(1), encaptest.Src4, encaptest.Dst4)
							p.EtherType, p.Payload, p.DstMAC = encap.EtherTypeARP, arp[encap.EthernetLen:], broadcast
							wantTOS, wantTTL = 0, 64
						case "other":
							p.EtherType = 0x88b5 // IEEE 802 local experimental
							wantTOS, wantTTL = 0, 64
						}
						if !inheritTOS {
							wantTOS = tos()
							policy.DSCP = wantTOS >> 2
						}
						if !inheritTTL {
							wantTTL = ttl()
							policy.TTL = wantTTL
						}
						s.set(VNIConfig{VNI: vni, Header: policy}, s.addrs()...)
						if o := w.one(p.Frame()); o.tos != wantTOS || o.ttl != wantTTL {
							t.Errorf("inner %s, inherit TOS %t, TTL %t, vlan %t: TOS %#02x, TTL %d, want %#02x, %d", inner, inheritTOS, inheritTTL, vlan, o.tos, o.ttl, wantTOS, wantTTL)
						}
					}
				}
			}
		}
		s.balance()
		s.wantCarried(8, 0) // inner IPv4 and IPv6 without tag
	})
}

// The same fields of a superframe's segments: all have those of the one header they were cut from.
func TestKernelSelftestInheritSuperframe(t *testing.T) {
	everyMode(t, 1, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: 100, Header: HeaderPolicy{InheritDSCP: true, InheritTTL: true, UDP6ZeroChecksumTx: s.fastPathOn()}}, s.addrs()...)
		s.port("p0", 100)
		s.pinned(100, "p0", station(1))
		s.pinned(100, "", station(2))
		w := newWiretap(s)
		for _, v6 := range []bool{false, true} {
			big, off := encaptest.Packet{
				SrcMAC: station(1), DstMAC: station(2), V6: v6, Proto: encap.ProtoTCP, TOS: 0x5a, TTL: 33, Flags: encap.TCPAck, Payload: encaptest.Payload(12000, 1),
			}.Superframe(1200)
			s.InjectSuperframe("p0", encodeOffload(off), big)
			got := w.outers()
			if len(got) != 10 {
				t.Errorf("inner IPv6 %t: %d datagrams, want 10", v6, len(got))
			}
			for i, o := range got {
				if fmt.Sprint(o.tos, o.ttl) != fmt.Sprint(0x5a, 33) {
					t.Errorf("inner IPv6 %t: segment %d has TOS %#02x and TTL %d", v6, i, o.tos, o.ttl)
				}
			}
		}
		s.wantCarried(20, 0)
	})
}
