package encap_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// big is a UDP packet of n bytes of IP, DF set.
func big(v6 bool, n int) encaptest.Packet {
	header := encap.IPv4MinLen
	if v6 {
		header = encap.IPv6Len
	}
	return encaptest.Packet{V6: v6, Proto: encap.ProtoUDP, Fragment: encap.IPv4DontFragment, Payload: encaptest.Payload(n-header-encap.UDPLen, 1)}
}

// tooBig calls TooBig with all the room there may be.
func tooBig(frame []byte, mtu int) []byte {
	var l encap.Layout
	l.Parse(frame)
	buf := make([]byte, encap.MaxTooBigLen)
	return buf[:encap.TooBig(buf, frame[:l.End], nil, &l, mtu)]
}

// checkTooBig holds an answer against the frame it is about: addresses, lengths, checksums, quotation. It returns the MTU.
func checkTooBig(t *testing.T, answer, about []byte) int {
	t.Helper()
	var was, is encap.Layout
	was.Parse(about)
	is.Parse(answer)
	ea, ef := encap.Ethernet(answer), encap.Ethernet(about)
	if ea.Dst() != ef.Src() || ea.Src() != ef.Dst() || !bytes.Equal(answer[12:is.L3], about[12:was.L3]) || is.L3 != was.L3 {
		t.Fatalf("Ethernet header % x about % x", answer[:is.L3], about[:was.L3])
	}
	if int(is.End) != len(answer) || is.Flags&(encap.LayoutTruncated|encap.LayoutMalformed|encap.LayoutFragment) != 0 {
		t.Fatalf("layout %+v of an answer of %d bytes", is, len(answer))
	}
	packet, m := answer[is.L3:], answer[is.L4:]
	quote := m[encap.ICMPLen:]
	if !bytes.HasPrefix(about[was.L3:was.End], quote) || len(quote) < min(int(was.L4-was.L3)+8, int(was.End)-int(was.L3)) {
		t.Fatalf("quotes % x", quote[:min(len(quote), 60)])
	}
	if is.Flags&encap.LayoutIPv4 != 0 {
		a, f := encap.IPv4(packet), encap.IPv4(about[was.L3:])
		if a.Src() != f.Dst() || a.Dst() != f.Src() || is.Proto != encap.ProtoICMP || len(packet) > 576 {
			t.Fatalf("IPv4 header % x", packet[:20])
		}
		if encaptest.ReferenceSum(packet[:20], 0) != 0xffff || encaptest.ReferenceSum(m, 0) != 0xffff {
			t.Fatalf("checksums of % x", packet[:28])
		}
		if m[0] != 3 || m[1] != 4 || m[4] != 0 || m[5] != 0 {
			t.Fatalf("ICMP header % x", m[:8])
		}
		return int(binary.BigEndian.Uint16(m[6:]))
	}
	a, f := encap.IPv6(packet), encap.IPv6(about[was.L3:])
	if a.Src() != f.Dst() || a.Dst() != f.Src() || is.Proto != encap.ProtoICMPv6 || len(packet) > 1280 {
		t.Fatalf("IPv6 header % x", packet[:40])
	}
	src, dst := a.Src(), a.Dst()
	pseudo := encaptest.ReferenceSum(append(append(src[:], dst[:]...), byte(len(m)>>8), byte(len(m)), 0, 58), 0)
	if encaptest.ReferenceSum(m, pseudo) != 0xffff {
		t.Fatalf("checksum of % x", m[:8])
	}
	if m[0] != 2 || m[1] != 0 {
		t.Fatalf("ICMPv6 header % x", m[:8])
	}
	return int(binary.BigEndian.Uint32(m[4:]))
}

// What gets an answer, and what it says.
func TestTooBig(t *testing.T) {
	with := func(p encaptest.Packet, change func(*encaptest.Packet)) encaptest.Packet { change(&p); return p }
	for _, c := range []struct {
		name   string
		packet encaptest.Packet
		mtu    int
		length int // bytes of IP packet that are written
	}{
		{"IPv4", big(false, 1500), 1450, 576},
		{"IPv4 short", big(false, 100), 80, 128},
		{"IPv4 least MTU", big(false, 100), 68, 128},
		{"IPv4 options", with(big(false, 1500), func(p *encaptest.Packet) { p.Options = []byte{148, 4, 0, 0} }), 1450, 576},
		{"IPv4 one tag", with(big(false, 1500), func(p *encaptest.Packet) { p.Tags = []uint16{0x2005} }), 1446, 576},
		{"IPv4 two tags", with(big(false, 1500), func(p *encaptest.Packet) { p.Tags = []uint16{7, 5} }), 1442, 576},
		{"IPv4 padded", with(big(false, 100), func(p *encaptest.Packet) { p.Pad = 200 }), 80, 128},
		{"IPv4 first fragment", with(big(false, 1500), func(p *encaptest.Packet) { p.Fragment |= encap.IPv4MoreFragments }), 1450, 576},
		{"IPv4 without DF", with(big(false, 1500), func(p *encaptest.Packet) { p.Fragment = 0 }), 1450, 576},
		{"IPv4 echo", with(big(false, 1500), func(p *encaptest.Packet) { p.Proto, p.Type = encap.ProtoICMP, 8 }), 1450, 576},
		{"IPv4 other protocol", with(big(false, 1500), func(p *encaptest.Packet) { p.Proto = 253 }), 1450, 576},
		{"IPv6", big(true, 1500), 1450, 1280},
		{"IPv6 least MTU", big(true, 1281), 1280, 1280},
		{"IPv6 one tag", with(big(true, 1500), func(p *encaptest.Packet) { p.Tags = []uint16{5} }), 1446, 1280},
		{"IPv6 extension", with(big(true, 1500), func(p *encaptest.Packet) {
			p.Extensions = []encaptest.Extension{{Proto: encap.ProtoHopByHop, Body: make([]byte, 8)}}
		}), 1450, 1280},
		{"IPv6 echo", with(big(true, 1500), func(p *encaptest.Packet) { p.Proto, p.Type = encap.ProtoICMPv6, 128 }), 1450, 1280},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := c.packet.Frame()
			answer := tooBig(frame, c.mtu)
			if len(answer) == 0 {
				t.Fatal("no answer")
			}
			if got := checkTooBig(t, answer, frame); got != c.mtu {
				t.Errorf("MTU %d, want %d", got, c.mtu)
			}
			var l encap.Layout
			l.Parse(answer)
			if got := len(answer) - int(l.L3); got != c.length {
				t.Errorf("%d bytes of packet, want %d", got, c.length)
			}
		})
	}
}

// What must not get an answer (RFC 1122 3.2.2, RFC 1812 4.3.2.7, RFC 4443 2.4).
func TestTooBigSilence(t *testing.T) {
	v4 := func(change func(*encaptest.Packet)) []byte { p := big(false, 1500); change(&p); return p.Frame() }
	v6 := func(change func(*encaptest.Packet)) []byte { p := big(true, 1500); change(&p); return p.Frame() }
	addr := netip.MustParseAddr
	later := make([]byte, 8)
	later[3] = 8
	for _, c := range []struct {
		name  string
		frame []byte
		mtu   int
	}{
		{"no IP", encaptest.Packet{EtherType: encap.EtherTypeARP, Payload: make([]byte, 1500)}.Frame(), 1450},
		{"empty", nil, 1450},
		{"cut short", big(false, 1500).Frame()[:1000], 1450},
		{"IPv4 later fragment", v4(func(p *encaptest.Packet) { p.Fragment |= 10 }), 1450},
		{"IPv4 reserved flag", v4(func(p *encaptest.Packet) { p.Fragment |= 0x8000 }), 1450},
		{"IPv4 MTU below 68", v4(func(p *encaptest.Packet) {}), 67},
		{"IPv4 from 0", v4(func(p *encaptest.Packet) { p.Src = addr("0.0.0.0") }), 1450},
		{"IPv4 from loopback", v4(func(p *encaptest.Packet) { p.Src = addr("127.0.0.1") }), 1450},
		{"IPv4 from a group", v4(func(p *encaptest.Packet) { p.Src = addr("239.0.0.1") }), 1450},
		{"IPv4 from broadcast", v4(func(p *encaptest.Packet) { p.Src = addr("255.255.255.255") }), 1450},
		{"IPv4 to 0", v4(func(p *encaptest.Packet) { p.Dst = addr("0.0.0.0") }), 1450},
		{"IPv4 to loopback", v4(func(p *encaptest.Packet) { p.Dst = addr("127.0.0.1") }), 1450},
		{"IPv4 to a group", v4(func(p *encaptest.Packet) { p.Dst = addr("239.0.0.1") }), 1450},
		{"IPv4 to broadcast", v4(func(p *encaptest.Packet) { p.Dst = addr("255.255.255.255") }), 1450},
		{"to a group MAC", v4(func(p *encaptest.Packet) { p.DstMAC = 0x01005e000001 }), 1450},
		{"from a group MAC", v4(func(p *encaptest.Packet) { p.SrcMAC = 0x01005e000001 }), 1450},
		{"IPv4 unreachable", v4(func(p *encaptest.Packet) { p.Proto, p.Type = encap.ProtoICMP, 3 }), 1450},
		{"IPv4 redirect", v4(func(p *encaptest.Packet) { p.Proto, p.Type = encap.ProtoICMP, 5 }), 1450},
		{"IPv4 time exceeded", v4(func(p *encaptest.Packet) { p.Proto, p.Type = encap.ProtoICMP, 11 }), 1450},
		{"IPv6 MTU below 1280", v6(func(p *encaptest.Packet) {}), 1279},
		{"IPv6 from ::", v6(func(p *encaptest.Packet) { p.Src = addr("::") }), 1450},
		{"IPv6 from ::1", v6(func(p *encaptest.Packet) { p.Src = addr("::1") }), 1450},
		{"IPv6 from a group", v6(func(p *encaptest.Packet) { p.Src = addr("ff02::1") }), 1450},
		{"IPv6 to ::", v6(func(p *encaptest.Packet) { p.Dst = addr("::") }), 1450},
		{"IPv6 to ::1", v6(func(p *encaptest.Packet) { p.Dst = addr("::1") }), 1450},
		{"IPv6 to a group", v6(func(p *encaptest.Packet) { p.Dst = addr("ff02::1") }), 1450},
		{"IPv6 unreachable", v6(func(p *encaptest.Packet) { p.Proto, p.Type = encap.ProtoICMPv6, 1 }), 1450},
		{"IPv6 redirect", v6(func(p *encaptest.Packet) { p.Proto, p.Type = encap.ProtoICMPv6, 137 }), 1450},
		{"IPv6 later fragment", v6(func(p *encaptest.Packet) {
			p.Extensions = []encaptest.Extension{{Proto: encap.ProtoFragment, Body: later}}
		}), 1450},
	} {
		if answer := tooBig(c.frame, c.mtu); len(answer) != 0 {
			t.Errorf("%s: answered with % x", c.name, answer[:min(len(answer), 60)])
		}
	}
}

// Of a superframe the answer quotes a segment as it would have been on the wire, finished checksums and all.
func TestTooBigSegment(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		p := encaptest.Packet{V6: v6, Fragment: encap.IPv4DontFragment, Flags: encap.TCPAck, Payload: encaptest.Payload(10000, 1)}
		frame, off := p.Superframe(1448)
		var l encap.Layout
		l.Parse(frame)
		var cutter encap.Cutter
		if err := cutter.Init(frame, &l, off); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, cutter.HeaderLen())
		rest := cutter.Segment(0, head)
		buf := make([]byte, encap.MaxTooBigLen)
		n := encap.TooBig(buf, head, rest, &l, 1400)
		if n == 0 {
			t.Fatal("no answer")
		}
		if got := checkTooBig(t, buf[:n], append(head, rest...)); got != 1400 {
			t.Errorf("MTU %d, want 1400", got)
		}
	}
}

// Little room for the answer shortens the quotation, and too little ends it.
func TestTooBigRoom(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		frame := big(v6, 1500).Frame()
		var l encap.Layout
		l.Parse(frame)
		least := int(l.L4) + int(l.L4-l.L3) + 16 // headers, the quoted header and 8 bytes
		for room := range encap.MaxTooBigLen {
			buf := make([]byte, room)
			n := encap.TooBig(buf, frame, nil, &l, 1400)
			if (n == 0) != (room < least) {
				t.Fatalf("v6 %t: %d bytes of room: %d written, least is %d", v6, room, n, least)
			}
			if n > 0 {
				checkTooBig(t, buf[:n], frame)
			}
		}
	}
}

func FuzzTooBig(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		f.Add(big(v6, 1500).Frame(), uint16(1400), uint16(1302), uint16(0))
		p := big(v6, 1400)
		p.Tags = []uint16{5}
		f.Add(p.Frame(), uint16(1300), uint16(200), uint16(100))
	}
	f.Fuzz(func(t *testing.T, frame []byte, mtu, room, cut uint16) {
		var l encap.Layout
		l.Parse(frame)
		body := frame[:l.End]
		head, rest := body, []byte(nil)
		if int(cut) < len(body) && cut >= l.L4+encap.ICMPLen && l.L4 != 0 {
			head, rest = body[:cut:cut], body[cut:]
		}
		before := bytes.Clone(frame)
		buf := make([]byte, int(room)+1)
		buf[room] = 0xa5
		n := encap.TooBig(buf[:room:room], head, rest, &l, int(mtu))
		if buf[room] != 0xa5 || n > int(room) || n > encap.MaxTooBigLen || !bytes.Equal(frame, before) {
			t.Fatalf("%d bytes written to %d", n, room)
		}
		if n == 0 {
			return
		}
		if got := checkTooBig(t, buf[:n], body); got != int(mtu) {
			t.Errorf("MTU %d, want %d", got, mtu)
		}
		if again := tooBig(buf[:n], encap.IPv6MinMTU); len(again) != 0 {
			t.Error("an answer gets an answer")
		}
	})
}

func BenchmarkTooBig(b *testing.B) {
	for _, v6 := range []bool{false, true} {
		name := map[bool]string{false: "IPv4", true: "IPv6"}[v6]
		b.Run(name, func(b *testing.B) {
			frame := big(v6, 1500).Frame()
			var l encap.Layout
			l.Parse(frame)
			buf := make([]byte, encap.MaxTooBigLen)
			for b.Loop() {
				encap.TooBig(buf, frame, nil, &l, 1450)
			}
		})
	}
}
