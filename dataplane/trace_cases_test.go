package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// A source that is learned may take the place of the very station that it sends to.
//
//	p0 p1 p2 (VNI 42, one MAC) ── switch
func TestTraceForeseesWhoGoes(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, MaxMACs: 1})
	for _, name := range []string{"p0", "p1", "p2"} {
		s.port(name, 42)
	}
	s.Inject("p1", frameOf(station(1), broadcast))
	eventually(t, "the station is known", func() bool { return s.known(42, station(1)) })
	s.rest()
	if told := s.fromPort("the first goes", "p0", frameOf(station(2), station(1))); len(told.Copies) != 2 && !s.fastPathOn() {
		t.Errorf("%+v", told)
	}
	s.do(func() error {
		return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(3)), Port: "p2", State: fdb.Static}, fdb.Add)
	})
	s.fromPort("a static entry stays", "p1", frameOf(station(4), station(3)))
}

// A SYN is lowered where it lies: from the first destination on that lowers it, all get it so.
//
//	p0 ── switch ── p1 (MTU 600), p2
func TestTraceTellsOfEveryLoweredMSS(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42})
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 1400})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 600})
	s.configuredPort(PortConfig{Name: "p2", Untagged: 42, MTU: 1400})
	for _, mss := range []uint16{1000, 500} {
		frame := opening(false, station(1), station(2), mss).Frame()
		told := s.fromPort("a SYN", "p0", frame)
		for _, c := range told.Copies {
			got := s.seen(c.Port)
			if len(got) != 1 || c.Clamped != (mssIn(got[0]) != int(mss)) {
				t.Errorf("MSS %d, %s: told that it is lowered: %t; %d came with %d", mss, c.Port, c.Clamped, len(got), mssIn(got[0]))
			}
		}
	}
}

// Whether the sender of what is too big hears of it.
//
//	p0, p1 (MTU 600) ── switch ════ r0; no way to 203.0.113.9
func TestTraceTellsOfAnswers(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	nowhere := netip.MustParseAddr("203.0.113.9")
	s.set(VNIConfig{VNI: 42, Learning: true}, nowhere)
	s.set(VNIConfig{VNI: 43, Learning: true}, s.addrs()...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 1400})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 600})
	s.configuredPort(PortConfig{Name: "q1", Untagged: 43, MTU: 600})
	big := ipFrame(station(1), station(2), func(p *encaptest.Packet) { p.Payload = make([]byte, 1000) })
	if told := s.fromPort("another copy was handed to the kernel", "p0", big); told.Answer != 0 {
		t.Errorf("%+v", told)
	}
	if told := s.fromRemote("a peer hears of it", s.remotes[0], 43, big); told.Answer != 600 {
		t.Errorf("%+v", told)
	}
	s.Must("ip", "route", "add", "blackhole", s.remotes[0].addr.String())
	eventually(t, "the way back is lost", func() bool { return s.Peers()[0].NoRoute != "" })
	calm(3, s.node)
	if told := s.fromRemote("no way back", s.remotes[0], 43, big); told.Answer != 0 {
		t.Errorf("%+v", told)
	}
}

// A source that becomes a peer is one of the port that it sent to, and one that nothing can come from is refused.
//
//	p0 (VNI 42, policy learn) ── switch, ports 4789, 8472 ════ r0
func TestTraceOfLearnedPeers(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.Listen = []uint16{8472} })
	s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn})
	s.port("p0", 42)
	r := *s.remotes[0]
	r.sw = netip.AddrPortFrom(r.sw.Addr(), 8472)
	frame := frameOf(station(1), station(2))
	q := TraceQuery{Peer: r.addr, Arrival: 8472, VNI: 42, Frame: frame}
	learning := func(told Trace) string {
		for _, stage := range told.Stages {
			if stage.Name == "learning" {
				return stage.Text
			}
		}
		return ""
	}
	s.heldAgainst("the first", q, func() { r.send(42, frame) })
	if got, want := learning(s.trace(q)), " is at peer "+netip.AddrPortFrom(r.addr, 8472).String(); !strings.Contains(got, want) {
		t.Errorf("by the same port: %q, want %q in it", got, want)
	}
	q.Arrival = 0
	if got, want := learning(s.trace(q)), "would move to peer "+r.addr.String(); !strings.Contains(got, want) {
		t.Errorf("by another port: %q, want %q in it", got, want)
	}
	for _, bad := range []TraceQuery{
		{Peer: netip.MustParseAddr("2001:db8::7"), VNI: 42, Frame: frame},
		{Peer: netip.MustParseAddr("224.0.0.1"), VNI: 42, Frame: frame},
		{Peer: netip.MustParseAddr("0.0.0.0"), VNI: 42, Frame: frame},
		{Peer: netip.MustParseAddr("127.0.0.1"), VNI: 42, Frame: frame},
		{Peer: r.addr, Arrival: 4790, VNI: 42, Frame: frame},
	} {
		if got, err := s.Trace(bad); err == nil {
			t.Errorf("%v to port %d: %+v, want an error", bad.Peer, bad.Arrival, got)
		}
	}
	mapped := TraceQuery{Peer: netip.AddrFrom16(r.addr.As16()), Arrival: 8472, VNI: 42, Frame: frame}
	if got := learning(s.trace(mapped)); !strings.Contains(got, " is at peer ") {
		t.Errorf("as an IPv4-mapped address: %q", got)
	}
}

// Headers that carry more than a VNI are judged by what the VNI speaks.
//
//	p0 ── switch ════ r0
func TestTraceOfHeaders(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	frame := frameOf(station(1), station(2))
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	for _, h := range []HeaderPolicy{{}, {StrictReserved: true}, {GPE: true}, {GPE: true, StrictReserved: true}, {GBP: true}, {GBP: true, StrictReserved: true}} {
		s.set(VNIConfig{VNI: 42, Learning: true, Header: h}, s.addrs()...)
		for _, gbp := range []encap.GBP{0, encap.NewGBP(7)} {
			d := datagramOf(42, frame)
			header := encap.NewVXLANHeader(42)
			if h.GPE {
				header = header.WithNext(encap.GPEEthernet)
			}
			if gbp != 0 || h.GBP {
				header = header.WithGBP(gbp)
			}
			header.Put(d)
			s.heldAgainst(fmt.Sprintf("%+v, group %d", h, gbp.ID()), TraceQuery{Peer: s.remotes[0].addr, VNI: 42, GBP: gbp, Frame: frame}, func() { s.remotes[0].sendRaw(d) })
		}
	}
}

// Traces go on while frames are carried and everything that they look at changes, up to the end of the switch.
//
//	p0, and p1 that comes and goes (VNI 42, whose peers do, too) ── switch ════ r0
func TestTraceWhileAllChanges(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Policy: Learn, MaxMACs: 5}, s.addrs()...)
	s.port("p0", 42)
	var asking sync.WaitGroup
	for i := range 3 {
		asking.Go(func() {
			for n := 0; ; n++ {
				q := TraceQuery{Port: []string{"p0", "p1", ""}[(i+n)%3], Frame: frameOf(station(n%9), []uint64{broadcast, station(n % 7)}[n%2])}
				if q.Port == "" {
					q.Peer, q.VNI = s.remotes[0].addr, 42
				}
				if _, err := s.Trace(q); errors.Is(err, ErrClosed) {
					return
				}
			}
		})
	}
	for i := range 30 {
		s.Inject("p0", frameOf(station(i%9), broadcast), frameOf(station(i%9), station(i%7)))
		s.remotes[0].send(42, frameOf(station(20+i%9), station(i%9)))
		c := VNIConfig{VNI: 42, Learning: i%3 != 0, Policy: Learn, MaxMACs: 5, Header: HeaderPolicy{GBP: i%5 == 0, UDPChecksum: []UDPChecksum{ChecksumAuto, ChecksumOff}[i%2]}}
		s.set(c, s.addrs()[:i%2]...)
		s.do(func() error { return s.AddPort(s.ofKind(PortConfig{Name: "p1", Untagged: 42})) })
		s.do(func() error { return s.DelPort("p1") })
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	asking.Wait()
}

// Nothing gets to a peer by routes that lead nowhere, nor without our own address, nor into a port whose interface is deleted.
//
//	p0, p1 (VNI 42) ── switch ════ r0
func TestTraceOfWhatIsLost(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	to := s.remotes[0].addr.String()
	flood := frameOf(station(1), broadcast)
	lost := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return s.Peers()[0].NoRoute != "" })
		calm(3, s.node)
		if told := s.fromPort(what, "p0", flood); told.Reason != NoRoute || told.Copies[0].Text == "" {
			t.Errorf("%s: %+v", what, told)
		}
	}
	for _, kind := range []string{"blackhole", "unreachable", "prohibit"} {
		s.Must("ip", "route", "add", kind, to)
		lost("a route of type " + kind)
		s.Must("ip", "route", "del", kind, to)
		eventually(t, "the way is back", func() bool { return s.Peers()[0].NoRoute == "" })
		calm(3, s.node)
	}
	s.fromPort("the way is back", "p0", flood)
	s.Must("ip", "addr", "del", s.config.Local.String()+"/24", "dev", s.link.A.Name)
	lost("the own address is away")
}
