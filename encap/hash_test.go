package encap_test

import (
	"encoding/binary"
	"math"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

func hash(p encaptest.Packet, seed uint64) uint32 {
	f := p.Frame()
	var l encap.Layout
	l.Parse(f)
	return encap.FlowHash(f, &l, seed)
}

func TestFlowHash(t *testing.T) {
	tcp4 := encaptest.Packet{Flags: encap.TCPAck}
	tcp6 := encaptest.Packet{V6: true, Flags: encap.TCPAck}
	udp := encaptest.Packet{Proto: encap.ProtoUDP}
	icmp := encaptest.Packet{Proto: encap.ProtoICMP}
	raw := encaptest.Packet{EtherType: 0x88cc, Payload: make([]byte, 50)}
	with := func(p encaptest.Packet, f func(*encaptest.Packet)) encaptest.Packet { f(&p); return p }
	fragment := with(udp, func(p *encaptest.Packet) { p.Fragment = encap.IPv4MoreFragments })
	fragment6 := with(udp, func(p *encaptest.Packet) { p.V6 = true; p.Extensions = []encaptest.Extension{fragmentHeader(1)} })
	same := []struct {
		name string
		a, b encaptest.Packet
	}{
		{"payload, seq, flags", tcp4, with(tcp4, func(p *encaptest.Packet) { p.Payload = make([]byte, 9); p.Seq = 7; p.Flags = encap.TCPFin })},
		{"tags", tcp4, with(tcp4, func(p *encaptest.Packet) { p.Tags = []uint16{1, 2} })},
		{"macs of ip", tcp4, with(tcp4, func(p *encaptest.Packet) { p.SrcMAC = 0x020000000009 })},
		{"ip options", tcp4, with(tcp4, func(p *encaptest.Packet) { p.Options = make([]byte, 8) })},
		{"extension headers", tcp6, with(tcp6, func(p *encaptest.Packet) { p.Extensions = []encaptest.Extension{hopByHop(1)} })},
		{"first and later fragment", fragment, with(udp, func(p *encaptest.Packet) { p.Fragment = 99; p.SrcPort = 1234 })},
		{"first and later ipv6 fragment", fragment6, with(fragment6, func(p *encaptest.Packet) { p.Extensions = []encaptest.Extension{fragmentHeader(80)}; p.DstPort = 9 })},
		{"icmp identifier", icmp, with(icmp, func(p *encaptest.Packet) { p.Rest = 99 })},
		{"length of 802.3", with(raw, func(p *encaptest.Packet) { p.EtherType = 46 }), with(raw, func(p *encaptest.Packet) { p.EtherType = 1500; p.Payload = make([]byte, 1500) })},
		{"payload of non-ip", raw, with(raw, func(p *encaptest.Packet) { p.Payload = make([]byte, 99) })},
	}
	for _, tt := range same {
		if hash(tt.a, 1) != hash(tt.b, 1) {
			t.Errorf("%s: one flow, two hashes", tt.name)
		}
	}
	differ := []struct {
		name string
		a, b encaptest.Packet
	}{
		{"source port", tcp4, with(tcp4, func(p *encaptest.Packet) { p.SrcPort = 9 })},
		{"destination port", tcp6, with(tcp6, func(p *encaptest.Packet) { p.DstPort = 9 })},
		{"source address", tcp4, with(tcp4, func(p *encaptest.Packet) { p.Src = encaptest.Src4.Next() })},
		{"destination address", tcp6, with(tcp6, func(p *encaptest.Packet) { p.Dst = encaptest.Dst6.Next() })},
		{"protocol", udp, with(tcp4, func(p *encaptest.Packet) {})},
		{"fragment and whole", udp, fragment},
		{"destination mac of non-ip", raw, with(raw, func(p *encaptest.Packet) { p.DstMAC = 0x020000000009 })},
		{"source mac of non-ip", raw, with(raw, func(p *encaptest.Packet) { p.SrcMAC = 0x020000000009 })},
		{"802.3 and ethertype", with(raw, func(p *encaptest.Packet) { p.EtherType = 46 }), raw},
		{"ethertype", raw, with(raw, func(p *encaptest.Packet) { p.EtherType = 0x88cd })},
	}
	for _, tt := range differ {
		if hash(tt.a, 1) == hash(tt.b, 1) {
			t.Errorf("%s: two flows, one hash", tt.name)
		}
	}
	for _, p := range []encaptest.Packet{tcp4, tcp6, raw, icmp} {
		if hash(p, 1) == hash(p, 2) {
			t.Error("the seed does not matter")
		}
	}
	var l encap.Layout
	l.Parse(nil)
	encap.FlowHash(nil, &l, 1)
}

// TestSourcePortSpread: 65536 flows that differ in one port over 16384 source ports,
// four each on average. Chi-squared has mean 16383 and deviation 181 when uniform.
func TestSourcePortSpread(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		f := encaptest.Packet{V6: v6, Flags: encap.TCPAck}.Frame()
		var l encap.Layout
		l.Parse(f)
		for name, vary := range map[string]func(i int){
			"port":    func(i int) { binary.BigEndian.PutUint16(f[l.L4:], uint16(i)) },
			"address": func(i int) { binary.BigEndian.PutUint16(f[l.L4-2:], uint16(i)) },
		} {
			var counts [16384]float64
			for i := range 65536 {
				vary(i)
				counts[encap.FlowHash(f, &l, 0x1234)>>18]++
			}
			chi := 0.0
			for _, n := range counts {
				chi += (n - 4) * (n - 4) / 4
			}
			if math.Abs(chi-16383) > 6*181 {
				t.Errorf("v6 %v, %s: chi-squared %.0f", v6, name, chi)
			}
		}
	}
}
