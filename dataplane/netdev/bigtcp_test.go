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
	if !r.makeRoom() {
		t.Fatal("no room")
	}
	q.big.Store(true)
	// put makes a message of n bytes of payload in segments of size, and returns the frame.
	put := func(i, n int, size uint16) Frame {
		b, off := encaptest.Packet{Flags: encap.TCPAck, Payload: encaptest.Payload(n, uint64(i))}.Superframe(size)
		encap.IPv4(b[encap.EthernetLen:]).SetTotalLen(0)
		slot := r.slot(i, q)
		return Frame{Buf: slot[:frameAt+copy(slot[frameAt:], b)], Start: frameAt, Off: off}
	}
	const headers = encap.EthernetLen + encap.IPv4MinLen + encap.TCPMinLen
	kept := 0
	for i, n := range []int{524280 - headers, 180000, 66000} {
		f := put(i, n, 1400)
		if !f.isBig() {
			t.Fatalf("%d bytes are not big", n)
		}
		from := kept
		kept = r.divide(f, kept)
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
	if kept != r.big.used || kept != 9+3+2 {
		t.Errorf("%d frames in %d slots", kept, r.big.used)
	}

	// The most that a read brings has room: each part holds one segment.
	for _, size := range []uint16{32768, 33000, 65000} {
		kept, r.big.used = 0, 0
		for i := range bigFrames {
			kept = r.divide(put(i, 524280-headers, size), kept)
		}
		if kept != r.big.used || kept != bigFrames*((524280-headers+int(size)-1)/int(size)) {
			t.Errorf("segments of %d: %d frames in %d slots", size, kept, r.big.used)
		}
	}
	// Nor does what was made to be many: segments of a byte, beside the most parts and frames that stay as they are.
	kept, r.big.used = 0, 0
	for i := range bigFrames {
		size := uint16(1)
		if i%2 == 1 {
			size = 32768
		}
		f := put(i, 524280-headers, size)
		if i > bigFrames/2 {
			f.Off.CsumStart++
		}
		kept = r.divide(f, kept)
	}
	if kept < bigFrames || !r.out[0].Oversize {
		t.Errorf("%d frames, segments of a byte: oversize %v", kept, r.out[0].Oversize)
	}
	for _, n := range []int{65450, 65500, 180000} {
		f := put(0, n, 1400)
		f.Off.CsumStart++ // contradicts the headers
		r.big.used = 0
		if kept = r.divide(f, 0); kept != 1 || r.big.used != 0 || r.out[0].Oversize != (n > 65536) {
			t.Errorf("%d bytes: %d frames in %d slots, oversize %v", n, kept, r.big.used, r.out[0].Oversize)
		}
	}
}
