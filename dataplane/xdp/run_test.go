package xdp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"vtepd/bench/lab"
	"vtepd/encap"
)

// What the table tests know: everything happens on loopback, the only device that a test run of the current namespace is sure to have.
var (
	macA    = [6]byte{2, 0, 0, 0, 0, 0xa} // at port 0
	macB    = [6]byte{2, 0, 0, 0, 0, 0xb} // behind peer 0 (IPv4)
	macC    = [6]byte{2, 0, 0, 0, 0, 0xc} // behind peer 1 (IPv6)
	macD    = [6]byte{2, 0, 0, 0, 0, 0xd} // at port 1
	macE    = [6]byte{2, 0, 0, 0, 0, 0xe} // static, behind peer 0
	macF    = [6]byte{2, 0, 0, 0, 0, 0xf} // at port 2
	macNone = [6]byte{2, 0, 0, 0, 0, 0x99}
	local4  = netip.MustParseAddr("192.0.2.1")
	local6  = netip.MustParseAddr("2001:db8::1")
	remote4 = netip.MustParseAddr("192.0.2.2")
	remote6 = netip.MustParseAddr("2001:db8::2")
)

const (
	loopback  = 1 // ifindex
	maxInner  = 1464
	redirect  = 7          // TC_ACT_REDIRECT
	nextTCX   = 0xffffffff // TCX_NEXT
	dropTCX   = 2
	passXDP   = 2
	keepFrame = 0xffffffff // of a socket filter
)

func peerAddr() netip.AddrPort { return netip.AddrPortFrom(remote4, testPort) }

// bench is a fast path that nothing is attached to.
type bench struct {
	*FastPath
	t testing.TB
}

func newBench(t testing.TB, change func(*Options, *Domain)) *bench {
	t.Helper()
	lab.NeedRoot(t)
	needFastPath(t)
	o := Options{
		Locals: []netip.Addr{netip.MustParseAddr("192.0.2.200"), local4, local6}, Ports: []uint16{8472, testPort},
		MaxEntries: 1024, MaxPorts: 16, MaxPeers: 16, MaxDomains: 16, MaxSources: 16, LearnEvents: 1 << 20, Alone: true,
	}
	d := testDomain()
	if change != nil {
		change(&o, &d)
	}
	b := &bench{loadedFastPath(t, o), t}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(b.GuardAddresses([]netip.Addr{local4, local6, remote4, remote6}))
	check(b.PutDomain(d))
	check(b.objects.Underlays.Put(uint32(loopback), programsUnderlay{Ifindex: loopback}))
	check(b.PutPort(Port{Index: 0, Ifindex: loopback, Kind: TAP, MaxFrame: 1464, Untagged: testVNI, Serial: 10}))
	check(b.PutPort(Port{Index: 1, Ifindex: 1001, Kind: Netdev, MaxFrame: 1400, Untagged: testVNI, Serial: 11}))
	check(b.PutPort(Port{Index: 2, Ifindex: 1002, Kind: Netdev, MaxFrame: 1400, Untagged: 5}))
	check(b.PutPeer(Peer{Index: 0, Addr: netip.AddrPortFrom(remote4, testPort), Ifindex: loopback, NextHop: remote4, MaxFrame: maxInner}))
	check(b.PutPeer(Peer{Index: 1, Addr: netip.AddrPortFrom(remote6, testPort), Ifindex: loopback, NextHop: remote6, MaxFrame: maxInner - 20}))
	check(b.PutSource(testVNI, remote4, 0, 100))
	check(b.PutSource(testVNI, remote6, 1, 101))
	check(b.PutEntries([]Entry{
		{VNI: testVNI, MAC: macA, Index: 0},
		{VNI: testVNI, MAC: macB, ToPeer: true, Index: 0},
		{VNI: testVNI, MAC: macC, ToPeer: true, Index: 1},
		{VNI: testVNI, MAC: macD, Index: 1},
		{VNI: testVNI, MAC: macE, ToPeer: true, Index: 0, Static: true},
		{VNI: testVNI, MAC: macF, Index: 2},
	}))
	return b
}

// loaded is what the programs hold as constants.
func (b *bench) loaded() (s programsSettings) {
	b.t.Helper()
	if err := b.objects.Settings.Get(&s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// count reads the verdicts counted so far.
func (b *bench) count() (c [numVerdicts]uint64) {
	b.t.Helper()
	var each []programsTotals
	if err := b.objects.Totals.Lookup(uint32(0), &each); err != nil {
		b.t.Fatal(err)
	}
	for i := range each {
		for v := range c {
			c[v] += each[i].Count[v]
		}
	}
	return c
}

// skb is struct __sk_buff as a test run takes it.
type skb struct {
	_       [2]uint32
	Mark    uint32
	_       [7]uint32
	Ifindex uint32
	_       [30]uint32
	GSOSegs uint32
	_       [2]uint32
	GSOSize uint32
	_       [3]uint32
}

// run runs a program once, and says what it answered, what it counted (-1: nothing) and what the frame is now.
func (b *bench) run(p *ebpf.Program, frame []byte, context any) (answer uint32, verdict int, out []byte) {
	b.t.Helper()
	before := b.count()
	out = make([]byte, len(frame)+256)
	o := &ebpf.RunOptions{Data: frame, DataOut: out, Context: context}
	answer, err := p.Run(o)
	if err != nil {
		b.t.Fatal(err)
	}
	after := b.count()
	verdict = -1
	for v := range after {
		if after[v] != before[v] {
			if verdict >= 0 {
				b.t.Errorf("two verdicts: %d and %d", verdict, v)
			}
			verdict = v
		}
	}
	return answer, verdict, o.DataOut
}

// ethernet puts an Ethernet header in front of a packet.
func ethernet(dst, src [6]byte, etherType uint16, packet []byte) []byte {
	f := slices.Concat(dst[:], src[:], binary.BigEndian.AppendUint16(nil, etherType), packet)
	return f
}

// packet is an inner IP packet.
type packet struct {
	ipv6    bool
	tos     uint8
	ttl     uint8
	proto   uint8
	flags   uint16     // IPv4 flags and fragment offset
	options int        // bytes of IPv4 options
	dst     netip.Addr // a station's when it is not said
	l4      []byte
}

func (p packet) etherType() uint16 {
	if p.ipv6 {
		return encap.EtherTypeIPv6
	}
	return encap.EtherTypeIPv4
}

func (p packet) bytes() []byte {
	if p.ttl == 0 {
		p.ttl = 33
	}
	to := func(usual string) []byte {
		if p.dst.IsValid() {
			return p.dst.AsSlice()
		}
		return netip.MustParseAddr(usual).AsSlice()
	}
	if p.ipv6 {
		h := make([]byte, 40)
		binary.BigEndian.PutUint32(h, 6<<28|uint32(p.tos)<<20)
		binary.BigEndian.PutUint16(h[4:], uint16(len(p.l4)))
		h[6], h[7] = p.proto, p.ttl
		copy(h[8:], netip.MustParseAddr("2001:db8:1::1").AsSlice())
		copy(h[24:], to("2001:db8:1::2"))
		return append(h, p.l4...)
	}
	h := make([]byte, 20+p.options)
	h[0], h[1] = 0x40|uint8(len(h)/4), p.tos
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(p.l4)))
	binary.BigEndian.PutUint16(h[6:], p.flags)
	h[8], h[9] = p.ttl, p.proto
	copy(h[12:], []byte{198, 51, 100, 1})
	copy(h[16:], to("198.51.100.2"))
	binary.BigEndian.PutUint16(h[10:], ^encap.Sum(h, 0))
	return append(h, p.l4...)
}

// frame is the packet from one MAC to another.
func (p packet) frame(dst, src [6]byte) []byte { return ethernet(dst, src, p.etherType(), p.bytes()) }

func udpTo(port uint16, size int) []byte {
	b := make([]byte, 8+size)
	binary.BigEndian.PutUint16(b, 5353)
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

func tcpWith(flags uint8, size int) []byte {
	b := make([]byte, 20+size)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], 80)
	b[12], b[13] = 5<<4, flags
	return b
}

// wrap is a datagram as a peer sends it.
type wrap struct {
	dstMAC, srcMAC [6]byte
	src, dst       netip.Addr
	tos, ttl       uint8
	flags          uint16 // IPv4 flags and fragment offset
	srcPort, port  uint16
	udpLen         int // more than it is
	ipLen          int
	ipSum          uint16 // added to a right IPv4 checksum
	noUDPSum       bool
	vxlan          uint64
	inner          []byte
	tail           int // bytes behind the IP packet
	options        int
	next           uint8 // 0: UDP
}

func vxlanHeader(vni uint32) uint64 { return 0x08<<56 | uint64(vni)<<8 }

func (w wrap) bytes() []byte {
	if w.next == 0 {
		w.next = 17
	}
	u := make([]byte, 16)
	binary.BigEndian.PutUint16(u, w.srcPort)
	binary.BigEndian.PutUint16(u[2:], w.port)
	binary.BigEndian.PutUint16(u[4:], uint16(16+len(w.inner)+w.udpLen))
	if !w.noUDPSum {
		u[6], u[7] = 0x12, 0x34 // the programs do not verify it
	}
	binary.BigEndian.PutUint64(u[8:], w.vxlan)
	u = append(u, w.inner...)
	var h []byte
	et := uint16(encap.EtherTypeIPv4)
	if w.dst.Is6() {
		et = encap.EtherTypeIPv6
		h = make([]byte, 40)
		binary.BigEndian.PutUint32(h, 6<<28|uint32(w.tos)<<20)
		binary.BigEndian.PutUint16(h[4:], uint16(len(u)+w.ipLen))
		h[6], h[7] = w.next, w.ttl
		copy(h[8:], w.src.AsSlice())
		copy(h[24:], w.dst.AsSlice())
	} else {
		h = make([]byte, 20+w.options)
		h[0], h[1] = 0x40|uint8(len(h)/4), w.tos
		binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(u)+w.ipLen))
		binary.BigEndian.PutUint16(h[6:], w.flags)
		h[8], h[9] = w.ttl, w.next
		copy(h[12:], w.src.AsSlice())
		copy(h[16:], w.dst.AsSlice())
		binary.BigEndian.PutUint16(h[10:], ^encap.Sum(h, 0)+w.ipSum)
	}
	return slices.Concat(ethernet(w.dstMAC, w.srcMAC, et, h), u, make([]byte, w.tail))
}

// letterFrom is a datagram of a peer, with a frame of its station to ours.
func letterFrom(peer netip.Addr, inner []byte) wrap {
	w := wrap{srcMAC: macNone, src: peer, dst: local4, ttl: 64, srcPort: 50000, port: testPort, vxlan: vxlanHeader(testVNI), inner: inner}
	if peer.Is6() {
		w.dst = local6
	}
	return w
}

// PutSource is PutSources with one.
func (f *FastPath) PutSource(vni uint32, a netip.Addr, peer, serial uint32) error {
	return f.PutSources([]Source{{SourceKey{vni, a}, peer, serial}})
}

// DelSource is DelSources with one.
func (f *FastPath) DelSource(vni uint32, a netip.Addr) error { return f.DelSources(SourceKey{vni, a}) }
