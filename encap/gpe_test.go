package encap_test

import (
	"encoding/binary"
	"testing"

	"vtepd/encap"
)

func TestGPE(t *testing.T) {
	b := make([]byte, encap.VXLANLen)
	encap.NewVXLANHeader(0xabcdef).WithNext(encap.GPEEthernet).Put(b)
	if got := binary.BigEndian.Uint64(b); got != 0x0c000003_abcdef00 {
		t.Fatalf("built %#x", got)
	}
	for _, c := range []struct {
		name     string
		header   uint64
		version  uint8
		next     uint8
		oam, bum bool
		zero     bool
	}{
		{"Ethernet", 0x0c000003_00002a00, 0, 3, false, false, true},
		{"plain VXLAN", 0x08000000_00002a00, 0, 3, false, false, true},
		{"IPv4", 0x0c000001_00002a00, 0, 1, false, false, true},
		{"protocol 0", 0x0c000000_00002a00, 0, 0, false, false, true},
		{"protocol without P", 0x08000001_00002a00, 0, 3, false, false, false},
		{"version 1", 0x1c000003_00002a00, 1, 3, false, false, true},
		{"version 3", 0x3c000003_00002a00, 3, 3, false, false, true},
		{"OAM", 0x0d000003_00002a00, 0, 3, true, false, true},
		{"BUM", 0x0e000003_00002a00, 0, 3, false, true, true},
		{"first reserved bit", 0x8c000003_00002a00, 0, 3, false, false, false},
		{"second reserved bit", 0x4c000003_00002a00, 0, 3, false, false, false},
		{"reserved field", 0x0c010003_00002a00, 0, 3, false, false, false},
		{"end of the reserved field", 0x0c000103_00002a00, 0, 3, false, false, false},
		{"last byte", 0x0c000003_00002a01, 0, 3, false, false, false},
	} {
		binary.BigEndian.PutUint64(b, c.header)
		g := encap.GPE(b)
		if g.Version() != c.version || g.Next() != c.next || g.OAM() != c.oam || g.BUM() != c.bum || g.ReservedZero() != c.zero || encap.VXLAN(b).VNI() != 42 {
			t.Errorf("%s: version %d, next %d, OAM %t, BUM %t, reserved zero %t", c.name, g.Version(), g.Next(), g.OAM(), g.BUM(), g.ReservedZero())
		}
	}
}

func FuzzGPE(f *testing.F) {
	f.Add([]byte{0x0c, 0, 0, 3, 0, 0, 42, 0})
	f.Add([]byte{0x08, 0, 0, 0, 0, 0, 42, 0})
	f.Add([]byte{0x3f, 0, 0, 1, 0, 0, 42, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < encap.VXLANLen {
			return
		}
		g, v := encap.GPE(b), encap.VXLAN(b)
		has := b[0]>>2&1 == 1
		if g.Version() != b[0]>>4&3 || g.OAM() != (b[0]&1 == 1) || g.BUM() != (b[0]>>1&1 == 1) || has && g.Next() != b[3] || !has && g.Next() != 3 {
			t.Fatalf("% x: version %d, next %d, OAM %t, BUM %t", b, g.Version(), g.Next(), g.OAM(), g.BUM())
		}
		// What is not reserved can be written again; what is, cannot.
		w := make([]byte, encap.VXLANLen)
		h := encap.NewVXLANHeader(v.VNI())
		if has {
			h = h.WithNext(g.Next())
		}
		h.Put(w)
		w[0] |= b[0] & 0x33
		if same := string(w) == string(b[:8]); same != (g.ReservedZero() && v.Valid()) {
			t.Fatalf("% x: rebuilt as % x, valid %t, reserved zero %t", b, w, v.Valid(), g.ReservedZero())
		}
		// Plain VXLAN is plain in both eyes.
		if v.ReservedZero() && v.Valid() && (!g.ReservedZero() || g.Next() != encap.GPEEthernet || g.Version() != 0 || g.OAM()) {
			t.Fatalf("% x: plain VXLAN is not GPE without P", b)
		}
	})
}
