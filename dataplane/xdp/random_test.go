package xdp

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRandomFrames feeds each program frames that are damaged in every way: it never gives an answer that it has not, and what it does not
// carry stays as it was.
func TestRandomFrames(t *testing.T) {
	t.Parallel()
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	b := newBench(t, func(_ *Options, d *Domain) {
		d.ClampMSS, d.SpoofGuard, d.InheritDSCP, d.InheritTTL, d.NewSources = true, true, true, true, true
	})
	r := rand.New(rand.NewPCG(7, 9))
	carried := make(map[string]int)
	for range rounds {
		inner := randomFrame(r)
		data := inner
		if r.IntN(2) == 0 {
			peer := remote4
			if r.IntN(2) == 0 {
				peer = remote6
			}
			w := letterFrom(peer, inner)
			w.tos = uint8(r.Uint32())
			data = w.bytes()
		}
		data = damage(r, data)
		if len(data) < 54 { // a test run wants an IP header where the EtherType says so
			continue
		}
		wrapped, unwrapped := invariants(t, b, data)
		if wrapped {
			carried["tap"]++
		}
		if unwrapped {
			carried["underlay"]++
		}
	}
	if c := b.count(); c[race] != 0 || c[refused] != 0 {
		t.Errorf("%d races, %d refused", c[race], c[refused])
	}
	if carried["tap"] < rounds/100 || carried["underlay"] < rounds/100 {
		t.Errorf("carried too little to tell: %v", carried)
	}
}

// invariants runs every program on a frame, and says whether it went to a peer or port, and whether it was unwrapped.
func invariants(t testing.TB, b *bench, data []byte) (wrapped, unwrapped bool) {
	b.heard() // makes room for more
	answer, _, out := b.run(b.objects.VtepdTap, data, nil)
	wrapped = answer == redirect
	if wrapped {
		if len(out) != len(data) && len(out) != len(data)+50 && len(out) != len(data)+70 || !bytes.HasSuffix(out, data[14:]) {
			t.Fatalf("carried %d bytes as %d:\n%x\n%x", len(data), len(out), data, out)
		}
	} else if answer != nextTCX || !bytes.Equal(out, data) {
		t.Fatalf("answer %d\n%x\n%x", int32(answer), data, out)
	}
	if answer, _, out := b.run(b.objects.VtepdDevice, data, nil); (answer == redirect) != wrapped || !wrapped && (answer != dropTCX || !bytes.Equal(out, data)) {
		t.Fatalf("device: answer %d\n%x\n%x", int32(answer), data, out)
	}
	if kept, _, _ := b.run(b.objects.SlowOnly, asSocket(data), nil); (kept == 0) != wrapped || kept != 0 && kept != keepFrame {
		t.Fatalf("filter: answer %d\n%x", int32(kept), data)
	}
	answer, _, out = b.run(b.objects.VtepdUnderlay, data, nil)
	unwrapped = answer == redirect
	if unwrapped {
		if !sameInner(data, out) {
			t.Fatalf("unwrapped\n%x\n%x", data, out)
		}
	} else if answer != nextTCX || !bytes.Equal(out, data) {
		t.Fatalf("underlay: answer %d\n%x\n%x", int32(answer), data, out)
	}
	if answer, _, out := b.run(b.objects.VtepdBare, data, nil); answer != passXDP || !bytes.Equal(out, data) && !sameInner(data, out[12:]) {
		t.Fatalf("XDP: answer %d\n%x\n%x", int32(answer), data, out)
	}
	return wrapped, unwrapped
}

// sameInner says whether out is the frame inside data, but for the ECN field and the checksum over it.
func sameInner(data, out []byte) bool {
	for _, at := range []int{50, 70} {
		if len(data)-at != len(out) {
			continue
		}
		in := bytes.Clone(data[at:])
		for _, i := range []int{15, 24, 25} {
			in[i] = out[i]
		}
		return bytes.Equal(in, out)
	}
	return false
}

func randomFrame(r *rand.Rand) []byte {
	macs := [][6]byte{macA, macA, macB, macB, macC, macC, macD, macE, macNone}
	p := packet{ipv6: r.IntN(2) == 0, tos: uint8(r.Uint32()), ttl: uint8(r.Uint32())}
	if !p.ipv6 && r.IntN(8) == 0 {
		p.options = 4 * r.IntN(11)
	}
	switch r.IntN(3) {
	case 0:
		p.proto, p.l4 = 6, tcpWith(uint8(r.Uint32()), r.IntN(1500))
	case 1:
		p.proto, p.l4 = 17, udpTo([]uint16{7, testPort}[r.IntN(2)], r.IntN(1500))
		if r.IntN(3) == 0 {
			p.dst = remote4
			if p.ipv6 {
				p.dst = remote6
			}
		}
	default:
		p.proto, p.l4 = uint8(r.Uint32()), make([]byte, r.IntN(1500))
	}
	f := p.frame(macs[r.IntN(len(macs))], macs[r.IntN(len(macs))])
	if r.IntN(10) == 0 {
		f = slices.Insert(f, 12, 0x81, 0, byte(r.IntN(16)), byte(r.Uint32()))
	}
	return f
}

// damage changes, cuts or lengthens a frame, mostly a little and in the headers, sometimes not at all.
func damage(r *rand.Rand, f []byte) []byte {
	f = bytes.Clone(f)
	for range r.IntN(3) {
		f[r.IntN(min(len(f), 120))] = byte(r.Uint32())
	}
	switch r.IntN(8) {
	case 0:
		f = f[:r.IntN(len(f))]
	case 1:
		f = append(f, make([]byte, r.IntN(40))...)
	}
	return f
}

// FuzzPrograms is TestRandomFrames with frames that the fuzzer finds.
func FuzzPrograms(f *testing.F) {
	b := newBench(f, func(_ *Options, d *Domain) {
		d.ClampMSS, d.SpoofGuard, d.InheritDSCP, d.InheritTTL, d.NewSources = true, true, true, true, true
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 54 || len(data) > 3000 {
			t.Skip("a test run wants an IP header where the EtherType says so, and takes no more than a page")
		}
		invariants(t, &bench{b.FastPath, t}, data)
	})
}
