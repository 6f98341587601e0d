package dataplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/xdp"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// hostile is a sequence of frames that somebody puts on the underlay's wire.
type hostile struct {
	name   string
	frames [][]byte
	alone  bool // it may move a station: what comes after it has to wait
}

// hostileAtOnce is how many cases share one look at what came of them.
const hostileAtOnce = 64

// hostileOutcome is what came of them.
type hostileOutcome struct {
	Ports map[string][]string // frames in hexadecimal, sorted
	Drops map[string]uint64
	Peers map[string]Counters // what was received
}

// Datagrams that no VTEP sends, known stations inside: user space, tcx and XDP make the same of each of them, the kernel's opinion of the outer headers included.
//
//	p0 p1 (VNI 42) ── switch ════ r0 r1 (another's name), and frames put on the wire as they are
func TestHostileOuterIsTheSame(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[v6], func(t *testing.T) {
			t.Parallel()
			var want []hostileOutcome
			for _, mode := range []struct {
				name  string
				mode  FastPathMode
				decap xdp.DecapMode
			}{{"off", FastPathOff, xdp.Auto}, {"tcx", FastPathOn, xdp.TCX}, {"xdp", FastPathOn, xdp.XDPNative}} {
				make := newScene
				if v6 {
					make = newScene6
				}
				s := make(t, 2, func(c *Config) { c.FastPath, c.fastDecap, c.UDP6ZeroChecksumRx = mode.mode, mode.decap, true })
				got, names, cases := s.hostileOutcomes(s.hostileCases(v6))
				if mode.mode == FastPathOff {
					want = got
					continue
				}
				carried := s.Status().FastPath.Decap
				if carried < 20 {
					t.Errorf("%s: the fast path carried %d frames: nothing was compared", mode.name, carried)
				}
				for i := range got {
					if diff := gocmp.Diff(want[i], got[i]); diff != "" {
						t.Errorf("%q: user space (-) and %s (+) differ:\n%.3000s", names[i], mode.name, diff)
					}
				}
				t.Logf("%s: %d cases, %d frames carried", mode.name, cases, carried)
			}
		})
	}
}

// hostileOutcomes puts the cases on the wire, some at a time, and says what came of them and which they were.
func (s *scene) hostileOutcomes(cases []hostile) (list []hostileOutcome, names [][]string, number int) {
	s.t.Helper()
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs(0)...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 1400})
	s.port("p1", 42)
	s.Inject("p0", frameOf(station(1), broadcast))
	s.Inject("p1", frameOf(station(2), broadcast))
	s.remotes[0].send(42, frameOf(station(4), broadcast))
	s.forget()
	s.fast.catchUp()
	state := func() (drops map[string]uint64, peers map[string]Counters) {
		drops, peers = map[string]uint64{}, map[string]Counters{}
		for _, d := range s.Drops() {
			drops[fmt.Sprintf("%s %s %d %s", d.Reason, d.Port, d.VNI, d.Peer)] += d.Count
		}
		for _, c := range s.PeerStats() {
			peers[c.Peer.String()] = c.Counters
		}
		return drops, peers
	}
	drops, peers := state()
	// One socket for all of them: to open and close one takes the kernel longer than everything else here.
	wire := -1
	if err := s.wire.Do(func() (err error) {
		wire, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	defer unix.Close(wire)
	to := unix.SockaddrLinklayer{Ifindex: s.wire.Index(s.link.B.Name)}
	for number = len(cases); len(cases) > 0; {
		var together []string
		for len(cases) > 0 && len(together) < hostileAtOnce && (len(together) == 0 || !cases[0].alone) {
			c := cases[0]
			cases = cases[1:]
			together = append(together, c.name)
			for _, f := range c.frames {
				if err := unix.Sendto(wire, f, 0, &to); err != nil {
					s.t.Fatalf("%s: %v", c.name, err)
				}
			}
			s.settleFrame() // or user space would join datagrams of a flow
			if c.alone {
				break
			}
		}
		s.rest()
		out := hostileOutcome{map[string][]string{}, map[string]uint64{}, map[string]Counters{}}
		for p := range s.sniffed {
			for _, f := range s.seen(p) {
				out.Ports[p] = append(out.Ports[p], fmt.Sprintf("%x", f))
			}
			slices.Sort(out.Ports[p])
		}
		d, p := state()
		for k, n := range d {
			if n != drops[k] {
				out.Drops[k] = n - drops[k]
			}
		}
		for k, n := range p {
			old := peers[k]
			if n != old {
				out.Peers[k] = Counters{RxPackets: n.RxPackets - old.RxPackets, RxBytes: n.RxBytes - old.RxBytes, RxDropped: n.RxDropped - old.RxDropped}
			}
		}
		drops, peers = d, p
		list, names = append(list, out), append(names, together)
	}
	s.balance()
	return list, names, number
}

// hostileCases makes datagrams from remote 0 to the switch, each wrong, or at least odd, in one way.
func (s *scene) hostileCases(v6 bool) (list []hostile) {
	s.t.Helper()
	base := outerFrame{
		dst: uint64(macOf(s.Host.MAC("eth0"))), src: uint64(macOf(s.wire.MAC(s.link.B.Name))),
		from: s.remotes[0].addr, to: s.config.Local, port: DefaultPort, ttl: 64,
	}
	inner := encaptest.Packet{SrcMAC: station(4), DstMAC: station(1), Proto: encap.ProtoUDP, SrcPort: 1000, DstPort: 2000, Payload: encaptest.Payload(40, 7)}
	inner6 := inner
	inner6.V6 = true
	plain := datagramOf(42, inner.Frame())
	add := func(name string, frames ...[]byte) { list = append(list, hostile{name: name, frames: frames}) }
	with := func(name string, change func(o *outerFrame)) {
		o := base
		change(&o)
		if o.payload == nil {
			o.payload = plain
		}
		add(name, o.bytes())
	}
	with("nothing", func(o *outerFrame) {})
	for _, n := range []int{0, 1, 7, 8, 15, 16, 22, 29, 30, 60} {
		with(fmt.Sprintf("UDP length %d", n), func(o *outerFrame) { o.udpLen = &n })
	}
	full := 8 + len(plain)
	for _, by := range []int{-40, -4, -1, 1, 4, 1000} {
		n := full + by
		with(fmt.Sprintf("UDP length %+d", by), func(o *outerFrame) { o.udpLen = &n })
		with(fmt.Sprintf("IP length %+d", by), func(o *outerFrame) { o.ipLen = by })
		with(fmt.Sprintf("IP and UDP length %+d", by), func(o *outerFrame) { o.ipLen, o.udpLen = by, &n })
	}
	for _, n := range []int{1, 4, 18, 200} {
		with(fmt.Sprintf("%d bytes behind the packet", n), func(o *outerFrame) { o.trailer = n })
	}
	for _, cut := range []int{1, 20, len(plain) - 8, len(plain) - 1} {
		with(fmt.Sprintf("%d bytes cut off", cut), func(o *outerFrame) { o.cut = cut })
	}
	for _, ttl := range []uint8{0, 1, 255} {
		with(fmt.Sprintf("TTL %d", ttl), func(o *outerFrame) { o.ttl = ttl })
	}
	with("source port 0", func(o *outerFrame) { o.sport0 = true })
	with("UDP port of nobody", func(o *outerFrame) { o.port = 4790 })
	with("own source", func(o *outerFrame) { o.from = base.to })
	with("a stranger's source", func(o *outerFrame) { o.from = s.remotes[1].addr })
	with("to another MAC, broadcast", func(o *outerFrame) { o.dst = broadcast })
	with("to another MAC, multicast", func(o *outerFrame) { o.dst = 0x01005e000001 })
	with("from a group MAC", func(o *outerFrame) { o.src = 0x01005e000001 })
	with("no UDP checksum", func(o *outerFrame) { o.noSum = true })
	with("UDP-Lite", func(o *outerFrame) { o.proto = 136 })
	with("TCP", func(o *outerFrame) { o.proto = 6 })
	with("VLAN tag", func(o *outerFrame) { o.tags = []uint16{5} })
	with("priority tag", func(o *outerFrame) { o.tags = []uint16{0} })
	with("wrong EtherType", func(o *outerFrame) { o.etherType = map[bool]uint16{true: 0x0800, false: 0x86dd}[v6] })
	with("IP version", func(o *outerFrame) { o.version = 5 })
	if v6 {
		for _, from := range []string{"::", "::1", "ff02::1", "::ffff:192.0.2.2", "fe80::2"} {
			with("from "+from, func(o *outerFrame) { o.from = netip.MustParseAddr(from) })
		}
		for _, to := range []string{"::1", "ff02::1", "2001:db8::99"} {
			with("to "+to, func(o *outerFrame) { o.to = netip.MustParseAddr(to) })
		}
		for _, ext := range []struct {
			name  string
			proto uint8
			body  []byte
		}{
			{"hop by hop", 0, []byte{0, 0, 1, 4, 0, 0, 0, 0}}, {"destination options", 60, []byte{0, 0, 1, 4, 0, 0, 0, 0}}, {"routing", 43, []byte{0, 0, 0, 0, 0, 0, 0, 0}},
			{"atomic fragment", 44, []byte{0, 0, 0, 0, 0, 0, 0, 9}}, {"hop by hop, length beyond", 0, []byte{0, 200, 1, 4, 0, 0, 0, 0}}, {"jumbo", 0, []byte{0, 0, 0xc2, 4, 0, 1, 0, 0}},
		} {
			with(ext.name, func(o *outerFrame) { o.extension, o.extensionBody = ext.proto+1, ext.body })
		}
	} else {
		for _, from := range []string{"0.0.0.0", "127.0.0.1", "255.255.255.255", "192.0.2.255", "224.0.0.1", "240.0.0.1"} {
			with("from "+from, func(o *outerFrame) { o.from = netip.MustParseAddr(from) })
		}
		for _, to := range []string{"127.0.0.1", "255.255.255.255", "192.0.2.255", "224.0.0.1", "192.0.2.99", "0.0.0.0"} {
			with("to "+to, func(o *outerFrame) { o.to = netip.MustParseAddr(to) })
		}
		for _, options := range [][]byte{{1, 1, 1, 1}, {0, 0, 0, 0}, {7, 7, 4, 0, 0, 0, 0, 0}, {0x83, 3, 4, 0}, {0x44, 200, 5, 0}, make([]byte, 40)} {
			with(fmt.Sprintf("options % x", options), func(o *outerFrame) { o.options = options })
		}
		for _, ihl := range []uint8{0, 1, 4, 6, 15} {
			with(fmt.Sprintf("header of %d words", ihl), func(o *outerFrame) { o.ihl = ihl + 1 })
		}
		with("wrong header checksum", func(o *outerFrame) { o.badSum = true })
		for _, f := range []uint16{0x8000, 0x4000, 0x6000, 0x2000, 0x0001, 0x1fff, 0xc000} {
			with(fmt.Sprintf("flags %04x", f), func(o *outerFrame) { o.fragment = f })
		}
		for i, order := range [][]int{{0, 1}, {1, 0}, {0, 2, 1}, {0, 0, 1}, {2, 1}} {
			add(fmt.Sprintf("fragments in order %v", order), base.fragments(uint16(100+i), plain, order)...)
		}
	}
	for outer := range uint8(4) {
		for in := range uint8(4) {
			for _, p := range []encaptest.Packet{inner, inner6} {
				p.TOS = 0xb8 | in
				with(fmt.Sprintf("ECN %d around %d, IPv6 %v", outer, in, p.V6), func(o *outerFrame) { o.tos, o.payload = 0x28|outer, datagramOf(42, p.Frame()) })
			}
		}
	}
	for _, p := range []encaptest.Packet{inner, inner6} {
		f := p.Frame()
		for n := 0; n < len(f); n += 1 + n/16 {
			with(fmt.Sprintf("frame cut to %d bytes, IPv6 %v", n, p.V6), func(o *outerFrame) { o.payload = datagramOf(42, f[:n]) })
		}
		for i := 12; i < 60; i++ {
			for _, b := range []byte{0, 0xff, 0x45, f[i] ^ 1} {
				g := slices.Clone(f)
				g[i] = b
				with(fmt.Sprintf("byte %d of the frame %#x, IPv6 %v", i, b, p.V6), func(o *outerFrame) { o.payload = datagramOf(42, g) })
			}
		}
		for _, n := range []int{1413, 1414, 1415, 1444} { // the port takes 1414 bytes
			big := p
			big.Payload = encaptest.Payload(n-(len(f)-len(p.Payload)), 3)
			with(fmt.Sprintf("frame of %d bytes, IPv6 %v", len(big.Frame()), p.V6), func(o *outerFrame) { o.payload = datagramOf(42, big.Frame()) })
		}
	}
	for _, bit := range []int{0, 1, 2, 3, 4, 5, 8, 20, 31, 56, 63} {
		d := slices.Clone(plain)
		binary.BigEndian.PutUint64(d, binary.BigEndian.Uint64(d)^1<<(63-bit))
		with(fmt.Sprintf("bit %d of the VXLAN header", bit), func(o *outerFrame) { o.payload = d })
	}
	for _, tags := range [][]uint16{{0}, {5}, {5, 6}} {
		p := inner
		p.Tags = tags
		with(fmt.Sprintf("inner tags %v", tags), func(o *outerFrame) { o.payload = datagramOf(42, p.Frame()) })
	}
	for _, to := range []uint64{station(2), station(4), station(9), broadcast, 0, 0x0180c2000000, 0x01005e000001} {
		p := inner
		p.DstMAC = to
		f := p.Frame()
		binary.BigEndian.PutUint16(f, uint16(to>>32)) // also what Packet takes for its default
		binary.BigEndian.PutUint32(f[2:], uint32(to))
		with(fmt.Sprintf("inner destination %012x", to), func(o *outerFrame) { o.payload = datagramOf(42, f) })
	}
	for _, from := range []uint64{station(1), station(2), 0, broadcast, 0x01005e000001} {
		f := inner.Frame()
		binary.BigEndian.PutUint16(f[6:], uint16(from>>32))
		binary.BigEndian.PutUint32(f[8:], uint32(from))
		with(fmt.Sprintf("inner source %012x", from), func(o *outerFrame) { o.payload = datagramOf(42, f) })
		list[len(list)-1].alone = true
		with("after it", func(o *outerFrame) {})
		list[len(list)-1].alone = true
	}
	return list
}

// outerFrame is a frame on the underlay around a UDP payload. Fields that are zero leave what is right.
type outerFrame struct {
	dst, src      uint64
	tags          []uint16
	etherType     uint16
	version, ihl  uint8 // ihl: words and 1
	tos, ttl      uint8
	ipLen         int // more than there is
	fragment      uint16
	proto         uint8
	badSum, noSum bool
	options       []byte
	extension     uint8 // its number and 1
	extensionBody []byte
	from, to      netip.Addr
	sport0        bool
	port          uint16
	udpLen        *int
	payload       []byte
	trailer, cut  int // bytes after the packet, or missing of it
}

func (o *outerFrame) ethernet() []byte {
	f := binary.BigEndian.AppendUint64(nil, o.dst<<16|o.src>>32)
	f = binary.BigEndian.AppendUint32(f, uint32(o.src))
	for _, t := range o.tags {
		f = binary.BigEndian.AppendUint16(f, 0x8100)
		f = binary.BigEndian.AppendUint16(f, t)
	}
	etherType := o.etherType
	if etherType == 0 {
		etherType = 0x0800
		if o.to.Is6() {
			etherType = 0x86dd
		}
	}
	return binary.BigEndian.AppendUint16(f, etherType)
}

// udp is the UDP header and what it carries.
func (o *outerFrame) udp() []byte {
	n := 8 + len(o.payload)
	if o.udpLen != nil {
		n = *o.udpLen
	}
	u := []byte{0xc0, 0x01}
	if o.sport0 {
		u = []byte{0, 0}
	}
	u = binary.BigEndian.AppendUint16(u, o.port)
	u = binary.BigEndian.AppendUint16(u, uint16(n))
	u = append(append(u, 0, 0), o.payload...)
	if o.noSum {
		return u
	}
	// Right over what the receiver sums: the length that UDP names.
	pseudo := slices.Concat(o.from.AsSlice(), o.to.AsSlice(), []byte{0, 17}, binary.BigEndian.AppendUint16(nil, uint16(n)))
	covered := u[:min(max(n, 8), len(u))]
	sum := ^encaptest.ReferenceSum(covered, encaptest.ReferenceSum(pseudo, 0))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(u[6:], sum)
	return u
}

func (o *outerFrame) bytes() []byte {
	f := slices.Concat(o.ethernet(), o.header(o.udp()))
	f = f[:len(f)-o.cut]
	return append(f, make([]byte, o.trailer)...)
}

// header puts the IP header in front of what it carries.
func (o *outerFrame) header(u []byte) []byte {
	proto := uint8(17)
	if o.proto != 0 {
		proto = o.proto
	}
	if o.to.Is6() {
		next := proto
		if o.extension != 0 {
			next = o.extension - 1
			body := slices.Clone(o.extensionBody)
			body[0] = proto
			u = append(body, u...)
		}
		version := uint8(6)
		if o.version != 0 {
			version = o.version
		}
		h := []byte{version<<4 | o.tos>>4, o.tos << 4, 0, 0}
		h = binary.BigEndian.AppendUint16(h, uint16(len(u)+o.ipLen))
		h = append(h, next, o.ttl)
		return slices.Concat(h, o.from.AsSlice(), o.to.AsSlice(), u)
	}
	ihl, version := uint8(5+len(o.options)/4), uint8(4)
	if o.ihl != 0 {
		ihl = o.ihl - 1
	}
	if o.version != 0 {
		version = o.version
	}
	h := []byte{version<<4 | ihl, o.tos}
	h = binary.BigEndian.AppendUint16(h, uint16(20+len(o.options)+len(u)+o.ipLen))
	h = append(h, 0, 7)
	h = binary.BigEndian.AppendUint16(h, o.fragment)
	h = append(h, o.ttl, proto, 0, 0)
	h = slices.Concat(h, o.from.AsSlice(), o.to.AsSlice(), o.options)
	sum := ^encaptest.ReferenceSum(h[:min(len(h), max(20, int(ihl)*4))], 0)
	if o.badSum {
		sum ^= 0x0101
	}
	binary.BigEndian.PutUint16(h[10:], sum)
	return append(h, u...)
}

// fragments cuts a datagram into two, and a third that overlaps them, and lists them in an order.
func (o outerFrame) fragments(id uint16, payload []byte, order []int) (list [][]byte) {
	o.payload = payload
	u := o.udp()
	cut := func(from, to int, more bool) []byte {
		p := o
		p.fragment = uint16(from / 8)
		if more {
			p.fragment |= 0x2000
		}
		h := p.header(u[from:to])
		binary.BigEndian.PutUint16(h[4:], id)
		h[10], h[11] = 0, 0
		binary.BigEndian.PutUint16(h[10:], ^encaptest.ReferenceSum(h[:20], 0))
		return append(p.ethernet(), h...)
	}
	pieces := [][]byte{cut(0, 56, true), cut(56, len(u), false), cut(24, 72, true)}
	for _, i := range order {
		list = append(list, pieces[i])
	}
	return list
}
