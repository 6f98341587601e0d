package tap

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"vtepd/encap"
)

// kindOfSuperframe builds one of the superframes a host makes.
func kindOfSuperframe(gso uint8, tagged bool, payload, size int) (encap.Offload, []byte) {
	v6 := gso == encap.GSOTCPv6
	l4, l4Len, proto, sumAt := 34, 20, byte(unix.IPPROTO_TCP), 16
	if v6 {
		l4 = 54
	}
	if gso == encap.GSOUDPL4 {
		l4Len, proto, sumAt = 8, unix.IPPROTO_UDP, 6
	}
	b := make([]byte, l4+l4Len+payload)
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45})
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
	copy(b[20:], []byte{0x40, 0, 64, proto, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2})
	if v6 {
		copy(b[12:], []byte{0x86, 0xdd, 0x60, 0, 0, 0})
		binary.BigEndian.PutUint16(b[18:], uint16(len(b)-54))
		b[20], b[21] = proto, 64
		copy(b[22:], []byte{0x20, 1, 0x0d, 0xb8, 15: 1})
		copy(b[38:], []byte{0x20, 1, 0x0d, 0xb8, 15: 2})
	}
	copy(b[l4:], []byte{0, 9, 0, 9})
	if proto == unix.IPPROTO_UDP {
		binary.BigEndian.PutUint16(b[l4+4:], uint16(8+payload))
	} else {
		b[l4+12], b[l4+13] = 0x50, 0x10
	}
	for i := range payload {
		b[l4+l4Len+i] = byte(i * 3)
	}
	if tagged {
		b = slices.Insert(b, 12, 0x81, 0x00, 0x00, 42)
		l4 += 4
	}
	return encap.Offload{
		Flags: encap.FlagNeedsCsum, GSOType: gso, GSOSize: uint16(size),
		HdrLen: uint16(l4 + l4Len), CsumStart: uint16(l4), CsumOffset: uint16(sumAt),
	}, b
}

// TestKindsOfSuperframe takes each kind through the device, both ways.
func TestKindsOfSuperframe(t *testing.T) {
	for _, tc := range []struct {
		name   string
		gso    uint8
		tagged bool
		has    func(Caps) bool
	}{
		{"tcp4", encap.GSOTCPv4, false, func(c Caps) bool { return c.TSO4 }},
		{"tcp4 tagged", encap.GSOTCPv4, true, func(c Caps) bool { return c.TSO4 }},
		{"tcp6", encap.GSOTCPv6, false, func(c Caps) bool { return c.TSO6 }},
		{"tcp6 tagged", encap.GSOTCPv6, true, func(c Caps) bool { return c.TSO6 }},
		{"tcp4 with ecn", encap.GSOTCPv4 | encap.GSOECN, false, func(c Caps) bool { return c.ECN }},
		{"udp", encap.GSOUDPL4, false, func(c Caps) bool { return c.USO }},
		{"udp tagged", encap.GSOUDPL4, true, func(c Caps) bool { return c.USO }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			newNetNS(t)
			d := mustOpen(t, Options{Name: "tap0", Offload: true})
			if !tc.has(d.Caps()) {
				t.Skipf("this kernel has %+v", d.Caps())
			}
			s := newStack(t, "tap0", true)
			off, frame := kindOfSuperframe(tc.gso, tc.tagged, 20*1200, 1200)
			head := int(off.HdrLen)

			must(t, d.Queue(0).Write(off, [][]byte{frame[:head], frame[head:5000], frame[5000:]}))
			got := s.receive()
			// A packet socket takes the tag out of the frame, and the checksum
			// start with it.
			wantStack, stackOff := frame, off
			if tc.tagged {
				wantStack = slices.Delete(bytes.Clone(frame), 12, 16)
				stackOff.CsumStart -= 4
				stackOff.HdrLen -= 4
			}
			var seen encap.Offload
			seen.Decode(got)
			if seen.GSOType != off.GSOType || seen.GSOSize != 1200 || seen.CsumStart != stackOff.CsumStart ||
				!bytes.Equal(got[encap.OffloadLen:], wantStack) {
				t.Errorf("the stack has %+v and %d bytes, want %+v and %d",
					seen, len(got)-encap.OffloadLen, stackOff, len(wantStack))
			}

			var header [encap.OffloadLen]byte
			off.Encode(header[:])
			s.send(append(header[:], frame...))
			buf := make([]byte, BufferSize)
			n, seen, err := readWait(t, d, buf)
			must(t, err)
			seen.HdrLen = off.HdrLen // a hint
			if seen != off || !bytes.Equal(buf[Headroom:Headroom+n], frame) {
				t.Errorf("the queue has %+v and %d bytes, want %+v and %d", seen, n, off, len(frame))
			}
		})
	}
}
