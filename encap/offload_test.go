package encap_test

import (
	"bytes"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

func TestAdvise(t *testing.T) {
	head := make([]byte, 100)
	head[34+12] = 8 << 4 // TCP data offset: 32 bytes
	for _, tt := range []struct {
		name  string
		off   encap.Offload
		head  []byte
		total int
		want  uint16
	}{
		{"short", encap.Offload{HdrLen: 9999}, head, 3072, 0},
		{"long", encap.Offload{}, head, 3073, 128},
		{"TCP", encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 34, CsumOffset: 16}, head, 9000, 34 + 32},
		{"TCP header out of sight", encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 34, CsumOffset: 16}, head[:46], 9000, 34 + 18},
		{"UDP", encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 34, CsumOffset: 6, HdrLen: 9999}, head, 9000, 34 + 8},
		{"no front", encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 65535, CsumOffset: 65535}, nil, 0, 65535},
	} {
		if tt.off.Advise(tt.head, tt.total); tt.off.HdrLen != tt.want {
			t.Errorf("%s: HdrLen %d, want %d", tt.name, tt.off.HdrLen, tt.want)
		}
	}
}

func TestChangesHeaders(t *testing.T) {
	const (
		l3, l4 = encap.EthernetLen, encap.EthernetLen + encap.IPv4MinLen
		l46    = encap.EthernetLen + encap.IPv6Len
	)
	frame := func(change func(*encaptest.Packet)) []byte {
		p := encaptest.Packet{Payload: encaptest.Payload(100, 1)}
		if change != nil {
			change(&p)
		}
		return p.Frame()
	}
	proto := func(n uint8) func(*encaptest.Packet) { return func(p *encaptest.Packet) { p.Proto = n } }
	udp, tcp := frame(proto(encap.ProtoUDP)), frame(proto(encap.ProtoTCP))
	other := bytes.Clone(udp)
	other[l3+9] = encap.ProtoSCTP
	later := bytes.Clone(udp)
	later[l3+7] = 1
	broken := bytes.Clone(udp)
	broken[l3] = 0x41
	arp := bytes.Clone(udp)
	arp[12], arp[13] = 0x08, 0x06
	tagged := append(append(bytes.Clone(udp[:12]), 0x81, 0, 0, 10), udp[12:]...)
	for _, tt := range []struct {
		name          string
		frame         []byte
		start, offset uint16
		want          bool
	}{
		{"UDP, its own", udp, l4, 6, false},
		{"TCP, its own", tcp, l4, 16, false},
		{"UDP behind a tag, its own", tagged, l4 + 4, 6, false},
		{"UDP behind a tag, as if there were none", tagged, l4, 6, true},
		{"UDP, in the payload, as of a tunnel inside", udp, l4 + 8, 6, false},
		{"UDP, right behind the header", udp, l4, 8, false},
		{"UDP, half in the header", udp, l4, 7, true},
		{"UDP's port", udp, l4, 2, true},
		{"UDP's port, by UDP's offset", udp, l4 - 4, 6, true},
		{"UDP, TCP's offset", udp, l4, 16, false},
		{"TCP, UDP's offset", tcp, l4, 6, true},
		{"IP's destination", udp, l4 - 4, 2, true},
		{"IP's protocol", udp, l3 + 6, 2, true},
		{"far away", udp, 65535, 65535, false},
		{"another protocol", other, l4, 8, false},
		{"another protocol, made UDP", other, l3 + 6, 2, true},
		{"later fragment", later, l4, 6, true},
		{"bad IP header, mended", broken, l3, 0, true},
		{"no IP", arp, l4, 6, false},
		{"no IP, its type", arp, l3, 0, false},
		{"no IP, its type for real", arp, 10, 2, true},
		{"runt", udp[:10], l4, 6, false},
	} {
		var l encap.Layout
		l.Parse(tt.frame)
		o := encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: tt.start, CsumOffset: tt.offset}
		if got := o.ChangesHeaders(&l); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if o.Flags = 0; o.ChangesHeaders(&l) {
			t.Errorf("%s: though nothing is to be finished", tt.name)
		}
	}
	var l encap.Layout
	l.Parse(frame(func(p *encaptest.Packet) {
		p.V6, p.Proto = true, encap.ProtoUDP
		p.Extensions = []encaptest.Extension{{Proto: encap.ProtoDestOpts, Body: []byte{0, 0, 1, 4, 0, 0, 0, 0}}}
	}))
	for field, want := range map[uint16]bool{l46 + 8 + 6: false, l46: true, l46 + 8 + 2: true} {
		o := encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: field - 6, CsumOffset: 6}
		if got := o.ChangesHeaders(&l); got != want {
			t.Errorf("IPv6 with an extension header, field %d: %v, want %v", field, got, want)
		}
	}
}
