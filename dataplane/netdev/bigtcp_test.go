package netdev

import (
	"bytes"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// What a queue brings of superframes of more than 64 KiB is divided into frames of their own slots; what cannot be, or has no slots left, is Oversize.
func TestDivide(t *testing.T) {
	r, err := NewReceiver()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	q := newQueue(-1, true, false, nil)
	q.big = true
	// put makes a message of n bytes of payload in segments of size, and returns the frame.
	put := func(i, n int, size uint16) Frame {
		b, off := encaptest.Packet{Flags: encap.TCPAck, Payload: encaptest.Payload(n, uint64(i))}.Superframe(size)
		encap.IPv4(b[encap.EthernetLen:]).SetTotalLen(0)
		slot := r.slot(i, q)
		return Frame{Buf: slot[:frameAt+copy(slot[frameAt:], b)], Start: frameAt, Off: off}
	}
	const headers = encap.EthernetLen + encap.IPv4MinLen + encap.TCPMinLen
	kept, used := 0, 0
	for i, n := range []int{524280 - headers, 180000, 66000} {
		f := put(i, n, 1400)
		if !f.isBig() {
			t.Fatalf("%d bytes are not big", n)
		}
		from := kept
		kept, used = r.divide(f, kept, used)
		var got []byte
		for _, part := range r.out[from:kept] {
			if part.Oversize || part.isBig() || part.Start < Headroom || len(part.Buf) > slotSize || !part.Off.NeedsChecksum() {
				t.Fatalf("of %d bytes came %d at %d, oversize %v, %+v", n, len(part.Buf), part.Start, part.Oversize, part.Off)
			}
			got = append(got, part.Buf[part.Start+headers:]...)
		}
		if !bytes.Equal(got, encaptest.Payload(n, uint64(i))) {
			t.Errorf("of %d bytes came %d, or others", n, len(got))
		}
	}
	if kept != used || kept != 9+3+2 {
		t.Errorf("%d frames in %d slots", kept, used)
	}

	// 16 parts each of which holds one segment: the third one has no room.
	kept, used = 0, 0
	for i := range bigFrames {
		kept, used = r.divide(put(i, 524280-headers, 33000), kept, used)
	}
	if kept != 33 || used != 32 || !r.out[32].Oversize || r.out[31].Oversize {
		t.Errorf("%d frames in %d slots", kept, used)
	}
	for _, n := range []int{65450, 65500, 180000} {
		f := put(0, n, 1400)
		f.Off.CsumStart++ // contradicts the headers
		kept, used = r.divide(f, 0, 0)
		if kept != 1 || used != 0 || r.out[0].Oversize != (n > 65536) {
			t.Errorf("%d bytes: %d frames in %d slots, oversize %v", n, kept, used, r.out[0].Oversize)
		}
	}
}
