package encap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// jumbo is a hop-by-hop header with a jumbo payload of n bytes (RFC 2675).
func jumbo(n int) encaptest.Extension {
	return encaptest.Extension{Proto: encap.ProtoHopByHop, Body: binary.BigEndian.AppendUint32([]byte{0, 0, 0xc2, 4}, uint32(n))}
}

// bigSuperframe builds p as Linux hands it over when it is more than 64 KiB: without a length in its IP header, and over IPv6 with or without a jumbo payload
// option (before and since it was given up).
func bigSuperframe(p encaptest.Packet, size int, option bool) ([]byte, encap.Offload) {
	stated := p.V6 && encap.TCPMinLen+len(p.TCPOptions)+len(p.Payload) <= 65535
	if option && !stated {
		p.Extensions = []encaptest.Extension{jumbo(8 + encap.TCPMinLen + len(p.TCPOptions) + len(p.Payload))}
	}
	frame, off := p.Superframe(uint16(size))
	ip := frame[encap.EthernetLen+encap.VLANTagLen*len(p.Tags):]
	switch {
	case stated:
	case p.V6:
		encap.IPv6(ip).SetPayloadLen(0)
	default:
		encap.IPv4(ip).SetTotalLen(0)
	}
	return frame, off
}

// divide returns what becomes of a superframe of more than 64 KiB.
func divide(tb testing.TB, frame []byte, off encap.Offload) (frames [][]byte, offs []encap.Offload) {
	tb.Helper()
	var d encap.Divider
	if err := d.Init(frame, off); err != nil {
		tb.Fatal(err)
	}
	dst := make([]byte, 65535+22)
	for n, off := d.Next(dst); n != 0; n, off = d.Next(dst) {
		frames, offs = append(frames, bytes.Clone(dst[:n])), append(offs, off)
	}
	if d.Count() != len(frames) {
		tb.Errorf("%d superframes, Count says %d", len(frames), d.Count())
	}
	return frames, offs
}

func TestDivide(t *testing.T) {
	tcp := encaptest.Packet{Flags: encap.TCPAck | encap.TCPPsh, TCPOptions: encaptest.Timestamps(100, 200), Seq: 0xfffffc00, Ack: 5, ID: 0xffe0,
		Fragment: encap.IPv4DontFragment, TOS: 2}
	with := func(n int, change func(*encaptest.Packet)) encaptest.Packet {
		p := tcp
		p.Payload = encaptest.Payload(n, uint64(n))
		if change != nil {
			change(&p)
		}
		return p
	}
	v6 := func(p *encaptest.Packet) { p.V6, p.FlowLabel, p.TOS, p.Fragment = true, 0x12345, 0xb9, 0 }
	for _, c := range []struct {
		name   string
		p      encaptest.Packet
		size   int
		option bool
		ecn    uint8 // TCP flags that only the first segment has
	}{
		{"tcp4", with(180000, nil), 1398, false, 0},
		{"tcp4 one byte too long", with(65536-20-32, nil), 1398, false, 0},
		{"tcp4 a segment left", with(2*46*1398+100, nil), 1398, false, 0},
		{"tcp4 a byte left", with(2*46*1398+1, nil), 1398, false, 0},
		{"tcp4 nothing left", with(2*46*1398, nil), 1398, false, 0},
		{"tcp4 largest", with(524280-14-20-32, nil), 1398, false, 0},
		{"tcp4 fin cwr", with(150000, func(p *encaptest.Packet) { p.Flags |= encap.TCPFin | encap.TCPCwr | encap.TCPEce }), 1398, false, encap.TCPCwr},
		{"tcp4 accurate ECN", with(150000, func(p *encaptest.Packet) { p.Flags |= encap.TCPCwr | encap.TCPEce }), 1398, false, 0},
		{"tcp4 options, two tags", with(150000, func(p *encaptest.Packet) { p.Options, p.Tags = make([]byte, 40), []uint16{10, 20} }), 1398, false, 0},
		{"tcp4 large segments", with(150000, nil), 40000, false, 0},
		{"tcp4 small segments", with(180000, nil), 36, false, 0},
		{"tcp6", with(180000, v6), 1378, true, 0},
		{"tcp6 whose length is stated", with(65535-32, v6), 1378, true, 0},
		{"tcp6 one byte longer", with(65536-32, v6), 1378, true, 0},
		{"tcp4 a part of 64 KiB with its Ethernet header", with(180000, nil), 1393, false, 0},
		{"tcp4 segments as large as IP can state", with(180000, nil), 65535 - 20 - 32, false, 0},
		{"tcp6 without option", with(180000, v6), 1378, false, 0},
		{"tcp6 tag, fin, cwr", with(100000, func(p *encaptest.Packet) { v6(p); p.Tags = []uint16{10}; p.Flags |= encap.TCPFin | encap.TCPCwr }), 8878, true, encap.TCPCwr},
		{"tcp6 largest", with(524280-14-40-8-32, v6), 1378, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame, off := bigSuperframe(c.p, c.size, c.option)
			if c.ecn == 0 {
				off.GSOType &^= encap.GSOECN
			}
			before := string(frame)
			frames, offs := divide(t, frame, off)
			if string(frame) != before {
				t.Error("superframe changed")
			}
			var got [][]byte
			for i, f := range frames {
				var l encap.Layout
				l.Parse(f)
				if len(f)+encap.VLANTagLen > 65535 && c.size < 60000 {
					t.Errorf("superframe %d has %d bytes", i, len(f))
				}
				if int(l.End) != len(f) || l.Flags&^(encap.LayoutIPv4|encap.LayoutIPv6|encap.LayoutOptions) != 0 {
					t.Fatalf("superframe %d of %d bytes: layout %+v", i, len(f), l)
				}
				if offs[i].IsGSO() {
					got = append(got, cut(t, f, offs[i])...)
					// What a kernel adds to the field by itself.
					offs[i].GSOType, offs[i].GSOSize = encap.GSONone, 0
					if err := encap.FinishChecksum(f, offs[i]); err != nil {
						t.Fatal(err)
					}
					checkSums(t, f, &l)
				} else {
					if err := encap.FinishChecksum(f, offs[i]); err != nil {
						t.Fatal(err)
					}
					got = append(got, f)
				}
			}
			want := segments(c.p, c.size, c.ecn)
			if len(got) != len(want) {
				t.Fatalf("%d segments, want %d", len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("segment %d of %d:\n%s", i, len(want), cmp.Diff(want[i], got[i]))
				}
			}
		})
	}
}

// What is no superframe of that kind, or contradicts itself, is refused.
func TestDivideRefuses(t *testing.T) {
	p := encaptest.Packet{Flags: encap.TCPAck, Payload: encaptest.Payload(100000, 1)}
	p6 := p
	p6.V6 = true
	for _, c := range []struct {
		name   string
		p      encaptest.Packet
		change func(ip []byte, off *encap.Offload)
	}{
		{"no GSO", p, func(_ []byte, off *encap.Offload) { off.GSOType = encap.GSONone }},
		{"UDP", p, func(_ []byte, off *encap.Offload) { off.GSOType = encap.GSOUDPL4 }},
		{"TCP over the other family", p, func(_ []byte, off *encap.Offload) { off.GSOType = encap.GSOTCPv6 }},
		{"a protocol that is not TCP", p, func(ip []byte, _ *encap.Offload) { ip[9] = encap.ProtoUDP }},
		{"size 0", p, func(_ []byte, off *encap.Offload) { off.GSOSize = 0 }},
		{"more segments than a superframe of 64 KiB may have", p, func(_ []byte, off *encap.Offload) { off.GSOSize = 31 }},
		{"segments too large for IP", p, func(_ []byte, off *encap.Offload) { off.GSOSize = 65500 }},
		{"a total length", p, func(ip []byte, _ *encap.Offload) { encap.IPv4(ip).SetTotalLen(1500) }},
		{"a payload length", p6, func(ip []byte, _ *encap.Offload) { encap.IPv6(ip).SetPayloadLen(1500) }},
		{"a fragment", p, func(ip []byte, _ *encap.Offload) { binary.BigEndian.PutUint16(ip[6:], encap.IPv4MoreFragments) }},
		{"an end within the TCP options", p, func(ip []byte, _ *encap.Offload) { ip[20+12] = 1 << 4 }},
		{"SYN", p, func(ip []byte, _ *encap.Offload) { ip[20+13] |= encap.TCPSyn }},
		{"a checksum elsewhere", p, func(_ []byte, off *encap.Offload) { off.CsumStart++ }},
		{"a checksum at an odd place", p, func(_ []byte, off *encap.Offload) { off.CsumOffset = encap.UDPChecksumOffset }},
		{"a jumbo payload of another length", p6, func(ip []byte, _ *encap.Offload) { ip[40+7]++ }},
		{"another option", p6, func(ip []byte, _ *encap.Offload) { ip[40+2] = 1 }},
		{"more options", p6, func(ip []byte, _ *encap.Offload) { ip[40+1] = 1 }},
	} {
		frame, off := bigSuperframe(c.p, 1400, c.p.V6)
		c.change(frame[encap.EthernetLen:], &off)
		var d encap.Divider
		if err := d.Init(frame, off); !errors.Is(err, encap.ErrBadOffload) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	var d encap.Divider
	frame, off := bigSuperframe(p, 1400, false)
	for _, n := range []int{0, 13, 14, 33, 34, 53, 54} {
		if err := d.Init(frame[:n], off); !errors.Is(err, encap.ErrBadOffload) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

// FuzzDivide: whatever a superframe says of itself, what comes of it is at most 64 KiB, can be cut, and has the payload of what it was, in order.
func FuzzDivide(f *testing.F) {
	p := encaptest.Packet{Flags: encap.TCPAck, Payload: encaptest.Payload(1000, 1)}
	for _, v6 := range []bool{false, true} {
		p.V6 = v6
		frame, off := bigSuperframe(p, 100, v6)
		var o [encap.OffloadLen]byte
		off.Encode(o[:])
		f.Add(frame[:len(frame)-900], o[:], uint32(130000))
	}
	dst := make([]byte, 65535+22)
	f.Fuzz(func(t *testing.T, head, offload []byte, rest uint32) {
		if len(offload) < encap.OffloadLen || len(head) > 1000 {
			return
		}
		var off encap.Offload
		off.Decode(offload)
		rest %= 524288
		frame := append(bytes.Clone(head), encaptest.Payload(int(rest), 7)...)
		// The option states the length, which no fuzzer would hit.
		if at := encap.EthernetLen + encap.IPv6Len + 4; len(head) >= at+4 && len(head)%2 == 0 {
			binary.BigEndian.PutUint32(frame[at:], uint32(len(frame)-encap.EthernetLen-encap.IPv6Len))
		}
		var d encap.Divider
		if d.Init(frame, off) != nil {
			return
		}
		var payload []byte
		count := 0
		for n, off := d.Next(dst); n != 0; n, off = d.Next(dst) {
			count++
			var l encap.Layout
			l.Parse(dst[:n])
			if int(l.End) != n || l.Payload == 0 || n-int(l.L3) > 65535 {
				t.Fatalf("%d bytes, layout %+v", n, l)
			}
			payload = append(payload, dst[l.Payload:n]...)
			var c encap.Cutter
			if off.IsGSO() {
				if err := c.Init(dst[:n], &l, off); err != nil {
					t.Fatal(err)
				}
			} else if err := encap.FinishChecksum(dst[:n], off); err != nil {
				t.Fatal(err)
			}
		}
		if count != d.Count() || !bytes.HasSuffix(frame, payload) {
			t.Fatalf("%d superframes of %d, %d bytes of payload", count, d.Count(), len(payload))
		}
	})
}
