package dataplane

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// A trace tells what then becomes of the very frame: who gets a copy, what it is dropped for, where its source is known afterwards. Frames are well-formed,
// crafted and noise; VNIs, ports and peers are of every kind that decides otherwise.
//
//	p0 (VNI 42) p1 (42, MTU 600) ──┐                ┌── r0: peer of 42, 10, 30; 203.0.113.9, which has no route: of 10
//	t0 (10, 20, 30, native 42) ────┤ switch ════════┼── r1: admitted by 10, whose policy is learn
//	g0 (30, of group 7) d0 (20) ───┤                └── r2: stranger
//	l0 (50, alone) ────────────────┘
func TestTraceTellsTheTruth(t *testing.T) {
	t.Parallel()
	s := newScene(t, 3, nil)
	nowhere := netip.MustParseAddr("203.0.113.9")
	s.set(VNIConfig{VNI: 42, Learning: true, SpoofGuard: true}, s.addrs(0)...)
	s.set(VNIConfig{VNI: 10, Learning: true, Policy: Learn}, append(s.addrs(0), nowhere)...)
	s.set(VNIConfig{VNI: 20, NoFlood: FloodUnknown, Header: HeaderPolicy{KeepInnerVLAN: true}})
	s.set(VNIConfig{VNI: 30, Learning: true, Header: HeaderPolicy{GBP: true}, GBPDrop: []GBPRange{{9, 9}}}, s.addrs(0)...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 600})
	s.configuredPort(PortConfig{Name: "t0", Untagged: 42, NativeVID: 7, Tagged: []VIDMap{{10, 10}, {20, 20}, {25, 30}}})
	s.configuredPort(PortConfig{Name: "g0", Untagged: 30, GBPID: 7, GBPDrop: []GBPRange{{8, 8}}})
	s.configuredPort(PortConfig{Name: "d0", Untagged: 20})
	s.set(VNIConfig{VNI: 50, Learning: true})
	s.configuredPort(PortConfig{Name: "l0", Untagged: 50})
	const known = 0x02_00_00_00_01_00 // randomFrame's first station
	static := func(e FDBEntry) {
		t.Helper()
		s.do(func() error { return s.FDBPut(e, fdb.Add) })
	}
	static(FDBEntry{VNI: 42, MAC: known, Port: "p0", State: fdb.Static})
	static(FDBEntry{VNI: 42, MAC: known + 1, Dst: netip.AddrPortFrom(s.remotes[0].addr, 0), State: fdb.Sticky})
	static(FDBEntry{VNI: 10, MAC: known + 2, Dst: netip.AddrPortFrom(nowhere, 0), State: fdb.Static})
	static(FDBEntry{VNI: 10, MAC: known + 3, Dst: netip.AddrPortFrom(s.remotes[0].addr, 0), State: fdb.Static})
	s.forget()

	rng := rand.New(rand.NewPCG(7, 348))
	ports := []string{"p0", "p1", "t0", "g0", "d0", "l0"}
	reasons := map[Reason]int{}
	const frames = 900
	for i := range frames {
		if i == frames/2 { // an interface goes down
			s.Must("ip", "link", "set", "p1", "down")
			eventually(t, "p1 is down", func() bool { return s.portInfo("p1").State == PortIsDown })
			calm(3, s.node)
		}
		frame, off := randomFrame(rng)
		if off.IsGSO() || len(frame) > 1500 {
			continue
		}
		q := TraceQuery{Frame: frame}
		var send func()
		if rng.IntN(2) == 0 {
			if len(frame) < encap.EthernetLen { // the kernel takes none of those
				continue
			}
			q.Port = ports[rng.IntN(len(ports))]
			if q.Port == "p1" && (len(frame) > 614 || i >= frames/2) { // its own end takes none of those either
				continue
			}
			if rng.IntN(10) == 0 {
				q.Port, frame = "t0", putTag(frameOf(station(1), known+2), encap.EtherTypeVLAN, 10)
				q.Frame = frame
			}
			send = func() { s.Inject(q.Port, frame) }
		} else {
			r := s.remotes[max(0, rng.IntN(6)-3)]
			q.Peer, q.VNI = r.addr, []uint32{42, 10, 20, 30, 99}[rng.IntN(5)]
			q.TOS = uint8(rng.IntN(4))
			if rng.IntN(20) == 0 {
				q.Peer = s.config.Local // nobody can send that here but the switch itself
				if got := s.trace(q); got.Reason != OwnSource && got.Reason != UnknownVNI {
					t.Fatalf("from its own address: %+v", got)
				}
				continue
			}
			d := datagramOf(q.VNI, frame)
			if q.VNI == 30 {
				q.GBP = encap.NewGBP(uint16(5 + rng.IntN(6)))
				encap.NewVXLANHeader(30).WithGBP(q.GBP).Put(d)
			}
			send = func() { r.tos(q.TOS); r.sendRaw(d) }
		}
		told := s.heldAgainst(fmt.Sprintf("frame %d", i), q, send)
		reasons[told.Reason]++
	}
	for _, r := range []Reason{ReasonNone, UnknownVNI, UnknownPeer, ShortFrame, LinkLocalMulticast, VLANNotAllowed, InnerVLANTag, ECNNotECT, InvalidSourceMAC,
		StaticMACElsewhere, SamePlace, SplitHorizon, FloodDisabled, NoDestination, GBPDenied, NoRoute} {
		if reasons[r] == 0 {
			t.Errorf("%v was not exercised: %v", r, reasons)
		}
	}
	t.Log(reasons)
}

// heldAgainst asks for a trace and has the frame sent: what then happens is what was told, and asking had no effect.
func (s *scene) heldAgainst(what string, q TraceQuery, send func()) Trace {
	s.t.Helper()
	frame, kept := q.Frame, bytes.Clone(q.Frame)
	before, places := s.effects(), map[string]uint64(nil)
	look := before["to p0"]%4 == 0 // at all that is known, which takes long, only now and then
	if look {
		places = s.places()
	}
	told := s.trace(q)
	grown := difference(s.effects(), before)
	if look {
		grown = append(grown, difference(s.places(), places)...)
	}
	if len(grown) > 0 {
		s.t.Fatalf("%s: a trace had effects: %v", what, grown)
	}
	if !bytes.Equal(frame, kept) {
		s.t.Fatalf("%s: a trace changed the frame", what)
	}
	want := maps.Clone(before)
	add := func(word string) { want[word]++ }
	if told.Reason != ReasonNone {
		add("dropped " + told.Reason.String())
	}
	for _, c := range told.Copies {
		if c.Reason == ReasonNone {
			add("to " + c.Port + addrText(c.Peer))
		}
	}
	if told.Answer != 0 {
		add("to " + q.Port + addrText(netip.AddrPortFrom(q.Peer, DefaultPort)))
	}
	received := s.Totals().Received
	send()
	eventually(s.t, "the frame came in", func() bool { return s.Totals().Received > received })
	calm(1, s.node)
	did, foretold := difference(s.effects(), before), difference(want, before)
	if !slices.Equal(did, foretold) {
		s.t.Fatalf("%s, % x..., from %s%v: VNI %d\nstages %+v\ncopies %+v\nreason %v\ntold %v\ndid  %v", what, frame[:min(len(frame), 64)], q.Port, q.Peer, q.VNI, told.Stages, told.Copies,
			told.Reason, foretold, did)
	}
	return told
}

// fromPort holds a trace against what becomes of a frame from a port.
func (s *scene) fromPort(what, port string, frame []byte) Trace {
	s.t.Helper()
	return s.heldAgainst(what, TraceQuery{Port: port, Frame: frame}, func() { s.Inject(port, frame) })
}

// fromRemote is fromPort for a frame from a remote.
func (s *scene) fromRemote(what string, r *remote, vni uint32, frame []byte) Trace {
	s.t.Helper()
	return s.heldAgainst(what, TraceQuery{Peer: r.addr, VNI: vni, Frame: frame}, func() { r.send(vni, frame) })
}

func (s *scene) trace(q TraceQuery) Trace {
	s.t.Helper()
	tr, err := s.Trace(q)
	if err != nil {
		s.t.Fatal(err)
	}
	return tr
}

func addrText(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return ""
	}
	return a.Addr().String()
}

// effects counts what frames leave behind, but for those that only came in.
func (s *scene) effects() map[string]uint64 {
	e := map[string]uint64{}
	for _, p := range s.PortStats() {
		e["to "+p.Port] = p.TxPackets
	}
	for _, p := range s.PeerStats() {
		e["to "+p.Peer.Addr().String()] += p.TxPackets
	}
	for _, d := range s.Drops() {
		e["dropped "+d.Reason.String()] += d.Count
	}
	return e
}

// places are the stations and peers that are known.
func (s *scene) places() map[string]uint64 {
	e := map[string]uint64{}
	for _, entry := range s.FDBDump(FDBFilter{}) {
		e[fmt.Sprintf("VNI %d %s at %s%v, moves", entry.VNI, entry.MAC, entry.Port, entry.Dst)] = 1 + uint64(entry.Moves)
	}
	for _, p := range s.Peers() {
		e["peer "+p.Addr.String()] = 1
	}
	return e
}

// difference lists what has grown. Peers that nobody needs any more go, with their counters.
func difference(now, before map[string]uint64) (list []string) {
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if now[k] > before[k] {
			list = append(list, fmt.Sprintf("%s +%d", k, now[k]-before[k]))
		}
	}
	return list
}

// What a trace says of the outer headers is what is on the wire.
//
//	p0 ── switch ── eth0 ══ eth0 (sniffed)
func TestTraceTellsTheOuterHeaders(t *testing.T) {
	t.Parallel()
	for _, family := range []func(testing.TB, int, func(*Config)) *scene{newScene, newScene6} {
		s := family(t, 1, nil)
		s.set(VNIConfig{VNI: 42})
		s.port("p0", 42)
		w := newWiretap(s)
		for _, h := range []HeaderPolicy{{}, {TTL: 9, DSCP: 46, ECN: encap.ECNLinux}, {InheritTTL: true, InheritDSCP: true}, {UDPChecksum: ChecksumOff, UDP6ZeroChecksumTx: true}} {
			s.set(VNIConfig{VNI: 42, Header: h}, s.addrs()...)
			for i := range 8 {
				frame := ipFrame(station(1), station(2), func(p *encaptest.Packet) {
					p.SrcPort, p.TOS, p.TTL, p.V6 = uint16(2000+i), uint8(i*37), uint8(20+i), i%2 == 1
				})
				w.one(frame) // opens the sockets for datagrams without checksum
				tr := s.trace(TraceQuery{Port: "p0", Frame: frame})
				if len(tr.Copies) != 1 || tr.Copies[0].Reason != ReasonNone || tr.Copies[0].Peer.Addr() != s.remotes[0].addr {
					t.Fatalf("%+v", tr)
				}
				c, o := tr.Copies[0], w.one(frame)
				want := TraceOuter{Source: s.config.Local, SrcPort: o.source, TOS: o.tos, TTL: o.ttl, Checksum: o.udpChecksum != 0}
				if s.fastPathOn() {
					c.Outer.SrcPort = o.source // the programs choose for themselves
				}
				if c.Outer != want || c.Bytes != o.total || c.Peer.Port() != o.dest || c.Most != 1500 {
					t.Errorf("%+v, frame %d: told %+v, %d of %d bytes; did %+v, %d bytes", h, i, c.Outer, c.Bytes, c.Most, want, o.total)
				}
			}
		}
	}
}

func TestTraceRefuses(t *testing.T) {
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42})
	for _, q := range []TraceQuery{
		{Port: "nosuch", Frame: frameOf(station(1), station(2))},
		{Frame: frameOf(station(1), station(2))},
		{Peer: s.config.Local, Frame: frameOf(station(1), station(2))},
		{Peer: s.config.Local, VNI: MaxVNI + 1, Frame: frameOf(station(1), station(2))},
		{Peer: s.config.Local, VNI: 42, Frame: make([]byte, MaxTraced+1)},
	} {
		if got, err := s.Trace(q); err == nil {
			t.Errorf("%s%v VNI %d, %d bytes: %+v, want an error", q.Port, q.Peer, q.VNI, len(q.Frame), got)
		}
	}
}
