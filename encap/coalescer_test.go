package encap_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

var allCaps = encap.Caps{TCP4: true, TCP6: true, UDP: true, ECN: true}

func addAll(tb testing.TB, c *encap.Coalescer, frames [][]byte) {
	tb.Helper()
	for i, f := range frames {
		if !c.Add(1, uint32(i), allCaps, f) {
			tb.Fatalf("frame %d: no room", i)
		}
	}
}

func clones(frames [][]byte) [][]byte {
	out := make([][]byte, len(frames))
	for i, f := range frames {
		out[i] = bytes.Clone(f)
	}
	return out
}

func whole(s *encap.Superframe) []byte { return bytes.Join(s.Parts, nil) }

// shape writes slots as their tags: "0+1 2" is a superframe of two and a frame alone.
func shape(c *encap.Coalescer) string {
	out := ""
	for i := range c.Len() {
		s := c.Slot(i)
		if i > 0 {
			out += " "
		}
		for j, tag := range s.Tags {
			if j > 0 {
				out += "+"
			}
			out += fmt.Sprint(tag)
		}
	}
	return out
}

// TestCoalesceUndoesCut: coalesce(cut(superframe)) is the superframe.
func TestCoalesceUndoesCut(t *testing.T) {
	for _, tt := range superframes() {
		if len(tt.p.Options) > 0 || len(tt.p.Extensions) > 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			n := len(tt.p.Payload)
			if tt.p.Proto == encap.ProtoUDP {
				n = min(n, 40*tt.size) // the bound on joined datagrams is below that on cut ones
			}
			tt.p.Payload = tt.p.Payload[:min(n, 65000)]
			want, off := tt.p.Superframe(uint16(tt.size))
			segments := cut(t, want, off)
			c := encap.NewCoalescer(16)
			addAll(t, c, segments)
			if c.Len() != 1 {
				t.Fatalf("%d slots: %s", c.Len(), shape(c))
			}
			s := c.Slot(0)
			if len(segments) == 1 {
				off, want = encap.Offload{}, tt.p.Frame()
			}
			if diff := cmp.Diff(off, s.Off); diff != "" {
				t.Errorf("offload: %s", diff)
			}
			if !bytes.Equal(whole(s), want) {
				t.Errorf("superframe differs: %s", cmp.Diff(want[:100], whole(s)[:100]))
			}
			if !bytes.Equal(whole(c.Slot(0)), want) {
				t.Error("a second call of Slot changes the superframe")
			}
		})
	}
}

// TestCoalesceRules changes one thing in the second of three segments, or in all,
// and says what may still join.
func TestCoalesceRules(t *testing.T) {
	const alone, all, split = "0 1 2", "0+1+2", "0+2 1"
	type change = func(i int, p *encaptest.Packet)
	second := func(f func(p *encaptest.Packet)) change {
		return func(i int, p *encaptest.Packet) {
			if i == 1 {
				f(p)
			}
		}
	}
	every := func(f func(p *encaptest.Packet)) change {
		return func(i int, p *encaptest.Packet) { f(p) }
	}
	tests := []struct {
		name   string
		change change
		tcp4   string // "" where it makes no sense
		tcp6   string
		udp4   string
		udp6   string
	}{
		{"nothing", every(func(p *encaptest.Packet) {}), all, all, all, all},
		{"bad checksum", second(func(p *encaptest.Packet) { p.BadChecksum = true }), alone, alone, alone, alone},
		{"bad checksum on the first", func(i int, p *encaptest.Packet) { p.BadChecksum = i == 0 }, "0 1+2", "0 1+2", "0 1+2", "0 1+2"},
		{"bad checksum on all", every(func(p *encaptest.Packet) { p.BadChecksum = true }), alone, alone, alone, alone},
		{"bad ip checksum", second(func(p *encaptest.Packet) { p.BadIPChecksum = true }), alone, "", alone, ""},
		{"no checksum", every(func(p *encaptest.Packet) { p.NoChecksum = true }), "", "", alone, alone},
		{"source mac", second(func(p *encaptest.Packet) { p.SrcMAC = 0x020000000009 }), split, split, split, split},
		{"destination mac", second(func(p *encaptest.Packet) { p.DstMAC = 0x020000000009 }), split, split, split, split},
		{"tag", second(func(p *encaptest.Packet) { p.Tags = []uint16{9} }), split, split, split, split},
		{"same tags", every(func(p *encaptest.Packet) { p.Tags = []uint16{9, 10} }), all, all, all, all},
		{"tag priority", func(i int, p *encaptest.Packet) { p.Tags = []uint16{9 | uint16(i&1)<<13} }, split, split, split, split},
		{"source port", second(func(p *encaptest.Packet) { p.SrcPort = 9 }), split, split, split, split},
		{"destination port", second(func(p *encaptest.Packet) { p.DstPort = 9 }), split, split, split, split},
		{"source address", second(func(p *encaptest.Packet) {
			p.Src = encaptest.Src4.Next()
			if p.V6 {
				p.Src = encaptest.Src6.Next()
			}
		}), split, split, split, split},
		{"destination address", second(func(p *encaptest.Packet) {
			p.Dst = encaptest.Dst4.Next()
			if p.V6 {
				p.Dst = encaptest.Dst6.Next()
			}
		}), split, split, split, split},
		{"ttl", second(func(p *encaptest.Packet) { p.TTL = 63 }), alone, alone, alone, alone},
		{"tos", second(func(p *encaptest.Packet) { p.TOS = 3 }), alone, alone, alone, alone},
		{"same ce", every(func(p *encaptest.Packet) { p.TOS = 3 }), all, all, all, all},
		{"flow label", second(func(p *encaptest.Packet) { p.FlowLabel = 9 }), "", alone, "", alone},
		{"df differs", second(func(p *encaptest.Packet) { p.Fragment ^= encap.IPv4DontFragment }), alone, "", alone, ""},
		{"evil bit differs", second(func(p *encaptest.Packet) { p.Fragment |= 0x8000 }), alone, "", alone, ""},
		{"df, same id", every(func(p *encaptest.Packet) { p.ID = 0 }), all, "", all, ""},
		{"no df, sequential id", every(func(p *encaptest.Packet) { p.Fragment = 0 }), all, "", all, ""},
		{"no df, same id", every(func(p *encaptest.Packet) { p.Fragment, p.ID = 0, 7 }), alone, "", alone, ""},
		{"fragments", every(func(p *encaptest.Packet) { p.Fragment = encap.IPv4MoreFragments }), alone, "", alone, ""},
		{"ip options", every(func(p *encaptest.Packet) { p.Options = make([]byte, 4) }), alone, "", alone, ""},
		{"ip options on the second", second(func(p *encaptest.Packet) { p.Options = make([]byte, 4) }), alone, "", alone, ""},
		{"extension headers", every(func(p *encaptest.Packet) { p.Extensions = []encaptest.Extension{hopByHop(1)} }), "", alone, "", alone},
		{"extension header on the second", second(func(p *encaptest.Packet) { p.Extensions = []encaptest.Extension{hopByHop(1)} }), "", alone, "", alone},
		{"longer", second(func(p *encaptest.Packet) { p.Payload = encaptest.Payload(101, 1) }), alone, alone, "0 1+2", "0 1+2"},
		{"shorter", second(func(p *encaptest.Packet) { p.Payload = p.Payload[:99] }), "0+1 2", "0+1 2", "0+1 2", "0+1 2"},
		{"empty", second(func(p *encaptest.Packet) { p.Payload = nil }), alone, alone, alone, alone},
		{"psh", second(func(p *encaptest.Packet) { p.Flags |= encap.TCPPsh }), "0+1 2", "0+1 2", "", ""},
		{"psh on all", every(func(p *encaptest.Packet) { p.Flags |= encap.TCPPsh }), alone, alone, "", ""},
		{"fin", second(func(p *encaptest.Packet) { p.Flags |= encap.TCPFin }), "0+1 2", "0+1 2", "", ""},
		{"syn", second(func(p *encaptest.Packet) { p.Flags |= encap.TCPSyn }), alone, alone, "", ""},
		{"rst", second(func(p *encaptest.Packet) { p.Flags |= encap.TCPRst }), alone, alone, "", ""},
		{"urg", second(func(p *encaptest.Packet) { p.Flags |= encap.TCPUrg }), alone, alone, "", ""},
		{"urg on all", every(func(p *encaptest.Packet) { p.Flags |= encap.TCPUrg }), alone, alone, "", ""},
		{"no ack flag", every(func(p *encaptest.Packet) { p.Flags = 0 }), alone, alone, "", ""},
		{"ece differs", second(func(p *encaptest.Packet) { p.Flags |= encap.TCPEce }), alone, alone, "", ""},
		{"ece on all", every(func(p *encaptest.Packet) { p.Flags |= encap.TCPEce }), all, all, "", ""},
		{"cwr on the first", func(i int, p *encaptest.Packet) { p.Flags |= encap.TCPCwr &^ uint8(min(i, 1)*encap.TCPCwr) }, all, all, "", ""},
		{"cwr on the second", second(func(p *encaptest.Packet) { p.Flags |= encap.TCPCwr }), "0 1+2", "0 1+2", "", ""},
		{"ack number", second(func(p *encaptest.Packet) { p.Ack = 9 }), alone, alone, "", ""},
		{"window", second(func(p *encaptest.Packet) { p.Window = 9 }), alone, alone, "", ""},
		{"reserved bits", second(func(p *encaptest.Packet) { p.Reserved = 1 }), alone, alone, "", ""},
		{"urgent pointer", second(func(p *encaptest.Packet) { p.Urgent = 1 }), alone, alone, "", ""},
		{"sequence gap", second(func(p *encaptest.Packet) { p.Seq++ }), alone, alone, "", ""},
		{"retransmission", second(func(p *encaptest.Packet) { p.Seq -= 100 }), "0 1 2", "0 1 2", "", ""},
		{"timestamp", second(func(p *encaptest.Packet) { p.TCPOptions = encaptest.Timestamps(2, 2) }), alone, alone, "", ""},
		{"echo timestamp", second(func(p *encaptest.Packet) { p.TCPOptions = encaptest.Timestamps(1, 3) }), alone, alone, "", ""},
		{"other options", second(func(p *encaptest.Packet) { p.TCPOptions = make([]byte, 8) }), alone, alone, "", ""},
		{"same long options", every(func(p *encaptest.Packet) { p.TCPOptions = bytes.Repeat([]byte{1}, 24) }), all, all, "", ""},
		{"long options differ", func(i int, p *encaptest.Packet) {
			p.TCPOptions = bytes.Repeat([]byte{1}, 24)
			p.TCPOptions[23] = uint8(i & 1)
		}, alone, alone, "", ""},
		{"padding", every(func(p *encaptest.Packet) { p.Pad = 200 }), all, all, all, all},
	}
	kinds := []struct {
		name  string
		v6    bool
		proto uint8
	}{{"tcp4", false, encap.ProtoTCP}, {"tcp6", true, encap.ProtoTCP}, {"udp4", false, encap.ProtoUDP}, {"udp6", true, encap.ProtoUDP}}
	for _, tt := range tests {
		for k, want := range []string{tt.tcp4, tt.tcp6, tt.udp4, tt.udp6} {
			if want == "" {
				continue
			}
			kind := kinds[k]
			t.Run(tt.name+"/"+kind.name, func(t *testing.T) {
				var frames, originals [][]byte
				for i := range 3 {
					p := encaptest.Packet{V6: kind.v6, Proto: kind.proto, Flags: encap.TCPAck, ID: uint16(i), Fragment: encap.IPv4DontFragment,
						TCPOptions: encaptest.Timestamps(1, 2), Seq: uint32(1000 + 100*i), Payload: encaptest.Payload(100, uint64(i))}
					if want == split && i == 2 {
						p.Seq -= 100 // frame 1 belongs to another flow
					}
					tt.change(i, &p)
					frames = append(frames, p.Frame())
					originals = append(originals, p.Frame())
				}
				c := encap.NewCoalescer(8)
				addAll(t, c, frames)
				if got := shape(c); got != want {
					t.Errorf("slots %q, want %q", got, want)
				}
				checkSlots(t, c, originals)
			})
		}
	}
}

// comesBack is what a frame that joined comes back as, with its layout: without padding, and with DF set the identification may be counted up instead of kept.
func comesBack(frame, segment []byte) ([]byte, encap.Layout) {
	var l encap.Layout
	l.Parse(frame)
	frame = bytes.Clone(frame[:l.End])
	if l.Flags&encap.LayoutIPv4 != 0 {
		if h := encap.IPv4(frame[l.L3:]); h.Fragment()&encap.IPv4DontFragment != 0 {
			got := encap.IPv4(segment[l.L3:])
			h.SetChecksum(encap.UpdateChecksum(h.Checksum(), h.ID(), got.ID()))
			h.SetID(got.ID())
		}
	}
	return frame, l
}

// checkSlots holds the slots of c against the frames that went in, tagged by their
// index: what was alone is untouched, and what was joined comes out again when cut.
func checkSlots(tb testing.TB, c *encap.Coalescer, originals [][]byte) {
	tb.Helper()
	seen := make([]bool, len(originals))
	for i := range c.Len() {
		s := c.Slot(i)
		if len(s.Tags) != len(s.Parts) {
			tb.Fatalf("slot %d: %d tags, %d parts", i, len(s.Tags), len(s.Parts))
		}
		for _, tag := range s.Tags {
			if seen[tag] {
				tb.Fatalf("frame %d twice", tag)
			}
			seen[tag] = true
		}
		if len(s.Parts) == 1 {
			if s.Off != (encap.Offload{}) || !bytes.Equal(s.Parts[0], originals[s.Tags[0]]) {
				tb.Fatalf("slot %d: a frame alone was changed", i)
			}
			continue
		}
		if n := len(whole(s)); n > 65535 || len(s.Parts) > encap.MaxParts {
			tb.Fatalf("slot %d: %d bytes in %d parts", i, n, len(s.Parts))
		}
		segments := cut(tb, whole(s), s.Off)
		if len(segments) != len(s.Tags) {
			tb.Fatalf("slot %d: %d segments of %d frames", i, len(segments), len(s.Tags))
		}
		for j, seg := range segments {
			want := originals[s.Tags[j]]
			want, l := comesBack(want, seg)
			if !bytes.Equal(seg, want) {
				tb.Fatalf("slot %d, frame %d comes back as another\n%s", i, s.Tags[j], cmp.Diff(want, seg))
			}
			if !sumsRight(want, &l) {
				tb.Fatalf("slot %d: frame %d joined with a wrong checksum", i, s.Tags[j])
			}
		}
	}
	for i, ok := range seen {
		if !ok {
			tb.Fatalf("frame %d lost", i)
		}
	}
}

// TestCoalesceUnfinished joins frames whose checksums were left to hardware, with their like and with others.
func TestCoalesceUnfinished(t *testing.T) {
	for _, kind := range []struct {
		name  string
		v6    bool
		proto uint8
	}{{"tcp4", false, encap.ProtoTCP}, {"tcp6", true, encap.ProtoTCP}, {"udp4", false, encap.ProtoUDP}, {"udp6", true, encap.ProtoUDP}} {
		for _, c := range []struct {
			unfinished, bad [4]bool
			want            string
			followed        int // of the three behind the first
		}{
			{unfinished: [4]bool{true, true, true, true}, want: "0+1+2+3", followed: 3},
			{unfinished: [4]bool{true, false, true, false}, want: "0+1+2+3", followed: 3},
			{unfinished: [4]bool{false, true, true, false}, want: "0+1+2+3"},
			{unfinished: [4]bool{true, true, false, true}, bad: [4]bool{2: true}, want: "0+1 2 3", followed: 1},
			{unfinished: [4]bool{false, true, true, true}, bad: [4]bool{0: true}, want: "0 1+2+3"},
			// The IPv4 header is always finished.
			{unfinished: [4]bool{true, true, true, true}, bad: [4]bool{3: true}, want: "0+1+2 3", followed: 2},
		} {
			if kind.v6 && c.bad[3] {
				c.want, c.followed = "0+1+2+3", 3 // which has no checksum of its own
			}
			t.Run(fmt.Sprint(kind.name, c.unfinished, c.bad), func(t *testing.T) {
				frames := func() (frames, finished [][]byte, offs []encap.Offload) {
					for i := range c.unfinished {
						p := encaptest.Packet{V6: kind.v6, Proto: kind.proto, Flags: encap.TCPAck, ID: uint16(i), Seq: uint32(100 * i), Payload: encaptest.Payload(100, uint64(i))}
						if c.unfinished[i] {
							p.BadIPChecksum = c.bad[i]
							finished = append(finished, p.Frame())
							frame, off := p.Superframe(0)
							frames, offs = append(frames, frame), append(offs, off)
						} else {
							p.BadChecksum = c.bad[i]
							finished = append(finished, p.Frame())
							frames, offs = append(frames, p.Frame()), append(offs, encap.Offload{})
						}
					}
					return frames, finished, offs
				}
				in, finished, offs := frames()
				j := encap.NewCoalescer(8)
				for i, f := range in {
					var l encap.Layout
					l.Parse(f)
					if !j.AddParsed(1, uint32(i), allCaps, f, &l, offs[i]) {
						t.Fatal("no room")
					}
				}
				if got := shape(j); got != c.want {
					t.Errorf("slots %q, want %q", got, c.want)
				}
				for i := range j.Len() {
					s := j.Slot(i)
					if len(s.Parts) > 1 {
						for n, segment := range cut(t, whole(s), s.Off) {
							if !bytes.Equal(segment, finished[s.Tags[n]]) {
								t.Errorf("frame %d comes back as another", s.Tags[n])
							}
						}
					} else if again, _, _ := frames(); s.Off != offs[s.Tags[0]] || !bytes.Equal(s.Parts[0], again[s.Tags[0]]) {
						t.Errorf("frame %d, alone, was changed", s.Tags[0])
					}
				}

				// In a train all but the first are looked at again.
				in, _, offs = frames()
				j.Reset()
				var l encap.Layout
				l.Parse(in[0])
				j.AddParsed(1, 0, allCaps, in[0], &l, offs[0])
				followed := 0
				for followed < 3 && j.Follow(0, in[1+followed]) {
					followed++
				}
				if followed != c.followed {
					t.Errorf("%d followed, want %d", followed, c.followed)
				}
			})
		}
	}
}

// TestCoalesceForeignChecksum has frames whose sender left another checksum unfinished than that of their own header: of what is tunnelled in them. To join them
// would finish the wrong one. What comes behind in the flow stays behind.
func TestCoalesceForeignChecksum(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		j := encap.NewCoalescer(8)
		for i, inside := range []bool{false, false, true, true, false, false} {
			p := encaptest.Packet{V6: v6, Proto: encap.ProtoUDP, ID: uint16(i), Payload: encaptest.Payload(100, uint64(i))}
			f, off := p.Superframe(0)
			if inside {
				f = p.Frame()
				off.CsumStart += encap.UDPLen + encap.VXLANLen + encap.EthernetLen + encap.IPv4MinLen
			}
			var l encap.Layout
			l.Parse(f)
			if !j.AddParsed(1, uint32(i), allCaps, f, &l, off) {
				t.Fatal("no room")
			}
			if i == 3 {
				if s := j.Slot(2); s.Off != off {
					t.Errorf("IPv6 %t: the unfinished checksum is at %+v, want %+v", v6, s.Off, off)
				}
			}
		}
		if got, want := shape(j), "0+1 2 3 4+5"; got != want {
			t.Errorf("IPv6 %t: slots %q, want %q", v6, got, want)
		}
	}
}

// TestCoalesceWrongUnfinished has frames that a sender says to be unfinished, and that would be wrong if they were finished: the field holds another sum than
// that of the pseudo-header, or there is something behind the packet. To join them would make them right.
func TestCoalesceWrongUnfinished(t *testing.T) {
	for _, proto := range []uint8{encap.ProtoTCP, encap.ProtoUDP} {
		for _, v6 := range []bool{false, true} {
			for what, spoil := range map[string]func(p encaptest.Packet, f []byte, field int) []byte{
				"another sum":            func(_ encaptest.Packet, f []byte, field int) []byte { f[field] ^= 0x40; return f },
				"a finished sum":         func(p encaptest.Packet, _ []byte, _ int) []byte { return p.Frame() },
				"bytes behind the end":   func(_ encaptest.Packet, f []byte, _ int) []byte { return append(f, 1, 2, 3, 4) },
				"nothing (zeros behind)": func(_ encaptest.Packet, f []byte, _ int) []byte { return append(f, 0, 0, 0, 0) },
			} {
				for first, want := range map[bool]string{true: "0 1+2", false: "0+1 2 3+4"} {
					n, at := 5, 2
					if first {
						n, at = 3, 0
					}
					if what == "nothing (zeros behind)" {
						want = map[bool]string{true: "0+1+2", false: "0+1+2+3+4"}[first]
					}
					j := encap.NewCoalescer(8)
					for i := range n {
						p := encaptest.Packet{V6: v6, Proto: proto, Flags: encap.TCPAck, ID: uint16(i), Seq: uint32(100 * i), Payload: encaptest.Payload(100, uint64(i))}
						f, off := p.Superframe(0)
						if i == at {
							f = spoil(p, f, int(off.CsumStart)+int(off.CsumOffset))
						}
						var l encap.Layout
						l.Parse(f)
						if !j.AddParsed(1, uint32(i), allCaps, f, &l, off) {
							t.Fatal("no room")
						}
					}
					if got := shape(j); got != want {
						t.Errorf("protocol %d, IPv6 %t, %s in frame %d: slots %q, want %q", proto, v6, what, at, got, want)
					}
				}
			}
		}
	}
}

// TestCoalesceFragments has datagrams of one sender between which there are larger ones, in fragments: they arrive in the order that they were sent in. Those to
// and from somebody else join all the same.
func TestCoalesceFragments(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, c := range []struct {
			other bool
			want  string
		}{{false, "0 1 2 3+4"}, {true, "0+3+4 1 2"}} {
			j := encap.NewCoalescer(8)
			for i := range 5 {
				p := encaptest.Packet{V6: v6, Proto: encap.ProtoUDP, ID: uint16(i), Fragment: 0x4000, Payload: encaptest.Payload(100, uint64(i))}
				if i == 1 || i == 2 {
					p.Fragment, p.Extensions = uint16(0x2000), []encaptest.Extension{{Proto: encap.ProtoFragment, Body: []byte{0, 0, 0, 1, 0, 0, 0, 9}}}
					if i == 2 { // the last, which tells no ports
						p.Fragment, p.Extensions[0].Body[3] = 10, 80
					}
					if c.other {
						p.Src = netip.MustParseAddr("192.0.2.77")
						if v6 {
							p.Src = netip.MustParseAddr("2001:db8::77")
						}
					}
				}
				if !j.Add(1, uint32(i), allCaps, p.Frame()) {
					t.Fatal("no room")
				}
			}
			if got := shape(j); got != c.want {
				t.Errorf("IPv6 %t, fragments of another %t: slots %q, want %q", v6, c.other, got, c.want)
			}
		}
	}
}

func TestCoalesceCaps(t *testing.T) {
	mk := func(v6 bool, proto, flags uint8) (out [][]byte) {
		for i := range 2 {
			p := encaptest.Packet{V6: v6, Proto: proto, Flags: encap.TCPAck, ID: uint16(i), Seq: uint32(10 * i), Payload: make([]byte, 10)}
			if i == 0 {
				p.Flags |= flags
			}
			out = append(out, p.Frame())
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		frames func() [][]byte
		caps   encap.Caps
	}{
		{"tcp4", func() [][]byte { return mk(false, encap.ProtoTCP, 0) }, encap.Caps{TCP4: true}},
		{"tcp6", func() [][]byte { return mk(true, encap.ProtoTCP, 0) }, encap.Caps{TCP6: true}},
		{"udp4", func() [][]byte { return mk(false, encap.ProtoUDP, 0) }, encap.Caps{UDP: true}},
		{"udp6", func() [][]byte { return mk(true, encap.ProtoUDP, 0) }, encap.Caps{UDP: true}},
		{"cwr", func() [][]byte { return mk(false, encap.ProtoTCP, encap.TCPCwr) }, encap.Caps{TCP4: true, ECN: true}},
	} {
		c := encap.NewCoalescer(4)
		for _, f := range tt.frames() {
			c.Add(0, 0, tt.caps, f)
		}
		if c.Len() != 1 {
			t.Errorf("%s: %d slots with the capability, want 1", tt.name, c.Len())
		}
		c.Reset()
		without := allCaps
		switch {
		case tt.caps.ECN:
			without.ECN = false
		case tt.caps.TCP4:
			without.TCP4 = false
		case tt.caps.TCP6:
			without.TCP6 = false
		case tt.caps.UDP:
			without.UDP = false
		}
		for _, f := range tt.frames() {
			c.Add(0, 0, without, f)
		}
		if c.Len() != 2 {
			t.Errorf("%s: %d slots without the capability, want 2", tt.name, c.Len())
		}
	}
}

// TestCoalesceOrder: a frame that cannot join keeps later frames of its flow behind it,
// and leaves other flows and destinations alone.
func TestCoalesceOrder(t *testing.T) {
	seg := func(port uint16, i int) []byte {
		return encaptest.Packet{SrcPort: port, Flags: encap.TCPAck, ID: uint16(i), Seq: uint32(100 * i), Payload: make([]byte, 100)}.Frame()
	}
	ack := func(port uint16) []byte { return encaptest.Packet{SrcPort: port, Flags: encap.TCPAck}.Frame() }
	c := encap.NewCoalescer(32)
	add := func(dest, tag uint32, f []byte) {
		if !c.Add(dest, tag, allCaps, f) {
			t.Fatal("no room")
		}
	}
	add(1, 0, seg(1, 0))
	add(1, 1, seg(2, 0))
	add(1, 2, seg(1, 1))
	add(2, 3, seg(1, 1)) // another destination
	add(1, 4, ack(1))
	add(1, 5, seg(1, 2))
	add(1, 6, seg(2, 1))
	add(1, 7, encaptest.ARPRequest(encaptest.SrcMAC, encaptest.Src4, encaptest.Dst4))
	add(1, 8, seg(1, 3))
	add(2, 9, seg(1, 2))
	if got, want := shape(c), "0+2 1+6 3+9 4 5+8 7"; got != want {
		t.Errorf("slots %q, want %q", got, want)
	}
	add(1, 10, seg(1, 4))
	if got, want := shape(c), "0+2 1+6 3+9 4 5+8 7 10"; got != want {
		t.Errorf("a slot that was looked at takes more: %q, want %q", got, want)
	}
}

// TestCoalesceFindsAgain: a slot that followed a closed one is found again after
// frames of other flows; a fragment of another protocol and another protocol are other flows.
func TestCoalesceFindsAgain(t *testing.T) {
	seg := func(proto uint8, i int, fragment uint16) []byte {
		return encaptest.Packet{Proto: proto, Flags: encap.TCPAck, ID: uint16(i), Fragment: fragment, Seq: uint32(100 * i), Payload: make([]byte, 100)}.Frame()
	}
	arp := encaptest.ARPRequest(encaptest.SrcMAC, encaptest.Src4, encaptest.Dst4)
	c := encap.NewCoalescer(8)
	addAll(t, c, [][]byte{
		seg(encap.ProtoTCP, 0, 0), seg(encap.ProtoTCP, 9, 0), // a gap
		seg(encap.ProtoUDP, 0, 0), arp,
		seg(encap.ProtoTCP, 10, 0), seg(encap.ProtoICMP, 3, encap.IPv4MoreFragments), seg(encap.ProtoTCP, 11, 0),
		seg(encap.ProtoUDP, 1, 0),
	})
	if got, want := shape(c), "0 1+4+6 2+7 3 5"; got != want {
		t.Errorf("slots %q, want %q", got, want)
	}
}

// TestCoalesceUDPOddities: datagrams that pass for verified by arithmetic alone.
func TestCoalesceUDPOddities(t *testing.T) {
	// The payload makes the checksum come out as 0, and 0 is what is sent.
	p := encaptest.Packet{Proto: encap.ProtoUDP, Payload: make([]byte, 10), Fragment: encap.IPv4DontFragment}
	copy(p.Payload, p.Frame()[40:42])
	zero := func() []byte { f := p.Frame(); f[40], f[41] = 0, 0; return f }
	// A length of two less than IP says, two bytes of payload making up for it.
	length := func() []byte {
		q := p
		q.Payload = []byte{0, 0, 0, 2, 0, 0}
		f := q.Frame()
		f[39] -= 2
		f[45] = 4
		return f
	}
	for name, mk := range map[string]func() []byte{"zero checksum": zero, "length": length} {
		var l encap.Layout
		f := mk()
		l.Parse(f)
		if !sumsRight(f, &l) {
			t.Fatalf("%s: the test's frame does not sum up", name)
		}
		c := encap.NewCoalescer(2)
		addAll(t, c, [][]byte{mk(), mk()})
		if got := shape(c); got != "0 1" {
			t.Errorf("%s: slots %q", name, got)
		}
	}
}

func TestCoalesceLimits(t *testing.T) {
	fill := func(proto uint8, size, n int) []int {
		c := encap.NewCoalescer(n)
		for i := range n {
			p := encaptest.Packet{Proto: proto, Flags: encap.TCPAck, ID: uint16(i), Seq: uint32(size * i), Payload: make([]byte, size)}
			if !c.Add(0, uint32(i), allCaps, p.Frame()) {
				t.Fatal("no room")
			}
		}
		var out []int
		for i := range c.Len() {
			out = append(out, len(c.Slot(i).Parts))
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		proto uint8
		size  int
		n     int
		want  []int
	}{
		{"tcp parts", encap.ProtoTCP, 100, 300, []int{128, 128, 44}},
		{"udp parts", encap.ProtoUDP, 100, 150, []int{64, 64, 22}},
		{"tcp bytes", encap.ProtoTCP, 1460, 50, []int{44, 6}},
		{"tcp bytes exact", encap.ProtoTCP, 5040, 14, []int{12, 2}}, // 54 + 13*5040 = 65574
		{"jumbo", encap.ProtoTCP, 60000, 2, []int{1, 1}},
	} {
		if diff := cmp.Diff(tt.want, fill(tt.proto, tt.size, tt.n)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	c := encap.NewCoalescer(2)
	f := func(i int) []byte {
		return encaptest.Packet{Flags: encap.TCPAck, Seq: uint32(10 * i), ID: uint16(i), SrcPort: 1, Payload: make([]byte, 10)}.Frame()
	}
	arp := encaptest.ARPRequest(encaptest.SrcMAC, encaptest.Src4, encaptest.Dst4)
	if !c.Add(0, 0, allCaps, f(0)) || !c.Add(0, 1, allCaps, arp) {
		t.Fatal("no room in an empty coalescer")
	}
	if c.Add(0, 2, allCaps, arp) {
		t.Error("a third slot of two")
	}
	if !c.Add(0, 3, allCaps, f(1)) {
		t.Error("a full coalescer must still join")
	}
	if c.Add(0, 4, allCaps, f(5)) {
		t.Error("a frame that cannot join found room")
	}
	c.Reset()
	if c.Len() != 0 || !c.Add(0, 5, allCaps, f(1)) || c.Len() != 1 || len(c.Slot(0).Parts) != 1 {
		t.Error("Reset does not forget")
	}
}

// TestCoalesceRounds runs past the wrap of the round counter, where a stale entry
// of the flow table would come to life again.
func TestCoalesceRounds(t *testing.T) {
	c := encap.NewCoalescer(2)
	f := encaptest.Packet{Flags: encap.TCPAck, Payload: make([]byte, 10)}.Frame()
	g := encaptest.Packet{Flags: encap.TCPAck, Payload: make([]byte, 10), SrcPort: 9}.Frame()
	for i := range 140000 {
		if i%65535 == 0 {
			c.Add(0, 0, allCaps, f)
		}
		c.Add(0, 1, allCaps, g)
		if c.Len() > 2 || c.Len() == 1 && len(c.Slot(0).Parts) != 1 {
			t.Fatalf("round %d: %s", i, shape(c))
		}
		c.Reset()
	}
}

// FuzzCoalesce reads a program of frames: flows that go on, and single frames with
// one thing changed, in any mixture. Each byte pair of the program is one frame.
func FuzzCoalesce(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 2, 0, 1, 0, 2, 0, 1, 0x50, 1, 0, 2, 0})
	f.Add([]byte{3, 0, 3, 0x10, 3, 0, 7, 0, 7, 0, 7, 0x20, 7, 0})
	f.Add([]byte{9, 1, 9, 2, 9, 3, 9, 4, 9, 0x81, 9, 0x92, 9, 0xa3})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 400 {
			return
		}
		type flow struct {
			seq uint32
			id  uint16
		}
		var flows [16]flow
		var frames, originals [][]byte
		var keys []byte
		for i := 0; i+1 < len(program); i += 2 {
			key, op := program[i]&15, program[i+1]
			fl := &flows[key]
			size := []int{100, 1448, 33, 1}[program[i]>>4&3]
			p := encaptest.Packet{V6: key&1 != 0, Proto: encap.ProtoTCP, SrcPort: uint16(key>>2&1) + 1, Flags: encap.TCPAck, Seq: fl.seq, ID: fl.id}
			if key&2 != 0 {
				p.Proto = encap.ProtoUDP
			}
			if key&8 != 0 {
				p.Tags = []uint16{5}
			}
			p.Payload = encaptest.Payload(size, uint64(i))
			switch op & 15 {
			case 1:
				p.Flags |= encap.TCPPsh
			case 2:
				p.Flags |= encap.TCPFin
			case 3:
				p.Flags |= encap.TCPCwr
			case 4:
				p.Flags |= encap.TCPEce
			case 5:
				p.Payload = nil
			case 6:
				p.BadChecksum = true
			case 7:
				p.BadIPChecksum = true
			case 8:
				p.NoChecksum = true
			case 9:
				p.Pad = 2000
			case 10:
				p.TOS = 1
			case 11:
				p.Seq += 7
			case 12:
				p.Fragment = encap.IPv4DontFragment
			case 13:
				p.TCPOptions = encaptest.Timestamps(uint32(op>>4), 1)
			case 14:
				p.Payload = p.Payload[:size/2]
			}
			fl.seq = p.Seq + uint32(len(p.Payload))
			fl.id++
			frame := p.Frame()
			if op&15 == 15 { // any byte of it broken
				frame[int(op)*7%len(frame)] ^= 1 << (op >> 5)
			}
			frames = append(frames, frame)
			originals = append(originals, bytes.Clone(frame))
			keys = append(keys, key)
		}
		checkFollow(t, clones(originals))
		c := encap.NewCoalescer(len(frames) + 1)
		addAll(t, c, frames)
		last := map[byte]uint32{}
		for i := range c.Len() {
			for _, tag := range c.Slot(i).Tags {
				if program[2*tag+1]&15 == 15 {
					continue // may belong to any flow
				}
				if prev, ok := last[keys[tag]]; ok && prev > tag {
					t.Fatalf("flow %d: frame %d before %d", keys[tag], prev, tag)
				}
				last[keys[tag]] = tag
			}
		}
		checkSlots(t, c, originals)
	})
}

// FuzzCoalesceRaw feeds arbitrary bytes, cut into frames, each twice.
func FuzzCoalesceRaw(f *testing.F) {
	for _, tt := range packets() {
		f.Add(tt.p.Frame(), tt.p.Frame(), tt.p.Frame())
	}
	for _, v6 := range []bool{false, true} {
		var train [3][]byte
		for i := range train {
			train[i], _ = encaptest.Packet{V6: v6, Flags: encap.TCPAck, ID: uint16(i), Seq: uint32(100 * i), Payload: encaptest.Payload(100, uint64(i))}.Superframe(0)
		}
		f.Add(train[0], train[1], train[2])
	}
	f.Fuzz(func(t *testing.T, a, b, d []byte) {
		frames := [][]byte{bytes.Clone(a), bytes.Clone(b), bytes.Clone(a), bytes.Clone(d), bytes.Clone(b), bytes.Clone(d)}
		originals := [][]byte{a, b, a, d, b, d}
		checkFollow(t, clones(originals))
		c := encap.NewCoalescer(len(frames))
		addAll(t, c, frames)
		checkSlots(t, c, originals)
		checkUnfinished(t, originals)
	})
}

// checkUnfinished adds frames as they come from the wire, and wants those that joined to come back finished, and the others as they were: what poses as
// unfinished is, and may be joined, but nothing else of it may change.
func checkUnfinished(tb testing.TB, originals [][]byte) {
	tb.Helper()
	c := encap.NewCoalescer(len(originals))
	finished := clones(originals)
	offs := make([]encap.Offload, len(originals))
	for i, f := range clones(originals) {
		var l encap.Layout
		l.Parse(f)
		off, ok := encap.Unfinished(f, &l, len(f))
		if offs[i] = off; ok {
			if err := encap.FinishChecksum(finished[i][:l.End], off); err != nil {
				tb.Fatalf("frame %d: %v", i, err)
			}
		}
		if !c.AddParsed(1, uint32(i), allCaps, f, &l, off) {
			tb.Fatalf("frame %d: no room", i)
		}
	}
	for i := range c.Len() {
		s := c.Slot(i)
		if len(s.Parts) == 1 {
			if s.Off != offs[s.Tags[0]] || !bytes.Equal(s.Parts[0], originals[s.Tags[0]]) {
				tb.Fatalf("frame %d, alone, was changed", s.Tags[0])
			}
			continue
		}
		for n, segment := range cut(tb, whole(s), s.Off) {
			want := finished[s.Tags[n]]
			if want, _ = comesBack(want, segment); !bytes.Equal(segment, want) {
				tb.Fatalf("slot %d, frame %d comes back as another\n%s", i, s.Tags[n], cmp.Diff(want, segment))
			}
		}
	}
}
