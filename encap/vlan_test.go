package encap_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

func TestPopTag(t *testing.T) {
	data := encaptest.Payload(99, 1)
	for _, tt := range []struct{ with, want []uint16 }{
		{[]uint16{0x6001}, nil},
		{[]uint16{1, 2}, []uint16{2}},
	} {
		f, off := encaptest.Packet{Tags: tt.with, Flags: encap.TCPAck, Payload: data}.Superframe(50)
		want, wantOff := encaptest.Packet{Tags: tt.want, Flags: encap.TCPAck, Payload: data}.Superframe(50)
		got := encap.PopTag(f)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: %s", tt.with, diff)
		}
		if diff := cmp.Diff(wantOff, off.Shift(-encap.VLANTagLen)); diff != "" {
			t.Errorf("%v: offload %s", tt.with, diff)
		}
	}
	if (encap.Offload{}).Shift(4) != (encap.Offload{}) {
		t.Error("the zero Offload moves")
	}
	if got := (encap.Offload{CsumStart: 2, HdrLen: 3}).Shift(-4); got != (encap.Offload{}) {
		t.Errorf("hostile offsets wrap around: %+v", got)
	}
}

func TestPushTagHeader(t *testing.T) {
	f := encaptest.Packet{Payload: encaptest.Payload(20, 1)}.Frame()
	before := string(f)
	hdr := make([]byte, encap.PushedLen+1)
	hdr[encap.PushedLen] = 0xee
	encap.PushTagHeader(hdr, f, 0x7fff)
	if hdr[encap.PushedLen] != 0xee || string(f) != before {
		t.Error("wrote where it should not")
	}
	got := append(hdr[:encap.PushedLen], f[12:]...)
	want := encaptest.Packet{Payload: encaptest.Payload(20, 1), Tags: []uint16{0x7fff}}.Frame()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// In place: four bytes of headroom in front.
	room := append(make([]byte, 4), f...)
	encap.PushTagHeader(room, room[4:], 0x7fff)
	if diff := cmp.Diff(want, room); diff != "" {
		t.Errorf("in place: %s", diff)
	}
	if diff := cmp.Diff(f, encap.PopTag(room)); diff != "" {
		t.Errorf("popped again: %s", diff)
	}
}

func TestVLANTag(t *testing.T) {
	tag := encap.VLANTag{0x88, 0xa8, 0xf1, 0x23}
	if tag.TPID() != encap.EtherTypeQinQ || tag.VID() != 0x123 || tag.PCP() != 7 || !tag.DEI() {
		t.Errorf("%#x %#x %d %v", tag.TPID(), tag.VID(), tag.PCP(), tag.DEI())
	}
	tag.SetTCI(0x2fff)
	if tag.TCI() != 0x2fff || tag.PCP() != 1 || tag.DEI() || tag.VID() != encap.VIDMask {
		t.Errorf("% x", tag)
	}
}

func TestMAC(t *testing.T) {
	e := encap.Ethernet(make([]byte, 14))
	e.SetDst(0x0102030405060708)
	e.SetSrc(0xffffffffffff)
	e.SetEtherType(0x0806)
	if diff := cmp.Diff(encap.Ethernet{3, 4, 5, 6, 7, 8, 255, 255, 255, 255, 255, 255, 8, 6}, e); diff != "" {
		t.Error(diff)
	}
	if e.Dst() != 0x030405060708 || e.Src() != encap.MACMask || e.EtherType() != encap.EtherTypeARP || encap.MAC(e) != e.Dst() {
		t.Errorf("%x %x", e.Dst(), e.Src())
	}
	if !encap.MulticastMAC(0x01005e000001) || encap.MulticastMAC(0x020000000001) || !encap.MulticastMAC(encap.MACMask) {
		t.Error("group bit")
	}
}
