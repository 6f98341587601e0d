package encap_test

import (
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

func TestECNEncap(t *testing.T) {
	for inner, want := range map[encap.ECNMode][4]uint8{
		encap.ECNRFC6040: {0, 1, 2, 3},
		encap.ECNLinux:   {0, 1, 2, 2}, // selftest test_ecn_encap
	} {
		for i := range uint8(4) {
			if got := encap.ECNEncap(inner, 0xb8|i); got != want[i] {
				t.Errorf("mode %d, inner %d: %d, want %d", inner, i, got, want[i])
			}
		}
	}
}

// TestECNDecap is the table of the kernel's selftest test_ecn_decap, all 16 cases.
func TestECNDecap(t *testing.T) {
	const drop = 9
	want := [4][4]uint8{{0, 0, 0, drop}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}}
	for inner := range uint8(4) {
		for outer := range uint8(4) {
			got, dropped := encap.ECNDecap(0xb8|inner, 0x2c|outer)
			if w := want[inner][outer]; dropped != (w == drop) || !dropped && got != w {
				t.Errorf("inner %d, outer %d: %d, drop %v; want %d", inner, outer, got, dropped, w)
			}
		}
	}
}

func TestSetECN(t *testing.T) {
	for _, p := range []encaptest.Packet{
		{TOS: 0xb8, Tags: []uint16{3}}, {V6: true, TOS: 0xb9, FlowLabel: 0xfffff}, {TOS: 0x03, BadIPChecksum: true}, {Options: make([]byte, 12)},
	} {
		for ecn := range uint8(4) {
			got := p.Frame()
			var l encap.Layout
			l.Parse(got)
			encap.SetECN(got, &l, ecn|0xfc)
			want := p
			want.TOS = p.TOS&^3 | ecn
			if p.BadIPChecksum {
				// A wrong checksum must stay as wrong as it was, not be mended.
				if h := got[l.L3:l.L4]; encaptest.ReferenceSum(h, 0) == 0xffff {
					t.Errorf("wrong checksum mended")
				}
				continue
			}
			if string(got) != string(want.Frame()) {
				t.Errorf("tos %#x, ecn %d: % x", p.TOS, ecn, got[:40])
			}
			if tos, ok := encap.TrafficClass(got, &l); !ok || tos != want.TOS {
				t.Errorf("traffic class %#x, %v; want %#x", tos, ok, want.TOS)
			}
		}
	}
	arp := encaptest.ARPRequest(encaptest.SrcMAC, encaptest.Src4, encaptest.Dst4)
	before := string(arp)
	var l encap.Layout
	l.Parse(arp)
	encap.SetECN(arp, &l, 3)
	if _, ok := encap.TrafficClass(arp, &l); ok || string(arp) != before {
		t.Errorf("ARP has a traffic class")
	}
}

func TestHopLimit(t *testing.T) {
	for _, p := range []encaptest.Packet{{TTL: 7}, {V6: true, TTL: 200, Tags: []uint16{1, 2}}} {
		f := p.Frame()
		var l encap.Layout
		l.Parse(f)
		if got, ok := encap.HopLimit(f, &l); !ok || got != p.TTL {
			t.Errorf("%d, %v; want %d", got, ok, p.TTL)
		}
	}
	var l encap.Layout
	f := make([]byte, 60)
	l.Parse(f)
	if _, ok := encap.HopLimit(f, &l); ok {
		t.Error("802.3 frame has a hop limit")
	}
}
