package encap_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

func TestSumMatchesReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 70000)
	fills := map[string]func([]byte){
		"random": func(b []byte) {
			for i := range b {
				b[i] = byte(r.Uint32())
			}
		},
		"zero": func(b []byte) { clear(b) },
		"ones": func(b []byte) {
			for i := range b {
				b[i] = 0xff
			}
		},
		"carries": func(b []byte) { // words that sum to exactly 2^64-1 and 2^64
			for i := range b {
				b[i] = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0}[i%16]
			}
		},
	}
	for name, fill := range fills {
		fill(buf)
		check := func(off, n int, initial uint16) {
			b := buf[off : off+n]
			want := encaptest.ReferenceSum(b, initial)
			if got := encap.Sum(b, initial); got != want {
				t.Errorf("%s: Sum of %d bytes at %d, initial %#04x: %#04x, want %#04x", name, n, off, initial, got, want)
			}
			if got := encap.SumPortable(b); initial == 0 && got != want {
				t.Errorf("%s: SumPortable of %d bytes at %d: %#04x, want %#04x", name, n, off, got, want)
			}
			if got := encap.Checksum(b, initial); got != ^want {
				t.Errorf("%s: Checksum of %d bytes: %#04x, want %#04x", name, n, got, ^want)
			}
		}
		for n := range 600 {
			for off := range 9 {
				check(off, n, 0)
			}
			check(0, n, uint16(r.Uint32()))
			check(1, n, 0xffff)
		}
		for _, n := range []int{1398, 1447, 1448, 1500, 8191, 8192, 65535, 65536} {
			for off := range 5 {
				check(off, n, 0xfffe)
			}
		}
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		in   uint32
		want uint16
	}{{0, 0}, {0xffff, 0xffff}, {0x10000, 1}, {0x1fffe, 0xffff}, {0xffffffff, 0xffff}, {0xfffeffff, 0xfffe}} {
		if got := encap.Fold(tt.in); got != tt.want {
			t.Errorf("Fold(%#x) = %#x, want %#x", tt.in, got, tt.want)
		}
	}
}

// TestUpdateChecksum includes the case that makes equation 4 of RFC 1624 necessary
// to avoid: an update that leads to 0xffff.
func TestUpdateChecksum(t *testing.T) {
	if got := encap.UpdateChecksum(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("RFC 1624 section 4 example: %#04x, want 0", got)
	}
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 20)
	for range 2000 {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		b[0] |= 0x40
		before := encap.Checksum(b, 0)
		old := uint16(b[6])<<8 | uint16(b[7])
		b[6], b[7] = byte(r.Uint32()), byte(r.Uint32())
		if got, want := encap.UpdateChecksum(before, old, uint16(b[6])<<8|uint16(b[7])), encap.Checksum(b, 0); got != want {
			t.Fatalf("%#04x, want %#04x", got, want)
		}
	}
}

func TestPseudoHeaders(t *testing.T) {
	for _, n := range []uint32{0, 8, 1480, 65515} {
		h4 := encap.IPv4(encaptest.Packet{}.Frame()[14:34])
		b := append([]byte(h4[12:20:20]), 0, 17, byte(n>>8), byte(n))
		if got, want := encap.PseudoIPv4(h4, 17, uint16(n)), encaptest.ReferenceSum(b, 0); got != want {
			t.Errorf("v4, %d: %#04x, want %#04x", n, got, want)
		}
		h6 := encap.IPv6(encaptest.Packet{V6: true}.Frame()[14:54])
		n += n << 3
		b = append([]byte(h6[8:40:40]), 0, 6, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		if got, want := encap.PseudoIPv6(h6, 6, n), encaptest.ReferenceSum(b, 0); got != want {
			t.Errorf("v6, %d: %#04x, want %#04x", n, got, want)
		}
	}
}

func TestFinishChecksum(t *testing.T) {
	for _, tt := range packets() {
		if tt.p.Proto != encap.ProtoUDP && tt.p.Proto != 0 || tt.p.NoChecksum || tt.p.EtherType != 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			got, off := tt.p.Superframe(0)
			if err := encap.FinishChecksum(got, off); err != nil {
				t.Fatal(err)
			}
			if string(got) != string(tt.p.Frame()) {
				t.Errorf("not the finished frame")
			}
		})
	}
	t.Run("udp zero becomes ffff", func(t *testing.T) {
		// The two bytes of payload are chosen so that the sum is 0xffff.
		p := encaptest.Packet{Proto: encap.ProtoUDP, Payload: []byte{0, 0}}
		f, off := p.Superframe(0)
		if err := encap.FinishChecksum(f, off); err != nil {
			t.Fatal(err)
		}
		p.Payload = f[40:42:42]
		f, off = p.Superframe(0)
		if err := encap.FinishChecksum(f, off); err != nil {
			t.Fatal(err)
		}
		if got := encap.UDP(f[34:]).Checksum(); got != 0xffff {
			t.Errorf("checksum %#04x, want 0xffff", got)
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		f := encaptest.Packet{BadChecksum: true}.Frame()
		before := string(f)
		if err := encap.FinishChecksum(f, encap.Offload{CsumStart: 9999}); err != nil || string(f) != before {
			t.Errorf("err %v, changed %v", err, string(f) != before)
		}
	})
	f := encaptest.Packet{}.Frame()
	for _, off := range []encap.Offload{
		{Flags: encap.FlagNeedsCsum, CsumStart: 0, CsumOffset: 16},
		{Flags: encap.FlagNeedsCsum, CsumStart: 13, CsumOffset: 16},
		{Flags: encap.FlagNeedsCsum, CsumStart: uint16(len(f)), CsumOffset: 0},
		{Flags: encap.FlagNeedsCsum, CsumStart: 34, CsumOffset: uint16(len(f) - 34 - 1)},
		{Flags: encap.FlagNeedsCsum, CsumStart: 34, CsumOffset: 65535},
		{Flags: encap.FlagNeedsCsum, CsumStart: 65535, CsumOffset: 65535},
		{Flags: encap.FlagNeedsCsum, GSOType: encap.GSOTCPv4, GSOSize: 10, CsumStart: 34, CsumOffset: 16},
		{Flags: encap.FlagNeedsCsum, GSOType: encap.GSOECN, CsumStart: 34, CsumOffset: 16},
	} {
		before := string(f)
		if err := encap.FinishChecksum(f, off); err == nil || string(f) != before {
			t.Errorf("%+v: err %v, changed %v", off, err, string(f) != before)
		}
	}
}

func FuzzFinishChecksum(f *testing.F) {
	for _, tt := range packets() {
		if tt.p.EtherType == 0 && (tt.p.Proto == 0 || tt.p.Proto == encap.ProtoUDP) {
			frame, off := tt.p.Superframe(0)
			f.Add(frame, off.Flags, off.GSOType, off.CsumStart, off.CsumOffset)
		}
	}
	f.Add([]byte{}, uint8(1), uint8(0), uint16(14), uint16(0))
	packet := encaptest.Packet{Proto: encap.ProtoSCTP, Payload: sctp(0, 40)}.Frame()
	f.Add(packet, uint8(encap.FlagNeedsCsum), uint8(0), uint16(encap.EthernetLen+encap.IPv4MinLen), uint16(encap.SCTPChecksumOffset))
	f.Fuzz(func(t *testing.T, frame []byte, flags, gso uint8, start, offset uint16) {
		off := encap.Offload{Flags: flags, GSOType: gso, CsumStart: start, CsumOffset: offset}
		before := append([]byte(nil), frame...)
		err := encap.FinishChecksum(frame, off)
		if err != nil || flags&encap.FlagNeedsCsum == 0 {
			if string(frame) != string(before) {
				t.Fatalf("%v: frame changed", err)
			}
			return
		}
		field := int(start) + int(offset)
		want := ^encaptest.ReferenceSum(before[start:], 0)
		if want == 0 && offset == encap.UDPChecksumOffset {
			want = 0xffff
		}
		if offset == encap.SCTPChecksumOffset {
			clear(before[field : field+4])
			binary.LittleEndian.PutUint32(before[field:], slowCRC32c(before[start:]))
		} else {
			before[field], before[field+1] = byte(want>>8), byte(want)
		}
		if string(frame) != string(before) {
			t.Fatalf("got % x want % x", frame, before)
		}
	})
}
