package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// Every frame that enters a switch is forwarded or dropped with exactly one reason, whatever it is: well-formed, crafted or noise, from
// ports and from the wire, while VNIs, ports and entries change.
//
//	            switch
//	acc0 (VNI 42)──┤
//	acc1 (VNI 42)──┤
//	trunk0 (10,20,─┼── eth0 ══ eth0 attacker: member, stranger, garbage
//	  native 42)   │
func TestEveryFrameIsAccountedFor(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		name := "offload"
		if !offload {
			name = "plain"
		}
		t.Run(name, func(t *testing.T) { accountFor(t, offload) })
	}
}

func accountFor(t *testing.T, offload bool) {
	l := lab.New(t)
	host, wire := l.Host("sw"), l.Host("wire")
	l.Link(host, wire, lab.LinkOptions{})
	n := startNode(t, host, func(c *Config) { c.Offload = offload })
	member, stranger := wire.Underlay4(), netip.MustParseAddr("192.0.2.200")
	wire.Addr("eth0", netip.PrefixFrom(stranger, 24))
	n.vni(42, member)
	n.vni(1010, member)
	n.vni(1020)
	outer := host
	if sceneKind(t) != PortTAP {
		outer = l.Host("out")
	}
	add := func(c PortConfig) {
		t.Helper()
		c = n.ofKind(sceneKind(t), outer, c)
		n.do(func() error { return n.AddPort(c) })
	}
	add(PortConfig{Name: "acc0", Untagged: 42})
	add(PortConfig{Name: "acc1", Untagged: 42})
	add(PortConfig{Name: "trunk0", Untagged: 42, NativeVID: 7, Tagged: []VIDMap{{10, 1010}, {20, 1020}}})

	rng := rand.New(rand.NewPCG(1, 2))
	ports := []string{"acc0", "acc1", "trunk0"}
	var senders []*net.UDPConn
	for _, a := range []netip.Addr{member, stranger} {
		if err := wire.Do(func() error {
			c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(host.Underlay4(), DefaultPort)))
			senders = append(senders, c)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	idle(n)
	before := n.Totals().Received
	const rounds = 3000
	fromWire := 0
	waiting := map[string][][]byte{} // frames for a port: a packet socket costs more than they do
	for i := range rounds {
		frame, off := randomFrame(rng)
		if rng.IntN(4) == 0 {
			name := ports[rng.IntN(len(ports))]
			if name == "acc1" && i%700 >= 300 && i%700 < 400 {
				continue // it is not there
			}
			if len(frame) < encap.EthernetLen {
				frame = append(frame, make([]byte, encap.EthernetLen-len(frame))...)
			}
			if off.IsGSO() {
				outer.InjectSuperframe(name, encodeOffload(off), frame)
			} else if len(frame) <= 1514 {
				waiting[name] = append(waiting[name], frame)
			}
			if len(waiting[name]) >= 16 {
				outer.Inject(name, waiting[name]...)
				waiting[name] = nil
			}
			continue
		}
		if off.IsGSO() {
			continue
		}
		fromWire++
		if _, err := senders[rng.IntN(2)].Write(randomDatagram(rng, frame)); err != nil {
			fromWire-- // an ICMP error of an earlier one
		}
		n.disturb(t, i, add)
	}
	idle(n)
	n.balance()
	got := n.Totals()
	if got.Forwarded == 0 || got.Dropped == 0 {
		t.Errorf("one side was not exercised: %+v", got)
	}
	if lost := n.Status().KernelDrops; got.Received-before+lost < uint64(fromWire) {
		t.Errorf("%d datagrams sent, %d frames received, %d lost in the kernel", fromWire, got.Received-before, lost)
	}
	seen := map[Reason]bool{}
	for _, d := range n.Drops() {
		seen[d.Reason] = true
	}
	for _, r := range []Reason{BadVXLANHeader, UnknownVNI, UnknownPeer, ShortFrame, VLANNotAllowed, InnerVLANTag, InvalidSourceMAC, ECNNotECT} {
		if r == ECNNotECT {
			continue // needs a marked outer header, see ECN tests
		}
		if !seen[r] {
			t.Errorf("reason %s never came up: the traffic is not random enough", r)
		}
	}
}

// disturb changes something now and then.
func (n *node) disturb(t *testing.T, i int, add func(PortConfig)) {
	t.Helper()
	switch i % 700 {
	case 100:
		n.vni(1010)
	case 200:
		n.vni(1010, netip.MustParseAddr("192.0.2.2"))
	case 300:
		n.do(func() error { return n.DelPort("acc1") })
	case 400:
		add(PortConfig{Name: "acc1", Untagged: 42})
	case 500:
		if _, err := n.FDBFlush(FDBFilter{}); err != nil {
			t.Fatal(err)
		}
	}
	if i%64 == 0 {
		time.Sleep(time.Millisecond)
	}
}

func encodeOffload(o encap.Offload) (b [encap.OffloadLen]byte) {
	o.Encode(b[:])
	return b
}

func randomFrame(rng *rand.Rand) ([]byte, encap.Offload) {
	p := encaptest.Packet{
		SrcMAC:  0x02_00_00_00_01_00 + uint64(rng.IntN(20)),
		DstMAC:  0x02_00_00_00_01_00 + uint64(rng.IntN(20)),
		V6:      rng.IntN(3) == 0,
		TOS:     uint8(rng.IntN(256)),
		Payload: encaptest.Payload(rng.IntN(1300), rng.Uint64()),
	}
	switch rng.IntN(12) {
	case 0:
		p.DstMAC = 0xffffffffffff
	case 1:
		p.SrcMAC = 0x01005e000001
	case 2:
		p.SrcMAC = 0x03_00_00_00_00_01
	case 3:
		p.DstMAC = 0x0180c2000000 + uint64(rng.IntN(16))
	}
	switch rng.IntN(6) {
	case 0:
		p.Tags = []uint16{uint16([]int{0, 7, 10, 20, 30, 4095}[rng.IntN(6)])}
	case 1:
		p.Tags = []uint16{10, 20}
	}
	if rng.IntN(8) == 0 {
		p.Payload = encaptest.Payload(4000+rng.IntN(30000), 1)
		f, off := p.Superframe(uint16(200 + rng.IntN(1100)))
		return f, off
	}
	f := p.Frame()
	switch rng.IntN(10) {
	case 0:
		f = f[:rng.IntN(len(f))]
	case 1:
		for range 4 {
			f[rng.IntN(len(f))] = byte(rng.Uint32())
		}
	case 2:
		f = encaptest.Payload(rng.IntN(200), rng.Uint64())
	}
	return f, encap.Offload{}
}

func randomDatagram(rng *rand.Rand, frame []byte) []byte {
	d := make([]byte, encap.VXLANLen, encap.VXLANLen+len(frame))
	encap.PutVXLAN(d, []uint32{42, 42, 42, 1010, 1020, 99, 0}[rng.IntN(7)])
	d = append(d, frame...)
	switch rng.IntN(12) {
	case 0:
		d[0] = byte(rng.Uint32())
	case 1:
		d = d[:rng.IntN(min(len(d), 9))]
	case 2:
		binary.BigEndian.PutUint32(d, rng.Uint32())
	}
	return d
}

// A superframe that ports take and that cannot be cut for peers is lost to each of them, and counted there.
//
//	p0, p1 ── switch ════ r0, r1
func TestUncutSuperframeIsCounted(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	s.port("p1", 42)
	f, off := encaptest.Packet{SrcMAC: station(1), DstMAC: station(9), Flags: encap.TCPAck, Payload: encaptest.Payload(60000, 1)}.Superframe(16)
	s.seen("p1")
	before := s.account()
	s.InjectSuperframe("p0", encodeOffload(off), f)
	s.rest()
	a := s.account().since(before)
	const segments = 3750
	if len(a.Frames["p1"]) != 1 || a.VNIs[42].TxDropped != 2*segments {
		t.Errorf("p1 got %d, VNI %+v", len(a.Frames["p1"]), a.VNIs[42])
	}
	for _, r := range s.remotes {
		if got := a.Peers[netip.AddrPortFrom(r.addr, DefaultPort)].TxDropped; got != segments {
			t.Errorf("peer %s: %d not sent, want %d", r.addr, got, segments)
		}
	}
	s.balance()
}
