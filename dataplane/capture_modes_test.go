package dataplane

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// A frame is seen where it enters, as it came, and where each copy of it leaves, with its VNI and what became of it.
//
//	p0 p1 (VNI 42)  trunk (VNI 42 as 7, VNI 43 as 8) ── switch ══ r0 (VNI 42, 43)  r1 (VNI 43)
func TestCaptureWhatAndWhere(t *testing.T) {
	everyMode(t, 2, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}}, s.addrs(0)...)
		s.set(VNIConfig{VNI: 43, Learning: true, MSSClamp: MSSOff, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}}, s.addrs()...)
		s.port("p0", 42)
		s.port("p1", 42)
		s.configuredPort(PortConfig{Name: "trunk", Tagged: []VIDMap{{7, 42}, {8, 43}}})
		s.pinned(42, "p0", station(1))
		s.pinned(42, "p1", station(2))
		s.pinned(42, "trunk", station(3))
		s.pinned(42, "", station(4))
		s.pinned(43, "trunk", station(5))
		r0, r1 := s.remotes[0].addr.String(), s.remotes[1].addr.String()
		traffic := func() {
			s.Inject("p0", frameOf(station(1), station(2)))                         // to a port
			s.Inject("p0", frameOf(station(1), station(4)))                         // to a peer
			s.Inject("trunk", putTag(frameOf(station(3), station(1)), 0x8100, 7))   // tagged
			s.Inject("trunk", putTag(frameOf(station(5), broadcast), 0x8100, 8))    // flooded to two peers
			s.Inject("trunk", putTag(frameOf(station(3), station(1)), 0x8100, 9))   // vlan_not_allowed
			s.Inject("p0", frameOf(station(1), station(1)))                         // same_place
			s.remotes[0].send(42, frameOf(station(4), station(1)))                  // to a port
			s.remotes[0].send(42, frameOf(station(4), station(3)))                  // tagged on its way out
			s.remotes[1].send(42, frameOf(station(6), station(1)))                  // unknown_peer
			s.remotes[1].send(44, frameOf(station(6), station(1)))                  // unknown_vni
			s.remotes[0].sendRaw([]byte{0, 0, 0, 0, 0, 0, 42, 0, 1, 2, 3, 4, 5, 6}) // bad_vxlan_header
			s.rest()
		}
		fromPorts := []string{
			"p0 -> sw (vni 42)", "p0 -> sw (vni 42)", "p0 -> sw (vni 42, dropped: same_place)",
			"trunk -> sw (vni 42)", "trunk -> sw (vni 43)", "trunk -> sw (no vni, dropped: vlan_not_allowed)",
		}
		fromPeers := []string{r0 + " -> sw (vni 42)", r0 + " -> sw (vni 42)", r1 + " -> sw (vni 42, dropped: unknown_peer)", r1 + " -> sw (vni 44, dropped: unknown_vni)"}
		toPorts := []string{"p1 <- sw (vni 42)", "p0 <- sw (vni 42)", "p0 <- sw (vni 42)", "trunk <- sw (vni 42)"}
		toPeers := []string{r0 + " <- sw (vni 42)", r0 + " <- sw (vni 43)", r1 + " <- sw (vni 43)"}
		in, out := slices.Concat(fromPorts, fromPeers), slices.Concat(toPorts, toPeers)
		where := func(list []string, words ...string) (some []string) {
			for _, line := range list {
				if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
					some = append(some, line)
				}
			}
			return some
		}
		all := slices.Concat(in, out)
		for _, c := range []struct {
			f    CaptureFilter
			want []string
		}{
			{CaptureFilter{}, all},
			{CaptureFilter{Dir: CaptureIn}, in},
			{CaptureFilter{Dir: CaptureOut}, out},
			{CaptureFilter{Drops: true}, where(in, "dropped")},
			{CaptureFilter{Port: "p0"}, where(all, "p0 ")},
			{CaptureFilter{Port: "p0", Dir: CaptureOut}, where(out, "p0 ")},
			{CaptureFilter{Port: "trunk", VNI: 43}, where(all, "trunk", "vni 43")},
			{CaptureFilter{Port: "trunk", Drops: true}, where(in, "trunk", "dropped")},
			{CaptureFilter{VNI: 42}, where(all, "vni 42")},
			{CaptureFilter{VNI: 43}, where(all, "vni 43")},
			{CaptureFilter{Peer: netip.AddrPortFrom(s.remotes[0].addr, 0)}, where(all, r0+" ")},
			{CaptureFilter{Peer: peerAt(s.remotes[0].addr), VNI: 43}, where(all, r0+" ", "vni 43")},
			{CaptureFilter{Peer: netip.AddrPortFrom(s.remotes[0].addr, 9)}, nil},
			{CaptureFilter{Peer: peerAt(s.remotes[1].addr), Drops: true}, where(in, r1+" ", "dropped")},
			{CaptureFilter{Port: "p0", Peer: peerAt(s.remotes[0].addr)}, []string{"p0 <- sw (vni 42)", r0 + " <- sw (vni 42)"}},
			{CaptureFilter{Port: "trunk", Peer: peerAt(s.remotes[1].addr), Dir: CaptureOut}, []string{r1 + " <- sw (vni 43)"}},
			{CaptureFilter{Port: "p1", Peer: peerAt(s.remotes[1].addr)}, nil},
		} {
			k := s.take(c.f)
			traffic()
			got := k.frames()
			k.end()
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, summary(got)); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", c.f, diff)
			}
		}
		// All of them at once, each as if it were alone; and what is tagged comes and goes as it is on the wire.
		k, other := s.take(CaptureFilter{Port: "trunk", VNI: 42}), s.take(CaptureFilter{Drops: true, Snaplen: 20})
		traffic()
		got := k.frames()
		slices.SortFunc(got, func(a, b taken) int { return strings.Compare(a.String(), b.String()) })
		if len(got) != 2 || !bytes.Equal(got[0].Frame, putTag(frameOf(station(3), station(1)), 0x8100, 7)) || !bytes.Equal(got[1].Frame, putTag(frameOf(station(4), station(3)), 0x8100, 7)) {
			t.Errorf("tagged frames: %v", got)
		}
		drops := other.frames()
		if len(drops) != len(where(in, "dropped")) {
			t.Errorf("drops beside another capture: %v", drops)
		}
		for _, f := range drops {
			if len(f.Frame) != 20 || f.Length != len(frameOf(0, 0)) && f.Length != len(frameOf(0, 0))+encap.VLANTagLen {
				t.Errorf("snaplen 20: %d of %d bytes", len(f.Frame), f.Length)
			}
		}
	})
}

// What is captured is what was sent, and what ports and peers see, byte by byte: single, tagged, flooded, superframes and segments of one flow.
func TestCaptureIsWhatThereIs(t *testing.T) {
	everyMode(t, 2, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}}, s.addrs()...)
		s.port("p0", 42)
		s.port("p1", 42)
		s.configuredPort(PortConfig{Name: "trunk", Tagged: []VIDMap{{7, 42}}})
		s.pinned(42, "p0", station(1))
		s.pinned(42, "p1", station(2))
		s.pinned(42, "", station(4))
		if s.remotes[0].addr.Is6() {
			for _, r := range s.remotes {
				r.option(unix.SOL_UDP, unix.UDP_NO_CHECK6_RX, 1)
			}
		}
		s.forget()
		k := s.take(CaptureFilter{})
		inject := map[string][][]byte{}
		put := func(port string, frames ...[]byte) {
			inject[port] = append(inject[port], frames...)
			s.Inject(port, frames...)
		}
		put("p0", times(20, frameOf(station(1), station(2)))...)
		put("p0", times(20, frameOf(station(1), station(4)))...)
		put("p1", times(5, frameOf(station(2), broadcast))...)
		put("trunk", times(5, putTag(frameOf(station(3), station(1)), 0x8100, 7))...)
		put("trunk", putTag(frameOf(station(3), broadcast), 0x8100, 0xe007))
		r0 := s.remotes[0].addr.String()
		for i := range 30 {
			f := encaptest.Packet{SrcMAC: station(4), DstMAC: station(1), Proto: encap.ProtoTCP, Flags: encap.TCPAck, SrcPort: 5, ID: uint16(i), Seq: uint32(i * 1000),
				Payload: encaptest.Payload(1000, uint64(i))}.Frame()
			inject[r0] = append(inject[r0], f)
			s.remotes[0].send(42, f)
		}
		s.rest()
		got := map[bool]map[string][][]byte{true: {}, false: {}}
		for _, f := range k.frames() {
			got[f.Out][f.Where] = append(got[f.Out][f.Where], f.Frame)
		}
		if diff := cmp.Diff(inject, got[false]); diff != "" {
			t.Errorf("what came in (-sent +captured):\n%s", diff)
		}
		left := map[string][][]byte{}
		for name := range s.sniffed {
			if seen := s.seen(name); len(seen) > 0 {
				left[name] = seen
			}
		}
		for _, r := range s.remotes {
			for _, a := range r.received() {
				left[r.addr.String()] = append(left[r.addr.String()], a.frame)
			}
		}
		// Several workers serve one port.
		for _, m := range []map[string][][]byte{left, got[true]} {
			for _, list := range m {
				slices.SortFunc(list, bytes.Compare)
			}
		}
		if diff := cmp.Diff(left, got[true]); diff != "" {
			t.Errorf("what left (-arrived +captured):\n%s", diff)
		}
	})
}

// A superframe is one frame of a capture, as it came and as it goes to a peer, or to a port that takes it.
func TestCaptureSuperframes(t *testing.T) {
	everyMode(t, 2, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}}, s.addrs(0)...)
		s.port("p0", 42)
		s.port("p1", 42)
		s.pinned(42, "p0", station(1))
		s.pinned(42, "p1", station(2))
		s.pinned(42, "", station(4))
		if !s.config.Offload {
			t.Skip("no superframes without offloads")
		}
		for _, to := range []uint64{station(2), station(4)} {
			k := s.take(CaptureFilter{})
			f, off := encaptest.Packet{SrcMAC: station(1), DstMAC: to, Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(5000, 1)}.Superframe(1000)
			s.InjectSuperframe("p0", encodeOffload(off), f)
			got := k.frames()
			k.end()
			if len(got) != 2 || got[0].Comment != "vni 42, 5 segments" || got[1].Comment != got[0].Comment || got[0].Out || !got[1].Out || !bytes.Equal(got[0].Frame, f) || got[1].Length != len(f) {
				t.Errorf("superframe to %x: %v", to, got)
			}
		}
	})
}

// While a capture goes on exactly what it names is off the fast path, and says why; then it is back.
func TestCaptureTakesOffTheFastPath(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 2, nil)
	f.keepsSources = true
	for _, vni := range []uint32{42, 43} {
		s.set(VNIConfig{VNI: vni, Learning: true, Policy: Learn}, s.addrs()...)
	}
	for i, vni := range []uint32{42, 43} {
		s.do(func() error {
			return s.AddPort(PortConfig{Name: fmt.Sprintf("p%d", i), Type: PortTAP, Untagged: vni})
		})
	}
	s.learnPeer(netip.MustParseAddrPort("192.0.2.150:4789"))
	learned := s.peers.find(netip.MustParseAddrPort("192.0.2.150:4789"))
	s.fdb.Learn(42, fdb.MAC(station(9)), learned.place(), s.now())
	off := func() (list []string) {
		places := s.fast.places()
		for i, name := range []string{"p0", "p1"} {
			if places.ports[uint32(i)] == captured {
				list = append(list, name)
			}
		}
		for _, p := range s.peers.all() {
			if places.peers[p.index] == captured {
				list = append(list, p.addr.Addr().String())
			}
		}
		for _, vni := range []uint32{42, 43} {
			if places.domains[vni][0] == captured {
				list = append(list, fmt.Sprint(vni))
			}
		}
		f.locked(func() {
			for _, vni := range []uint32{42, 43} {
				for _, a := range append(s.addrs(), learned.addr.Addr()) {
					if _, ok := f.sources[sourceKey{vni, a}]; !ok && (vni == 42 || a != learned.addr.Addr()) {
						list = append(list, fmt.Sprintf("from %v in %d", a, vni))
					}
				}
			}
		})
		return list
	}
	nothing := func(when string) {
		t.Helper()
		s.fast.catchUp()
		if got := off(); got != nil {
			t.Errorf("%s: off the fast path: %v", when, got)
		}
		f.equal(t, s.Switch, when)
	}
	nothing("at first")
	r0, r1 := s.remotes[0].addr, s.remotes[1].addr
	from := func(a netip.Addr) []string {
		return []string{a.String(), fmt.Sprintf("from %v in 42", a), fmt.Sprintf("from %v in 43", a)}
	}
	for _, c := range []struct {
		filter CaptureFilter
		want   []string
	}{
		{CaptureFilter{}, []string{"42", "43"}},
		{CaptureFilter{Drops: true}, nil},
		{CaptureFilter{Drops: true, VNI: 43}, nil},
		{CaptureFilter{VNI: 43}, []string{"43"}},
		{CaptureFilter{Port: "p1"}, []string{"p1"}},
		{CaptureFilter{Port: "p1", VNI: 43}, []string{"p1"}},
		{CaptureFilter{Port: "p0", Peer: peerAt(r0)}, []string{"p0"}},
		{CaptureFilter{Peer: peerAt(r1)}, from(r1)},
		{CaptureFilter{Peer: netip.AddrPortFrom(r0, 0), VNI: 42}, from(r0)},
		{CaptureFilter{Peer: learned.addr}, from(learned.addr.Addr())[:2]},
		{CaptureFilter{Port: "nowhere"}, nil},
	} {
		k := s.take(c.filter)
		if diff := cmp.Diff(c.want, off()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.filter, diff)
		}
		k.end()
		nothing(fmt.Sprintf("after %+v", c.filter))
	}
	// What two captures name comes back with the second.
	a, b := s.take(CaptureFilter{VNI: 42}), s.take(CaptureFilter{})
	a.end()
	if got := off(); !slices.Equal(got, []string{"42", "43"}) {
		t.Errorf("one of two ended: %v", got)
	}
	b.end()
	nothing("after both")
	// What comes while a capture goes on is off from its beginning; and so it is when the fast path is switched on.
	k := s.take(CaptureFilter{Port: "p2"})
	s.do(func() error { return s.AddPort(PortConfig{Name: "p2", Type: PortTAP, Untagged: 42}) })
	if why := s.fast.places().ports[2]; why != captured {
		t.Errorf("a port that came: %q", why)
	}
	k.end()
	nothing("after the port")
}

// What the fast path carried is captured, in both directions, and carried again afterwards. No frame is lost of it.
func TestCaptureOnTheFastPath(t *testing.T) {
	t.Parallel()
	needFastPath(t)
	for _, kind := range []PortType{PortTAP, PortVeth} {
		t.Run(string(kind), func(t *testing.T) {
			_, nodes, w := fastPair(t, kind, nil)
			const port = "port0"
			peer := netip.AddrPortFrom(nodes[1].config.Local, 0)
			carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
			s := &scene{node: nodes[0]}
			far := peer.Addr().String()
			for _, c := range []struct {
				CaptureFilter
				want []string
			}{
				{CaptureFilter{}, []string{port + " false", port + " true", far + " false", far + " true"}},
				{CaptureFilter{VNI: 42}, []string{port + " false", port + " true", far + " false", far + " true"}},
				{CaptureFilter{Port: port}, []string{port + " false", port + " true"}},
				{CaptureFilter{Peer: peer}, []string{far + " false", far + " true"}},
				{CaptureFilter{Port: port, Peer: peer}, []string{port + " true", far + " true"}},
			} {
				ctx, cancel := context.WithCancel(context.Background())
				k := &taking{s: s, ended: make(chan error, 1)}
				go func() { k.ended <- s.Capture(ctx, c.CaptureFilter, k) }()
				eventually(t, "the capture begins", func() bool { return len(k.bytes()) > 0 })
				const echoes = 20
				pings(t, w[0], w[1].Overlay4(), echoes)
				icmp := func() map[string]int {
					counts := map[string]int{}
					list, _ := readCapture(t, k.bytes())
					for _, f := range list {
						if len(f.Frame) > 34 && f.Frame[23] == 1 { // ICMP
							counts[fmt.Sprintf("%s %t", f.Where, f.Out)]++
						}
					}
					return counts
				}
				want := map[string]int{}
				for _, place := range c.want {
					want[place] = echoes
				}
				eventually(t, fmt.Sprintf("all echoes in the capture of %+v", c.CaptureFilter), func() bool { return cmp.Equal(want, icmp()) })
				cancel()
				if err := <-k.ended; err != nil {
					t.Error(err)
				}
				carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
			}
			for _, n := range nodes {
				n.balance()
			}
		})
	}
}
