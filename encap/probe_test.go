package encap_test

import (
	"testing"

	"vtepd/encap"
)

func TestProbe(t *testing.T) {
	for _, n := range []int{encap.ProbeLen, 1464} {
		p := encap.Probe(make([]byte, n))
		for i := range p {
			p[i] = 0xff
		}
		p.Encode(encap.ProbeQuestion, 0x020000000001, 0x0123456789abcdef, uint32(n))
		if !p.Valid() || p.Kind() != encap.ProbeQuestion || p.ID() != 0x0123456789abcdef || p.Length() != uint32(n) || encap.Ethernet(p).Src() != 0x020000000001 {
			t.Errorf("%d bytes: % x", n, p[:encap.ProbeLen])
		}
		for i, b := range p[36:] {
			if b != 0 {
				t.Errorf("padding byte %d is %#x", i, b)
			}
		}
		for i := range 20 {
			if i >= 6 && i < 12 {
				continue // the source may be anybody
			}
			p[i] ^= 1
			if p.Valid() {
				t.Errorf("byte %d changed, and still a probe", i)
			}
			p[i] ^= 1
		}
		if p[:encap.ProbeLen-1].Valid() {
			t.Error("too short, and still a probe")
		}
	}
}

// Any bytes may be asked whether they are a probe, and what they say if they are.
func FuzzProbe(f *testing.F) {
	p := encap.Probe(make([]byte, encap.ProbeLen))
	p.Encode(encap.ProbeAnswer, 1, 2, 3)
	f.Add([]byte(p))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := encap.Probe(b)
		if !p.Valid() {
			return
		}
		again := encap.Probe(make([]byte, encap.ProbeLen))
		again.Encode(p.Kind(), encap.Ethernet(p).Src(), p.ID(), p.Length())
		if !again.Valid() || again.Kind() != p.Kind() || again.ID() != p.ID() || again.Length() != p.Length() {
			t.Errorf("% x became % x", b[:encap.ProbeLen], again)
		}
	})
}
