package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// newMixedScene is newScene with an address of each family and two remotes: r0 over IPv4, r1 over IPv6.
func newMixedScene(t *testing.T, change func(*Config)) *scene {
	t.Helper()
	s := newScene(t, 1, func(c *Config) {
		c.OtherLocal = netip.MustParseAddr("2001:db8::1")
		if change != nil {
			change(c)
		}
	})
	s.remotes = append(s.remotes, s.newRemoteOf(s.config.OtherLocal, 0))
	waitForRoute(t, s.node, s.remotes[1].addr)
	s.set(VNIConfig{VNI: 1000}, s.remotes[1].addr)
	s.port("warm", 1000)
	eventually(t, "the link carries IPv6", func() bool {
		s.Inject("warm", frameOf(station(90), broadcast))
		time.Sleep(20 * time.Millisecond)
		return len(s.remotes[1].received()) > 0
	})
	s.do(func() error { return s.DelPort("warm") })
	s.do(func() error { return s.DelVNI(1000) })
	delete(s.sniffed, "warm")
	s.forget()
	return s
}

// Peers of both address families and a group are in one VNI: flooded frames reach each once, unicast goes by the right family, and split horizon holds
// between the families.
//
//	p0 p1 ── switch ──── r0  192.0.2.2
//	      192.0.2.1  ─── r1  2001:db8::2
//	    2001:db8::1  ─── r2  group, of either family
func TestMixedFamilies(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		for _, groupText := range []string{"239.1.1.1", "ff05::100"} {
			t.Run(fmt.Sprintf("group=%s,offload=%t", groupText, offload), func(t *testing.T) {
				s := newMixedScene(t, func(c *Config) { c.Offload = offload })
				group := netip.AddrPortFrom(netip.MustParseAddr(groupText), DefaultPort)
				s.setGroup(42, group, s.addrs()...)
				s.port("p0", 42)
				s.port("p1", 42)
				senders := slices.Clone(s.remotes)
				for _, r := range s.remotes {
					if r.addr.Is4() == group.Addr().Is4() {
						senders = append(senders, r.toGroup(s, group))
					}
				}
				s.remotes = append(s.remotes, s.member(group))

				s.Inject("p0", times(10, frameOf(station(9), broadcast))...)
				if got, want := s.counts(), "p1:10 r0:10 r1:10 r2:10"; got != want {
					t.Errorf("broadcast from p0: %q, want %q", got, want)
				}
				for i, r := range senders {
					r.send(42, times(10, frameOf(station(familyOf(r.addr)), broadcast))...)
					if got, want := s.counts(), "p0:10 p1:10"; got != want {
						t.Errorf("broadcast from sender %d: %q, want %q", i, got, want)
					}
				}
				for i := range 2 {
					s.Inject("p0", times(10, frameOf(station(9), station(i)))...)
					if got, want := s.counts(), fmt.Sprintf("r%d:10", i); got != want {
						t.Errorf("unicast: %q, want %q", got, want)
					}
				}
				s.drops(10, SplitHorizon, func() { s.remotes[0].send(42, times(10, frameOf(station(0), station(1)))...) })
				s.drops(10, SplitHorizon, func() { s.remotes[1].send(42, times(10, frameOf(station(1), station(0)))...) })
				if got := s.counts(); got != "" {
					t.Errorf("dropped frames arrived: %q", got)
				}

				// A superframe is cut once and leaves by both families.
				sent := encaptest.Packet{
					SrcMAC: station(9), DstMAC: broadcast, Proto: encap.ProtoTCP, Seq: 7000, Flags: encap.TCPPsh | encap.TCPAck, Payload: encaptest.Payload(40003, 5),
				}
				const size = 1200
				frame, off := sent.Superframe(size)
				if offload {
					s.InjectSuperframe("p0", encodeOffload(off), frame)
					s.rest()
					for i, r := range s.remotes {
						var frames [][]byte
						for _, a := range r.received() {
							frames = append(frames, a.frame)
						}
						s.wantStream(fmt.Sprintf("remote %d", i), frames, sent, (len(sent.Payload)+size-1)/size)
					}
					s.seen("p1")
				}
				s.balance()
			})
		}
	}
}

// What is of one family only: checksums, the MTU that is left, who is ourselves. A learned source is answered by its own family.
//
//	p0 ── switch ──── r0 192.0.2.2, r1 2001:db8::2
func TestMixedHeaders(t *testing.T) {
	t.Parallel()
	s := newMixedScene(t, nil)
	four, six := s.remotes[0].addr, s.remotes[1].addr
	s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{UDPChecksum: ChecksumOff}}, four, six)
	s.set(VNIConfig{VNI: 43, Learning: true}, four)
	s.set(VNIConfig{VNI: 44, Learning: true, Policy: Learn})
	s.set(VNIConfig{VNI: 45, Learning: true, Group: netip.MustParseAddrPort("[ff05::100]:0")})
	s.port("p0", 42)
	for i, c := range []struct{ vni, mtu int }{{42, 1430}, {43, 1450}, {44, 1450}, {45, 1430}} {
		name := fmt.Sprintf("q%d", i)
		s.do(func() error { return s.AddPort(PortConfig{Name: name, Type: PortTAP, Untagged: uint32(c.vni)}) })
		for _, p := range s.Ports() {
			if p.Config.Name == name && p.MTU != c.mtu {
				t.Errorf("default MTU in VNI %d is %d, want %d", c.vni, p.MTU, c.mtu)
			}
		}
	}
	if got := s.Status(); got.Local != s.config.Local || !slices.Equal(got.Locals, []netip.Addr{s.config.Local, s.config.OtherLocal}) {
		t.Errorf("status says %v, %v", got.Local, got.Locals)
	}
	for _, a := range []netip.Addr{s.config.Local, s.config.OtherLocal} {
		if err := s.Do(func() error { return s.SetVNI(VNIConfig{VNI: 46, Peers: []netip.AddrPort{peerAt(a)}}) }); err == nil {
			t.Errorf("our own address %s is taken for a peer", a)
		}
	}

	w := newWiretap(s)
	s.Inject("p0", frameOf(station(1), broadcast))
	got := w.outers()
	if len(got) != 2 {
		t.Fatalf("%d datagrams, want 2: %+v", len(got), got)
	}
	slices.SortFunc(got, func(a, b outer) int { return a.total - b.total })
	if got[0].udpChecksum != 0 || got[1].udpChecksum == 0 || got[1].total-got[0].total != 20 {
		t.Errorf("checksum %#x over IPv4 and %#x over IPv6, want none and one; sizes %d and %d", got[0].udpChecksum, got[1].udpChecksum, got[0].total, got[1].total)
	}

	s.sniffed["q2"] = s.Sniff("q2")
	for i, r := range s.remotes {
		r.send(44, frameOf(station(50+i), broadcast))
	}
	s.forget()
	for i := range s.remotes {
		s.Inject("q2", frameOf(station(60), station(50+i)))
		if got, want := s.counts(), fmt.Sprintf("r%d:1", i); got != want {
			t.Errorf("answer to a learned source: %q, want %q", got, want)
		}
	}
	s.balance()
}

// One VNI joins a kernel that speaks IPv4 only to one that speaks IPv6 only and a switch that speaks both; the two kernels, which cannot hear each other,
// each reach both switches.
//
//	                        ╔══ kernel4 192.0.2.3
//	vtep0 ── switch a ══ bridge ══ switch b ── vtep0
//	                        ╚══ kernel6 2001:db8::4
func TestMixedFamiliesWithKernels(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%t", offload), func(t *testing.T) {
			l := lab.New(t)
			ha, hb, h4, h6 := l.Host("a"), l.Host("b"), l.Host("k4"), l.Host("k6")
			l.Switch("net", lab.LinkOptions{}, ha, hb, h4, h6)
			var nodes []*node
			for _, h := range [][2]*lab.Host{{ha, hb}, {hb, ha}} {
				n := startNode(t, h[0], func(c *Config) { c.OtherLocal, c.Offload = h[0].Underlay6(), offload })
				n.vni(42, h4.Underlay4(), h6.Underlay6(), h[1].Underlay6())
				n.tap("vtep0", 42, func(p *PortConfig) { p.Addresses = h[0].OverlayPrefixes() })
				nodes = append(nodes, n)
			}
			k4 := h4.VXLAN(lab.VXLANOptions{VNI: 42, Local: h4.Underlay4(), Peers: []netip.Addr{ha.Underlay4(), hb.Underlay4()}, MTU: 1430})
			k6 := h6.VXLAN(lab.VXLANOptions{VNI: 42, Local: h6.Underlay6(), Peers: []netip.Addr{ha.Underlay6(), hb.Underlay6()}, MTU: 1430})
			h4.Addr(k4, h4.OverlayPrefixes()...)
			h6.Addr(k6, h6.OverlayPrefixes()...)
			for _, way := range [][2]*lab.Host{{ha, h4}, {ha, h6}, {h4, hb}, {h6, hb}, {ha, hb}} {
				eventually(t, way[0].Name()+" reaches "+way[1].Name(), func() bool {
					_, err := way[0].Command("ping", "-n", "-q", "-c", "1", "-W", "1", way[1].Overlay4().String())
					return err == nil
				})
				transfer(t, way[0], way[1], way[1].Overlay4(), 8<<20)
				transfer(t, way[1], way[0], way[0].Overlay4(), 8<<20)
			}
			rest(nodes...)
			for _, n := range nodes {
				n.balance()
			}
		})
	}
}
