package dataplane

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// TestTraceTellsTheTruth over both families, with a group, with peers that have a UDP port of their own or are learned by that which they send to, and
// with frames that guards of sizes, of connections and of tunnels look at.
//
//	p0 (42), p1 (42, MTU 600), k0 (60), k1 (60: 61) ── switch ──── r0  192.0.2.2
//	                                  192.0.2.1, 2001:db8::1  ──── r1  2001:db8::2
//	                                                          ──── r2  239.1.1.1
//	                                                          ──── r3  192.0.2.2:8472
func TestTraceTellsTheTruthOfPeers(t *testing.T) {
	t.Parallel()
	s := newMixedScene(t, func(c *Config) { c.Listen = []uint16{8472} })
	group := netip.AddrPortFrom(netip.MustParseAddr("239.1.1.1"), DefaultPort)
	s.remotes = append(s.remotes, s.member(group))
	own := *s.remotes[0]
	err := s.wire.Do(func() (err error) {
		own.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own.addr, 8472)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.conn.Close() })
	s.remotes = append(s.remotes, &own)
	byGroup := s.remotes[0].toGroup(s, group)
	byOther := *s.remotes[1]
	byOther.sw = netip.AddrPortFrom(byOther.sw.Addr(), 8472)

	peers := func(vni uint32, c VNIConfig, list ...netip.AddrPort) {
		t.Helper()
		c.VNI, c.Peers = vni, list
		s.do(func() error { return s.SetVNI(c) })
	}
	r0, r1, at8472 := peerAt(s.remotes[0].addr), peerAt(s.remotes[1].addr), netip.AddrPortFrom(own.addr, 8472)
	peers(42, VNIConfig{Learning: true, SpoofGuard: true, Group: group, GroupTTL: 3, Policy: Learn}, r1, at8472)
	peers(60, VNIConfig{Header: HeaderPolicy{KeepInnerVLAN: true, GPE: true, InheritTTL: true, InheritDSCP: true}}, r0, at8472)
	peers(61, VNIConfig{Learning: true, Policy: Learn, MSSClamp: 500, Header: HeaderPolicy{StrictReserved: true}})
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 1450})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 600, MaxMACs: 3})
	s.configuredPort(PortConfig{Name: "k0", Untagged: 60, MTU: 1450})
	s.configuredPort(PortConfig{Name: "k1", Untagged: 60, Tagged: []VIDMap{{VID: 61, VNI: 61}}, MTU: 1450})
	mac := fdb.MAC(station(0))
	for _, e := range []FDBEntry{
		{VNI: 42, MAC: mac, Dst: at8472, State: fdb.Static}, // of whom datagrams say that they are from r0
		{VNI: 42, MAC: mac + 1, Port: "p1", State: fdb.Sticky},
		{VNI: 60, MAC: mac, Dst: r0, State: fdb.Static},
	} {
		s.do(func() error { return s.FDBPut(e, fdb.Add) })
	}
	s.forget()

	rng := rand.New(rand.NewPCG(11, 48))
	vteps := []netip.Addr{s.config.Local, s.config.OtherLocal, own.addr, s.remotes[1].addr, group.Addr(), netip.MustParseAddr("198.51.100.7")}
	stages, reasons, answers, clamped := map[string]int{}, map[Reason]int{}, 0, 0
	for i := range 400 {
		to := vteps[rng.IntN(len(vteps))]
		p := encaptest.Packet{SrcMAC: station(rng.IntN(8)), DstMAC: station(rng.IntN(8)), V6: to.Is6(), TOS: uint8(rng.IntN(256)), TTL: uint8(rng.IntN(3)),
			Payload: encaptest.Payload(rng.IntN(560), uint64(i))}
		switch rng.IntN(8) {
		case 0:
			p.DstMAC = broadcast
		case 1:
			p = opening(p.V6, p.SrcMAC, p.DstMAC, uint16(400+rng.IntN(1100)))
		case 2:
			p.DstMAC, p.Payload = uint64(mac)+1, encaptest.Payload(560+rng.IntN(800), uint64(i))
		case 3:
			p.Proto, p.Dst, p.DstPort = encap.ProtoUDP, to, []uint16{4789, 8472, 4790}[rng.IntN(3)]
		}
		frame := p.Frame()
		if rng.IntN(8) == 0 { // which a kernel left to a network card
			frame, _ = p.Superframe(0)
		}
		for range max(0, rng.IntN(6)-3) {
			frame = putTag(frame, []uint16{encap.EtherTypeVLAN, encap.EtherTypeQinQ}[rng.IntN(2)], []uint16{0, 61, 62, 0xe03d}[rng.IntN(4)])
		}
		q := TraceQuery{Frame: frame}
		var send func()
		if rng.IntN(2) == 0 {
			q.Port = []string{"p0", "p1", "k0", "k1"}[rng.IntN(4)]
			if len(frame) > 1450+encap.EthernetLen || q.Port == "p1" && len(frame) > 600+encap.EthernetLen {
				continue // what its own end does not take
			}
			send = func() { s.Inject(q.Port, frame) }
		} else {
			r := []*remote{s.remotes[0], s.remotes[1], byGroup, &byOther, &own}[rng.IntN(5)]
			q.Peer, q.Arrival, q.VNI = r.addr, r.sw.Port(), []uint32{42, 60, 61}[rng.IntN(3)]
			d := datagramOf(q.VNI, frame)
			if q.VNI == 60 {
				encap.NewVXLANHeader(60).WithNext(encap.GPEEthernet).Put(d)
			}
			send = func() { r.sendRaw(d) }
		}
		told := s.heldAgainst(fmt.Sprintf("frame %d", i), q, send)
		reasons[told.Reason]++
		for _, stage := range told.Stages {
			stages[stage.Name]++
		}
		if told.Answer != 0 {
			answers++
		}
		for _, c := range told.Copies {
			if c.Clamped {
				clamped++
			}
			if c.Peer == group && c.Outer.TTL != 3 {
				t.Errorf("to the group: TTL %d, want 3", c.Outer.TTL)
			}
		}
	}
	for _, r := range []Reason{ReasonNone, VXLANSpoof, TooBig, StaticMACElsewhere, InnerVLANTag, VLANNotAllowed, SplitHorizon, SamePlace} {
		if reasons[r] == 0 {
			t.Errorf("%v was not exercised", r)
		}
	}
	if answers == 0 || clamped == 0 {
		t.Errorf("%d answers, %d lowered: want some", answers, clamped)
	}
	t.Log(reasons, stages, answers, clamped)
}
