package encap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// cut returns the segments of a superframe as whole frames.
func cut(tb testing.TB, frame []byte, off encap.Offload) [][]byte {
	tb.Helper()
	var l encap.Layout
	l.Parse(frame)
	var c encap.Cutter
	if err := c.Init(frame, &l, off); err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for i := range c.Count() {
		hdr := make([]byte, c.HeaderLen(), c.HeaderLen()+1)
		hdr[:cap(hdr)][len(hdr)] = 0xee
		payload := c.Segment(i, hdr)
		if hdr[:cap(hdr)][len(hdr)] != 0xee {
			tb.Fatalf("segment %d: wrote beyond HeaderLen", i)
		}
		if len(hdr)+len(payload) != c.SegmentLen(i) {
			tb.Fatalf("segment %d: %d+%d bytes, SegmentLen says %d", i, len(hdr), len(payload), c.SegmentLen(i))
		}
		out = append(out, append(hdr, payload...))
	}
	if n := encap.SegmentCount(&l, off); n != len(out) {
		tb.Fatalf("SegmentCount %d, Count %d", n, len(out))
	}
	return out
}

// expected builds the segments of p one by one, CWR on the first alone.
func expected(p encaptest.Packet, size int) [][]byte { return segments(p, size, encap.TCPCwr) }

// segments builds the segments of p one by one. Flags of first are on the first alone.
func segments(p encaptest.Packet, size int, first uint8) [][]byte {
	var out [][]byte
	data := p.Payload
	flags := p.Flags
	for i := 0; len(data) > 0; i++ {
		n := min(size, len(data))
		p.Payload = data[:n]
		data = data[n:]
		p.Flags = flags
		if i > 0 {
			p.Flags &^= first
		}
		if len(data) > 0 {
			p.Flags &^= encap.TCPFin | encap.TCPPsh
		}
		out = append(out, p.Frame())
		p.Seq += uint32(n)
		p.ID++
	}
	return out
}

type superframe struct {
	name string
	p    encaptest.Packet
	size int
}

// superframes lists packets that are valid superframes, of every kind.
func superframes() []superframe {
	ts := encaptest.Timestamps(100, 200)
	tcp := encaptest.Packet{Flags: encap.TCPAck | encap.TCPPsh, TCPOptions: ts, Seq: 0xfffffc00, Ack: 5, ID: 0xfffe, Fragment: encap.IPv4DontFragment, TOS: 2}
	udp := encaptest.Packet{Proto: encap.ProtoUDP, ID: 7}
	with := func(p encaptest.Packet, n int, change func(*encaptest.Packet)) encaptest.Packet {
		p.Payload = encaptest.Payload(n, uint64(n))
		if change != nil {
			change(&p)
		}
		return p
	}
	v6 := func(p *encaptest.Packet) { p.V6, p.FlowLabel, p.TOS = true, 0x12345, 0xb9; p.Fragment = 0 }
	return []superframe{
		{"tcp4", with(tcp, 64000, nil), 1398},
		{"tcp4 exact", with(tcp, 14480, nil), 1448},
		{"tcp4 one byte left", with(tcp, 14481, nil), 1448},
		{"tcp4 odd size", with(tcp, 5000, nil), 777},
		{"tcp4 one segment", with(tcp, 100, nil), 1448},
		{"tcp4 longest", with(tcp, 65535-20-32, nil), 1448},
		{"tcp4 fin", with(tcp, 3000, func(p *encaptest.Packet) { p.Flags |= encap.TCPFin }), 1000},
		{"tcp4 cwr ece", with(tcp, 3000, func(p *encaptest.Packet) { p.Flags |= encap.TCPCwr | encap.TCPEce }), 1000},
		{"tcp4 no timestamps", with(tcp, 3000, func(p *encaptest.Packet) { p.TCPOptions = nil }), 1460},
		{"tcp4 long options", with(tcp, 3000, func(p *encaptest.Packet) { p.TCPOptions = bytes.Repeat([]byte{1}, 40) }), 1000},
		{"tcp4 tag", with(tcp, 30000, func(p *encaptest.Packet) { p.Tags = []uint16{10} }), 1398},
		{"tcp4 two tags", with(tcp, 30000, func(p *encaptest.Packet) { p.Tags = []uint16{10, 20} }), 1398},
		{"tcp4 ip options", with(tcp, 30000, func(p *encaptest.Packet) { p.Options = make([]byte, 40) }), 1398},
		{"tcp6", with(tcp, 64000, v6), 1378},
		{"tcp6 two tags cwr", with(tcp, 9999, func(p *encaptest.Packet) { v6(p); p.Tags = []uint16{1, 2}; p.Flags |= encap.TCPCwr }), 1378},
		{"tcp6 hop-by-hop", with(tcp, 9999, func(p *encaptest.Packet) { v6(p); p.Extensions = []encaptest.Extension{hopByHop(2)} }), 1000},
		{"udp4", with(udp, 50000, nil), 1422},
		{"udp4 tiny", with(udp, 100, nil), 1},
		{"udp4 tag", with(udp, 9001, func(p *encaptest.Packet) { p.Tags = []uint16{4094} }), 1001},
		{"udp6", with(udp, 50000, v6), 1402},
	}
}

func TestCut(t *testing.T) {
	for _, tt := range superframes() {
		t.Run(tt.name, func(t *testing.T) {
			frame, off := tt.p.Superframe(uint16(tt.size))
			before := string(frame)
			got, want := cut(t, frame, off), expected(tt.p, tt.size)
			if string(frame) != before {
				t.Error("superframe changed")
			}
			if len(got) != len(want) {
				t.Fatalf("%d segments, want %d", len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("segment %d of %d:\n%s", i, len(got), cmp.Diff(want[i], got[i]))
				}
			}
		})
	}
}

// CWR of a superframe that does not say GSOECN belongs to Accurate ECN, and to each of its segments.
func TestCutAccurateECN(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, flags := range []uint8{0, encap.TCPEce} {
			p := encaptest.Packet{V6: v6, Flags: encap.TCPAck | encap.TCPPsh | encap.TCPCwr | flags, Payload: encaptest.Payload(3000, 1)}
			frame, off := p.Superframe(1000)
			off.GSOType &^= encap.GSOECN
			got, want := cut(t, frame, off), segments(p, 1000, 0)
			if len(got) != len(want) {
				t.Fatalf("%d segments, want %d", len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("segment %d of %d:\n%s", i, len(got), cmp.Diff(want[i], got[i]))
				}
			}
		}
	}
}

// TestCutMatchesGopacket decodes every segment with gopacket and has it compute
// lengths and checksums anew: the bytes must come out the same.
func TestCutMatchesGopacket(t *testing.T) {
	for _, tt := range superframes() {
		if len(tt.p.Extensions) > 0 || len(tt.p.Options) > 0 || len(tt.p.TCPOptions) > 12 {
			continue // gopacket 1.1.19 does not write these back as they were
		}
		t.Run(tt.name, func(t *testing.T) {
			frame, off := tt.p.Superframe(uint16(tt.size))
			for i, seg := range cut(t, frame, off) {
				p := gopacket.NewPacket(seg, layers.LayerTypeEthernet, gopacket.Default)
				var ls []gopacket.SerializableLayer
				for _, x := range p.Layers() {
					switch x := x.(type) {
					case *layers.TCP:
						x.SetNetworkLayerForChecksum(p.NetworkLayer())
						ls = append(ls, x)
					case *layers.UDP:
						x.SetNetworkLayerForChecksum(p.NetworkLayer())
						ls = append(ls, x)
					case gopacket.SerializableLayer:
						ls = append(ls, x)
					}
					if x.LayerType() == layers.LayerTypeTCP || x.LayerType() == layers.LayerTypeUDP {
						ls = append(ls, gopacket.Payload(x.LayerPayload()))
						break
					}
				}
				buf := gopacket.NewSerializeBuffer()
				if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
					t.Fatal(err)
				}
				want := buf.Bytes()
				if len(seg) < 60 {
					want = want[:len(seg)] // gopacket pads
				}
				if !bytes.Equal(want, seg) {
					t.Fatalf("segment %d:\n%s", i, cmp.Diff(want, seg))
				}
			}
		})
	}
}

// TestCutUDPZeroChecksum: without FlagNeedsCsum a zero field stays zero over IPv4 and
// is computed over IPv6, where it is not allowed.
func TestCutUDPZeroChecksum(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		p := encaptest.Packet{V6: v6, Proto: encap.ProtoUDP, Payload: make([]byte, 300)}
		_, off := p.Superframe(100)
		off.Flags = 0
		p.NoChecksum = true
		frame := p.Frame()
		p.NoChecksum = !v6
		want := expected(p, 100)
		for i, seg := range cut(t, frame, off) {
			if !bytes.Equal(seg, want[i]) {
				t.Errorf("v6 %v segment %d: %s", v6, i, cmp.Diff(want[i], seg))
			}
		}
	}
}

// TestCutUDPZeroPartial: with FlagNeedsCsum a zero field is an unfinished sum.
func TestCutUDPZeroPartial(t *testing.T) {
	p := encaptest.Packet{Proto: encap.ProtoUDP, Payload: make([]byte, 300)}
	frame, off := p.Superframe(100)
	frame[40], frame[41] = 0, 0
	for i, want := range expected(p, 100) {
		if seg := cut(t, frame, off)[i]; !bytes.Equal(seg, want) {
			t.Errorf("segment %d: %s", i, cmp.Diff(want, seg))
		}
	}
}

// TestCutUDPComputedZero finds a payload whose checksum comes out as 0.
func TestCutUDPComputedZero(t *testing.T) {
	p := encaptest.Packet{Proto: encap.ProtoUDP, Payload: make([]byte, 4)}
	frame, off := p.Superframe(2)
	sum := encap.UDP(cut(t, frame, off)[0][34:]).Checksum()
	binary.BigEndian.PutUint16(p.Payload, sum)
	frame, off = p.Superframe(2)
	if got := encap.UDP(cut(t, frame, off)[0][34:]).Checksum(); got != 0xffff {
		t.Errorf("checksum %#04x, want 0xffff", got)
	}
}

func TestInitRefuses(t *testing.T) {
	tcp := encaptest.Packet{Flags: encap.TCPAck, Payload: make([]byte, 5000)}
	tcp6, udp := tcp, tcp
	tcp6.V6 = true
	udp.Proto = encap.ProtoUDP
	tests := []struct {
		name   string
		p      encaptest.Packet
		change func(frame []byte, off *encap.Offload) []byte
	}{
		{"not a superframe", tcp, func(f []byte, o *encap.Offload) []byte { o.GSOType = encap.GSONone; return f }},
		{"ecn bit alone", tcp, func(f []byte, o *encap.Offload) []byte { o.GSOType = encap.GSOECN; return f }},
		{"size 0", tcp, func(f []byte, o *encap.Offload) []byte { o.GSOSize = 0; return f }},
		{"tcp6 type on ipv4", tcp, func(f []byte, o *encap.Offload) []byte { o.GSOType = encap.GSOTCPv6; return f }},
		{"tcp4 type on ipv6", tcp6, func(f []byte, o *encap.Offload) []byte { o.GSOType = encap.GSOTCPv4; return f }},
		{"tcp4 type on udp", udp, func(f []byte, o *encap.Offload) []byte { o.GSOType = encap.GSOTCPv4; return f }},
		{"udp type on tcp", tcp, func(f []byte, o *encap.Offload) []byte { o.GSOType = encap.GSOUDPL4; return f }},
		{"ufo", udp, func(f []byte, o *encap.Offload) []byte { o.GSOType = encap.GSOUDP; return f }},
		{"uso with ecn", udp, func(f []byte, o *encap.Offload) []byte { o.GSOType |= encap.GSOECN; return f }},
		{"unknown type", tcp, func(f []byte, o *encap.Offload) []byte { o.GSOType = 2; return f }},
		{"tunnel type", tcp, func(f []byte, o *encap.Offload) []byte { o.GSOType |= 0x20; return f }},
		{"csum start", tcp, func(f []byte, o *encap.Offload) []byte { o.CsumStart++; return f }},
		{"csum offset", tcp, func(f []byte, o *encap.Offload) []byte { o.CsumOffset = 6; return f }},
		{"fragment", encaptest.Packet{Flags: encap.TCPAck, Payload: make([]byte, 5000), Fragment: encap.IPv4MoreFragments}, nil},
		{"ipv6 fragment", encaptest.Packet{V6: true, Flags: encap.TCPAck, Payload: make([]byte, 5000), Extensions: []encaptest.Extension{fragmentHeader(1)}}, nil},
		{"routing header", encaptest.Packet{V6: true, Flags: encap.TCPAck, Payload: make([]byte, 5000), Extensions: []encaptest.Extension{routing()}}, nil},
		{"long extension headers", encaptest.Packet{V6: true, Flags: encap.TCPAck, Payload: make([]byte, 5000), Extensions: []encaptest.Extension{hopByHop(20)}}, nil},
		{"syn", encaptest.Packet{Flags: encap.TCPSyn, Payload: make([]byte, 5000)}, nil},
		{"rst", encaptest.Packet{Flags: encap.TCPRst | encap.TCPAck, Payload: make([]byte, 5000)}, nil},
		{"no payload", encaptest.Packet{Flags: encap.TCPAck}, nil},
		{"padding", encaptest.Packet{Flags: encap.TCPAck, Payload: make([]byte, 2), Pad: 60}, nil},
		{"cut off", tcp, func(f []byte, o *encap.Offload) []byte { return f[:4000] }},
		{"bytes behind the packet", tcp, func(f []byte, o *encap.Offload) []byte { return append(f, 1) }},
		{"udp length", udp, func(f []byte, o *encap.Offload) []byte { f[39]++; return f }},
		{"data offset", tcp, func(f []byte, o *encap.Offload) []byte { f[46] = 0x10; return f }},
		{"too many segments", encaptest.Packet{Flags: encap.TCPAck, Payload: make([]byte, encap.MaxSegments+1)}, func(f []byte, o *encap.Offload) []byte { o.GSOSize = 1; return f }},
		{"arp", encaptest.Packet{Flags: encap.TCPAck, Payload: make([]byte, 500)}, func(f []byte, o *encap.Offload) []byte { f[13] = 6; return f }},
		{"three tags", encaptest.Packet{Flags: encap.TCPAck, Payload: make([]byte, 500), Tags: []uint16{1, 2, 3}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame, off := tt.p.Superframe(1000)
			if tt.change != nil {
				frame = tt.change(frame, &off)
			}
			var l encap.Layout
			l.Parse(frame)
			var c encap.Cutter
			if err := c.Init(frame, &l, off); !errors.Is(err, encap.ErrBadOffload) {
				t.Errorf("err = %v, want ErrBadOffload", err)
			}
		})
	}
	// What is only a hint must not matter.
	frame, off := tcp.Superframe(1000)
	off.HdrLen = 9999
	if got := cut(t, frame, off); len(got) != 5 {
		t.Errorf("HdrLen is believed: %d segments", len(got))
	}
}

func TestOffloadRoundTrip(t *testing.T) {
	in := encap.Offload{Flags: 1, GSOType: 0x81, HdrLen: 0x1234, GSOSize: 0x5678, CsumStart: 0x9abc, CsumOffset: 0xdef0}
	b := bytes.Repeat([]byte{0xee}, encap.OffloadLen+1)
	in.Encode(b)
	if binary.NativeEndian.Uint16(b[4:]) != 0x5678 || b[encap.OffloadLen] != 0xee {
		t.Errorf("% x", b)
	}
	var out encap.Offload
	out.Decode(b)
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
}

// FuzzCut hands Init any frame with any Offload. Whatever it accepts must come
// out whole: every byte of payload once, in order, in valid frames.
func FuzzCut(f *testing.F) {
	for _, tt := range superframes() {
		if len(tt.p.Payload) > 10000 {
			tt.p.Payload = tt.p.Payload[:3000]
		}
		frame, off := tt.p.Superframe(uint16(tt.size))
		var hdr [encap.OffloadLen]byte
		off.Encode(hdr[:])
		f.Add(frame, hdr[:])
	}
	f.Fuzz(func(t *testing.T, frame, hdr []byte) {
		if len(hdr) < encap.OffloadLen || len(frame) > 70000 {
			return
		}
		var off encap.Offload
		off.Decode(hdr)
		var l encap.Layout
		l.Parse(frame)
		var c encap.Cutter
		if err := c.Init(frame, &l, off); err != nil {
			if !errors.Is(err, encap.ErrBadOffload) {
				t.Fatal(err)
			}
			return
		}
		if c.HeaderLen() > encap.MaxHeaderLen || c.Count() > encap.MaxSegments || c.Count() < 1 {
			t.Fatalf("header %d, count %d", c.HeaderLen(), c.Count())
		}
		joined := append([]byte(nil), frame[:c.HeaderLen()]...)
		for i, seg := range cut(t, frame, off) {
			joined = append(joined, seg[c.HeaderLen():]...)
			var m encap.Layout
			m.Parse(seg)
			if m.L4 != l.L4 || m.Payload != l.Payload || int(m.End) != len(seg) || m.Flags != l.Flags {
				t.Fatalf("segment %d: layout %+v of a superframe of %+v", i, m, l)
			}
			checkSums(t, seg, &m)
			if i < c.Count()-1 && len(seg)-c.HeaderLen() != int(off.GSOSize) {
				t.Fatalf("segment %d has %d bytes of %d", i, len(seg)-c.HeaderLen(), off.GSOSize)
			}
		}
		if !bytes.Equal(joined, frame) {
			t.Fatal("payload is not that of the superframe")
		}
	})
}

// checkSums verifies the checksums of a TCP or UDP frame with the plain reference.
func checkSums(tb testing.TB, frame []byte, l *encap.Layout) {
	tb.Helper()
	if !sumsRight(frame, l) {
		tb.Fatalf("wrong checksum: % x", frame)
	}
}

func sumsRight(frame []byte, l *encap.Layout) bool {
	l4 := frame[l.L4:l.End]
	var addresses []byte
	if l.Flags&encap.LayoutIPv4 != 0 {
		if encaptest.ReferenceSum(frame[l.L3:l.L4], 0) != 0xffff {
			return false
		}
		addresses = frame[l.L3+12:][:8]
		if l.Proto == encap.ProtoUDP && encap.UDP(l4).Checksum() == 0 {
			return true
		}
	} else {
		addresses = frame[l.L3+8:][:32]
	}
	sum := encaptest.ReferenceSum(addresses, 0)
	sum = encaptest.ReferenceSum([]byte{byte(len(l4) >> 8), byte(len(l4)), 0, l.Proto}, sum)
	return encaptest.ReferenceSum(l4, sum) == 0xffff
}
