package encap_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

func hopByHop(units int) encaptest.Extension {
	b := make([]byte, 8*units)
	b[1] = byte(units - 1)
	return encaptest.Extension{Proto: encap.ProtoHopByHop, Body: b}
}

func fragmentHeader(offsetAndMore uint16) encaptest.Extension {
	return encaptest.Extension{Proto: encap.ProtoFragment, Body: []byte{0, 0, byte(offsetAndMore >> 8), byte(offsetAndMore), 0, 0, 0, 1}}
}

func routing() encaptest.Extension {
	return encaptest.Extension{Proto: encap.ProtoRouting, Body: make([]byte, 8)}
}

func authentication() encaptest.Extension {
	return encaptest.Extension{Proto: encap.ProtoAH, Body: append([]byte{0, 4}, make([]byte, 22)...)}
}

func TestParse(t *testing.T) {
	eight := make([]encaptest.Extension, 8)
	nine := make([]encaptest.Extension, 9)
	for i := range nine {
		nine[i] = encaptest.Extension{Proto: encap.ProtoDestOpts, Body: make([]byte, 8)}
	}
	copy(eight, nine)
	cut := func(b []byte, n int) []byte { return b[:n] }
	set := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	tests := []struct {
		name  string
		frame []byte
		want  encap.Layout
	}{
		{"empty", nil, encap.Layout{Flags: encap.LayoutTruncated}},
		{"13 bytes", make([]byte, 13), encap.Layout{Flags: encap.LayoutTruncated, End: 13}},
		{"802.3 length", make([]byte, 60), encap.Layout{L3: 14, End: 60}},
		{"arp", encaptest.ARPRequest(encaptest.SrcMAC, encaptest.Src4, encaptest.Dst4),
			encap.Layout{EtherType: encap.EtherTypeARP, L3: 14, End: 42}},
		{"tcp4", encaptest.Packet{Payload: make([]byte, 5)}.Frame(),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Payload: 54, Proto: 6, Flags: encap.LayoutIPv4, End: 59}},
		{"tcp4 padded", encaptest.Packet{Pad: 60}.Frame(),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Payload: 54, Proto: 6, Flags: encap.LayoutIPv4, End: 54}},
		{"tcp4 one tag", encaptest.Packet{Tags: []uint16{0xe00a}, TCPOptions: encaptest.Timestamps(1, 2)}.Frame(),
			encap.Layout{EtherType: 0x0800, TPID: 0x8100, TCI: 0xe00a, Tags: 1, L3: 18, L4: 38, Payload: 70, Proto: 6, Flags: encap.LayoutIPv4, End: 70}},
		{"udp6 two tags", encaptest.Packet{V6: true, Proto: encap.ProtoUDP, Tags: []uint16{7, 8}, Payload: make([]byte, 3)}.Frame(),
			encap.Layout{EtherType: 0x86dd, TPID: 0x88a8, TCI: 7, Tags: 2, L3: 22, L4: 62, Payload: 70, Proto: 17, Flags: encap.LayoutIPv6, End: 73}},
		{"three tags", encaptest.Packet{Tags: []uint16{1, 2, 3}}.Frame(),
			encap.Layout{EtherType: 0x8100, TPID: 0x88a8, TCI: 1, Tags: 2, L3: 22, End: 66}},
		{"tag cut off", cut(encaptest.Packet{Tags: []uint16{1}}.Frame(), 17),
			encap.Layout{EtherType: 0x8100, TPID: 0x8100, Flags: encap.LayoutTruncated, End: 17}},
		{"second tag cut off", cut(encaptest.Packet{Tags: []uint16{1, 2}}.Frame(), 20),
			encap.Layout{EtherType: 0x8100, TPID: 0x88a8, TCI: 1, Tags: 1, Flags: encap.LayoutTruncated, End: 20}},
		{"ipv4 options", encaptest.Packet{Options: make([]byte, 8)}.Frame(),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 42, Payload: 62, Proto: 6, Flags: encap.LayoutIPv4 | encap.LayoutOptions, End: 62}},
		{"ipv4 first fragment", encaptest.Packet{Fragment: encap.IPv4MoreFragments}.Frame(),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Payload: 54, Proto: 6, Flags: encap.LayoutIPv4 | encap.LayoutFragment, End: 54}},
		{"ipv4 last fragment", encaptest.Packet{Fragment: 100}.Frame(),
			encap.Layout{EtherType: 0x0800, L3: 14, Proto: 6, Flags: encap.LayoutIPv4 | encap.LayoutFragment, End: 54}},
		{"ipv4 longer than frame", cut(encaptest.Packet{Payload: make([]byte, 100)}.Frame(), 80),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Payload: 54, Proto: 6, Flags: encap.LayoutIPv4 | encap.LayoutTruncated, End: 80}},
		{"ipv4 header cut off", cut(encaptest.Packet{}.Frame(), 33),
			encap.Layout{EtherType: 0x0800, L3: 14, Flags: encap.LayoutTruncated, End: 33}},
		{"ipv4 options cut off", cut(encaptest.Packet{Options: make([]byte, 8)}.Frame(), 40),
			encap.Layout{EtherType: 0x0800, L3: 14, Flags: encap.LayoutTruncated, End: 40}},
		{"ipv4 version 5", set(encaptest.Packet{}.Frame(), 14, 0x55),
			encap.Layout{EtherType: 0x0800, L3: 14, Flags: encap.LayoutMalformed, End: 54}},
		{"ipv4 header length 16", set(encaptest.Packet{}.Frame(), 14, 0x44),
			encap.Layout{EtherType: 0x0800, L3: 14, Flags: encap.LayoutMalformed, End: 54}},
		{"ipv4 total length 16", set(encaptest.Packet{}.Frame(), 17, 16),
			encap.Layout{EtherType: 0x0800, L3: 14, Proto: 6, Flags: encap.LayoutIPv4 | encap.LayoutMalformed, End: 54}},
		{"ipv4 total length ends in tcp header", set(encaptest.Packet{}.Frame(), 17, 30),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Proto: 6, Flags: encap.LayoutIPv4 | encap.LayoutTruncated, End: 44}},
		{"tcp data offset 4", set(encaptest.Packet{}.Frame(), 46, 0x40),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Proto: 6, Flags: encap.LayoutIPv4 | encap.LayoutMalformed, End: 54}},
		{"tcp data offset beyond end", set(encaptest.Packet{}.Frame(), 46, 0x60),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Proto: 6, Flags: encap.LayoutIPv4 | encap.LayoutTruncated, End: 54}},
		{"udp header cut off", cut(encaptest.Packet{Proto: encap.ProtoUDP}.Frame(), 41),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Proto: 17, Flags: encap.LayoutIPv4 | encap.LayoutTruncated, End: 41}},
		{"icmp", encaptest.Packet{Proto: encap.ProtoICMP}.Frame(),
			encap.Layout{EtherType: 0x0800, L3: 14, L4: 34, Proto: 1, Flags: encap.LayoutIPv4, End: 42}},
		{"ipv6 hop-by-hop", encaptest.Packet{V6: true, Extensions: []encaptest.Extension{hopByHop(2)}}.Frame(),
			encap.Layout{EtherType: 0x86dd, L3: 14, L4: 70, Payload: 90, Proto: 6, Flags: encap.LayoutIPv6 | encap.LayoutOptions, End: 90}},
		{"ipv6 routing, ah", encaptest.Packet{V6: true, Extensions: []encaptest.Extension{routing(), authentication()}}.Frame(),
			encap.Layout{EtherType: 0x86dd, L3: 14, L4: 86, Payload: 106, Proto: 6, Flags: encap.LayoutIPv6 | encap.LayoutOptions | encap.LayoutRouting, End: 106}},
		{"ipv6 first fragment", encaptest.Packet{V6: true, Proto: encap.ProtoUDP, Extensions: []encaptest.Extension{fragmentHeader(1)}}.Frame(),
			encap.Layout{EtherType: 0x86dd, L3: 14, L4: 62, Payload: 70, Proto: 17, Flags: encap.LayoutIPv6 | encap.LayoutOptions | encap.LayoutFragment, End: 70}},
		{"ipv6 later fragment", encaptest.Packet{V6: true, Proto: encap.ProtoUDP, Extensions: []encaptest.Extension{fragmentHeader(8)}}.Frame(),
			encap.Layout{EtherType: 0x86dd, L3: 14, Proto: 17, Flags: encap.LayoutIPv6 | encap.LayoutOptions | encap.LayoutFragment, End: 70}},
		{"ipv6 no next header", encaptest.Packet{V6: true, Proto: encap.ProtoNoNext}.Frame(),
			encap.Layout{EtherType: 0x86dd, L3: 14, L4: 54, Proto: 59, Flags: encap.LayoutIPv6, End: 54}},
		{"ipv6 eight extensions", encaptest.Packet{V6: true, Proto: encap.ProtoICMPv6, Extensions: eight}.Frame(),
			encap.Layout{EtherType: 0x86dd, L3: 14, L4: 118, Proto: 58, Flags: encap.LayoutIPv6 | encap.LayoutOptions, End: 126}},
		{"ipv6 nine extensions", encaptest.Packet{V6: true, Proto: encap.ProtoICMPv6, Extensions: nine}.Frame(),
			encap.Layout{EtherType: 0x86dd, L3: 14, Proto: 60, Flags: encap.LayoutIPv6 | encap.LayoutOptions | encap.LayoutMalformed, End: 134}},
		{"ipv6 extension beyond end", set(encaptest.Packet{V6: true, Extensions: []encaptest.Extension{hopByHop(1)}}.Frame(), 55, 9),
			encap.Layout{EtherType: 0x86dd, L3: 14, Proto: 0, Flags: encap.LayoutIPv6 | encap.LayoutTruncated, End: 82}},
		{"ipv6 extension cut off", cut(encaptest.Packet{V6: true, Extensions: []encaptest.Extension{hopByHop(1)}}.Frame(), 60),
			encap.Layout{EtherType: 0x86dd, L3: 14, Proto: 0, Flags: encap.LayoutIPv6 | encap.LayoutTruncated, End: 60}},
		{"ipv6 header cut off", cut(encaptest.Packet{V6: true}.Frame(), 53),
			encap.Layout{EtherType: 0x86dd, L3: 14, Flags: encap.LayoutTruncated, End: 53}},
		{"ipv6 version 4", set(encaptest.Packet{V6: true}.Frame(), 14, 0x40),
			encap.Layout{EtherType: 0x86dd, L3: 14, Flags: encap.LayoutMalformed, End: 74}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got encap.Layout
			got.Parse(tt.frame)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestParseMatchesGopacket holds Parse and the views against an independent decoder.
func TestParseMatchesGopacket(t *testing.T) {
	for _, tt := range packets() {
		t.Run(tt.name, func(t *testing.T) {
			frame := tt.p.Frame()
			var l encap.Layout
			l.Parse(frame)
			p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
			if e := p.ErrorLayer(); e != nil {
				t.Fatal(e.Error())
			}
			eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
			v := encap.Ethernet(frame)
			if encap.MAC(eth.DstMAC) != v.Dst() || encap.MAC(eth.SrcMAC) != v.Src() || uint16(eth.EthernetType) != v.EtherType() {
				t.Errorf("ethernet: %v", eth)
			}
			tags := 0
			for _, x := range p.Layers() {
				if q, ok := x.(*layers.Dot1Q); ok {
					tag := encap.VLANTag(frame[12+4*tags:])
					if q.VLANIdentifier != tag.VID() || q.Priority != tag.PCP() || q.DropEligible != tag.DEI() {
						t.Errorf("tag %d: %v", tags, q)
					}
					tags++
				}
			}
			if tags != int(l.Tags) {
				t.Errorf("%d tags, want %d", l.Tags, tags)
			}
			if ip, ok := p.NetworkLayer().(*layers.IPv4); ok {
				h := encap.IPv4(frame[l.L3:])
				if ip.TOS != h.TOS() || ip.Length != h.TotalLen() || ip.Id != h.ID() || ip.TTL != h.TTL() ||
					uint8(ip.Protocol) != h.Protocol() || ip.Checksum != h.Checksum() || int(ip.IHL)*4 != h.HeaderLen() ||
					[4]byte(ip.SrcIP) != h.Src() || [4]byte(ip.DstIP) != h.Dst() || h.Version() != 4 ||
					uint16(ip.Flags)<<13|ip.FragOffset != h.Fragment() {
					t.Errorf("ipv4: %v", ip)
				}
			}
			if ip, ok := p.NetworkLayer().(*layers.IPv6); ok {
				h := encap.IPv6(frame[l.L3:])
				if ip.TrafficClass != h.TrafficClass() || ip.FlowLabel != h.FlowLabel() || ip.Length != h.PayloadLen() ||
					uint8(ip.NextHeader) != h.NextHeader() || ip.HopLimit != h.HopLimit() || h.Version() != 6 ||
					[16]byte(ip.SrcIP) != h.Src() || [16]byte(ip.DstIP) != h.Dst() {
					t.Errorf("ipv6: %v", ip)
				}
			}
			switch x := p.TransportLayer().(type) {
			case *layers.TCP:
				h := encap.TCP(frame[l.L4:])
				if uint16(x.SrcPort) != h.SrcPort() || uint16(x.DstPort) != h.DstPort() || x.Seq != h.Seq() || x.Ack != h.Ack() ||
					int(x.DataOffset)*4 != h.HeaderLen() || x.Window != h.Window() || x.Checksum != h.Checksum() ||
					x.PSH != (h.Flags()&encap.TCPPsh != 0) || x.ACK != (h.Flags()&encap.TCPAck != 0) || x.CWR != (h.Flags()&encap.TCPCwr != 0) {
					t.Errorf("tcp: %v", x)
				}
				if diff := cmp.Diff(x.Payload, frame[l.Payload:l.End]); diff != "" {
					t.Errorf("payload: %s", diff)
				}
			case *layers.UDP:
				h := encap.UDP(frame[l.L4:])
				if uint16(x.SrcPort) != h.SrcPort() || uint16(x.DstPort) != h.DstPort() || x.Length != h.Length() || x.Checksum != h.Checksum() {
					t.Errorf("udp: %v", x)
				}
				if diff := cmp.Diff(x.Payload, frame[l.Payload:l.End]); diff != "" {
					t.Errorf("payload: %s", diff)
				}
			}
			if x, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
				h := encap.ICMP(frame[l.L4:])
				if x.TypeCode.Type() != h.Type() || x.TypeCode.Code() != h.Code() || x.Checksum != h.Checksum() || uint32(x.Id)<<16|uint32(x.Seq) != h.Rest() {
					t.Errorf("icmp: %v", x)
				}
			}
			if x, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
				h := encap.ARP(frame[l.L3:])
				if !h.Valid() || x.Operation != h.Op() || encap.MAC(x.SourceHwAddress) != h.SenderMAC() || encap.MAC(x.DstHwAddress) != h.TargetMAC() ||
					[4]byte(x.SourceProtAddress) != h.SenderIP() || [4]byte(x.DstProtAddress) != h.TargetIP() {
					t.Errorf("arp: %v", x)
				}
			}
		})
	}
}

type namedPacket struct {
	name string
	p    encaptest.Packet
}

// packets returns one well-formed packet of every kind the package treats differently.
func packets() []namedPacket {
	ts := encaptest.Timestamps(100, 200)
	data := encaptest.Payload(1001, 7)
	return []namedPacket{
		{"tcp4", encaptest.Packet{Payload: data, TCPOptions: ts, Flags: encap.TCPAck, Seq: 1 << 31, Ack: 77, ID: 9, Fragment: encap.IPv4DontFragment}},
		{"tcp4 tagged", encaptest.Packet{Payload: data, TCPOptions: ts, Flags: encap.TCPAck | encap.TCPPsh, Tags: []uint16{0xf123}}},
		{"tcp4 options", encaptest.Packet{Payload: data, Options: []byte{1, 1, 1, 1}, Flags: encap.TCPAck}},
		{"tcp4 padded ack", encaptest.Packet{Flags: encap.TCPAck, Pad: 60}},
		{"tcp6", encaptest.Packet{V6: true, Payload: data, TCPOptions: ts, Flags: encap.TCPAck | encap.TCPCwr, TOS: 0x2a, FlowLabel: 0xabcde}},
		{"tcp6 hop-by-hop", encaptest.Packet{V6: true, Payload: data, Extensions: []encaptest.Extension{hopByHop(1)}, Flags: encap.TCPAck}},
		{"tcp6 routing", encaptest.Packet{V6: true, Payload: data, Extensions: []encaptest.Extension{{Proto: encap.ProtoDestOpts, Body: []byte{0, 0, 1, 4, 0, 0, 0, 0}}}, Flags: encap.TCPAck}},
		{"udp4", encaptest.Packet{Proto: encap.ProtoUDP, Payload: data}},
		{"udp4 no checksum", encaptest.Packet{Proto: encap.ProtoUDP, Payload: data, NoChecksum: true}},
		{"udp6 two tags", encaptest.Packet{V6: true, Proto: encap.ProtoUDP, Payload: data, Tags: []uint16{100, 200}}},
		{"icmp", encaptest.Packet{Proto: encap.ProtoICMP, Type: 8, Rest: 0x00010002, Payload: data[:56]}},
		{"icmp6", encaptest.Packet{V6: true, Proto: encap.ProtoICMPv6, Type: 128, Rest: 0x00010002, Payload: data[:56]}},
		{"fragment", encaptest.Packet{Proto: encap.ProtoUDP, Payload: data, Fragment: encap.IPv4MoreFragments}},
		{"arp", encaptest.Packet{DstMAC: encap.MACMask, EtherType: encap.EtherTypeARP, Payload: encaptest.ARPRequest(encaptest.SrcMAC, encaptest.Src4, encaptest.Dst4)[14:]}},
	}
}

// FuzzParse checks that Parse keeps every promise its comment makes, for any bytes,
// and that what is built on a Layout does not leave the frame.
func FuzzParse(f *testing.F) {
	for _, tt := range packets() {
		f.Add(tt.p.Frame())
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 70000 {
			return
		}
		before := string(frame)
		var l encap.Layout
		l.Parse(frame)
		if int(l.End) > len(frame) {
			t.Fatalf("end %d beyond %d", l.End, len(frame))
		}
		if l.Tags > 2 || l.L3 != 0 && int(l.L3) != 14+4*int(l.Tags) {
			t.Fatalf("tags %d, L3 %d", l.Tags, l.L3)
		}
		if l.Flags&encap.LayoutIPv4 != 0 {
			if h := encap.IPv4(frame[l.L3:]); h.HeaderLen() > len(h) || h.Version() != 4 {
				t.Fatalf("ipv4 header outside the frame: %+v", l)
			}
		}
		if l.Flags&encap.LayoutIPv6 != 0 && int(l.L3)+encap.IPv6Len > len(frame) {
			t.Fatalf("ipv6 header outside the frame: %+v", l)
		}
		if l.L4 != 0 && (uint32(l.L4) > l.End || l.L4 <= l.L3 || l.Flags&(encap.LayoutIPv4|encap.LayoutIPv6) == 0) {
			t.Fatalf("L4: %+v", l)
		}
		if l.Payload != 0 && (uint32(l.Payload) > l.End || l.Payload < l.L4+encap.UDPLen) {
			t.Fatalf("payload: %+v", l)
		}
		encap.FlowHash(frame, &l, 1) // reads what the layout says is there
		_, ok1 := encap.TrafficClass(frame, &l)
		_, ok2 := encap.HopLimit(frame, &l)
		if ok1 != ok2 || ok1 != (l.Flags&(encap.LayoutIPv4|encap.LayoutIPv6) != 0) {
			t.Fatalf("traffic class %v, hop limit %v: %+v", ok1, ok2, l)
		}
		if string(frame) != before {
			t.Fatal("frame changed")
		}
		encap.SetECN(frame, &l, encap.ECNCE)
	})
}
