package encap_test

import (
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// TestNoAllocation runs everything that lies on the path of a frame.
func TestNoAllocation(t *testing.T) {
	p := encaptest.Packet{Flags: encap.TCPAck, TCPOptions: encaptest.Timestamps(1, 2), Payload: encaptest.Payload(44*1398, 1)}
	super, off := p.Superframe(1398)
	bad := off
	bad.GSOSize = 0
	segments := cut(t, super, off)
	finish, finishOff := encaptest.Packet{Payload: make([]byte, 1000)}.Superframe(0)
	tagged := encaptest.Packet{Tags: []uint16{5}}.Frame()
	var l encap.Layout
	l.Parse(super)
	var cutter encap.Cutter
	var divider encap.Divider
	big, bigOff := bigSuperframe(encaptest.Packet{Flags: encap.TCPAck, Payload: encaptest.Payload(150000, 1)}, 1398, false)
	part := make([]byte, 65535+22)
	c := encap.NewCoalescer(64)
	hdr := make([]byte, encap.MaxHeaderLen)
	var vh [encap.OffloadLen]byte
	for name, f := range map[string]func(){
		"Parse":          func() { l.Parse(super) },
		"FlowHash":       func() { encap.FlowHash(super, &l, 7) },
		"Sum":            func() { encap.Sum(super, 0) },
		"FinishChecksum": func() { _ = encap.FinishChecksum(finish, finishOff) },
		"PutVXLAN":       func() { encap.PutVXLAN(hdr, 7) },
		"Offload":        func() { off.Encode(vh[:]); off.Decode(vh[:]) },
		"SetECN":         func() { encap.SetECN(tagged, &l, 1) },
		"PushTagHeader":  func() { encap.PushTagHeader(hdr, tagged, 1) },
		"Cutter": func() {
			if err := cutter.Init(super, &l, off); err != nil {
				t.Fatal(err)
			}
			for i := range cutter.Count() {
				cutter.Segment(i, hdr)
			}
		},
		"Divider": func() {
			if err := divider.Init(big, bigOff); err != nil {
				t.Fatal(err)
			}
			for n, _ := divider.Next(part); n != 0; n, _ = divider.Next(part) {
			}
		},
		"Divider refusing": func() {
			if divider.Init(big, bad) == nil {
				t.Fatal("accepted")
			}
		},
		"Cutter refusing": func() {
			if cutter.Init(super, &l, bad) == nil {
				t.Fatal("accepted")
			}
		},
		"Coalescer": func() {
			for i, s := range segments {
				c.Add(1, uint32(i), allCaps, s)
			}
			for i := range c.Len() {
				c.Slot(i)
			}
			c.Reset()
		},
	} {
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
