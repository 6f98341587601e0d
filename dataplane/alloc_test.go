package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// parked stops the workers of a scene, so that the test's own goroutine can be the first of them.
func (s *scene) parked() *worker {
	s.t.Helper()
	s.rest()
	s.stop()
	for _, w := range s.workers {
		w.wake()
	}
	s.running.Wait()
	return s.workers[0]
}

// drain serves a source until it is empty.
func (w *worker) drain(src source) {
	for w.serve(src) {
	}
}

// A batch costs no allocation, whatever it is: known unicast and floods, from ports and from the wire, small and super, in bulk and alone, tagged, learned
// anew or dropped, each with real devices and sockets.
//
//	p0 p1 (VNI 42) trunk (VNI 42 as 7) ── one worker, called by the test ════ r0 r1
func TestBatchesDoNotAllocate(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testBatchesDoNotAllocate(t, VNIConfig{}) })
	t.Run("groups", func(t *testing.T) { testBatchesDoNotAllocate(t, VNIConfig{Header: HeaderPolicy{GBP: true}}) })
	t.Run("multicast", func(t *testing.T) {
		testBatchesDoNotAllocate(t, VNIConfig{Group: netip.MustParseAddrPort("239.1.1.1:0"), GroupTTL: 1})
	})
}

func testBatchesDoNotAllocate(t *testing.T, vni VNIConfig) {
	s := newScene(t, 2, func(c *Config) { c.Workers = 1 })
	vni.VNI, vni.Learning, vni.SpoofGuard = 42, true, true
	vni.StormControl.Multicast = pps(1)
	s.set(vni, s.addrs()...)
	for _, c := range []PortConfig{{Name: "p0", Untagged: 42, GBPID: 7}, {Name: "p1", Untagged: 42, GBPDrop: []GBPRange{{9, 9}}}, {Name: "trunk", Tagged: []VIDMap{{7, 42}}}} {
		c = s.ofKind(c)
		s.do(func() error { return s.AddPort(c) })
	}
	here, next, tagged, far := station(1), station(2), station(3), station(4)
	s.Inject("p0", frameOf(here, broadcast))
	s.Inject("p1", frameOf(next, broadcast))
	s.Inject("trunk", putTag(frameOf(tagged, broadcast), 0x8100, 7))
	s.remotes[0].send(42, frameOf(far, broadcast))
	s.rest()
	if !s.known(42, here) || !s.known(42, next) || !s.known(42, tagged) || !s.known(42, far) {
		t.Fatalf("not learned: %+v", s.FDBDump(FDBFilter{}))
	}
	w := s.parked()

	inject := map[string]*injector{"p0": newInjector(t, s.outer(), "p0"), "trunk": newInjector(t, s.outer(), "trunk")}
	super := newInjector(t, s.outer(), "p0")
	if err := unix.SetsockoptInt(super.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		t.Fatal(err)
	}
	var wire int
	if err := s.wire.Do(func() (err error) {
		wire, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(wire, &unix.SockaddrInet4{Addr: s.remotes[0].addr.As4()})
		}
		if err == nil {
			err = unix.Connect(wire, &unix.SockaddrInet4{Addr: s.config.Local.As4(), Port: DefaultPort})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(wire)
	index := func(name string) source {
		p := s.ports[name].published
		return source{int32(p.index), p.link.serial}
	}
	p0, trunk, underlaySource := index("p0"), index("trunk"), source{index: firstSocket}
	superframe := func(dst uint64) []byte {
		f, off := encaptest.Packet{SrcMAC: here, DstMAC: dst, Proto: encap.ProtoTCP, Flags: encap.TCPAck, TCPOptions: encaptest.Timestamps(1, 2), Payload: encaptest.Payload(60000, 1)}.Superframe(1378)
		header := encodeOffload(off)
		return append(header[:], f...)
	}
	segments, singles := make([][]byte, 40), make([][]byte, 40)
	for i := range segments {
		p := encaptest.Packet{SrcMAC: far, DstMAC: here, Proto: encap.ProtoTCP, Flags: encap.TCPAck, Seq: uint32(1000 * i), ID: uint16(i), Payload: encaptest.Payload(1000, 1)}
		segments[i] = datagramOf(42, p.Frame())
		p.SrcMAC, p.DstMAC = here, next
		singles[i] = p.Frame()
	}
	toFar, toNext, toTagged, toAll := frameOf(here, far), frameOf(here, next), frameOf(here, tagged), frameOf(here, broadcast)
	fromTrunk := putTag(frameOf(tagged, far), 0x8100, 7)
	badTag := putTag(frameOf(here, far), 0x8100, 9)
	superFar, superNext, superAll := superframe(far), superframe(next), superframe(broadcast)
	inAll, inHere, inUnknown := datagramOf(42, frameOf(far, broadcast)), datagramOf(42, frameOf(far, here)), datagramOf(43, frameOf(far, here))
	multicast := uint64(0x01005e000101)
	toMany, inMany := frameOf(here, multicast), datagramOf(42, frameOf(far, multicast))
	// stormed has the budget of a source of multicast be exhausted, and the next frame that is dropped begin a storm.
	guard := s.vnis[42].storm
	stormed := func(source int, budgets *stormBudgets) {
		budgets[2].until.Store(s.sinceStart() + int64(time.Hour))
		budgets[2].dropped.Store(0)
		s.storms.followed[source].Store(0)
	}
	fresh := frameOf(0x02_00_00_09_00_00, far)
	number := uint16(0)

	for _, c := range []struct {
		name    string
		source  source
		frames  int // that one run makes, segments counted
		dropped bool
		put     func()
	}{
		{"port to peer", p0, 32, false, func() {
			for range 32 {
				inject["p0"].send(toFar)
			}
		}},
		{"port to port", p0, 32, false, func() {
			for range 32 {
				inject["p0"].send(toNext)
			}
		}},
		{"port to port, joined", p0, 40, false, func() {
			for _, f := range singles {
				inject["p0"].send(f)
			}
		}},
		{"port to trunk", p0, 32, false, func() {
			for range 32 {
				inject["p0"].send(toTagged)
			}
		}},
		{"trunk to peer", trunk, 32, false, func() {
			for range 32 {
				inject["trunk"].send(fromTrunk)
			}
		}},
		{"flood", p0, 16, false, func() {
			for range 16 {
				inject["p0"].send(toAll)
			}
		}},
		{"superframe to peer", p0, 44, false, func() { super.send(superFar) }},
		{"superframe to port", p0, 44, false, func() { super.send(superNext) }},
		{"superframe flooded", p0, 44, false, func() { super.send(superAll) }},
		{"new MACs", p0, 1, false, func() {
			number++
			fresh[10], fresh[11] = byte(number>>8)&1, byte(number)
			inject["p0"].send(fresh)
		}},
		{"refused tag", p0, 8, true, func() {
			for range 8 {
				inject["p0"].send(badTag)
			}
		}},
		{"peer to port", underlaySource, 32, false, func() { writeAll(t, wire, inHere, 32) }},
		{"peer flooded", underlaySource, 32, false, func() { writeAll(t, wire, inAll, 32) }},
		{"peer to port, joined", underlaySource, 40, false, func() {
			for _, d := range segments {
				writeAll(t, wire, d, 1)
			}
		}},
		{"unknown VNI", underlaySource, 32, true, func() { writeAll(t, wire, inUnknown, 32) }},
		{"storm from a port", p0, 32, true, func() {
			stormed(int(p0.index), guard.ports[uint32(p0.index)].budgets)
			for range 32 {
				inject["p0"].send(toMany)
			}
		}},
		{"storm from a peer", underlaySource, 32, true, func() {
			p := s.peers.find(netip.AddrPortFrom(s.remotes[0].addr, DefaultPort))
			stormed(MaxPorts+int(p.index), &guard.peers.named[p.index])
			writeAll(t, wire, inMany, 32)
		}},
		{"nothing", p0, 0, false, func() {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs := 0
			before := s.Totals()
			allocs := testing.AllocsPerRun(60, func() {
				runs++
				c.put()
				w.drain(c.source)
			})
			// A datagram may still be in the kernel's hands when its run ends; the next one reads it.
			s.barrier.pass(t)
			w.drain(c.source)
			after := s.Totals()
			if allocs != 0 {
				t.Errorf("%v allocations a batch", allocs)
			}
			received, dropped := after.Received-before.Received, after.Dropped-before.Dropped
			if want := uint64(runs * c.frames); received != want {
				t.Errorf("%d frames received in %d runs, want %d", received, runs, want)
			}
			want := uint64(0)
			if c.dropped {
				want = received
			}
			if dropped != want {
				t.Errorf("%d of %d frames dropped, want %d: %v", dropped, received, want, s.Drops())
			}
		})
	}
}

func writeAll(t *testing.T, fd int, datagram []byte, n int) {
	for range n {
		if _, err := unix.Write(fd, datagram); err != nil {
			t.Fatal(err)
		}
	}
}
