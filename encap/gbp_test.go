package encap_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vtepd/encap"
)

func TestGBP(t *testing.T) {
	for _, c := range []struct {
		name string
		gbp  encap.GBP
		word uint32 // first of the header
	}{
		{"none", encap.NewGBP(0), 0x08000000},
		{"1", encap.NewGBP(1), 0x88000001},
		{"largest", encap.NewGBP(0xffff), 0x8800ffff},
		{"don't learn", encap.NewGBP(0x1234).WithDontLearn(), 0x88401234},
		{"applied", encap.NewGBP(0x1234).WithApplied(), 0x88081234},
		{"both, no ID", encap.NewGBP(0).WithApplied().WithDontLearn(), 0x88480000},
	} {
		b := make([]byte, encap.VXLANLen)
		encap.NewVXLANHeader(42).WithGBP(c.gbp).Put(b)
		if got := binary.BigEndian.Uint32(b); got != c.word {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.word)
		}
		v := encap.VXLAN(b)
		if v.GBP() != c.gbp || v.VNI() != 42 || !v.Valid() || !v.GBPReservedZero() || v.ReservedZero() != (c.gbp == 0) {
			t.Errorf("%s: read back as %#x, vni %d", c.name, v.GBP(), v.VNI())
		}
		// gopacket looks for the A bit in the wrong place (the draft has it at bit 12, as include/net/vxlan.h does).
		x, ok := gopacket.NewPacket(b, layers.LayerTypeVXLAN, gopacket.NoCopy).Layer(layers.LayerTypeVXLAN).(*layers.VXLAN)
		if !ok || x.GBPExtension != (c.gbp != 0) || x.GBPGroupPolicyID != c.gbp.ID() || x.GBPDontLearn != c.gbp.DontLearn() {
			t.Errorf("%s: gopacket reads %+v", c.name, x)
		}
	}
}

// Without the G flag nothing of the extension holds, and its fields are reserved.
func TestGBPNeedsFlag(t *testing.T) {
	b := make([]byte, encap.VXLANLen)
	binary.BigEndian.PutUint64(b, 0x08481234_00002a00)
	if v := encap.VXLAN(b); v.GBP() != 0 || v.GBPReservedZero() {
		t.Errorf("% x: %#x, reserved zero %t", b, v.GBP(), v.GBPReservedZero())
	}
}

func FuzzGBP(f *testing.F) {
	f.Add([]byte{0x88, 0x48, 0x12, 0x34, 0, 0, 42, 0})
	f.Add([]byte{0x08, 0x48, 0x12, 0x34, 0, 0, 42, 0})
	f.Add([]byte{0x88, 0, 0, 1, 0, 0, 42, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < encap.VXLANLen {
			return
		}
		v := encap.VXLAN(b)
		g, zero := v.GBP(), v.GBPReservedZero()
		has := b[0]&0x80 != 0
		id := uint16(b[2])<<8 | uint16(b[3])
		if has && (g.ID() != id || g.DontLearn() != (b[1]&0x40 != 0) || g.Applied() != (b[1]&0x08 != 0)) || !has && g != 0 {
			t.Fatalf("% x: %#x", b, g)
		}
		// What is not reserved can be written again; what is, cannot.
		w := make([]byte, encap.VXLANLen)
		encap.NewVXLANHeader(v.VNI()).WithGBP(g).Put(w)
		if same := string(w) == string(b[:8]); same != (zero && v.Valid()) {
			t.Fatalf("% x: rebuilt as % x, valid %t, reserved zero %t", b, w, v.Valid(), zero)
		}
		if has || v.ReservedZero() == zero {
			return
		}
		t.Fatalf("% x: without the flag the extension changes what is reserved", b)
	})
}

func BenchmarkPutHeader(b *testing.B) {
	buf := make([]byte, encap.VXLANLen)
	h, g := encap.NewVXLANHeader(42), encap.NewGBP(7)
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			encap.PutVXLAN(buf, 42)
		}
	})
	b.Run("gbp", func(b *testing.B) {
		for b.Loop() {
			h.WithGBP(g).Put(buf)
		}
	})
}
