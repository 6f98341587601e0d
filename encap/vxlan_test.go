package encap_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vtepd/encap"
)

func TestPutVXLAN(t *testing.T) {
	for _, vni := range []uint32{0, 1, 42, 0x123456, encap.MaxVNI} {
		b := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xee}
		encap.PutVXLAN(b, vni)
		v := encap.VXLAN(b)
		if v.VNI() != vni || !v.Valid() || !v.ReservedZero() || v.Flags() != 8 || b[8] != 0xee {
			t.Errorf("vni %d: % x", vni, b)
		}
		p := gopacket.NewPacket(b[:8], layers.LayerTypeVXLAN, gopacket.NoCopy)
		x, ok := p.Layer(layers.LayerTypeVXLAN).(*layers.VXLAN)
		if !ok || x.VNI != vni || !x.ValidIDFlag || x.GBPExtension {
			t.Errorf("vni %d: gopacket reads %+v", vni, x)
		}
	}
	b := make([]byte, 8)
	encap.PutVXLAN(b, 0xff000001)
	if v := encap.VXLAN(b); v.VNI() != 1 || !v.ReservedZero() {
		t.Errorf("25th bit of the VNI leaks: % x", b)
	}
}

// TestVXLANReserved flips each of the 39 reserved bits.
func TestVXLANReserved(t *testing.T) {
	reserved := 0
	for bit := range 64 {
		b := make([]byte, 8)
		encap.PutVXLAN(b, 0xabcdef)
		b[bit/8] ^= 0x80 >> (bit % 8)
		v := encap.VXLAN(b)
		switch {
		case bit == 4:
			if v.Valid() {
				t.Errorf("valid without I flag")
			}
		case bit >= 32 && bit < 56:
			if v.VNI() == 0xabcdef || !v.ReservedZero() || !v.Valid() {
				t.Errorf("bit %d is part of the VNI", bit)
			}
		default:
			reserved++
			if v.ReservedZero() || v.VNI() != 0xabcdef || !v.Valid() {
				t.Errorf("bit %d is reserved", bit)
			}
		}
	}
	if reserved != 39 {
		t.Errorf("%d reserved bits, want 39", reserved)
	}
}

func FuzzVXLAN(f *testing.F) {
	f.Add([]byte{8, 0, 0, 0, 0, 0, 42, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x88, 0, 0, 1, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < encap.VXLANLen {
			return
		}
		v := encap.VXLAN(b)
		flags, vni, valid, zero := v.Flags(), v.VNI(), v.Valid(), v.ReservedZero()
		w := make([]byte, encap.VXLANLen)
		encap.PutVXLAN(w, vni)
		if same := string(w) == string(b[:8]); same != (valid && zero) {
			t.Fatalf("% x: rebuilt as % x, valid %v, reserved zero %v", b, w, valid, zero)
		}
		if vni > encap.MaxVNI || valid != (flags>>3&1 == 1) || zero != (binary.BigEndian.Uint64(b)&0xf7ffffff000000ff == 0) {
			t.Fatalf("% x: %#x %d %v %v", b, flags, vni, valid, zero)
		}
	})
}
