package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// opening is a TCP segment that opens a connection and announces an MSS.
func opening(v6 bool, src, dst uint64, mss uint16) encaptest.Packet {
	return encaptest.Packet{V6: v6, SrcMAC: src, DstMAC: dst, Proto: encap.ProtoTCP, Flags: encap.TCPSyn,
		TCPOptions: binary.BigEndian.AppendUint16([]byte{2, 4}, mss)}
}

// mssIn is the MSS that a frame announces, which is its only option; 0 when the frame is another or its checksum neither right nor yet to be
// finished.
func mssIn(frame []byte) int {
	var l encap.Layout
	l.Parse(frame)
	if l.Payload != l.L4+24 {
		return 0
	}
	pseudo := uint16(0)
	length := l.End - uint32(l.L4)
	if l.Flags&encap.LayoutIPv4 != 0 {
		pseudo = encap.PseudoIPv4(encap.IPv4(frame[l.L3:]), encap.ProtoTCP, uint16(length))
	} else {
		pseudo = encap.PseudoIPv6(encap.IPv6(frame[l.L3:]), encap.ProtoTCP, length)
	}
	// On a device with offloads a checksum that is still to be finished is seen as it is.
	if encap.TCP(frame[l.L4:]).Checksum() != pseudo && encaptest.ReferenceSum(frame[l.L4:l.End], pseudo) != 0xffff {
		return 0
	}
	return int(binary.BigEndian.Uint16(frame[l.L4+22:]))
}

// mssAtPeer calls f and returns what the frames that reached a remote meanwhile announce.
func (s *scene) mssAtPeer(i int, f func()) (list []int) {
	s.t.Helper()
	s.forget()
	f()
	s.rest()
	for _, a := range s.remotes[i].received() {
		list = append(list, mssIn(a.frame))
	}
	return list
}

// mssAtPort is mssAtPeer for a port.
func (s *scene) mssAtPort(port string, f func()) (list []int) {
	s.t.Helper()
	s.forget()
	f()
	s.rest()
	for _, frame := range s.seen(port) {
		list = append(list, mssIn(frame))
	}
	return list
}

// wantMSS compares.
func wantMSS(t *testing.T, what string, got []int, want ...int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// Connections are opened with the MSS that the path carries, in both directions, whatever the port's tag, the IP version and the state of the checksum.
//
//	p0, t0 (VNI 42 as 7) ── switch ── eth0 (MTU 1400) ══ r0 r1
func TestClampsMSSOfPeers(t *testing.T) {
	t.Parallel()
	for _, underlay6 := range []bool{false, true} {
		for _, offload := range []bool{true, false} {
			t.Run(fmt.Sprintf("underlay6=%t,offload=%t", underlay6, offload), func(t *testing.T) {
				build, mtu := newScene, 1400-50
				if underlay6 {
					build, mtu = newScene6, 1400-70
				}
				s := build(t, 2, func(c *Config) { c.Offload = offload })
				s.MTU("eth0", 1400)
				s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs(0)...)
				s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 1500})
				s.configuredPort(PortConfig{Name: "t0", Tagged: []VIDMap{{7, 42}}, MTU: 1500})
				s.awaitPath(s.remotes[0].addr, 1400)
				here, far, tagged := station(1), station(2), station(3)
				s.remotes[0].send(42, frameOf(far, broadcast))
				s.Inject("p0", frameOf(here, broadcast))
				s.Inject("t0", putTag(frameOf(tagged, broadcast), 0x8100, 7))
				for _, v6 := range []bool{false, true} {
					mss := mtu - 40
					if v6 {
						mss = mtu - 60
					}
					out := func(p encaptest.Packet) []int {
						return s.mssAtPeer(0, func() { s.Inject("p0", p.Frame()) })
					}
					in := func(frame []byte) []int {
						return s.mssAtPort("p0", func() { s.remotes[0].send(42, frame) })
					}
					syn := opening(v6, here, far, 1460)
					wantMSS(t, "SYN out", out(syn), mss)
					syn.Flags |= encap.TCPAck
					wantMSS(t, "SYN-ACK out", out(syn), mss)
					syn.Flags = encap.TCPAck
					wantMSS(t, "no SYN", out(syn), 1460)
					wantMSS(t, "smaller", out(opening(v6, here, far, uint16(mss-1))), mss-1)
					answer := opening(v6, far, here, 1460)
					wantMSS(t, "SYN in", in(answer.Frame()), mss)
					// The kernel of a peer on the same machine leaves the checksum unfinished.
					unfinished, _ := answer.Superframe(0)
					wantMSS(t, "SYN in, checksum unfinished", in(unfinished), mss)
					if offload {
						frame, off := opening(v6, here, far, 1460).Superframe(0)
						wantMSS(t, "SYN out, checksum unfinished", s.mssAtPeer(0, func() { s.InjectSuperframe("p0", encodeOffload(off), frame) }), mss)
					}
					if v6 {
						syn := opening(v6, here, far, 1460)
						syn.Extensions = []encaptest.Extension{{Proto: encap.ProtoDestOpts, Body: make([]byte, 8)}}
						wantMSS(t, "behind an extension header", out(syn), mss)
					}
					fromTrunk := opening(v6, tagged, far, 1460)
					fromTrunk.Tags = []uint16{7}
					wantMSS(t, "from a trunk", s.mssAtPeer(0, func() { s.Inject("t0", fromTrunk.Frame()) }), mss)
					wantMSS(t, "to a trunk", s.mssAtPort("t0", func() { s.remotes[0].send(42, opening(v6, far, tagged, 1460).Frame()) }), mss)
					wantMSS(t, "flooded", s.mssAtPeer(0, func() { s.Inject("p0", opening(v6, here, station(9), 1460).Frame()) }), mss)
				}
				if got := s.Status().MSSClamped; got < 14 {
					t.Errorf("%d frames counted", got)
				}
				s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff}, s.addrs(0)...)
				wantMSS(t, "off", s.mssAtPeer(0, func() { s.Inject("p0", opening(false, here, far, 1460).Frame()) }), 1460)
				s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: 900}, s.addrs(0)...)
				wantMSS(t, "900", s.mssAtPeer(0, func() { s.Inject("p0", opening(true, here, far, 1460).Frame()) }), 900)
				s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{KeepInnerVLAN: true}}, s.addrs(0)...)
				kept := opening(false, here, far, 1460)
				kept.Tags = []uint16{9}
				wantMSS(t, "behind a tag that is kept", s.mssAtPeer(0, func() { s.Inject("p0", kept.Frame()) }), mtu-44)
				s.balance()
			})
		}
	}
}

// Between ports the narrower one counts. A port's own setting replaces the VNI's for its frames.
//
//	p0 (MTU 1500) p1 (MTU 1300) ── switch
func TestClampsMSSOfPorts(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 1500})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 1300})
	s.Inject("p0", frameOf(station(1), broadcast))
	s.Inject("p1", frameOf(station(2), broadcast))
	for _, c := range []struct {
		vni, p0, p1 MSSClamp
		want        int
	}{
		{MSSDefault, MSSDefault, MSSDefault, 1260},
		{MSSAuto, MSSDefault, MSSDefault, 1260},
		{MSSOff, MSSDefault, MSSDefault, 1460},
		{MSSOff, MSSAuto, MSSDefault, 1260},
		{MSSOff, MSSDefault, MSSAuto, 1260},
		{MSSAuto, MSSOff, MSSDefault, 1460},
		{MSSAuto, MSSDefault, MSSOff, 1460},
		{MSSAuto, MSSOff, 1000, 1000},
		{MSSAuto, 1100, 1000, 1000},
		{1000, 1400, MSSDefault, 1400},
		{MSSOff, MSSDefault, 1000, 1000},
	} {
		s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: c.vni})
		s.do(func() error {
			return errors.Join(s.SetPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, MTU: 1500, MSSClamp: c.p0}),
				s.SetPort(PortConfig{Name: "p1", Type: PortTAP, Untagged: 42, MTU: 1300, MSSClamp: c.p1}))
		})
		what := fmt.Sprintf("vni %s, p0 %s, p1 %s", c.vni, c.p0, c.p1)
		wantMSS(t, what, s.mssAtPort("p1", func() { s.Inject("p0", opening(false, station(1), station(2), 1460).Frame()) }), c.want)
		wantMSS(t, what+", back", s.mssAtPort("p0", func() { s.Inject("p1", opening(false, station(2), station(1), 1460).Frame()) }), c.want)
	}
	for _, bad := range []MSSClamp{3, MinMSS - 1, MaxMSS + 1} {
		if err := s.SetVNI(VNIConfig{VNI: 42, MSSClamp: bad}); !errors.Is(err, ErrInvalid) {
			t.Errorf("vni with %d: %v", bad, err)
		}
		if err := s.SetPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, MSSClamp: bad}); !errors.Is(err, ErrInvalid) {
			t.Errorf("port with %d: %v", bad, err)
		}
	}
	s.balance()
}

// A copy that waits for its port is not changed by what the next one needs, however long the headers are.
//
//	p0, p1 (MSS 1000), p2 (MSS 500) ── switch
func TestClampsEachCopy(t *testing.T) {
	t.Parallel()
	s := newSceneOf(t, PortNetdev, nil, 1, func(c *Config) { c.Workers = 1 })
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.port("p0", 42)
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MSSClamp: 1000})
	s.configuredPort(PortConfig{Name: "p2", Untagged: 42, MSSClamp: 500})
	p := opening(true, station(1), broadcast, 1440)
	p.Extensions = []encaptest.Extension{{Proto: encap.ProtoDestOpts, Body: append([]byte{0, 14, 1, 116}, make([]byte, 116)...)}}
	s.Inject("p0", p.Frame())
	s.rest()
	for name, want := range map[string]int{"p1": 1000, "p2": 500} {
		seen := s.seen(name)
		if len(seen) != 1 {
			t.Fatalf("%s got %d frames", name, len(seen))
		}
		if got := mssIn(seen[0]); got != want {
			t.Errorf("%s: MSS %d, want %d", name, got, want)
		}
		var l encap.Layout
		l.Parse(seen[0])
		if sum := encap.Checksum(seen[0][l.L4:l.End], encap.PseudoIPv6(encap.IPv6(seen[0][l.L3:]), l.Proto, l.End-uint32(l.L4))); sum != 0 {
			t.Errorf("%s: wrong TCP checksum", name)
		}
	}
}

// What waits in a port's packet socket keeps the MSS that it was given there, and its checksum right, when the next port takes less: also behind extension
// headers so long that the option is not among what the socket has copied, and the checksum is.
//
//	p0 p1 (mss-clamp 1300) t1 (VNI 42 as 7, mss-clamp 1200) p2 (mss-clamp 1100), veth ── switch
func TestLoweredBehindLongHeaders(t *testing.T) {
	t.Parallel()
	s := newSceneOf(t, PortVeth, nil, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.port("p0", 42)
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MSSClamp: 1300})
	s.configuredPort(PortConfig{Name: "t1", Tagged: []VIDMap{{7, 42}}, MSSClamp: 1200})
	s.configuredPort(PortConfig{Name: "p2", Untagged: 42, MSSClamp: 1100})
	for _, length := range []int{168, 176, 184, 192} { // of the extension header: the tag, and then no tag, makes the difference
		p := opening(true, station(1), broadcast, 1400)
		pad := make([]byte, length)
		pad[1], pad[2], pad[3] = byte(length/8-1), 1, byte(length-4)
		p.Extensions = []encaptest.Extension{{Proto: encap.ProtoDestOpts, Body: pad}}
		frame := p.Frame()
		for port, mss := range map[string]int{"p1": 1300, "t1": 1200, "p2": 1100} {
			wantMSS(t, fmt.Sprintf("%s, behind %d bytes", port, length), s.mssAtPort(port, func() { s.Inject("p0", frame) }), mss)
		}
	}
}
