package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// What a batch carries from a port to others, joined or not, is what the same frames are in a batch each, once all is cut and finished: the same bytes, in the
// same order of each flow, and the same counters. Frames are random, and some of them such as no stack sends.
//
//	p0 ── one worker, called by the test ─┬─ p1 (a trunk, 7: VNI 42)
//	                                      ├─ p2
//	                                      └═ r0 r1
func TestJoinedAsSingle(t *testing.T) {
	for _, kind := range []PortType{PortTAP, PortVeth, PortNetdev} {
		for _, mode := range []string{"access", "trunk", "tags kept", "port down", "small MTU"} {
			t.Run(fmt.Sprintf("%s/%s", kind, mode), func(t *testing.T) {
				s := newSceneOf(t, kind, nil, 2, func(c *Config) { c.Workers, c.Offload, c.FastPath = 1, true, FastPathOff })
				s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{KeepInnerVLAN: mode == "tags kept"}}, s.addrs()...)
				p0, p1, p2 := PortConfig{Name: "p0", Untagged: 42}, PortConfig{Name: "p1", Tagged: []VIDMap{{7, 42}}}, PortConfig{Name: "p2", Untagged: 42}
				g := joinTraffic{keep: mode == "tags kept"}
				first := frameOf(station(1), broadcast)
				switch mode {
				case "trunk":
					p0, g.vid = PortConfig{Name: "p0", Tagged: []VIDMap{{7, 42}}}, 7
					first = putTag(first, 0x8100, 7)
				case "tags kept":
					p1 = PortConfig{Name: "p1", Untagged: 42} // a third tag would be too many to tell what is behind them
				case "small MTU":
					p2.MTU = 900
				}
				for _, c := range []PortConfig{p0, p1, p2} {
					s.configuredPort(c)
				}
				s.Inject("p0", first)
				second := frameOf(station(2), broadcast)
				if p1.Untagged == 0 {
					second = putTag(second, 0x8100, 7)
				}
				s.Inject("p1", second)
				s.Inject("p2", frameOf(station(3), broadcast))
				s.remotes[0].send(42, frameOf(station(9), broadcast))
				s.forget()
				if mode == "port down" {
					s.do(func() error { // what is learned goes with the port
						return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(3)), Port: "p2", State: fdb.Static}, fdb.Replace)
					})
					s.outer().Must("ip", "link", "set", "p2", "down")
					eventually(t, "the port is down", func() bool { return s.portInfo("p2").State == PortIsDown })
				}
				rig := newJoinRig(t, s)
				joined := 0
				for seed := range uint64(25) {
					g.rng = rand.New(rand.NewPCG(seed, 78))
					frames := g.frames(40)
					single, batch := rig.carry(frames, true), rig.carry(frames, false)
					joined += single.seen - batch.seen
					if !slices.Equal(single.counters, batch.counters) {
						t.Errorf("seed %d: counters one by one and together differ:\n%v\n%v", seed, single.counters, batch.counters)
					}
					for flow, want := range single.flows {
						if got := batch.flows[flow]; !slices.Equal(got, want) {
							t.Errorf("seed %d, %s: one by one %d frames, together %d, or others:\n%.200x\n%.200x", seed, flow, len(want), len(got), want, got)
						}
					}
					if len(single.flows) != len(batch.flows) {
						t.Errorf("seed %d: %d flows one by one, %d together", seed, len(single.flows), len(batch.flows))
					}
				}
				if joined == 0 {
					t.Error("nothing was joined")
				}
			})
		}
	}
}

// offloaded is a frame with its virtio-net header.
type offloaded struct {
	frame []byte
	off   encap.Offload
}

// joinRig puts frames into p0 of a scene whose workers are parked, and sees what comes of them.
type joinRig struct {
	*scene
	t      *testing.T
	worker *worker
	from   source
	in     *injector
	out    []int // packet sockets at the ports
}

func newJoinRig(t *testing.T, s *scene) *joinRig {
	p := s.ports["p0"].published
	r := &joinRig{scene: s, t: t, from: source{int32(p.index), p.link.serial}, worker: s.parked(), in: newInjector(t, s.outer(), "p0")}
	withHeader := func(fd int) {
		for _, o := range [][3]int{{unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1}, {unix.SOL_PACKET, unix.PACKET_AUXDATA, 1}, {unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64 << 20}} {
			if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	withHeader(r.in.fd)
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	for _, port := range []string{"p0", "p1", "p2"} {
		fd := newInjector(t, s.outer(), port).fd
		withHeader(fd)
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: s.outer().Index(port)}); err != nil {
			t.Fatal(err)
		}
		r.out = append(r.out, fd)
	}
	return r
}

// arrivals are what became of frames.
type arrivals struct {
	flows    map[string][]string // what arrived, cut and finished, by place and flow
	seen     int                 // frames and superframes at the ports
	counters []uint64            // what they grew by
}

// carry puts frames into p0 and has them carried, in one batch or in one each.
func (r *joinRig) carry(frames []offloaded, each bool) arrivals {
	before := r.counters()
	for _, f := range frames {
		header := encodeOffload(f.off)
		if _, err := unix.Write(r.in.fd, append(header[:], f.frame...)); err != nil {
			continue // which the kernel does not take for a frame
		}
		if each {
			r.worker.drain(r.from)
		}
	}
	r.worker.drain(r.from)
	a := arrivals{flows: map[string][]string{}}
	for i, n := range r.counters() {
		a.counters = append(a.counters, n-before[i])
	}
	r.balance()
	note := func(place, flow string, frame []byte) {
		flow = place + " " + flow
		a.flows[flow] = append(a.flows[flow], string(sameAs(frame)))
	}
	for i, fd := range r.out {
		for _, f := range r.takeFrom(fd) {
			a.seen++
			for _, single := range r.cut(f) {
				note(fmt.Sprintf("p%d", i), flowOf(single), single)
			}
		}
	}
	for i, remote := range r.remotes {
		for _, f := range remote.received() {
			note(fmt.Sprintf("r%d", i), fmt.Sprint(flowOf(f.frame), " from ", f.source.Port()), f.frame) // fragments have a way of their own
		}
	}
	return a
}

func (r *joinRig) counters() (list []uint64) {
	add := func(rx, tx [3]uint64) { list = append(append(list, rx[:]...), tx[:]...) }
	for _, p := range r.PortStats() {
		add([3]uint64{p.RxPackets, p.RxBytes, p.RxDropped}, [3]uint64{p.TxPackets, p.TxBytes, p.TxDropped})
	}
	for _, p := range r.VNIStats() {
		add([3]uint64{p.RxPackets, p.RxBytes, p.RxDropped}, [3]uint64{p.TxPackets, p.TxBytes, p.TxDropped})
	}
	for reason := range numReasons {
		list = append(list, r.dropped(Reason(reason)))
	}
	total := r.Totals()
	return append(list, total.Received, total.Forwarded, total.Dropped)
}

// takeFrom takes what arrived at a port, with the tags that the kernel keeps beside the frames.
func (r *joinRig) takeFrom(fd int) (list []offloaded) {
	buf, oob := make([]byte, 1<<17), make([]byte, 256)
	for {
		n, oobn, _, from, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return list
		}
		if err == unix.ENETDOWN {
			continue // told once
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		f := offloaded{frame: slices.Clone(buf[encap.OffloadLen:n])}
		f.off.Decode(buf)
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			r.t.Fatal(err)
		}
		for _, m := range messages { // struct tpacket_auxdata
			if m.Header.Type == unix.PACKET_AUXDATA && binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID != 0 {
				f.frame = putTag(f.frame, binary.NativeEndian.Uint16(m.Data[18:]), binary.NativeEndian.Uint16(m.Data[16:]))
				f.off = f.off.Shift(encap.VLANTagLen)
			}
		}
		list = append(list, f)
	}
}

// cut returns the frames that a wire would have had.
func (r *joinRig) cut(f offloaded) (list [][]byte) {
	var l encap.Layout
	l.Parse(f.frame)
	if f.off.IsGSO() {
		var cutter encap.Cutter
		if err := cutter.Init(f.frame, &l, f.off); err != nil {
			r.t.Errorf("%+v: %v", f.off, err)
			return nil
		}
		for i := range cutter.Count() {
			header := make([]byte, cutter.HeaderLen())
			payload := cutter.Segment(i, header)
			list = append(list, append(header, payload...))
		}
		return list
	}
	if f.off.NeedsChecksum() {
		if l.Payload != 0 && f.off.CsumStart == l.L4 {
			f.frame = f.frame[:l.End]
		}
		if err := encap.FinishChecksum(f.frame, f.off); err != nil {
			r.t.Errorf("%+v: %v", f.off, err)
		}
	}
	return [][]byte{f.frame}
}

// sameAs is the frame without what joining may change: padding, and an IPv4 identification that means nothing (RFC 6864 section 4.1).
func sameAs(frame []byte) []byte {
	var l encap.Layout
	l.Parse(frame)
	if l.Payload == 0 || l.Flags&^(encap.LayoutIPv4|encap.LayoutIPv6) != 0 {
		return frame
	}
	frame = slices.Clone(frame[:l.End])
	if l.Flags&encap.LayoutIPv4 == 0 {
		return frame
	}
	h := encap.IPv4(frame[l.L3:l.L4])
	if binary.BigEndian.Uint16(h[6:])&encap.IPv4DontFragment != 0 && encaptest.ReferenceSum(h, 0) == 0xffff {
		h[4], h[5], h[10], h[11] = 0, 0, 0, 0
		binary.BigEndian.PutUint16(h[10:], ^encaptest.ReferenceSum(h, 0))
	}
	return frame
}

// flowOf names what is to stay in order: Ethernet header, addresses and protocol. With ports where they are known, since a switch owes no order to
// different flows, and fragments come between all of them.
func flowOf(frame []byte) string {
	var l encap.Layout
	if len(frame) < encap.EthernetLen {
		return "short"
	}
	l.Parse(frame)
	if l.L3 == 0 {
		return fmt.Sprintf("%x", frame[:encap.EthernetLen])
	}
	name := fmt.Sprintf("%x %d", frame[:l.L3], l.Proto)
	switch {
	case l.Flags&encap.LayoutIPv4 != 0:
		name += fmt.Sprintf(" %x", frame[l.L3+12:l.L3+20])
	case l.Flags&encap.LayoutIPv6 != 0:
		name += fmt.Sprintf(" %x", frame[l.L3+8:l.L3+40])
	}
	if l.Payload != 0 {
		name += fmt.Sprintf(" %x", frame[l.L4:l.L4+4])
	}
	return name
}

// joinTraffic makes runs of frames of a few flows, most of which can be joined.
type joinTraffic struct {
	rng  *rand.Rand
	vid  uint16 // of all frames, with any priority; 0: no tag
	keep bool   // tags of any kind in half of the flows
}

// joinFlow is a flow in the making.
type joinFlow struct {
	encaptest.Packet
	size int
}

func (g *joinTraffic) one(in int) bool { return g.rng.IntN(in) == 0 }

func (g *joinTraffic) flow(number int) *joinFlow {
	r := g.rng
	to := []uint64{station(2), station(2), station(3), station(3), station(9), broadcast, station(77)}
	sizes := []int{1, 2, 7, 8, 100, 512, 1000, 1300}
	f := &joinFlow{size: sizes[r.IntN(len(sizes))], Packet: encaptest.Packet{
		V6: g.one(2), Proto: []uint8{encap.ProtoTCP, encap.ProtoUDP}[r.IntN(2)], SrcMAC: station(1), DstMAC: to[r.IntN(len(to))],
		SrcPort: uint16(1000 + number), Seq: r.Uint32(), ID: uint16(r.Uint32()), Flags: encap.TCPAck,
	}}
	if g.one(2) {
		f.Fragment = encap.IPv4DontFragment
	}
	if g.vid != 0 {
		f.Tags = []uint16{g.vid | uint16(r.IntN(3))<<13}
	}
	if g.keep && g.one(2) {
		f.Tags = []uint16{uint16(r.IntN(1 << 16))}
		if g.one(3) {
			f.Tags = append(f.Tags, 9)
		}
	}
	return f
}

// frames makes n frames or a few more.
func (g *joinTraffic) frames(n int) (list []offloaded) {
	flows := make([]*joinFlow, 1+g.rng.IntN(8))
	for i := range flows {
		flows[i] = g.flow(i)
	}
	for len(list) < n {
		f := flows[g.rng.IntN(len(flows))]
		for range 1 + g.rng.IntN(8) {
			list = append(list, g.next(f))
		}
	}
	return list
}

// next makes the next frame of a flow.
func (g *joinTraffic) next(f *joinFlow) (o offloaded) {
	r := g.rng
	size, segments := f.size, 1
	if g.one(8) {
		size = r.IntN(f.size + 1)
	}
	p := f.Packet
	if g.one(4) {
		g.odd(&p)
	}
	stream := p.EtherType == 0 && (p.Proto == encap.ProtoTCP || p.Proto == encap.ProtoUDP)
	if stream && g.one(24) && f.size > 30 {
		segments = 2 + r.IntN(5)
		size = f.size*segments - r.IntN(f.size)
	}
	p.Payload = encaptest.Payload(size, r.Uint64())
	f.Seq += uint32(size)
	f.ID += uint16(segments)
	switch {
	case segments > 1:
		o.frame, o.off = p.Superframe(uint16(f.size))
	case stream && g.one(2):
		o.frame, o.off = p.Superframe(0)
	default:
		o.frame = p.Frame()
		if g.one(8) {
			o.off.Flags = encap.FlagDataValid
		}
	}
	if segments == 1 && g.one(10) {
		g.spoil(&o)
	}
	return o
}

// odd changes what tells a frame from its neighbours in the flow.
func (g *joinTraffic) odd(p *encaptest.Packet) {
	r := g.rng
	switch r.IntN(18) {
	case 0:
		p.Flags |= []uint8{encap.TCPFin, encap.TCPPsh, encap.TCPCwr, encap.TCPUrg, encap.TCPSyn, encap.TCPRst, 0x40}[r.IntN(7)]
	case 1:
		p.TOS = uint8(r.IntN(4))
	case 2:
		p.TTL = 63
	case 3:
		p.BadChecksum = true
	case 4:
		p.BadIPChecksum = true
	case 5:
		p.NoChecksum = true
	case 6:
		p.Options = []byte{1, 1, 1, 0}
	case 7:
		p.TCPOptions = encaptest.Timestamps(uint32(r.IntN(2)), 1)
	case 8:
		p.Pad = []int{60, 1400}[r.IntN(2)]
	case 9:
		p.Fragment |= encap.IPv4MoreFragments
	case 10:
		p.Fragment |= uint16(1 + r.IntN(10))
	case 11:
		p.Reserved = 1
	case 12:
		p.FlowLabel = 5
	case 13:
		p.ID += 5
	case 14:
		p.Extensions = []encaptest.Extension{{Proto: encap.ProtoDestOpts, Body: make([]byte, 8)}}
	case 15:
		p.Fragment |= 0x8000
	case 16:
		p.EtherType = 0x88b5
	case 17:
		p.Proto = encap.ProtoICMP
	}
}

// spoil makes of a frame what no stack sends.
func (g *joinTraffic) spoil(o *offloaded) {
	r := g.rng
	var l encap.Layout
	l.Parse(o.frame)
	n := len(o.frame)
	switch r.IntN(9) {
	case 0:
		o.off = encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: uint16(r.IntN(n + 4)), CsumOffset: uint16(r.IntN(20))}
	case 1:
		if l.Proto == encap.ProtoUDP && l.L4 != 0 && int(l.L4)+encap.UDPLen <= n {
			binary.BigEndian.PutUint16(o.frame[l.L4+4:], uint16(r.IntN(1500)))
		}
	case 2:
		o.frame = append(o.frame, encaptest.Payload(1+r.IntN(40), 3)...)
	case 3:
		o.frame = o.frame[:max(encap.EthernetLen, n-1-r.IntN(5))]
	case 4:
		if l.L3 != 0 && n > int(l.L3)+8 {
			o.frame[int(l.L3)+r.IntN(8)] ^= 1 << r.IntN(8)
		}
	case 5:
		o.off.GSOType = encap.GSOECN
	case 6:
		o.off.GSOSize = 77
	case 7:
		o.off.HdrLen = uint16(r.IntN(200))
	case 8:
		if l.Payload != 0 {
			o.off = encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: l.L4, CsumOffset: uint16(r.IntN(30))}
		}
	}
}
