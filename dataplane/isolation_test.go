package dataplane

import "testing"

// The same MACs live in two VNIs, at different places and at the same ones, and no frame crosses.
//
//	a0 a1 (VNI 42) ──┐
//	b0 b1 (VNI 43) ──┼ switch ════ r0 r1 (both VNIs)
//	t0 (42 untagged, │
//	    43 as 43)  ──┘
func TestVNIsAreApart(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	for _, vni := range []uint32{42, 43} {
		s.set(VNIConfig{VNI: vni, Learning: true}, s.addrs()...)
	}
	s.port("a0", 42)
	s.port("a1", 42)
	s.port("b0", 43)
	s.port("b1", 43)
	s.configuredPort(PortConfig{Name: "t0", Untagged: 42, Tagged: []VIDMap{{43, 43}}})
	x, y, z := station(1), station(2), station(3)

	// x: a0 in 42, b1 in 43. y: r0 in 42, r1 in 43. z: t0 in both.
	s.Inject("a0", frameOf(x, broadcast))
	if got, want := s.counts(), "a1:1 r0:1 r1:1 t0:1"; got != want {
		t.Errorf("broadcast in 42: %q, want %q", got, want)
	}
	s.Inject("b1", frameOf(x, broadcast))
	if got, want := s.counts(), "b0:1 r0:1 r1:1 t0:1"; got != want {
		t.Errorf("broadcast in 43: %q, want %q", got, want)
	}
	s.remotes[0].send(42, frameOf(y, broadcast))
	if got, want := s.counts(), "a0:1 a1:1 t0:1"; got != want {
		t.Errorf("broadcast from the wire in 42: %q, want %q", got, want)
	}
	s.remotes[1].send(43, frameOf(y, broadcast))
	if got, want := s.counts(), "b0:1 b1:1 t0:1"; got != want {
		t.Errorf("broadcast from the wire in 43: %q, want %q", got, want)
	}
	s.Inject("t0", frameOf(z, broadcast), putTag(frameOf(z, broadcast), 0x8100, 43))
	s.forget()
	if a, b := s.entry(42, x), s.entry(43, x); a.Port != "a0" || b.Port != "b1" || a.Moves+b.Moves != 0 {
		t.Errorf("one MAC in two VNIs: %+v %+v", a, b)
	}
	for _, c := range []struct {
		name string
		send func()
		want string
	}{
		{"42 x", func() { s.Inject("a1", frameOf(station(4), x)) }, "a0:1"},
		{"43 x", func() { s.Inject("b0", frameOf(station(4), x)) }, "b1:1"},
		{"42 y", func() { s.Inject("a1", frameOf(station(4), y)) }, "r0:1"},
		{"43 y", func() { s.Inject("b0", frameOf(station(4), y)) }, "r1:1"},
		{"42 z", func() { s.Inject("a1", frameOf(station(4), z)) }, "t0:1"},
		{"43 z", func() { s.remotes[0].send(43, frameOf(station(5), z)) }, "t0:1"},
		{"42 x from the wire", func() { s.remotes[1].send(42, frameOf(station(6), x)) }, "a0:1"},
		{"43 x from the wire", func() { s.remotes[1].send(43, frameOf(station(6), x)) }, "b1:1"},
		{"only in 43", func() { s.Inject("a0", frameOf(x, station(5))) }, "a1:1 r0:1 r1:1 t0:1"},
	} {
		c.send()
		if got := s.counts(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	// The same VNI number is no place: entries of one VNI go with it, those of the other stay.
	if _, err := s.FDBFlush(FDBFilter{VNI: 42}); err != nil {
		t.Fatal(err)
	}
	if s.known(42, x) || !s.known(43, x) {
		t.Errorf("flush of VNI 42: %+v", s.FDBDump(FDBFilter{}))
	}
	s.drops(2, UnknownVNI, func() { s.remotes[0].send(44, times(2, frameOf(y, broadcast))...) })
	s.balance()
}
