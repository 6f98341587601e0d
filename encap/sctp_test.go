package encap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// slowCRC32c is the checksum of RFC 9260 appendix A, bit by bit.
func slowCRC32c(b []byte) uint32 {
	crc := ^uint32(0)
	for _, octet := range b {
		crc ^= uint32(octet)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	return ^crc
}

// sctp is a packet of SCTP with that checksum.
func sctp(checksum uint32, size int) []byte {
	b := append([]byte{0x8e, 0x3c, 0x8e, 0x3c, 1, 2, 3, 4, 0, 0, 0, 0}, encaptest.Payload(size, 5)...)
	binary.LittleEndian.PutUint32(b[8:], checksum)
	return b
}

// finishedSCTP is the same with its own.
func finishedSCTP(size int) []byte { return sctp(slowCRC32c(sctp(0, size)), size) }

func TestFinishSCTP(t *testing.T) {
	if got := slowCRC32c([]byte("123456789")); got != 0xe3069283 { // RFC 3720 and everybody since
		t.Fatalf("the reference says %#x", got)
	}
	for _, size := range []int{0, 1, 2, 3, 4, 100, 1399} {
		for name, p := range map[string]encaptest.Packet{
			"IPv4": {}, "IPv6": {V6: true}, "options": {Options: make([]byte, 8)}, "tagged": {Tags: []uint16{5, 6}},
			"extensions": {V6: true, Extensions: []encaptest.Extension{{Proto: encap.ProtoDestOpts, Body: []byte{0, 0, 1, 4, 0, 0, 0, 0}}}},
		} {
			p.Proto, p.Payload = encap.ProtoSCTP, finishedSCTP(size)
			want := p.Frame()
			for _, left := range []uint32{0, 0xdeadbeef} { // what the kernel leaves there, and whatever else there was
				p.Payload = sctp(left, size)
				frame := p.Frame()
				var l encap.Layout
				l.Parse(frame)
				off := encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: l.L4, CsumOffset: encap.SCTPChecksumOffset}
				if err := encap.FinishChecksum(frame, off); err != nil || !bytes.Equal(frame, want) {
					t.Errorf("%s, %d bytes, %#x left: %v\n% x, want\n% x", name, size, left, err, frame, want)
				}
			}
		}
	}
	frame := encaptest.Packet{Proto: encap.ProtoSCTP, Payload: sctp(7, 0)}.Frame()
	was := bytes.Clone(frame)
	for _, start := range []uint16{0, 13, uint16(len(frame) - 11), uint16(len(frame)), 65535} {
		off := encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: start, CsumOffset: encap.SCTPChecksumOffset}
		if err := encap.FinishChecksum(frame, off); !errors.Is(err, encap.ErrBadOffload) || !bytes.Equal(frame, was) {
			t.Errorf("from %d: %v, changed: %t", start, err, !bytes.Equal(frame, was))
		}
	}
}

// A checksum that is zero was left out, padding or not; anything else stays.
func TestUnfinishedSCTP(t *testing.T) {
	packet := func(payload []byte, change func(*encaptest.Packet)) []byte {
		p := encaptest.Packet{Proto: encap.ProtoSCTP, Payload: payload}
		if change != nil {
			change(&p)
		}
		return p.Frame()
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"zero", packet(sctp(0, 100), nil), true},
		{"zero over IPv6", packet(sctp(0, 100), func(p *encaptest.Packet) { p.V6 = true }), true},
		{"zero, no chunk", packet(sctp(0, 0), nil), true},
		{"zero, padded", packet(sctp(0, 4), func(p *encaptest.Packet) { p.Pad = 60 }), true},
		{"finished", packet(finishedSCTP(100), nil), false},
		{"wrong", packet(sctp(1, 100), nil), false},
		{"short", packet(sctp(0, 0)[:11], nil), false},
		{"first fragment", packet(sctp(0, 100), func(p *encaptest.Packet) { p.Fragment = encap.IPv4MoreFragments }), false},
		{"later fragment", packet(sctp(0, 100), func(p *encaptest.Packet) { p.Fragment = 5 }), false},
		{"truncated", packet(sctp(0, 100), nil)[:60], false},
		{"another protocol", packet(sctp(0, 100), func(p *encaptest.Packet) { p.Proto = 253 }), false},
	} {
		var l encap.Layout
		l.Parse(c.frame)
		off, ok := encap.Unfinished(c.frame, &l, 1514)
		if ok != c.want || !ok && off != (encap.Offload{}) {
			t.Errorf("%s: %+v, %t", c.name, off, ok)
		}
		if !ok {
			continue
		}
		if err := encap.FinishChecksum(c.frame[:l.End], off); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := bytes.Clone(c.frame[l.L4:l.End])
		sum := binary.LittleEndian.Uint32(got[8:])
		binary.LittleEndian.PutUint32(got[8:], 0)
		if want := slowCRC32c(got); sum != want {
			t.Errorf("%s: finished with %#x, want %#x", c.name, sum, want)
		}
		if _, again := encap.Unfinished(c.frame, &l, 1514); again {
			t.Errorf("%s: finished, and unfinished", c.name)
		}
	}
}
