package dataplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// headers takes the VXLAN headers that reached the remote since the last look, the first word of each; the second must be the VNI alone.
func (r *remote) headers(vni uint32) (words []uint32) {
	r.t.Helper()
	for {
		n, _, err := r.read()
		if err == unix.EAGAIN {
			return words
		}
		if err != nil {
			continue
		}
		if n < encap.VXLANLen || binary.BigEndian.Uint32(r.buf[4:]) != vni<<8 {
			r.t.Fatalf("remote %s got % x, which is not of VNI %d", r.addr, r.buf[:min(n, encap.VXLANLen)], vni)
		}
		words = append(words, binary.BigEndian.Uint32(r.buf))
	}
}

// withGBP is a datagram of VXLAN with a group policy ID.
func withGBP(vni uint32, g encap.GBP, frame []byte) []byte {
	d := datagramOf(vni, frame)
	encap.NewVXLANHeader(vni).WithGBP(g).Put(d)
	return d
}

// The group policy ID of a port is in the header of each of its frames, of every copy and of every segment, where the VNI has gbp; without an ID, or in another
// VNI, the header is that of RFC 7348. What arrives with an ID goes where no list is against it, unless policy has been applied to it.
//
//	p0 group 100               ──┐
//	p1 drops 200-299, 0        ──┤ switch ════ r0 r1
//	p2 drops 100               ──┘ (VNI 42: gbp; VNI 43: q0 group 100, plain; VNI 44: gbp, gbp-drop 300: g0 group 300, g1 group 5; VNI 45: gbp, strict: s0)
func TestGBP(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%t", offload), func(t *testing.T) { testGBP(t, offload) })
	}
}

func testGBP(t *testing.T, offload bool) {
	s := newScene(t, 2, func(c *Config) { c.Offload = offload })
	r0, r1 := s.remotes[0], s.remotes[1]
	gbp := HeaderPolicy{GBP: true}
	s.set(VNIConfig{VNI: 42, Learning: true, Header: gbp}, s.addrs()...)
	s.set(VNIConfig{VNI: 43, Learning: true}, s.addrs()...)
	s.set(VNIConfig{VNI: 44, Learning: true, Header: gbp, GBPDrop: []GBPRange{{300, 300}}}, s.addrs()...)
	s.set(VNIConfig{VNI: 45, Learning: true, Header: HeaderPolicy{GBP: true, StrictReserved: true}}, s.addrs()...)
	for _, c := range []PortConfig{
		{Name: "p0", Untagged: 42, GBPID: 100},
		{Name: "p1", Untagged: 42, GBPDrop: []GBPRange{{200, 299}, {0, 0}}},
		{Name: "p2", Untagged: 42, GBPDrop: []GBPRange{{100, 100}}},
		{Name: "q0", Untagged: 43, GBPID: 100},
		{Name: "q1", Untagged: 43, GBPDrop: []GBPRange{{0, 100}}},
		{Name: "g0", Untagged: 44, GBPID: 300},
		{Name: "g1", Untagged: 44, GBPID: 5},
		{Name: "s0", Untagged: 45},
	} {
		s.configuredPort(c)
	}
	ports := func() string {
		t.Helper()
		var words []string
		for p := range s.sniffed {
			if n := len(s.seen(p)); n > 0 {
				words = append(words, fmt.Sprintf("%s:%d", p, n))
			}
		}
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	const plain = 0x08000000
	for _, c := range []struct {
		port  string
		vni   uint32
		word  uint32
		ports string
	}{
		{"p0", 42, 0x88000064, "p1:1"},
		{"p1", 42, plain, "p0:1 p2:1"},
		{"q0", 43, plain, "q1:1"},
		{"g1", 44, 0x88080005, "g0:1"},
		{"s0", 45, plain, ""},
	} {
		s.rest()
		r0.received()
		r1.received()
		s.drops(0, GBPDenied, func() { s.Inject(c.port, frameOf(station(1), broadcast)) })
		if got := ports(); got != c.ports {
			t.Errorf("from %s: %q, want %q", c.port, got, c.ports)
		}
		for i, r := range s.remotes {
			if got := r.headers(c.vni); !slices.Equal(got, []uint32{c.word}) {
				t.Errorf("from %s: remote %d got %#x, want %#x", c.port, i, got, c.word)
			}
		}
	}
	if offload {
		super, off := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(5000, 1)}.Superframe(1000)
		s.InjectSuperframe("p0", encodeOffload(off), super)
		s.rest()
		for i, r := range s.remotes {
			if got := r.headers(42); !slices.Equal(got, []uint32{0x88000064, 0x88000064, 0x88000064, 0x88000064, 0x88000064}) {
				t.Errorf("superframe: remote %d got %#x", i, got)
			}
		}
		ports()
	}
	// What may not enter the VNI, or not leave at the only port it is for, is dropped.
	s.drops(1, GBPDenied, func() { s.Inject("g0", frameOf(station(2), broadcast)) })
	s.Inject("p2", frameOf(station(3), broadcast))
	s.rest()
	ports()
	r0.headers(42)
	r1.headers(42)
	s.drops(2, GBPDenied, func() {
		s.Inject("p0", frameOf(station(1), station(3)))
		s.Inject("p0", frameOf(station(1), station(3)))
	})
	if got := ports(); got != "" {
		t.Errorf("denied, and yet: %s", got)
	}
	for _, p := range s.PortStats() {
		if p.Port == "p2" && p.TxDropped != 3+uint64(map[bool]int{true: 5}[offload]) {
			t.Errorf("p2 refused %d copies", p.TxDropped)
		}
	}
	// From the wire.
	for _, c := range []struct {
		name  string
		vni   uint32
		gbp   encap.GBP
		ports string
	}{
		{"no group", 42, 0, "p0:1 p2:1"},
		{"a group for all", 42, encap.NewGBP(7), "p0:1 p1:1 p2:1"},
		{"first of p1's range", 42, encap.NewGBP(200), "p0:1 p2:1"},
		{"last of p1's range", 42, encap.NewGBP(299), "p0:1 p2:1"},
		{"behind p1's range", 42, encap.NewGBP(300), "p0:1 p1:1 p2:1"},
		{"before p1's range", 42, encap.NewGBP(199), "p0:1 p1:1 p2:1"},
		{"the group of p0", 42, encap.NewGBP(100), "p0:1 p1:1"},
		{"the group of p0, applied", 42, encap.NewGBP(100).WithApplied(), "p0:1 p1:1 p2:1"},
		{"the largest", 42, encap.NewGBP(65535), "p0:1 p1:1 p2:1"},
		{"no group, applied", 42, encap.NewGBP(0).WithApplied(), "p0:1 p1:1 p2:1"},
		{"a VNI without groups", 43, encap.NewGBP(100), "q0:1 q1:1"},
		{"kept out of the VNI", 44, encap.NewGBP(300), ""},
		{"kept out of the VNI, applied", 44, encap.NewGBP(300).WithApplied(), "g0:1 g1:1"},
		{"let into the VNI", 44, encap.NewGBP(301), "g0:1 g1:1"},
		{"strict", 45, encap.NewGBP(100).WithApplied().WithDontLearn(), "s0:1"},
	} {
		s.rest()
		denied := uint64(0)
		if c.ports == "" {
			denied = 1
		}
		s.drops(denied, GBPDenied, func() { r0.sendRaw(withGBP(c.vni, c.gbp, frameOf(station(50), broadcast))) })
		if got := ports(); got != c.ports {
			t.Errorf("%s: %q, want %q", c.name, got, c.ports)
		}
	}
	// Bits of the extension without its flag are reserved, and so are those that it leaves over.
	for _, word := range []uint32{0x08000064, 0x08080000, 0x88010000, 0x88800000, 0x8c000000} {
		d := datagramOf(45, frameOf(station(50), broadcast))
		binary.BigEndian.PutUint32(d, word)
		s.drops(1, BadVXLANHeader, func() { r0.sendRaw(d) })
	}
	// D: the frame arrives, and its source stays unknown; a static entry of another place holds all the same.
	r0.sendRaw(withGBP(42, encap.NewGBP(7).WithDontLearn(), frameOf(station(60), broadcast)))
	r0.sendRaw(withGBP(42, encap.NewGBP(7), frameOf(station(61), broadcast)))
	s.rest()
	if s.known(42, station(60)) || !s.known(42, station(61)) {
		t.Errorf("don't learn: station 60 known %t, station 61 known %t", s.known(42, station(60)), s.known(42, station(61)))
	}
	if got := ports(); got != "p0:2 p1:2 p2:2" {
		t.Errorf("don't learn: %q", got)
	}
	// Off again.
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	r0.headers(42)
	s.Inject("p0", frameOf(station(1), broadcast))
	s.rest()
	if got := r0.headers(42); !slices.Equal(got, []uint32{plain}) {
		t.Errorf("group policy off: %#x", got)
	}
	if got := ports(); got != "p1:1 p2:1" {
		t.Errorf("group policy off: %q", got)
	}
}

// The kernel's vxlan device with gbp sends a packet's mark as its group policy ID and takes the ID for the mark.
//
//	vtep0 198.51.100.1 (group 77) ── switch ── eth0 ══ eth0 ── vxlan42 198.51.100.2 (kernel, gbp)
func TestGBPWithKernel(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%t", offload), func(t *testing.T) {
			l := lab.New(t)
			ha, hk := l.Host("vtepd"), l.Host("kernel")
			link := l.Link(ha, hk, lab.LinkOptions{})
			link.ChecksumsOff()
			a := startNode(t, ha, func(c *Config) { c.Offload = offload })
			a.do(func() error {
				return a.SetVNI(VNIConfig{VNI: 42, Learning: true, Peers: []netip.AddrPort{peerAt(hk.Underlay4())}, Header: HeaderPolicy{GBP: true}})
			})
			port := PortConfig{Name: "vtep0", Type: PortTAP, Untagged: 42, Addresses: ha.OverlayPrefixes(), GBPID: 77, GBPDrop: []GBPRange{{13, 13}}}
			a.do(func() error { return a.AddPort(port) })
			device := hk.VXLAN(lab.VXLANOptions{VNI: 42, Local: hk.Underlay4(), Peers: []netip.Addr{ha.Underlay4()}, MTU: 1450, GBP: true})
			hk.Addr(device, hk.OverlayPrefixes()...)
			pinger := newPinger(t, ha, hk.Overlay4())
			pinger.ping(100)

			near, far := markedSocket(t, ha, ha.Overlay4()), markedSocket(t, hk, hk.Overlay4())
			toFar, toNear := netip.AddrPortFrom(hk.Overlay4(), 9), netip.AddrPortFrom(ha.Overlay4(), 9)
			if mark, ok := exchange(t, near, far, toFar, 0); !ok || mark != 77 {
				t.Errorf("to the kernel: mark %#x, arrived %t, want 77", mark, ok)
			}
			for _, c := range []struct {
				mark    int
				arrives bool
			}{{0, true}, {12, true}, {13, false}, {1<<19 | 13, true}, {65535, true}} {
				rest(a)
				before := a.dropped(GBPDenied)
				_, ok := exchange(t, far, near, toNear, c.mark)
				denied := uint64(1)
				if c.arrives {
					denied = 0
				}
				if got := a.dropped(GBPDenied) - before; ok != c.arrives || got != denied {
					t.Errorf("from the kernel with mark %#x: arrived %t, %d denied", c.mark, ok, got)
				}
			}
			elapsed := transfer(t, ha, hk, hk.Overlay4(), 20<<20)
			elapsed += transfer(t, hk, ha, ha.Overlay4(), 20<<20)
			t.Logf("20 MB each way in %s", elapsed.Round(time.Millisecond))
			rest(a)
			a.balance()
		})
	}
}

// The kernel's device without gbp takes an ID for reserved bits, and drops the frame.
//
//	vtep0 198.51.100.1 ── switch ── eth0 ══ eth0 ── vxlan42 198.51.100.2 (kernel)
func TestGBPWithPlainKernel(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	ha, hk := l.Host("vtepd"), l.Host("kernel")
	l.Link(ha, hk, lab.LinkOptions{}).ChecksumsOff()
	a := startNode(t, ha, nil)
	a.do(func() error {
		return a.SetVNI(VNIConfig{VNI: 42, Learning: true, Peers: []netip.AddrPort{peerAt(hk.Underlay4())}, Header: HeaderPolicy{GBP: true}})
	})
	port := PortConfig{Name: "vtep0", Type: PortTAP, Untagged: 42, Addresses: ha.OverlayPrefixes()}
	a.do(func() error { return a.AddPort(port) })
	hk.Addr(hk.VXLAN(lab.VXLANOptions{VNI: 42, Local: hk.Underlay4(), Peers: []netip.Addr{ha.Underlay4()}, MTU: 1450}), hk.OverlayPrefixes()...)
	newPinger(t, ha, hk.Overlay4()).ping(100)
	port.GBPID = 77
	a.do(func() error { return a.SetPort(port) })
	if _, err := ha.Command("ping", "-n", "-q", "-c", "2", "-i", "0.1", "-W", "1", hk.Overlay4().String()); err == nil {
		t.Error("a kernel without gbp took frames with a group")
	}
}

// markSocket is a UDP socket that says the mark of what it receives.
type markSocket struct{ fd int }

func markedSocket(t *testing.T, h *lab.Host, a netip.Addr) markSocket {
	t.Helper()
	var fd int
	err := h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		// SO_RCVMARK: Linux 5.19.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVMARK, 1); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300_000}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: a.As4(), Port: 9})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return markSocket{fd}
}

func (s markSocket) mark(t *testing.T, mark int) {
	t.Helper()
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
		t.Fatal(err)
	}
}

// exchange sends a datagram with a mark and says with which mark it arrived, or that it did not.
func exchange(t *testing.T, from, to markSocket, address netip.AddrPort, mark int) (uint32, bool) {
	t.Helper()
	from.mark(t, mark)
	if err := unix.Sendto(from.fd, []byte("group"), 0, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}); err != nil {
		t.Fatal(err)
	}
	control := make([]byte, 256)
	_, n, _, _, err := unix.Recvmsg(to.fd, make([]byte, 16), control, 0)
	if err != nil {
		return 0, false
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_MARK {
			return binary.NativeEndian.Uint32(m.Data), true
		}
	}
	t.Fatal("the socket tells no mark")
	return 0, false
}

// The set of IDs holds what its ranges say, ends included.
func TestGBPSet(t *testing.T) {
	s := newGBPSet([]GBPRange{{0, 0}, {63, 64}, {65535, 65535}, {300, 500}})
	for id, want := range map[uint16]bool{0: true, 1: false, 62: false, 63: true, 64: true, 65: false, 299: false, 300: true, 500: true, 501: false, 65534: false, 65535: true} {
		if got := s.denies(encap.NewGBP(id)); got != want {
			t.Errorf("group %d: %t", id, got)
		}
		if s.denies(encap.NewGBP(id).WithApplied()) {
			t.Errorf("group %d is judged twice", id)
		}
	}
	if s := newGBPSet(nil); s != nil || s.denies(0) {
		t.Error("an empty list denies something")
	}
	if err := checkGBPRanges([]GBPRange{{1, 2}, {4, 3}}); err == nil {
		t.Error("a range that ends before it starts was accepted")
	}
}
