package xdp

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vtepd/bench/lab"
)

// cellSides are two hosts on a wire, of which the first has a name and pins.
func cellSides(t *testing.T) (a, b *side, o Options) {
	t.Helper()
	dir := pinDir(t)
	a, b = newSides(t, false, true, func(options *Options, _ *Domain) {
		if o.MaxEntries == 0 {
			options.PinDir, options.Name = dir, dir
			o = *options
		}
	})
	return a, b, o
}

// ends are the ifindexes of the pair that the options name, 0 for one that is not there.
func (s *side) ends(o Options) (found [2]int) {
	s.t.Helper()
	s.do(func() error {
		in, out := o.cellNames()
		for i, name := range []string{in, out} {
			if l, err := netlink.LinkByName(name); err == nil {
				found[i] = l.Attrs().Index
			}
		}
		return nil
	})
	return found
}

// TestCellJoins wants the segments of a TCP connection to reach the workload as superframes, all of them, and counted one by one.
func TestCellJoins(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tap", "veth"} {
		t.Run(kind, func(t *testing.T) {
			a, b, _ := cellSides(t)
			var sa, sb *station
			if kind == "tap" {
				sa, sb = a.tap("tap0", 1450), b.tap("tap0", 1450)
			} else {
				sa, sb = a.veth("wa", 1450), b.veth("wb", 1450)
			}
			meet(sa, sb)
			joins(t, sa, sb)
		})
	}
}

// TestCellWithoutXDP: where XDP is not to be had, a cell joins what the device's own GRO leaves single, and the reason is shown.
func TestCellWithoutXDP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reason string
		underlay     func(b, a *side)
	}{
		{"veth", "xdp: eth0 hands over checksums that its other end left unfinished", nil},
		{"bridge", "xdp", (*side).throughBridge},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newSides(t, false, true, nil)
			b.wire.Features(map[string]bool{"rx-gro": true})
			if c.underlay != nil {
				c.underlay(b, a)
			}
			if d := b.decap(); d.Mode != "tcx+gro" || !strings.Contains(d.Reason, c.reason) {
				t.Errorf("%+v", d)
			}
			sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
			meet(sa, sb)
			joins(t, sa, sb)
		})
	}
}

// TestXDPRefused: what XDP is asked for and not to be had on is left to tcx, and the reason is shown.
func TestXDPRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reason string
		refuse       []string
		above        bool
	}{
		{"refused", "refused by a test", []string{pinWords[hookXDP]}, false},
		{"macvlan above", "xdp: macvlan over0 stands on it", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newSides(t, false, true, func(o *Options, _ *Domain) { o.Decap, o.Refuse.Places = XDPNative, c.refuse })
			if c.above {
				b.host.Must("ip", "link", "add", "link", b.wire.Name, "name", "over0", "type", "macvlan", "mode", "bridge")
			}
			if d := b.decap(); d.Mode != "tcx" || !strings.Contains(d.Reason, c.reason) {
				t.Errorf("%+v", d)
			}
			sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
			meet(sa, sb)
		})
	}
}

// throughBridge has the underlay of a side be a bridge, which the wire is a port of.
//
//	port ── side a ── br0 192.0.2.1 ── eth0 ═══ eth0 ── side b
func (s *side) throughBridge(other *side) {
	s.t.Helper()
	wire := s.host.Index(s.wire.Name)
	mac := s.host.MAC(s.wire.Name)
	s.host.Must("ip", "address", "flush", "dev", s.wire.Name)
	s.host.Bridge("br0", s.wire.Name)
	s.host.Must("ip", "link", "set", "br0", "address", mac.String())
	s.host.Addr("br0", netip.PrefixFrom(s.host.Underlay4(), 24))
	s.wire.Name = "br0"
	s.do(func() error {
		return errors.Join(s.f.DetachUnderlay(wire), s.f.PutPeer(Peer{
			Index: peerIndex, Addr: netip.AddrPortFrom(other.host.Underlay4(), testPort), Ifindex: s.host.Index("br0"), NextHop: other.host.Underlay4(), MaxFrame: 1464,
		}))
	})
}

// joins wants the segments of a TCP connection to reach the second station as superframes, all of them, and counted one by one.
func joins(t *testing.T, sa, sb *station) {
	t.Helper()
	before := packets(t, sb)
	const size = 16 << 20
	if err := transfer(sa, sb, sb.host.Overlay4(), size); err != nil {
		t.Fatal(err)
	}
	segments, got := sb.f.PortCounters(portIndex).TxPackets, packets(t, sb)-before
	if segments < size/1450 || got == 0 || got > segments/2 {
		t.Errorf("%d segments came as %d packets", segments, got)
	}
	t.Logf("%d segments came as %d packets", segments, got)
	balanced(t, sa, sb)
}

// packets is how many IPv4 packets a station's stack has been given, superframes counting as one. (A TAP does not count what programs put into it.)
func packets(t *testing.T, s *station) (n uint64) {
	t.Helper()
	// Ip: Forwarding DefaultTTL InReceives ... (proc_net_snmp); the second line has the values.
	fields := strings.Fields(s.host.Must("grep", "^Ip: [0-9]", "/proc/net/snmp"))
	n, err := strconv.ParseUint(fields[3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCellAndSuperframes has one end of the underlay carry superframes whole and the other not: its segments pass by the cell, or a
// connection would get out of order.
func TestCellAndSuperframes(t *testing.T) {
	t.Parallel()
	a, b := newSides(t, false, false, nil)
	b.wire.Features(map[string]bool{"tx-tcp-segmentation": false, "tx-tcp6-segmentation": false, "tx-tcp-ecn-segmentation": false, "tx-tcp-mangleid-segmentation": false})
	wire := b.host.Index(b.wire.Name)
	b.do(func() error {
		d, err := b.f.AttachUnderlay(wire)
		if d.Mode != "tcx+gro" {
			t.Errorf("%+v", d)
		}
		return err
	})
	sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
	meet(sa, sb)
	carries(t, sa, sb)
	balanced(t, sa, sb)
	var c programsCell
	if err := b.f.objects.Cells.Lookup(uint32(wire%maxCells), &c); err != nil || c.Whole == 0 {
		t.Errorf("superframes were not noticed: %+v, %v", c, err)
	}
	cell, err := b.host.Netlink().LinkByIndex(int(c.Ifindex))
	if err != nil {
		t.Fatal(err)
	}
	before := cell.Attrs().Statistics.TxPackets
	for range 3 {
		if err := sa.ping(sb.host.Overlay4()); err != nil {
			t.Error(err)
		}
	}
	if err := transfer(sa, sb, sb.host.Overlay4(), 4<<20); err != nil {
		t.Error(err)
	}
	if cell, err = b.host.Netlink().LinkByIndex(int(c.Ifindex)); err != nil || cell.Attrs().Statistics.TxPackets != before {
		t.Errorf("%d frames in the cell, %d before; %v", cell.Attrs().Statistics.TxPackets, before, err)
	}
}

// TestCellLife: the pair is there while it is used, stays when the process dies, is its successor's then, and goes with whoever ends orderly.
func TestCellLife(t *testing.T) {
	t.Parallel()
	none := [2]int{}
	for _, c := range []struct {
		name string
		end  func(t *testing.T, a *side, o Options) error
	}{
		{"close", func(_ *testing.T, a *side, _ Options) error { return a.f.Close() }},
		{"detach", func(_ *testing.T, a *side, _ Options) error { return a.f.DetachUnderlay(a.host.Index(a.wire.Name)) }},
		{"drop", func(t *testing.T, a *side, o Options) error {
			if err := a.f.Abandon(); err != nil {
				return err
			}
			if a.ends(o) == none {
				t.Error("gone with the process")
			}
			_, err := Drop(o.PinDir)
			return err
		}},
		{"successor", func(t *testing.T, a *side, o Options) error {
			former := a.ends(o)
			if err := a.f.Abandon(); err != nil {
				return err
			}
			var err error
			if a.f, err = Open(o); err != nil {
				return err
			}
			if d, err := a.f.AttachUnderlay(a.host.Index(a.wire.Name)); err != nil || d.Mode != "tcx+gro" {
				t.Errorf("%+v, %v", d, err)
			}
			if err := a.f.Commit(); err != nil {
				return err
			}
			if now := a.ends(o); now != former {
				t.Errorf("interfaces %v, the former's were %v", now, former)
			}
			return a.f.Close()
		}},
		{"successor without", func(_ *testing.T, a *side, o Options) error {
			if err := a.f.Abandon(); err != nil {
				return err
			}
			o.Decap = TCX
			var err error
			if a.f, err = Open(o); err != nil {
				return err
			}
			if _, err := a.f.AttachUnderlay(a.host.Index(a.wire.Name)); err != nil {
				return err
			}
			return a.f.Commit()
		}},
		{"successor that ends before it takes over", func(_ *testing.T, a *side, o Options) error {
			if err := a.f.Abandon(); err != nil {
				return err
			}
			var err error
			if a.f, err = Open(o); err != nil {
				return err
			}
			return a.f.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _, o := cellSides(t)
			if a.ends(o) == none {
				t.Fatal("no cell")
			}
			a.do(func() error { return c.end(t, a, o) })
			if left := a.ends(o); left != none {
				t.Errorf("interfaces %v are left", left)
			}
		})
	}
}

// TestCellOfFormerWithoutPins: who cannot take over from a former process leaves it the pair that its programs use, until it is to end what that one left.
func TestCellOfFormerWithoutPins(t *testing.T) {
	t.Parallel()
	a, _, o := cellSides(t)
	former := a.ends(o)
	a.do(a.f.Abandon)
	bare := o
	bare.PinDir = ""
	for _, commit := range []bool{false, true} {
		a.do(func() (err error) {
			if a.f, err = Open(bare); err != nil {
				return err
			}
			if d, err := a.f.AttachUnderlay(a.host.Index(a.wire.Name)); err != nil || d.Mode != "tcx+gro" {
				t.Errorf("%+v, %v", d, err)
			}
			if commit {
				err = a.f.Commit()
			}
			return errors.Join(err, a.f.Close())
		})
		want := former
		if commit {
			want = [2]int{}
		}
		if got := a.ends(o); got != want {
			t.Errorf("committed %v: interfaces %v, want %v", commit, got, want)
		}
	}
	a.do(func() error { _, err := Drop(o.PinDir); return err })
}

// TestCellRefused: without a cell segments are not joined, and what stands in its way is not touched.
//
//	side a ── eth0 ═══ eth0 (b)   on a too, under the cell's name: somebody's veth pair
func TestCellRefused(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	needFastPath(t)
	ha, hb := l.Host("a"), l.Host("b")
	link := l.Link(ha, hb, lab.LinkOptions{})
	link.OffloadsOff()
	a := &side{t: t, lab: l, host: ha, wire: link.A, next: portIndex}
	name := t.Name()
	in, _ := (&Options{Name: name}).cellNames()
	foreign := netlink.NewVeth(netlink.LinkAttrs{Name: in})
	foreign.PeerName = "other"
	if err := ha.Netlink().LinkAdd(foreign); err != nil {
		t.Fatal(err)
	}
	a.start(&side{host: hb}, false, func(o *Options, _ *Domain) { o.Name = name })
	for range 2 {
		if d := a.decap(); d.Mode != "tcx" || !strings.Contains(d.Reason, errNotOurs.Error()) {
			t.Errorf("%+v", d)
		}
	}
	a.do(a.f.Close)
	if _, err := ha.Netlink().LinkByName(in); err != nil {
		t.Errorf("the interface of another: %v", err)
	}
}

// TestCellUnfinished: a pair that a process was killed over, before it was marked, is taken up, or taken away by a successor that needs none.
//
//	side a ── eth0 ═══ eth0 (b)   on a too: half a cell
func TestCellUnfinished(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	needFastPath(t)
	ha, hb := l.Host("a"), l.Host("b")
	link := l.Link(ha, hb, lab.LinkOptions{})
	link.OffloadsOff()
	a := &side{t: t, lab: l, host: ha, wire: link.A, next: portIndex}
	o := Options{Name: t.Name()}
	in, out := o.cellNames()
	half := func() [2]int {
		t.Helper()
		ha.Must("ip", "link", "add", in, "type", "veth", "peer", "name", out)
		return a.ends(o)
	}
	half()
	a.do(func() error { return removeCell(o.Name) })
	if left := a.ends(o); left != [2]int{} {
		t.Errorf("interfaces %v are left", left)
	}
	for _, touched := range []string{"up", "alias mine"} {
		made := half()
		ha.Must("ip", append([]string{"link", "set", out}, strings.Fields(touched)...)...)
		a.do(func() error { return removeCell(o.Name) })
		if now := a.ends(o); now != made {
			t.Errorf("one with %s, which is another's, was removed: %v, were %v", touched, now, made)
		}
		ha.Must("ip", "link", "del", in)
	}
	made := half()
	a.start(&side{host: hb}, false, func(options *Options, _ *Domain) { options.Name = o.Name })
	if d := a.decap(); d.Mode != "tcx+gro" || d.Reason != "" {
		t.Errorf("%+v", d)
	}
	if now := a.ends(o); now != made {
		t.Errorf("interfaces %v, those that were left are %v", now, made)
	}
	a.do(a.f.Close)
	if left := a.ends(o); left != [2]int{} {
		t.Errorf("interfaces %v are left by Close", left)
	}
}

// TestCellTakenAway: when somebody removes the pair, or sets an end down, looking at the underlay again mends it.
func TestCellTakenAway(t *testing.T) {
	t.Parallel()
	a, b, o := cellSides(t)
	sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
	meet(sa, sb)
	former := a.ends(o)
	in, _ := o.cellNames()
	for _, c := range [][]string{{"del", in}, {"set", in, "down"}, {"set", in + "j", "down"}} {
		a.host.Must("ip", append([]string{"link"}, c...)...)
		if d := a.decap(); d.Mode != "tcx+gro" || d.Reason != "" {
			t.Errorf("%v: %+v", c, d)
		}
		if err := transfer(sb, sa, sa.host.Overlay4(), 4<<20); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
	if now := a.ends(o); now == former || now == [2]int{} {
		t.Errorf("interfaces %v, before %v", now, former)
	}
}

// TestCellTakenAwayCounts: frames that found no room in a pair stay counted when somebody takes it away.
func TestCellTakenAwayCounts(t *testing.T) {
	t.Parallel()
	a, _, o := cellSides(t)
	in, out := o.cellNames()
	a.host.Must("ip", "link", "set", out, "down") // what goes in has nowhere to go
	a.host.Inject(in, known().frame(macA, macB))
	lost := a.f.Totals().Busy
	if lost == 0 {
		t.Fatal("no frame was lost")
	}
	a.host.Must("ip", "link", "del", in)
	for _, when := range []string{"gone", "made anew"} {
		if n := a.f.Totals().Busy; n != lost {
			t.Errorf("%s: %d frames lost, were %d", when, n, lost)
		}
		a.decap()
	}
}

// TestSmallSegments: what is too small to be worth joining passes by the cell, unless it has to stay behind what has just gone in.
func TestSmallSegments(t *testing.T) {
	onOneCPU(t)
	segment := func(size int) []byte {
		frame := packet{proto: 6, l4: tcpWith(0x18, size-14-20-20)}.frame(macA, macB)
		if len(frame) != size {
			t.Fatalf("a frame of %d bytes", len(frame))
		}
		return letterFrom(remote4, frame).bytes()
	}
	const small, large = 512, 513
	for _, refused := range []bool{false, true} {
		b := newBench(t, func(o *Options, _ *Domain) { o.Refuse.Capabilities = without(refused) })
		if !refused && b.loaded().FlowCache == 0 {
			t.Skip(Probe().FlowCache.Reason)
		}
		if err := b.objects.Cells.Put(uint32(loopback), programsCell{Underlay: loopback, Ifindex: loopback}); err != nil {
			t.Fatal(err)
		}
		joined := func(size int) bool {
			t.Helper()
			_, verdict, _ := b.run(b.objects.VtepdUnderlay, segment(size), nil)
			if verdict != -1 && verdict != fromPeer {
				t.Errorf("verdict %d", verdict)
			}
			return verdict == -1 // counted when it comes out
		}
		soon := func(first, second int) bool {
			t.Helper()
			for {
				began := time.Now()
				if !joined(first) {
					t.Errorf("refused %v: %d bytes pass by", refused, first)
				}
				if after := joined(second); time.Since(began) < 10*time.Millisecond {
					return after
				}
			}
		}
		late := func() { time.Sleep(40 * time.Millisecond) }
		if !joined(small) {
			t.Errorf("refused %v: the first segment between two stations passes by", refused)
		}
		late()
		for range 2 {
			if joined(small) != refused {
				t.Errorf("refused %v: small segments are joined %v", refused, !refused)
			}
		}
		if !soon(large, small) {
			t.Errorf("refused %v: a small segment overtakes a large one", refused)
		}
		late()
		b.nextSecond()
		if joined(small) != refused {
			t.Errorf("refused %v: the second after, small segments are joined %v", refused, !refused)
		}
	}
}
