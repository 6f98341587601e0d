package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// A VNI with gpe sends GPE headers with Ethernet as the next protocol, in every copy and segment, and takes them as well as plain ones; what is of another
// version or protocol, or OAM, is dropped for that. Elsewhere the bits are reserved.
//
//	p0 p1 (VNI 42: gpe), q0 (VNI 43: gpe, strict), n0 (VNI 44: plain), n1 (VNI 45: plain, strict) ── switch ════ r0 r1
func TestGPE(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%t", offload), func(t *testing.T) { testGPE(t, offload) })
	}
}

func testGPE(t *testing.T, offload bool) {
	s := newScene(t, 2, func(c *Config) { c.Offload = offload })
	s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{GPE: true}}, s.addrs()...)
	s.set(VNIConfig{VNI: 43, Learning: true, Header: HeaderPolicy{GPE: true, StrictReserved: true}}, s.addrs()...)
	s.set(VNIConfig{VNI: 44, Learning: true}, s.addrs()...)
	s.set(VNIConfig{VNI: 45, Learning: true, Header: HeaderPolicy{StrictReserved: true}}, s.addrs()...)
	for port, vni := range map[string]uint32{"p0": 42, "p1": 42, "q0": 43, "n0": 44, "n1": 45} {
		s.port(port, vni)
	}
	const plain, gpe = 0x08000000, 0x0c000003
	for port, want := range map[string]struct {
		vni  uint32
		word uint32
	}{"p0": {42, gpe}, "q0": {43, gpe}, "n0": {44, plain}, "n1": {45, plain}} {
		s.Inject(port, frameOf(station(1), broadcast))
		s.rest()
		for i, r := range s.remotes {
			if got := r.headers(want.vni); !slices.Equal(got, []uint32{want.word}) {
				t.Errorf("from %s: remote %d got %#x, want %#x", port, i, got, want.word)
			}
		}
	}
	if offload {
		super, off := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(3000, 1)}.Superframe(1000)
		s.InjectSuperframe("p0", encodeOffload(off), super)
		s.rest()
		for i, r := range s.remotes {
			if got := r.headers(42); !slices.Equal(got, []uint32{gpe, gpe, gpe}) {
				t.Errorf("superframe: remote %d got %#x", i, got)
			}
		}
	}
	for p := range s.sniffed {
		s.seen(p)
	}
	arrives := map[uint32]string{42: "p0:1 p1:1", 43: "q0:1", 44: "n0:1", 45: "n1:1"}
	for _, c := range []struct {
		name   string
		word   uint32
		gpe    Reason
		strict Reason
		plain  Reason // in a plain VNI that is strict; one that is not takes everything
	}{
		{"Ethernet", gpe, ReasonNone, ReasonNone, BadVXLANHeader},
		{"plain", plain, ReasonNone, ReasonNone, ReasonNone},
		{"Ethernet, BUM", gpe | 0x02000000, ReasonNone, ReasonNone, BadVXLANHeader},
		{"IPv4", 0x0c000001, GPEProtocol, GPEProtocol, BadVXLANHeader},
		{"NSH", 0x0c000004, GPEProtocol, GPEProtocol, BadVXLANHeader},
		{"protocol 0", 0x0c000000, GPEProtocol, GPEProtocol, BadVXLANHeader},
		{"OAM", gpe | 0x01000000, GPEOAM, GPEOAM, BadVXLANHeader},
		{"OAM without protocol", 0x09000000, GPEOAM, GPEOAM, BadVXLANHeader},
		{"version 1", gpe | 0x10000000, GPEVersion, GPEVersion, BadVXLANHeader},
		{"version 2, OAM, IPv4", 0x2d000001, GPEVersion, GPEVersion, BadVXLANHeader},
		{"protocol without P", 0x08000001, ReasonNone, BadVXLANHeader, BadVXLANHeader},
		{"reserved flag", gpe | 0x80000000, ReasonNone, BadVXLANHeader, BadVXLANHeader},
		{"reserved field", gpe | 0x00000100, ReasonNone, BadVXLANHeader, BadVXLANHeader},
		{"I clear", 0x04000003, BadVXLANHeader, BadVXLANHeader, BadVXLANHeader},
	} {
		noFlag := c.word&0x08000000 == 0
		for vni, reason := range map[uint32]Reason{42: c.gpe, 43: c.strict, 44: ReasonNone, 45: c.plain} {
			if noFlag {
				reason = BadVXLANHeader
			}
			d := datagramOf(vni, frameOf(station(50), broadcast))
			binary.BigEndian.PutUint32(d, c.word)
			dropped, want := uint64(1), ""
			if reason == ReasonNone {
				dropped, want = 0, arrives[vni]
			}
			s.drops(dropped, reason, func() { s.remotes[0].sendRaw(d) })
			if got := s.counts(); got != want {
				t.Errorf("%s in VNI %d: %q, want %q", c.name, vni, got, want)
			}
		}
	}
	if err := s.SetVNI(VNIConfig{VNI: 42, Header: HeaderPolicy{GBP: true, GPE: true}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("gbp and gpe: %v", err)
	}
}
