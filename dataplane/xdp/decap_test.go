package xdp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
)

// TestFromPeer puts every question about a datagram to vtepd_underlay and vtepd_bare, each with its answer.
func TestFromPeer(t *testing.T) {
	t.Parallel()
	ipv6 := known()
	ipv6.ipv6 = true
	type change = func(*wrap)
	domain := func(change func(*Domain)) func(*Options, *Domain) { return func(_ *Options, d *Domain) { change(d) } }
	syn := func(d *Domain) { d.ClampMSS, d.MSS4, d.MSS6 = true, 1400, 1380 }
	none := -1
	for _, c := range []struct {
		name    string
		inner   []byte // nil: known
		change  change
		verdict int
		only    int // 4 or 6: over that alone
		domain  func(*Options, *Domain)
		before  func(*bench)
		passes  bool // by XDP, which leaves it to tcx
	}{
		{name: "known", verdict: fromPeer},
		{name: "IPv6", inner: ipv6.frame(macA, macB), verdict: fromPeer},
		{name: "another port of ours", change: func(w *wrap) { w.port = 8472 }, verdict: fromPeer},
		{name: "zero checksum", change: func(w *wrap) { w.noUDPSum = true }, verdict: fromPeer},
		{name: "zero checksum unwanted", change: func(w *wrap) { w.noUDPSum = true }, verdict: udpChecksum, only: 6, domain: domain(func(d *Domain) { d.ZeroChecksum6Rx = false })},
		{name: "checksum where zero is unwanted", verdict: fromPeer, domain: domain(func(d *Domain) { d.ZeroChecksum6Rx = false })},
		{name: "reserved bits", change: func(w *wrap) { w.vxlan |= 0xf7_000001<<32 | 0xff }, verdict: fromPeer},
		{name: "reserved flags, strict", change: func(w *wrap) { w.vxlan |= 1 << 63 }, verdict: oddVXLAN, domain: domain(func(d *Domain) { d.Strict = true })},
		{name: "reserved field, strict", change: func(w *wrap) { w.vxlan |= 1 << 32 }, verdict: oddVXLAN, domain: domain(func(d *Domain) { d.Strict = true })},
		{name: "reserved byte, strict", change: func(w *wrap) { w.vxlan |= 1 }, verdict: oddVXLAN, domain: domain(func(d *Domain) { d.Strict = true })},
		{name: "strict", verdict: fromPeer, domain: domain(func(d *Domain) { d.Strict = true })},
		{name: "no I flag", change: func(w *wrap) { w.vxlan &^= 0x08 << 56 }, verdict: oddVXLAN},
		{name: "unknown VNI", change: func(w *wrap) { w.vxlan = vxlanHeader(testVNI + 1) }, verdict: noDomain},
		{name: "domain up", verdict: domainPolicy, domain: domain(func(d *Domain) { d.ToUser = true })},
		{name: "not an admitted source", verdict: unknownPeer, before: func(b *bench) { b.DelSource(testVNI, remote4); b.DelSource(testVNI, remote6) }},
		{name: "another port", change: func(w *wrap) { w.port = 4790 }, verdict: none},
		{name: "another address", change: func(w *wrap) {
			if w.dst.Is4() {
				w.dst = netip.MustParseAddr("192.0.2.3")
			} else {
				w.dst = netip.MustParseAddr("2001:db8::3")
			}
		}, verdict: none},
		{name: "second address of ours", change: func(w *wrap) { w.dst = netip.MustParseAddr("192.0.2.200") }, only: 4, verdict: fromPeer},
		{name: "TCP outside", change: func(w *wrap) { w.next = 6 }, verdict: none},
		{name: "to another machine", change: func(w *wrap) { w.dstMAC = [6]byte{2, 0, 0, 0, 0, 9} }, verdict: none},
		{name: "to a group of machines", change: func(w *wrap) { w.dstMAC = [6]byte{3} }, verdict: none},
		{name: "XDP on another device", before: func(b *bench) {
			if err := b.objects.Underlays.Put(uint32(loopback), programsUnderlay{Ifindex: loopback + maxUnderlays}); err != nil {
				b.t.Fatal(err)
			}
		}, verdict: fromPeer, passes: true},
		{name: "outer options", change: func(w *wrap) { w.options = 4 }, only: 4, verdict: none},
		{name: "first fragment", change: func(w *wrap) { w.flags = 0x2000 }, only: 4, verdict: oddOuter},
		{name: "later fragment", change: func(w *wrap) { w.flags = 1 }, only: 4, verdict: oddOuter},
		{name: "do not fragment", change: func(w *wrap) { w.flags = 0x4000 }, only: 4, verdict: fromPeer},
		{name: "outer fragment header", change: func(w *wrap) { w.next = 44 }, only: 6, verdict: none},
		{name: "bad header checksum", change: func(w *wrap) { w.ipSum = 1 }, only: 4, verdict: oddOuter},
		{name: "UDP length short", change: func(w *wrap) { w.udpLen = -1 }, verdict: oddOuter},
		{name: "UDP length long", change: func(w *wrap) { w.udpLen = 1 }, verdict: oddOuter},
		{name: "IP length short", change: func(w *wrap) { w.ipLen, w.udpLen = -1, -1 }, verdict: oddOuter},
		{name: "IP length long", change: func(w *wrap) { w.ipLen, w.udpLen = 1, 1 }, verdict: oddOuter},
		{name: "padding outside", change: func(w *wrap) { w.tail = 4 }, verdict: oddOuter},
		{name: "no inner frame", inner: []byte{}, verdict: notIP},
		{name: "inner frame cut short", inner: known().frame(macA, macB)[:30], verdict: notIP},
		{name: "ARP", inner: ethernet(macA, macB, encap.EtherTypeARP, make([]byte, 46)), verdict: notIP},
		{name: "inner tag", inner: ethernet(macA, macB, encap.EtherTypeVLAN, append([]byte{0, 5, 8, 0}, known().bytes()...)), verdict: notIP},
		{name: "inner IPv4 that is none", inner: ethernet(macA, macB, encap.EtherTypeIPv4, make([]byte, 46)), verdict: oddIP},
		{name: "inner broadcast", inner: known().frame([6]byte{255, 255, 255, 255, 255, 255}, macB), verdict: groupAddress},
		{name: "inner group source", inner: known().frame(macA, [6]byte{1}), verdict: badSource},
		{name: "inner zero source", inner: known().frame(macA, [6]byte{}), verdict: badSource},
		{name: "unknown inner source", inner: known().frame(macA, macNone), verdict: unknownSource},
		{name: "inner source at a port", inner: known().frame(macA, macD), verdict: unknownSource},
		{name: "unknown inner source, not learning", inner: known().frame(macA, macNone), verdict: fromPeer, domain: domain(func(d *Domain) { d.Learning = false })},
		{name: "dynamic inner source elsewhere, not learning", inner: known().frame(macA, macD), verdict: fromPeer, domain: domain(func(d *Domain) { d.Learning = false })},
		{name: "static inner source here", inner: known().frame(macA, macE), only: 4, verdict: fromPeer},
		{name: "static inner source elsewhere", inner: known().frame(macA, macE), only: 6, verdict: unknownSource},
		{name: "static inner source elsewhere, not learning", inner: known().frame(macA, macE), only: 6, verdict: unknownSource, domain: domain(func(d *Domain) { d.Learning = false })},
		{name: "unknown destination", inner: known().frame(macNone, macB), verdict: unknownDestination},
		{name: "destination behind a peer", inner: known().frame(macE, macB), verdict: samePlace},
		{name: "destination without the VNI", inner: known().frame(macF, macB), verdict: unknownDestination},
		{name: "destination is isolated", verdict: fromPeer, before: func(b *bench) {
			p := b.ports[0]
			p.Isolated = true
			if err := b.PutPort(p); err != nil {
				b.t.Fatal(err)
			}
		}},
		{name: "destination has gone", verdict: unknownDestination, before: func(b *bench) { b.DelPort(0) }},
		{name: "larger than the port", inner: packet{proto: 17, l4: udpTo(7, 1464-14-20-8+1)}.frame(macA, macB), verdict: tooLarge},
		{name: "as large as the port", inner: packet{proto: 17, l4: udpTo(7, 1464-14-20-8)}.frame(macA, macB), verdict: fromPeer},
		{name: "SYN", inner: packet{proto: 6, l4: opening(2, mss(1401))}.frame(macA, macB), verdict: domainPolicy, domain: domain(syn)},
		{name: "SYN that announces little", inner: packet{proto: 6, l4: opening(2, mss(1400))}.frame(macA, macB), verdict: fromPeer, passes: true, domain: domain(syn)},
		{name: "guarded is only what ports send", inner: packet{proto: 17, l4: udpTo(testPort, 50)}.frame(macA, macB), verdict: fromPeer, domain: domain(func(d *Domain) { d.SpoofGuard = true })},
		{name: "congestion that the sender does not understand", change: func(w *wrap) { w.tos = 3 }, verdict: ecnDrop},
	} {
		for _, over := range []int{4, 6} {
			if c.only != 0 && c.only != over {
				continue
			}
			t.Run(fmt.Sprintf("%s over IPv%d", c.name, over), func(t *testing.T) {
				b := newBench(t, c.domain)
				if c.before != nil {
					c.before(b)
				}
				peer, src := remote4, macB
				if over == 6 {
					peer, src = remote6, macC
				}
				inner := c.inner
				if inner == nil {
					inner = known().frame(macA, macB)
				}
				inner = bytes.Clone(inner)
				if len(inner) >= 12 && [6]byte(inner[6:12]) == macB {
					copy(inner[6:], src[:])
				}
				w := letterFrom(peer, inner)
				if c.change != nil {
					c.change(&w)
				}
				want := c.verdict
				data := w.bytes()
				answer, verdict, out := b.run(b.objects.VtepdUnderlay, data, nil)
				if verdict != want {
					t.Errorf("verdict %d %q, want %d %q", verdict, word(verdict), want, word(want))
				}
				wantAnswer, wantOut := uint32(nextTCX), data
				if want == fromPeer {
					wantAnswer, wantOut = redirect, inner
				}
				if answer != wantAnswer {
					t.Errorf("answer %d, want %d", int32(answer), int32(wantAnswer))
				}
				if diff := cmp.Diff(wantOut, out); diff != "" {
					t.Errorf("frame (-want +got):\n%s", diff)
				}

				answer, _, out = b.run(b.objects.VtepdBare, data, nil)
				if c.passes {
					wantOut = data
				} else if want == fromPeer {
					wantOut = slices.Concat(binary.NativeEndian.AppendUint32(nil, 0x56544550), binary.NativeEndian.AppendUint32(nil, b.loaded().Instance), binary.NativeEndian.AppendUint32(nil, testVNI), inner)
				}
				if answer != passXDP {
					t.Errorf("XDP: answer %d", answer)
				}
				if diff := cmp.Diff(wantOut, out); diff != "" {
					t.Errorf("XDP: frame (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestECN holds both programs to user space's table, over all codepoints and families.
func TestECN(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, peer := range []netip.Addr{remote4, remote6} {
		src := macB
		if peer.Is6() {
			src = macC
		}
		for _, ipv6 := range []bool{false, true} {
			for outer := range uint8(4) {
				for inner := range uint8(4) {
					p := known()
					p.ipv6, p.tos = ipv6, 12<<2|inner
					frame := p.frame(macA, src)
					w := letterFrom(peer, frame)
					w.tos = 40<<2 | outer
					want := bytes.Clone(frame)
					ecn, drop := encap.ECNDecap(inner, outer)
					if !drop {
						var l encap.Layout
						l.Parse(want)
						encap.SetECN(want, &l, ecn)
					}
					what := fmt.Sprintf("from %s, inner IPv6 %v, inner %d, outer %d", peer, ipv6, inner, outer)
					_, verdict, out := b.run(b.objects.VtepdUnderlay, w.bytes(), nil)
					_, _, bare := b.run(b.objects.VtepdBare, w.bytes(), nil)
					if drop {
						if verdict != ecnDrop || !bytes.Equal(out, w.bytes()) || !bytes.Equal(bare, w.bytes()) {
							t.Errorf("%s: verdict %d", what, verdict)
						}
						continue
					}
					if verdict != fromPeer {
						t.Errorf("%s: verdict %d", what, verdict)
					}
					if diff := cmp.Diff(want, out); diff != "" {
						t.Errorf("%s (-want +got):\n%s", what, diff)
					}
					if diff := cmp.Diff(want, bare[12:]); diff != "" {
						t.Errorf("%s, XDP (-want +got):\n%s", what, diff)
					}
				}
			}
		}
	}
}

// TestFamilySwitchRefused leaves frames of the other family to user space where the kernel cannot unwrap them.
func TestFamilySwitchRefused(t *testing.T) {
	b := newBench(t, func(o *Options, _ *Domain) { o.Refuse.Capabilities = []string{"switch-family"} })
	p := known()
	for _, ipv6 := range []bool{false, true} {
		p.ipv6 = ipv6
		data := letterFrom(remote4, p.frame(macA, macB)).bytes()
		answer, _, out := b.run(b.objects.VtepdUnderlay, data, nil)
		if want := uint32(redirect); !ipv6 && answer != want {
			t.Errorf("IPv4 in IPv4: answer %d", int32(answer))
		}
		if ipv6 && (answer != nextTCX || !bytes.Equal(out, data)) {
			t.Errorf("IPv6 in IPv4: answer %d", int32(answer))
		}
	}
}
