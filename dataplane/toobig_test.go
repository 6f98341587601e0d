package dataplane

import (
	"encoding/binary"
	"fmt"
	"testing"

	"vtepd/dataplane/tap"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// bigPacket is a UDP packet of n bytes of IP, DF set, from one station to another.
func bigPacket(v6 bool, n int, src, dst uint64) encaptest.Packet {
	header := encap.IPv4MinLen
	if v6 {
		header = encap.IPv6Len
	}
	return encaptest.Packet{V6: v6, SrcMAC: src, DstMAC: dst, Proto: encap.ProtoUDP, Fragment: encap.IPv4DontFragment,
		Payload: encaptest.Payload(n-header-encap.UDPLen, uint64(n))}
}

// answer is what an ICMP message about a packet too big says; the zero answer when a frame is none.
type answer struct {
	src, dst uint64
	vid      uint16
	mtu      int
}

func answerIn(frame []byte) (a answer) {
	var l encap.Layout
	l.Parse(frame)
	if l.L4 == 0 {
		return a
	}
	m := frame[l.L4:l.End]
	switch {
	case l.Proto == encap.ProtoICMP && m[0] == 3 && m[1] == 4:
		if encaptest.ReferenceSum(m, 0) != 0xffff {
			return a
		}
		a.mtu = int(binary.BigEndian.Uint16(m[6:]))
	case l.Proto == encap.ProtoICMPv6 && m[0] == 2:
		if encaptest.ReferenceSum(m, encap.PseudoIPv6(encap.IPv6(frame[l.L3:]), encap.ProtoICMPv6, uint32(len(m)))) != 0xffff {
			return a
		}
		a.mtu = int(binary.BigEndian.Uint32(m[4:]))
	default:
		return a
	}
	e := encap.Ethernet(frame)
	a.src, a.dst, a.vid = e.Src(), e.Dst(), l.TCI&encap.VIDMask
	return a
}

// answers calls f and returns the ICMP messages that came out of a port meanwhile.
func (s *scene) answers(port string, f func()) []answer {
	s.t.Helper()
	s.rest()
	s.seen(port)
	f()
	s.rest()
	var list []answer
	for _, frame := range s.seen(port) {
		if a := answerIn(frame); a.mtu != 0 {
			list = append(list, a)
		}
	}
	return list
}

// wants compares answers.
func (s *scene) wants(what string, got []answer, want ...answer) {
	s.t.Helper()
	if len(got) != len(want) {
		s.t.Errorf("%s: %d answers %+v, want %+v", what, len(got), got, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			s.t.Errorf("%s: answer %+v, want %+v", what, got[i], want[i])
		}
	}
}

// A frame that the path to its peer does not carry is dropped for that, and its sender is told the MTU inside: underlay's less 50 or 70, less the tag
// that a VNI keeps. Superframes are judged by their segments.
//
//	p0, t0 (VNI 42 as 7) ── switch ── eth0 (MTU 1400) ══ r0
func TestTooBigForAPeerIsAnswered(t *testing.T) {
	t.Parallel()
	for _, underlay6 := range []bool{false, true} {
		for _, offload := range []bool{true, false} {
			t.Run(fmt.Sprintf("underlay6=%t,offload=%t", underlay6, offload), func(t *testing.T) {
				build, mtu := newScene, 1400-50
				if underlay6 {
					build, mtu = newScene6, 1400-70
				}
				s := build(t, 1, func(c *Config) { c.Offload = offload })
				s.MTU("eth0", 1400)
				s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
				s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 3000})
				s.configuredPort(PortConfig{Name: "t0", Tagged: []VIDMap{{7, 42}}, MTU: 3000})
				s.awaitPath(s.remotes[0].addr, 1400)
				s.remotes[0].send(42, frameOf(station(2), broadcast))
				s.Inject("t0", putTag(frameOf(station(3), broadcast), 0x8100, 7))
				s.rest()
				want := answer{src: station(2), dst: station(1), mtu: mtu}
				for _, v6 := range []bool{false, true} {
					send := func(n, wantDrops int) []answer {
						return s.answers("p0", func() {
							s.drops(uint64(wantDrops), TooBig, func() { s.Inject("p0", bigPacket(v6, n, station(1), station(2)).Frame()) })
						})
					}
					s.wants("just fits", send(mtu, 0))
					s.wants("one byte more", send(mtu+1, 1), want)
					s.wants("much more", send(2900, 1), want)
					tagged := bigPacket(v6, 2000, station(3), station(2))
					tagged.Tags = []uint16{5<<13 | 7}
					s.wants("from a trunk", s.answers("t0", func() { s.Inject("t0", tagged.Frame()) }),
						answer{src: station(2), dst: station(3), vid: 7, mtu: mtu})
					if offload {
						p := encaptest.Packet{V6: v6, SrcMAC: station(1), DstMAC: station(2), Flags: encap.TCPAck, Fragment: encap.IPv4DontFragment, Payload: encaptest.Payload(20000, 1)}
						headers := 40
						if v6 {
							headers = 60
						}
						fits, off := p.Superframe(uint16(mtu - headers))
						s.wants("superframe that fits", s.answers("p0", func() { s.InjectSuperframe("p0", encodeOffload(off), fits) }))
						more, off := p.Superframe(uint16(mtu - headers + 1))
						s.wants("superframe", s.answers("p0", func() { s.InjectSuperframe("p0", encodeOffload(off), more) }), want)
					}
				}
				noDF := bigPacket(false, 2000, station(1), station(2))
				noDF.Fragment = 0
				s.wants("without DF", s.answers("p0", func() { s.Inject("p0", noDF.Frame()) }), want)
				s.wants("broadcast", s.answers("p0", func() { s.Inject("p0", bigPacket(false, 2000, station(1), broadcast).Frame()) }))
				s.wants("unknown unicast", s.answers("p0", func() { s.Inject("p0", bigPacket(false, 2000, station(1), station(9)).Frame()) }),
					answer{src: station(9), dst: station(1), mtu: mtu})
				// What the answer says about the way back is not learned: station 2 is behind the peer still.
				if e := s.entry(42, station(2)); e.Dst.Addr() != s.remotes[0].addr {
					t.Errorf("station 2 is now at %+v", e)
				}
				s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{KeepInnerVLAN: true}}, s.addrs()...)
				s.wants("kept tag", s.answers("p0", func() {
					s.Inject("p0", putTag(bigPacket(false, 2000, station(1), station(2)).Frame(), 0x8100, 9))
				}), answer{src: station(2), dst: station(1), vid: 9, mtu: mtu - 4})
				s.balance()
			})
		}
	}
}

// A frame that is too big for a port is answered to where it came from: another port, or the peer.
//
//	p0 (MTU 3000) p1 (MTU 1300) t1 (MTU 1290, VNI 42 as 7) ── switch ══ r0
func TestTooBigForAPortIsAnswered(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 3000})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 1300})
	s.configuredPort(PortConfig{Name: "t1", Tagged: []VIDMap{{7, 42}}, MTU: 1290})
	s.remotes[0].send(42, frameOf(station(4), broadcast))
	s.Inject("p1", frameOf(station(2), broadcast))
	s.Inject("t1", putTag(frameOf(station(3), broadcast), 0x8100, 7))
	s.rest()
	for _, v6 := range []bool{false, true} {
		for _, to := range []struct {
			station uint64
			mtu     int
		}{{station(2), 1300}, {station(3), 1290}} {
			s.wants("to a port", s.answers("p0", func() {
				s.drops(1, TooBig, func() { s.Inject("p0", bigPacket(v6, to.mtu+1, station(1), to.station).Frame()) })
			}), answer{src: to.station, dst: station(1), mtu: to.mtu})
			s.forget()
			s.drops(1, TooBig, func() { s.remotes[0].send(42, bigPacket(v6, to.mtu+1, station(4), to.station).Frame()) })
			got := s.remotes[0].received()
			if len(got) != 1 || got[0].vni != 42 {
				t.Fatalf("%d datagrams to the peer, want one for VNI 42", len(got))
			}
			s.wants("to the peer", []answer{answerIn(got[0].frame)}, answer{src: to.station, dst: station(4), mtu: to.mtu})
		}
	}
	// Flooded, and one port takes it: nothing is said. None does: it is.
	s.wants("flooded", s.answers("p0", func() { s.Inject("p0", bigPacket(false, 1295, station(1), station(9)).Frame()) }))
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.wants("flooded in vain", s.answers("p0", func() { s.Inject("p0", bigPacket(false, 2000, station(1), station(9)).Frame()) }),
		answer{src: station(9), dst: station(1), mtu: 1290})
	s.balance()
	st := s.Status()
	if st.TooBigAnswered != 9 || st.TooBigSilenced != 0 {
		t.Errorf("status counts %d answers and %d silenced, want 9 and 0", st.TooBigAnswered, st.TooBigSilenced)
	}
}

// Answers are limited, each VNI by itself; what is not said is counted.
//
//	p0 p1 (VNI 42) q0 q1 (VNI 43) ── one worker, called by the test
func TestTooBigAnswersAreLimited(t *testing.T) {
	s := newScene(t, 0, func(c *Config) { c.Workers = 1 })
	for _, vni := range []uint32{42, 43} {
		s.set(VNIConfig{VNI: vni, Learning: true})
	}
	for _, c := range []PortConfig{{Name: "p0", Untagged: 42, MTU: 3000}, {Name: "p1", Untagged: 42, MTU: 1000}, {Name: "q0", Untagged: 43, MTU: 3000}, {Name: "q1", Untagged: 43, MTU: 1000}} {
		c.Type = PortTAP
		s.do(func() error { return s.AddPort(c) })
	}
	w := s.parked()
	buf := append(make([]byte, tap.Headroom), bigPacket(false, 1400, station(1), station(2)).Frame()...)
	send := func(port string, n int) {
		w.snap, w.now = s.current.Load(), s.now()
		for range n {
			w.fromPort(s.ports[port].published, buf, tap.Headroom, encap.Offload{})
		}
		w.flush()
	}
	send("p0", answersPerSecond+500)
	if got := s.Status(); got.TooBigAnswered != answersPerSecond || got.TooBigSilenced != 500 {
		t.Errorf("%d answers and %d silenced, want %d and 500", got.TooBigAnswered, got.TooBigSilenced, answersPerSecond)
	}
	send("q0", 10)
	if got := s.Status(); got.TooBigAnswered != answersPerSecond+10 {
		t.Errorf("%d answers, want ten more for the other VNI", got.TooBigAnswered)
	}
	s.tick.Add(1)
	send("p0", 10)
	if got := s.Status(); got.TooBigAnswered != answersPerSecond+20 || got.TooBigSilenced != 500 {
		t.Errorf("a second later: %d answers and %d silenced", got.TooBigAnswered, got.TooBigSilenced)
	}
	if n := testing.AllocsPerRun(10, func() { s.tick.Add(1); send("p0", 1) }); n != 0 {
		t.Errorf("%v allocations an answer", n)
	}
	s.balance()
}
