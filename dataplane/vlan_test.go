package dataplane

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// vlans is the scene of the tests of tags.
//
//	acc10  access VLAN 10              ──┐
//	acc20  access VLAN 20              ──┤
//	trunk  tagged 10, 20               ──┤ switch ════ r0 (VNIs 10010, 10020)
//	native tagged 20, native 10        ──┤
//	other  tagged 110 = VLAN 10's VNI  ──┘
func vlans(t *testing.T, keep bool, change func(*Config)) *scene {
	s := newScene(t, 1, change)
	for _, vni := range []uint32{10010, 10020} {
		s.set(VNIConfig{VNI: vni, Learning: true, Header: HeaderPolicy{KeepInnerVLAN: keep}}, s.addrs()...)
	}
	for _, c := range []PortConfig{
		{Name: "acc10", Untagged: 10010},
		{Name: "acc20", Untagged: 10020},
		{Name: "trunk", Tagged: []VIDMap{{10, 10010}, {20, 10020}}},
		{Name: "native", Untagged: 10010, NativeVID: 10, Tagged: []VIDMap{{20, 10020}}},
		{Name: "other", Tagged: []VIDMap{{110, 10010}}},
	} {
		s.configuredPort(c)
	}
	return s
}

// tag is an 802.1Q tag as the tests of tags write them: c:3:10 is a customer tag, PCP and DEI 3, VID 10; s:0:5 a service tag.
func tag(kind string, priority, vid uint16) string {
	return fmt.Sprintf("%s:%d:%d", kind, priority, vid)
}

// tagsOf lists the tags of a frame, the outermost first; "-" is none.
func tagsOf(frame []byte) string {
	var words []string
	for at := 12; at+4 <= len(frame); at += 4 {
		t := encap.VLANTag(frame[at:])
		kind := map[uint16]string{encap.EtherTypeVLAN: "c", encap.EtherTypeQinQ: "s"}[t.TPID()]
		if kind == "" {
			break
		}
		words = append(words, tag(kind, t.TCI()>>12, t.VID()))
	}
	if words == nil {
		return "-"
	}
	return strings.Join(words, "+")
}

// withTags puts tags as tagsOf lists them in front of a frame.
func withTags(frame []byte, tags string) []byte {
	if tags == "-" {
		return frame
	}
	words := strings.Split(tags, "+")
	slices.Reverse(words)
	for _, w := range words {
		var kind byte
		var priority, vid uint16
		if _, err := fmt.Sscanf(w, "%c:%d:%d", &kind, &priority, &vid); err != nil {
			panic(err)
		}
		tpid := uint16(encap.EtherTypeVLAN)
		if kind == 's' {
			tpid = encap.EtherTypeQinQ
		}
		frame = putTag(frame, tpid, priority<<12|vid)
	}
	return frame
}

// tagged is what came of one frame: where it went, and with which tags.
func (s *scene) tagged(untagged []byte) string {
	s.t.Helper()
	s.rest()
	var words []string
	for p := range s.sniffed {
		for _, f := range s.seen(p) {
			words = append(words, p+" "+tagsOf(f))
			if got := withTags(untagged, tagsOf(f)); string(got) != string(f) {
				s.t.Errorf("port %s: the frame was changed:\n got % x\nwant % x", p, f, got)
			}
		}
	}
	for _, a := range s.remotes[0].received() {
		words = append(words, fmt.Sprintf("vni %d %s", a.vni, tagsOf(a.frame)))
		if got := withTags(untagged, tagsOf(a.frame)); string(got) != string(a.frame) {
			s.t.Errorf("wire: the frame was changed:\n got % x\nwant % x", a.frame, got)
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// How ports name VNIs: which tags are taken off, put on, kept and refused.
func TestTags(t *testing.T) {
	t.Parallel()
	s := vlans(t, false, nil)
	const (
		in10 = "acc10 -, native -, other c:PRI:110, trunk c:PRI:10, vni 10010 -"
		in20 = "acc20 -, native c:PRI:20, trunk c:PRI:20, vni 10020 -"
	)
	// without is where a frame goes that came from the one named.
	without := func(all, from string, priority int) string {
		words := strings.Split(strings.ReplaceAll(all, "PRI", strconv.Itoa(priority)), ", ")
		words = slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, from+" ") })
		return strings.Join(words, ", ")
	}
	for _, c := range []struct {
		from, tags string
		want       string
		drop       Reason
	}{
		// Untagged ports: a VID is refused, the port's own included; VID 0 is untagged.
		{from: "acc10", tags: "-", want: without(in10, "acc10", 0)},
		{from: "acc10", tags: "c:0:0", want: without(in10, "acc10", 0)},
		{from: "acc10", tags: "c:10:0", want: without(in10, "acc10", 10)},
		{from: "acc10", tags: "c:0:10", drop: VLANNotAllowed},
		{from: "acc10", tags: "c:0:20", drop: VLANNotAllowed},
		{from: "acc10", tags: "c:0:4095", drop: VLANNotAllowed},
		{from: "acc10", tags: "s:0:10", drop: VLANNotAllowed},
		{from: "acc10", tags: "s:0:0", drop: VLANNotAllowed},
		{from: "acc10", tags: "c:0:0+c:0:10", drop: InnerVLANTag},
		{from: "acc20", tags: "-", want: without(in20, "acc20", 0)},
		// A trunk without native VLAN: only its tags; priority and drop eligibility are kept from tag to tag.
		{from: "trunk", tags: "c:0:10", want: without(in10, "trunk", 0)},
		{from: "trunk", tags: "c:7:10", want: without(in10, "trunk", 7)},
		{from: "trunk", tags: "c:15:20", want: without(in20, "trunk", 15)},
		{from: "trunk", tags: "-", drop: VLANNotAllowed},
		{from: "trunk", tags: "c:4:0", drop: VLANNotAllowed},
		{from: "trunk", tags: "c:0:30", drop: VLANNotAllowed},
		{from: "trunk", tags: "c:0:110", drop: VLANNotAllowed},
		{from: "trunk", tags: "c:0:4095", drop: VLANNotAllowed},
		{from: "trunk", tags: "s:0:10", drop: VLANNotAllowed},
		{from: "trunk", tags: "c:0:10+c:0:20", drop: InnerVLANTag},
		{from: "trunk", tags: "c:0:10+c:0:0", drop: InnerVLANTag},
		// A native VLAN comes tagged or untagged and leaves untagged.
		{from: "native", tags: "-", want: without(in10, "native", 0)},
		{from: "native", tags: "c:6:0", want: without(in10, "native", 6)},
		{from: "native", tags: "c:6:10", want: without(in10, "native", 6)},
		{from: "native", tags: "c:2:20", want: without(in20, "native", 2)},
		{from: "native", tags: "c:0:110", drop: VLANNotAllowed},
		// The same VNI by another VID.
		{from: "other", tags: "c:9:110", want: without(in10, "other", 9)},
		{from: "other", tags: "c:0:10", drop: VLANNotAllowed},
		// From the wire: no tag belongs into a VNI.
		{from: "vni 10010", tags: "-", want: without(in10, "vni 10010", 0)},
		{from: "vni 10020", tags: "-", want: without(in20, "vni 10020", 0)},
		{from: "vni 10010", tags: "c:0:10", drop: InnerVLANTag},
		{from: "vni 10010", tags: "s:0:10", drop: InnerVLANTag},
		{from: "vni 10010", tags: "c:0:0+c:0:10", drop: InnerVLANTag},
		{from: "vni 10010", tags: "c:3:0", want: without(in10, "vni 10010", 3)},
	} {
		t.Run(c.from+" "+c.tags, func(t *testing.T) { s.tagCase(t, c.from, c.tags, c.want, c.drop) })
	}
}

// In VNIs that keep inner tags, what an access port or the wire brings tagged stays as it is, and a trunk puts its own tag in front (QinQ).
func TestKeptTags(t *testing.T) {
	t.Parallel()
	s := vlans(t, true, nil)
	for _, c := range []struct {
		from, tags string
		want       string
		drop       Reason
	}{
		{from: "acc10", tags: "c:3:77", want: "native c:3:77, other c:0:110+c:3:77, trunk c:0:10+c:3:77, vni 10010 c:3:77"},
		// 20 is another VLAN on the trunk's wire.
		{from: "acc10", tags: "c:3:20", want: "other c:0:110+c:3:20, trunk c:0:10+c:3:20, vni 10010 c:3:20"},
		{from: "acc10", tags: "s:3:77+c:1:5", want: "native s:3:77+c:1:5, other c:0:110+s:3:77+c:1:5, trunk c:0:10+s:3:77+c:1:5, vni 10010 s:3:77+c:1:5"},
		{from: "acc10", tags: "-", want: "native -, other c:0:110, trunk c:0:10, vni 10010 -"},
		{from: "trunk", tags: "c:5:10+c:3:77", want: "acc10 c:3:77, native c:3:77, other c:5:110+c:3:77, vni 10010 c:3:77"},
		{from: "trunk", tags: "c:0:77", drop: VLANNotAllowed},
		{from: "vni 10010", tags: "c:3:77", want: "acc10 c:3:77, native c:3:77, other c:0:110+c:3:77, trunk c:0:10+c:3:77"},
		{from: "vni 10010", tags: "s:3:77+c:0:5", want: "acc10 s:3:77+c:0:5, native s:3:77+c:0:5, other c:0:110+s:3:77+c:0:5, trunk c:0:10+s:3:77+c:0:5"},
	} {
		t.Run(c.from+" "+c.tags, func(t *testing.T) { s.tagCase(t, c.from, c.tags, c.want, c.drop) })
	}
}

// tagCase sends one frame and looks where it comes out; the scene serves all cases of a test, and what one leaves behind would show in the next.
func (s *scene) tagCase(t *testing.T, from, tags, want string, drop Reason) {
	before := s.node.t
	s.node.t = t
	defer func() { s.node.t = before }()
	frame := frameOf(station(1), broadcast)
	send := func() {
		if number, ok := strings.CutPrefix(from, "vni "); ok {
			vni, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			s.remotes[0].send(uint32(vni), withTags(frame, tags))
		} else {
			s.Inject(from, withTags(frame, tags))
		}
	}
	if drop != ReasonNone {
		s.drops(1, drop, send)
	} else {
		send()
	}
	if got := s.tagged(frame); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A tagged superframe passes between trunks and untagged ports whole, and to the wire in pieces, tags taken off and put on; segments from the wire are
// joined for a trunk, tag in front.
//
//	the scene of vlans
func TestTaggedSuperframes(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		for _, offload := range []bool{true, false} {
			t.Run(fmt.Sprintf("v6=%t,offload=%t", v6, offload), func(t *testing.T) {
				if !offload && sceneKind(t) == PortNetdev {
					t.Skip("without virtio-net header a superframe from an interface does not say what it is to be cut to")
				}
				s := vlans(t, false, func(c *Config) { c.Offload = offload })
				sent := encaptest.Packet{
					SrcMAC: station(1), DstMAC: broadcast, V6: v6, Proto: encap.ProtoTCP, Seq: 1 << 31, Flags: encap.TCPAck,
					TCPOptions: encaptest.Timestamps(3, 4), Payload: encaptest.Payload(30001, 9),
				}
				const size = 1300
				segments := (len(sent.Payload) + size - 1) / size
				check := func(name, want string, count int) {
					t.Helper()
					frames := s.seen(name)
					for _, f := range frames {
						if got := tagsOf(f); got != want {
							t.Errorf("%s: a frame with tags %q, want %q", name, got, want)
						}
					}
					if !offload {
						for _, f := range frames {
							wantChecksums(t, f)
						}
						count = segments
					}
					s.wantStream(name, frames, sent, count)
				}
				tagged := sent
				tagged.Tags = []uint16{5<<13 | 10}
				// For a TAP without offload the kernel cuts the superframe before vtepd sees it.
				frame, off := tagged.Superframe(size)
				kernel := newOffloadSniffer(t, s.outer(), "other")
				s.InjectSuperframe("trunk", encodeOffload(off), frame)
				s.rest()
				if offload {
					if got, l4 := kernel.next(); got.CsumStart != l4 || !got.IsGSO() || got.GSOSize != size {
						t.Errorf("the kernel got %+v for a frame whose TCP header is at %d", got, l4)
					}
				}
				check("acc10", "-", 1)
				check("native", "-", 1)
				check("other", "c:10:110", 1)
				var wire [][]byte
				for _, a := range s.remotes[0].received() {
					if a.vni != 10010 {
						t.Errorf("a segment in vni %d", a.vni)
					}
					wantChecksums(t, a.frame)
					wire = append(wire, a.frame)
				}
				s.wantStream("wire", wire, sent, segments)
				s.forget()

				// The way back: the same bytes to a known MAC, so that they may be joined.
				back := sent
				back.SrcMAC, back.DstMAC = station(2), station(3)
				s.Inject("other", putTag(frameOf(station(3), broadcast), encap.EtherTypeVLAN, 110))
				s.forget()
				var datagrams [][]byte
				for at := 0; at < len(back.Payload); at += size {
					p := back
					p.Seq, p.ID = back.Seq+uint32(at), uint16(100+at/size)
					p.Payload = back.Payload[at:min(at+size, len(back.Payload))]
					datagrams = append(datagrams, p.Frame())
				}
				kernel = newOffloadSniffer(t, s.outer(), "other")
				// In one piece, so that the kernel hands it over in one: else it is chance which segments meet in a batch.
				var train []byte
				for _, f := range datagrams {
					train = append(train, datagramOf(10010, f)...)
				}
				s.remotes[0].option(unix.SOL_UDP, unix.UDP_SEGMENT, encap.VXLANLen+len(datagrams[0]))
				s.remotes[0].sendRaw(train)
				s.remotes[0].option(unix.SOL_UDP, unix.UDP_SEGMENT, 0)
				s.rest()
				if got, l4 := kernel.next(); got.IsGSO() && got.CsumStart != l4 || got.IsGSO() != offload {
					t.Errorf("the kernel got %+v for a frame whose TCP header is at %d", got, l4)
				}
				sent = back
				check("other", "c:0:110", 1)
				if got := s.counts(); got != "" {
					t.Errorf("unicast went elsewhere too: %q", got)
				}
				s.balance()
			})
		}
	}
}

// offloadSniffer looks at what the kernel makes of a frame's virtio-net header.
type offloadSniffer struct {
	t  *testing.T
	fd int
}

func newOffloadSniffer(t *testing.T, h *lab.Host, ifname string) *offloadSniffer {
	t.Helper()
	o := &offloadSniffer{t: t}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // network byte order
	if err := h.Do(func() (err error) {
		o.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(o.fd) })
	wait := unix.NsecToTimeval(int64(time.Second))
	if err := errors.Join(
		unix.SetsockoptInt(o.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(o.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptTimeval(o.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(o.fd, &unix.SockaddrLinklayer{Protocol: all & 0xffff, Ifindex: h.Index(ifname)}),
	); err != nil {
		t.Fatal(err)
	}
	return o
}

// next returns the offload state of the next frame and where its L4 header is, without the tag, which the kernel has taken off.
func (o *offloadSniffer) next() (off encap.Offload, l4 uint16) {
	o.t.Helper()
	buf := make([]byte, 1<<17)
	n, err := unix.Read(o.fd, buf)
	if err != nil {
		o.t.Fatalf("no frame: %v", err)
	}
	off.Decode(buf)
	var l encap.Layout
	l.Parse(buf[encap.OffloadLen:n])
	return off, l.L4
}

// A trunk may carry its native VLAN alone.
//
//	p0 (access) sole (trunk [10], native 10) ── switch
func TestNativeAlone(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 10010, Learning: true})
	s.configuredPort(PortConfig{Name: "p0", Untagged: 10010})
	s.configuredPort(PortConfig{Name: "sole", Untagged: 10010, NativeVID: 10})
	for _, tags := range []string{"-", "c:0:0", "c:3:10"} {
		s.Inject("sole", withTags(frameOf(station(1), broadcast), tags))
		if got, want := s.counts(), "p0:1"; got != want {
			t.Errorf("%s: %q, want %q", tags, got, want)
		}
	}
	for _, tags := range []string{"c:0:11", "s:0:10"} {
		s.drops(1, VLANNotAllowed, func() { s.Inject("sole", withTags(frameOf(station(1), broadcast), tags)) })
	}
}
