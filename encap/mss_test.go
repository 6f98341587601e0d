package encap_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// mssOption is the option with a value, behind so many NOPs, filled up to whole words.
func mssOption(value uint16, nops int) []byte {
	b := bytes.Repeat([]byte{1}, nops)
	b = append(b, 2, 4, byte(value>>8), byte(value))
	for len(b)%4 != 0 {
		b = append(b, 1)
	}
	return b
}

func clamp(frame []byte, mss uint16, partial bool) bool {
	var l encap.Layout
	l.Parse(frame)
	return encap.ClampMSS(frame, &l, mss, partial)
}

// A clamped SYN is the one that a sender with that MSS would have sent, checksum and all.
func TestClampMSS(t *testing.T) {
	syn := encaptest.Packet{Flags: encap.TCPSyn, TCPOptions: mssOption(1460, 0)}
	with := func(change func(*encaptest.Packet)) encaptest.Packet { p := syn; change(&p); return p }
	hops := encaptest.Extension{Proto: encap.ProtoHopByHop, Body: make([]byte, 8)}
	options := encaptest.Extension{Proto: encap.ProtoDestOpts, Body: make([]byte, 24)}
	options.Body[1] = 2
	for _, c := range []struct {
		name   string
		packet encaptest.Packet
	}{
		{"IPv4", syn},
		{"SYN-ACK", with(func(p *encaptest.Packet) { p.Flags |= encap.TCPAck })},
		{"with ECN", with(func(p *encaptest.Packet) { p.Flags |= encap.TCPEce | encap.TCPCwr })},
		{"IPv4 options", with(func(p *encaptest.Packet) { p.Options = []byte{148, 4, 0, 0} })},
		{"one tag", with(func(p *encaptest.Packet) { p.Tags = []uint16{5} })},
		{"two tags", with(func(p *encaptest.Packet) { p.Tags = []uint16{5, 6} })},
		{"fast open", with(func(p *encaptest.Packet) { p.Payload = encaptest.Payload(333, 1) })},
		{"padded", with(func(p *encaptest.Packet) { p.Pad = 80 })},
		{"IPv6", with(func(p *encaptest.Packet) { p.V6 = true })},
		{"IPv6 extensions", with(func(p *encaptest.Packet) { p.V6, p.Extensions = true, []encaptest.Extension{hops, options} })},
		{"IPv6 tagged", with(func(p *encaptest.Packet) { p.V6, p.Tags = true, []uint16{5} })},
	} {
		for nops := range 4 {
			for _, mss := range []uint16{536, 1000, 1300, 1459} {
				c.packet.TCPOptions = mssOption(1460, nops)
				frame := c.packet.Frame()
				super, _ := c.packet.Superframe(0)
				c.packet.TCPOptions = mssOption(mss, nops)
				want := c.packet.Frame()
				wantSuper, _ := c.packet.Superframe(0)
				if !clamp(frame, mss, false) || !bytes.Equal(frame, want) {
					t.Errorf("%s, %d NOPs, to %d:\n% x, want\n% x", c.name, nops, mss, frame, want)
				}
				if !clamp(super, mss, true) || !bytes.Equal(super, wantSuper) {
					t.Errorf("%s, %d NOPs, to %d, checksum unfinished:\n% x, want\n% x", c.name, nops, mss, super, wantSuper)
				}
				if clamp(frame, mss, false) || clamp(frame, mss+1, false) {
					t.Errorf("%s: clamped twice", c.name)
				}
			}
		}
	}
}

// Several MSS options are lowered together.
func TestClampMSSTwice(t *testing.T) {
	p := encaptest.Packet{Flags: encap.TCPSyn, TCPOptions: append(mssOption(1460, 0), mssOption(9000, 3)...)}
	frame := p.Frame()
	p.TCPOptions = append(mssOption(1300, 0), mssOption(1300, 3)...)
	if want := p.Frame(); !clamp(frame, 1300, false) || !bytes.Equal(frame, want) {
		t.Errorf("% x, want % x", frame, want)
	}
}

// What is left alone.
func TestClampMSSNot(t *testing.T) {
	syn := encaptest.Packet{Flags: encap.TCPSyn, TCPOptions: mssOption(1460, 0)}
	with := func(change func(*encaptest.Packet)) encaptest.Packet { p := syn; change(&p); return p }
	first := encaptest.Extension{Proto: encap.ProtoFragment, Body: []byte{0, 0, 0, 1, 0, 0, 0, 9}}
	signed := encaptest.Extension{Proto: encap.ProtoAH, Body: append([]byte{0, 4}, make([]byte, 22)...)}
	for _, c := range []struct {
		name   string
		packet encaptest.Packet
	}{
		{"no SYN", with(func(p *encaptest.Packet) { p.Flags = encap.TCPAck })},
		{"no option", with(func(p *encaptest.Packet) { p.TCPOptions = nil })},
		{"other options", with(func(p *encaptest.Packet) { p.TCPOptions = encaptest.Timestamps(1, 2) })},
		{"smaller", with(func(p *encaptest.Packet) { p.TCPOptions = mssOption(1200, 0) })},
		{"equal", with(func(p *encaptest.Packet) { p.TCPOptions = mssOption(1300, 0) })},
		{"UDP", with(func(p *encaptest.Packet) { p.Proto, p.Payload = encap.ProtoUDP, syn.Frame()[34:] })},
		{"first fragment", with(func(p *encaptest.Packet) { p.Fragment = encap.IPv4MoreFragments })},
		{"later fragment", with(func(p *encaptest.Packet) { p.Fragment = 3 })},
		{"IPv6 first fragment", with(func(p *encaptest.Packet) { p.V6, p.Extensions = true, []encaptest.Extension{first} })},
		{"IPv6 signed", with(func(p *encaptest.Packet) { p.V6, p.Extensions = true, []encaptest.Extension{signed} })},
		{"TCP-AO", with(func(p *encaptest.Packet) {
			p.TCPOptions = append(mssOption(1460, 0), append([]byte{29, 16}, make([]byte, 14)...)...)
		})},
		{"behind the end", with(func(p *encaptest.Packet) { p.TCPOptions = append([]byte{0, 1, 1, 1}, mssOption(1460, 0)...) })},
		{"behind a length of 0", with(func(p *encaptest.Packet) { p.TCPOptions = append([]byte{8, 0, 1, 1}, mssOption(1460, 0)...) })},
		{"behind a length of 1", with(func(p *encaptest.Packet) { p.TCPOptions = append([]byte{8, 1, 1, 1}, mssOption(1460, 0)...) })},
		{"cut off", with(func(p *encaptest.Packet) { p.TCPOptions = []byte{1, 1, 2, 4} })},
		{"kind alone", with(func(p *encaptest.Packet) { p.TCPOptions = []byte{1, 1, 1, 2} })},
		{"length 3", with(func(p *encaptest.Packet) { p.TCPOptions = []byte{2, 3, 9, 1} })},
		{"length 6", with(func(p *encaptest.Packet) { p.TCPOptions = []byte{2, 6, 9, 9, 9, 9, 1, 1} })},
		{"ARP", encaptest.Packet{EtherType: encap.EtherTypeARP, Payload: make([]byte, 60)}},
	} {
		frame := c.packet.Frame()
		want := bytes.Clone(frame)
		if clamp(frame, 1300, false) || !bytes.Equal(frame, want) {
			t.Errorf("%s: changed to\n% x from\n% x", c.name, frame, want)
		}
	}
}

// Nothing but TCP options and checksum is ever written, the checksum stays as right or wrong as it was, and no option grows.
func FuzzClampMSS(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		for nops := range 3 {
			p := encaptest.Packet{V6: v6, Flags: encap.TCPSyn, TCPOptions: mssOption(1460, nops)}
			f.Add(p.Frame(), uint16(1300), false)
			super, _ := p.Superframe(0)
			f.Add(super, uint16(536), true)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte, mss uint16, partial bool) {
		var l encap.Layout
		l.Parse(frame)
		before := bytes.Clone(frame)
		changed := encap.ClampMSS(frame, &l, mss, partial)
		if !changed {
			if !bytes.Equal(frame, before) {
				t.Fatal("written to, and says not")
			}
			return
		}
		field := int(l.L4) + encap.TCPChecksumOffset
		for i := range frame {
			inside := i >= int(l.L4)+encap.TCPMinLen && i < int(l.Payload)
			if frame[i] != before[i] && !inside && !(!partial && (i == field || i == field+1)) {
				t.Fatalf("byte %d changed, header at %d..%d", i, l.L4, l.Payload)
			}
		}
		if partial {
			return
		}
		// The sum over everything is the same: 0 and 0xffff are one number.
		was, is := encaptest.ReferenceSum(before[l.L4:l.End], 0), encaptest.ReferenceSum(frame[l.L4:l.End], 0)
		if was%0xffff != is%0xffff {
			t.Fatalf("sum %#x, was %#x", is, was)
		}
		for at := int(l.L4) + encap.TCPMinLen; at+4 <= int(l.Payload) && frame[at] != 0; {
			if frame[at] == 1 {
				at++
				continue
			}
			if frame[at+1] < 2 {
				break
			}
			if frame[at] == 2 && frame[at+1] == 4 && at+4 <= int(l.Payload) {
				if got := binary.BigEndian.Uint16(frame[at+2:]); got > mss {
					t.Fatalf("an MSS of %d is left, limit %d", got, mss)
				}
			}
			at += int(frame[at+1])
		}
	})
}

func BenchmarkClampMSS(b *testing.B) {
	for _, c := range []struct {
		name   string
		packet encaptest.Packet
	}{
		{"data", encaptest.Packet{Flags: encap.TCPAck, TCPOptions: encaptest.Timestamps(1, 2), Payload: make([]byte, 1000)}},
		{"SYN", encaptest.Packet{Flags: encap.TCPSyn, TCPOptions: mssOption(1460, 0)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			frame := c.packet.Frame()
			var l encap.Layout
			l.Parse(frame)
			for b.Loop() {
				encap.ClampMSS(frame, &l, 1300, false)
				if l.Payload-l.L4 == 24 {
					frame[l.L4+22] = 5 // 1300 is 0x0514: back to 1460, 0x05b4
					frame[l.L4+23] = 0xb4
				}
			}
		})
	}
}
