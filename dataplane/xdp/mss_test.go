package xdp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"vtepd/encap"
)

// opening is a TCP segment with options, as connections begin with.
func opening(flags uint8, options ...[]byte) []byte {
	all := slices.Concat(options...)
	for len(all)%4 != 0 {
		all = append(all, 0)
	}
	b := slices.Concat(tcpWith(flags, 0), all)
	b[12] = uint8(len(b) / 4 << 4)
	return b
}

// mss is the option (RFC 9293 3.2).
func mss(n uint16) []byte { return binary.BigEndian.AppendUint16([]byte{2, 4}, n) }

// TestOpeningConnections: what announces an MSS that nobody lowers is carried, in whatever way those who open connections say it; what may be lowered, or says it in
// a way that nobody uses, is user space's.
func TestOpeningConnections(t *testing.T) {
	t.Parallel()
	const most4, most6 = 1400, 1380
	var (
		nop, end, scale, sack = []byte{1}, []byte{0}, []byte{3, 3, 7}, []byte{4, 2}
		stamps                = append([]byte{8, 10}, make([]byte, 8)...)
	)
	type layout struct {
		name    string
		options [][]byte // nil: the MSS
		odd     bool
	}
	layouts := []layout{
		{name: "alone", options: [][]byte{nil}},
		{name: "Linux", options: [][]byte{nil, sack, stamps, nop, scale}},
		{name: "Windows", options: [][]byte{nil, nop, scale, nop, nop, sack}},
		{name: "macOS", options: [][]byte{nil, nop, scale, nop, nop, stamps, sack, end, {2, 4, 0xff, 0xff}}},
		{name: "cut short by the header", options: [][]byte{stamps, stamps, stamps, nop, nop, nop, nop, nop, nop, sack, {2, 4}}, odd: true},
		{name: "at the end of forty bytes", options: [][]byte{stamps, stamps, stamps, nop, nop, nop, scale, nil}},
		{name: "unknown options around it", options: [][]byte{{254, 4, 0, 0}, nil, {30, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}},
		{name: "an MSS of another size", options: [][]byte{{2, 3, 0xff}, nil, {2, 6, 0xff, 0xff, 0xff, 0xff}}},
		{name: "signed", options: [][]byte{nil, {29, 4, 0, 0}}, odd: true},
		{name: "a length of nothing", options: [][]byte{nil, {8, 0}}, odd: true},
		{name: "a length of one", options: [][]byte{nil, {8, 1}}, odd: true},
		{name: "a length beyond the header", options: [][]byte{nil, {8, 10}}, odd: true},
		{name: "very many", options: [][]byte{bytes.Repeat(nop, 32), nil}, odd: true},
	}
	for _, ipv6 := range []bool{false, true} {
		most := uint16(most4)
		if ipv6 {
			most = most6
		}
		for _, byPath := range []bool{false, true} {
			b := newBench(t, func(_ *Options, d *Domain) { d.ClampMSS, d.ClampByPath, d.MSS4, d.MSS6 = true, byPath, most4, most6 })
			// What the peers of the bench take, behind Ethernet, IP and TCP; what goes between ports does not mind.
			path := map[[6]byte]uint16{macB: maxInner - 54, macC: maxInner - 20 - 54, macD: most}
			if ipv6 {
				path[macB], path[macC] = path[macB]-20, path[macC]-20
			}
			check := func(how string, n uint16, odd bool, options [][]byte, other [6]byte, bound uint16) {
				t.Helper()
				var said [][]byte
				for _, o := range options {
					if o == nil {
						o = mss(n)
					}
					said = append(said, o)
				}
				for _, flags := range []uint8{2, 0x12, 0xc2} {
					p := packet{ipv6: ipv6, proto: 6, l4: opening(flags, said...)}
					what := fmt.Sprintf("%s, MSS %d, IPv6 %t, by path %t, flags %#x, station %x", how, n, ipv6, byPath, flags, other[5])
					want := func(carried int) int {
						if odd || n > bound {
							return domainPolicy
						}
						return carried
					}
					to := toPeer
					if other == macD {
						to = toPort
					}
					if _, v, _ := b.run(b.objects.VtepdTap, p.frame(other, macA), nil); v != want(to) {
						t.Errorf("%s, from the port: verdict %d %q", what, v, word(v))
					}
					if other == macD {
						continue
					}
					peer := remote4
					if other == macC {
						peer = remote6
					}
					if _, v, _ := b.run(b.objects.VtepdUnderlay, letterFrom(peer, p.frame(macA, other)).bytes(), nil); v != want(fromPeer) {
						t.Errorf("%s, from the peer: verdict %d %q", what, v, word(v))
					}
				}
			}
			for _, other := range [][6]byte{macB, macC, macD} {
				bound := most
				if byPath {
					bound = min(bound, path[other])
				}
				for _, l := range layouts {
					for _, n := range []uint16{0, 536, bound, bound + 1, 0xffff} {
						check(l.name, n, l.odd, l.options, other, bound)
					}
				}
				check("not said", 0, false, nil, other, bound)
				check("said twice, the larger last", bound, false, [][]byte{mss(536), nil}, other, bound)
				check("said twice, the larger first", bound+1, false, [][]byte{nil, mss(536)}, other, bound)
			}
		}
	}
}

// TestOpeningConnectionsAsUserSpace: nothing is carried that user space would lower, whatever the options are.
func TestOpeningConnectionsAsUserSpace(t *testing.T) {
	t.Parallel()
	const most = 1000
	b := newBench(t, func(_ *Options, d *Domain) { d.ClampMSS, d.MSS4, d.MSS6 = true, most, most })
	rounds := 5000
	if testing.Short() {
		rounds = 500
	}
	r := rand.New(rand.NewPCG(3, 5))
	carried, lowered := 0, 0
	for range rounds {
		var options []byte
		for range r.IntN(7) {
			switch r.IntN(4) {
			case 0:
				options = append(options, mss(most-100+uint16(r.IntN(200)))...)
			case 1:
				options = append(options, uint8(r.IntN(2)))
			case 2:
				options = append(options, uint8(r.IntN(32)), uint8(r.IntN(12)))
			default:
				n := 2 + r.IntN(9)
				options = append(options, append([]byte{uint8(r.IntN(32)), uint8(n)}, make([]byte, n-2)...)...)
			}
		}
		frame := packet{ipv6: r.IntN(2) == 0, proto: 6, l4: opening(2|uint8(r.Uint32()), options[:min(len(options), 40)])}.frame(macB, macA)
		_, v, _ := b.run(b.objects.VtepdTap, frame, nil)
		var l encap.Layout
		l.Parse(frame)
		would := encap.ClampMSS(bytes.Clone(frame), &l, most, false)
		switch {
		case v == toPeer && would:
			t.Fatalf("carried, and user space lowers it: % x", frame)
		case v == toPeer:
			carried++
		case v != domainPolicy:
			t.Fatalf("verdict %d %q: % x", v, word(v), frame)
		case would:
			lowered++
		}
	}
	if carried < rounds/10 || lowered < rounds/10 {
		t.Errorf("%d carried and %d lowered of %d: too few to tell", carried, lowered, rounds)
	}
}
