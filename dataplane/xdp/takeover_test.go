package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// pinDir makes a bpffs of the test's own and names a directory on it.
func pinDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Skipf("mount a bpffs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount the bpffs: %v", err)
		}
	})
	return filepath.Join(dir, "instance")
}

// reopen starts another fast path in the place of an abandoned one, with other indices, and does not attach it.
func (s *side) reopen(o Options, remote netip.Addr) *State {
	s.t.Helper()
	var former *State
	s.do(func() (err error) {
		if s.f, err = Open(o); err != nil {
			return err
		}
		former = s.f.Former()
		if err := s.f.PutDomain(testDomain()); err != nil {
			return err
		}
		err = s.f.PutPeer(Peer{Index: 2, Addr: netip.AddrPortFrom(remote, testPort), Ifindex: s.host.Index(s.wire.Name), NextHop: remote, MaxFrame: 1464})
		return errors.Join(err, s.f.PutSource(testVNI, remote, 2, 0))
	})
	return former
}

// programs counts what is attached to a device.
func (s *side) programs(ifindex int) (n int) {
	s.t.Helper()
	s.do(func() error {
		for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			r, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: at})
			if err != nil {
				return err
			}
			n += len(r.Programs)
		}
		l, err := netlink.LinkByIndex(ifindex)
		if err == nil && l.Attrs().Xdp != nil && l.Attrs().Xdp.Attached {
			n++
		}
		return err
	})
	return n
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	for _, decap := range []DecapMode{Auto, TCX, XDPNative} {
		for _, kind := range []string{"tap", "veth"} {
			t.Run(kind+"-"+[...]string{"auto", "tcx", "xdp"}[decap], func(t *testing.T) { takeover(t, kind, decap) })
		}
	}
}

// succession is a line of fast paths that take over from each other on host a.
//
//	workload ── sa ── fast path, one after the other ── underlay ── fast path of b ── sb ── workload
type succession struct {
	t            *testing.T
	kind         string
	options      Options
	a, b         *side
	sa, sb       *station
	static, lost Entry // what the first one knows beside the two stations; to lost no peer leads
}

func takeover(t *testing.T, kind string, decap DecapMode) {
	s := &succession{
		t: t, kind: kind,
		static: Entry{VNI: testVNI, MAC: [6]byte{2, 0, 0, 0, 0, 1}, ToPeer: true, Index: peerIndex, Static: true, Seen: 12},
		lost:   Entry{VNI: testVNI, MAC: [6]byte{2, 0, 0, 0, 0, 2}, ToPeer: true, Index: peerIndex + 1},
	}
	s.begin(decap)
	s.secondIsRefused()
	s.outlivesItsProcess()
	s.nextKnows()
	s.takesOverUnderTraffic()
	s.hears()
	if kind == "veth" {
		s.getsBeforeWhatShuts()
	}
	s.leavesPort()
}

// begin starts the first one.
func (s *succession) begin(decap DecapMode) {
	s.t.Helper()
	dir := pinDir(s.t)
	s.a, s.b = newSides(s.t, false, true, func(o *Options, _ *Domain) {
		o.Decap = decap
		if o.PinDir = ""; s.options.MaxEntries == 0 { // the first of the two
			o.PinDir = dir
			s.options = *o
		}
	})
	if s.kind == "tap" {
		s.sa, s.sb = s.a.tap("tap0", 1450), s.b.tap("tap0", 1450)
	} else {
		s.sa, s.sb = s.a.veth("wa", 1450), s.b.veth("wb", 1450)
	}
	meet(s.sa, s.sb)
	if err := s.a.f.PutEntries([]Entry{s.static, s.lost}); err != nil {
		s.t.Fatal(err)
	}
	if state := s.a.f.Former(); state != nil {
		s.t.Errorf("former state of the first: %+v", state)
	}
	if err := s.a.f.Commit(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.sa.ping(s.sb.host.Overlay4()); err != nil {
		s.t.Fatal(err)
	}
}

// secondIsRefused: while one has the directory, no other gets it, and the one is not disturbed.
func (s *succession) secondIsRefused() {
	s.t.Helper()
	s.a.do(func() error {
		if _, err := Open(s.options); !errors.Is(err, ErrLocked) {
			s.t.Errorf("a second: %v", err)
		}
		return nil
	})
	if err := s.sa.ping(s.sb.host.Overlay4()); err != nil {
		s.t.Fatal(err)
	}
}

// outlivesItsProcess: known traffic outlives the process.
func (s *succession) outlivesItsProcess() {
	s.t.Helper()
	if err := s.a.f.Abandon(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.sa.ping(s.sb.host.Overlay4()); err != nil {
		s.t.Fatalf("nobody there: %v", err)
	}
}

// nextKnows: the next one knows what the former knew.
func (s *succession) nextKnows() {
	s.t.Helper()
	state := s.a.reopen(s.options, s.b.host.Underlay4())
	if state == nil {
		s.t.Fatal("no former state")
	}
	remote := netip.AddrPortFrom(s.b.host.Underlay4(), testPort)
	want := &State{
		Ports: []FormerPort{{Index: portIndex, Ifindex: s.sa.port.Ifindex}},
		Peers: []FormerPeer{{Index: peerIndex, Addr: remote}},
		Entries: []FormerEntry{
			{VNI: testVNI, MAC: s.static.MAC, Peer: remote, Static: true, Seen: 12},
			{VNI: testVNI, MAC: [6]byte(s.sa.mac), Ifindex: s.sa.port.Ifindex},
			{VNI: testVNI, MAC: [6]byte(s.sb.mac), Peer: remote},
		},
	}
	sorted := cmpopts.SortSlices(func(a, b FormerEntry) bool { return strings.Compare(string(a.MAC[:]), string(b.MAC[:])) < 0 })
	timeless := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Seen" },
		cmp.Comparer(func(a, b uint32) bool { return (a == 12) == (b == 12) }))
	if diff := cmp.Diff(want, state, sorted, timeless, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		s.t.Errorf("former state (-want +got):\n%s", diff)
	}
	if err := s.sa.ping(s.sb.host.Overlay4()); err != nil {
		s.t.Fatalf("the next one is loaded: %v", err)
	}
}

// takesOverUnderTraffic: it takes over under traffic, without a gap.
func (s *succession) takesOverUnderTraffic() {
	s.t.Helper()
	flood := s.sa.host.Go(func() error {
		return s.sa.host.Pinger(s.sb.host.Overlay4()).Echoes(400, 2*time.Millisecond, 56)
	})
	s.sa.port.Index = 7
	s.a.do(func() error {
		if err := s.a.f.PutPort(s.sa.port); err != nil {
			return err
		}
		for _, e := range []Entry{
			{VNI: testVNI, MAC: [6]byte(s.sa.mac), Index: 7},
			{VNI: testVNI, MAC: [6]byte(s.sb.mac), ToPeer: true, Index: 2},
		} {
			if err := s.a.f.PutEntry(e); err != nil {
				return err
			}
		}
		hook := Ingress
		if s.kind == "tap" {
			hook = Egress
		}
		if _, err := s.a.f.AttachUnderlay(s.a.host.Index(s.a.wire.Name)); err != nil {
			return err
		}
		return errors.Join(s.a.f.AttachPort(s.sa.port.Ifindex, hook, -1), s.a.f.Commit())
	})
	if err := <-flood; err != nil {
		s.t.Errorf("takeover under traffic: %v", err)
	}
	for _, at := range s.a.f.Attachments() {
		if !at.Taken {
			s.t.Errorf("not taken over: %+v", at)
		}
	}
	if err := s.sa.ping(s.sb.host.Overlay4()); err != nil {
		s.t.Fatal(err)
	}
	if c := s.a.f.PortCounters(7); c.RxPackets < 5 {
		s.t.Errorf("the new programs carried %+v", c)
	}
}

// hears: what the programs tell of new sources, it hears.
func (s *succession) hears() {
	s.t.Helper()
	d := testDomain()
	d.NewSources = true
	if err := errors.Join(s.a.f.PutDomain(d), s.a.f.DelEntries(EntryKey{testVNI, [6]byte(s.sa.mac)})); err != nil {
		s.t.Fatal(err)
	}
	if s.sa.pingInVain(s.sb.host.Overlay4()) {
		s.t.Error("answered, though nobody has learned where to")
	}
	var list [8]LearnEvent
	told := LearnEvent{VNI: testVNI, MAC: [6]byte(s.sa.mac), Serial: portSerial}
	if n := s.a.f.ReadEvents(list[:]); n != 5 || slices.ContainsFunc(list[:n], func(e LearnEvent) bool { return e != told }) {
		s.t.Errorf("told %v, want %v five times", list[:n], told)
	}
	if err := errors.Join(s.a.f.PutDomain(testDomain()), s.a.f.PutEntry(Entry{VNI: testVNI, MAC: [6]byte(s.sa.mac), Index: 7})); err != nil {
		s.t.Fatal(err)
	}
}

// getsBeforeWhatShuts: a third finds the device shut by something that came to stand before the former's program; it gets before that in turn.
func (s *succession) getsBeforeWhatShuts() {
	s.t.Helper()
	if err := s.a.f.Abandon(); err != nil {
		s.t.Fatal(err)
	}
	s.a.reopen(s.options, s.b.host.Underlay4())
	s.a.do(func() error {
		shut, err := shutDevice(s.sa.port.Ifindex)
		if err != nil {
			return err
		}
		defer shut.Close()
		for _, e := range []Entry{{VNI: testVNI, MAC: [6]byte(s.sa.mac), Index: 7}, {VNI: testVNI, MAC: [6]byte(s.sb.mac), ToPeer: true, Index: 2}} {
			err = errors.Join(err, s.a.f.PutEntry(e))
		}
		_, underlayErr := s.a.f.AttachUnderlay(s.a.host.Index(s.a.wire.Name))
		if err := errors.Join(err, underlayErr, s.a.f.PutPort(s.sa.port), s.a.f.AttachPort(s.sa.port.Ifindex, Ingress, -1), s.a.f.Commit()); err != nil {
			return err
		}
		if n := s.a.programs(s.sa.port.Ifindex); n != 2 {
			s.t.Errorf("%d programs on the port, not the one and what shuts it", n)
		}
		return s.sa.ping(s.sb.host.Overlay4())
	})
}

// leavesPort: another takes the underlay over and not the port: Commit takes the former port's program off.
func (s *succession) leavesPort() {
	s.t.Helper()
	if err := s.a.f.Abandon(); err != nil {
		s.t.Fatal(err)
	}
	s.a.reopen(s.options, s.b.host.Underlay4())
	s.a.do(func() error {
		_, err := s.a.f.AttachUnderlay(s.a.host.Index(s.a.wire.Name))
		return errors.Join(err, s.a.f.Commit())
	})
	links, err := os.ReadDir(filepath.Join(s.options.PinDir, "links"))
	if err != nil {
		s.t.Fatal(err)
	}
	if slices.ContainsFunc(links, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "port-") }) {
		s.t.Errorf("left after commit: %v", links)
	}
	before := s.a.f.Totals().Encap
	if s.sa.pingInVain(s.sb.host.Overlay4()) || s.a.f.Totals().Encap != before {
		s.t.Error("a port's program is still at work")
	}

	// Close leaves nothing.
	if err := s.a.f.Close(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := os.Stat(s.options.PinDir); !os.IsNotExist(err) {
		s.t.Errorf("pin directory: %v", err)
	}
	if n := s.a.programs(s.a.host.Index(s.a.wire.Name)) + s.a.programs(s.sa.port.Ifindex); n != 0 {
		s.t.Errorf("%d programs left attached", n)
	}
	if err := s.a.f.Close(); !errors.Is(err, ErrClosed) {
		s.t.Errorf("closed twice: %v", err)
	}
	s.a.f = nil
}

// shutDevice has a device drop what comes in, before everything that is there.
func shutDevice(ifindex int) (link.Link, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, dropTCX), asm.Return()}, License: "MIT",
	})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: p, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
}

// TestDeviceGone takes over links whose device has vanished, and whose number another device has now.
func TestDeviceGone(t *testing.T) {
	dir := pinDir(t)
	var options Options
	a, _ := newSides(t, false, false, func(o *Options, _ *Domain) {
		if options.MaxEntries == 0 {
			o.PinDir = dir
			options = *o
		}
	})
	a.host.Must("ip", "link", "add", "d0", "index", "77", "type", "veth", "peer", "name", "d1")
	a.do(func() error { return errors.Join(a.f.AttachPort(77, Ingress, -1), a.f.Commit()) })
	a.host.Must("ip", "link", "del", "d0")
	if err := a.f.DetachPort(77, nil); err != nil {
		t.Errorf("detach from a device that has gone: %v", err)
	}
	a.host.Must("ip", "link", "add", "d0", "index", "77", "type", "veth", "peer", "name", "d1")
	a.do(func() error { return a.f.AttachPort(77, Ingress, -1) })
	if err := a.f.Abandon(); err != nil {
		t.Fatal(err)
	}
	a.host.Must("ip", "link", "del", "d0")
	a.host.Must("ip", "link", "add", "d0", "index", "77", "type", "veth", "peer", "name", "d1")
	a.do(func() (err error) {
		if a.f, err = Open(options); err != nil {
			return err
		}
		return a.f.AttachPort(77, Ingress, -1)
	})
	for _, at := range a.f.Attachments() {
		if at.Taken {
			t.Errorf("took over the link of a device that has gone: %+v", at)
		}
	}
	if n := a.programs(77); n != 1 {
		t.Errorf("%d programs on the new device", n)
	}
}

// TestPinDirectory says no to what is no place for pins.
func TestPinDirectory(t *testing.T) {
	lab.NeedRoot(t)
	needFastPath(t)
	for name, dir := range map[string]string{"no bpffs": t.TempDir(), "relative": "vtepd"} {
		if f, err := Open(Options{PinDir: dir, MaxEntries: 16}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				f.Close()
			}
		}
	}
}

// TestGRO wants generic receive offload on while XDP is at work, and as it was afterwards, over the end of a process too.
func TestGRO(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(a *side, o Options)
	}{
		{"close", func(a *side, _ Options) { a.f.Close() }},
		{"detach", func(a *side, _ Options) { a.f.DetachUnderlay(a.host.Index(a.wire.Name)) }},
		{"successor closes", func(a *side, o Options) {
			a.f.Abandon()
			a.f, _ = Open(o)
			a.f.AttachUnderlay(a.host.Index(a.wire.Name))
			a.f.Close()
		}},
		{"successor without XDP", func(a *side, o Options) {
			a.f.Abandon()
			o.Decap = TCX
			a.f, _ = Open(o)
			a.f.AttachUnderlay(a.host.Index(a.wire.Name))
			a.f.Commit()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := pinDir(t)
			var options Options
			a, _ := newSides(t, false, true, func(o *Options, _ *Domain) {
				if options.MaxEntries == 0 {
					o.PinDir, o.Decap = dir, XDPNative
					options = *o
				}
			})
			gro := func() bool {
				return strings.Contains(a.host.Must("ethtool", "-k", a.wire.Name), "generic-receive-offload: on")
			}
			if !gro() {
				t.Error("off while XDP is at work")
			}
			a.do(func() error { c.end(a, options); return nil })
			if gro() {
				t.Error("on afterwards")
			}
		})
	}
}

// TestAuto chooses what pays, and chooses anew when the device has changed.
func TestAuto(t *testing.T) {
	t.Parallel()
	for _, wire := range []bool{false, true} {
		a, b := newSides(t, false, wire, nil)
		meet(a.veth("wa", 1450), b.veth("wb", 1450))
		for _, gro := range []bool{false, true, false} {
			want := "tcx"
			if wire {
				want = "tcx+gro"
			}
			a.wire.Features(map[string]bool{"rx-gro": gro})
			a.do(func() error {
				d, err := a.f.AttachUnderlay(a.host.Index(a.wire.Name))
				if d.Mode != want || (d.Reason == "") != (wire && !gro) {
					t.Errorf("wire %v, GRO %v: %+v, want %s", wire, gro, d, want)
				}
				return err
			})
			if n, want := a.programs(a.host.Index(a.wire.Name)), len(a.f.Attachments())-1; n != want { // the port has one
				t.Errorf("wire %v, GRO %v: %d programs, %d attachments", wire, gro, n, want)
			}
		}
	}
}

// TestAutoByFeatures: a device that takes superframes of TCP and not those of a UDP tunnel brings segments, as does one whose driver hands XDP on.
func TestAutoByFeatures(t *testing.T) {
	t.Parallel()
	a, _ := newSides(t, false, false, nil)
	if d := a.decap(); d.Mode != "tcx" || !strings.Contains(d.Reason, "superframes") {
		t.Errorf("at first: %+v", d)
	}
	a.wire.Features(map[string]bool{"tx-udp_tnl-segmentation": false, "rx-gro": false})
	if d := a.decap(); d.Mode != "tcx+gro" || d.Reason != "" {
		t.Errorf("without tunnel segmentation: %+v", d)
	}
	t.Run("bond", func(t *testing.T) {
		if _, err := a.host.Command("ip", "link", "add", "bond0", "type", "bond"); err != nil {
			t.Skip("no bonds here")
		}
		a.host.Must("ip", "link", "set", "bond0", "up")
		a.do(func() error {
			d, err := a.f.AttachUnderlay(a.host.Index("bond0"))
			if d.Mode != "tcx+gro" || !strings.Contains(d.Reason, "bonding") {
				t.Errorf("%+v", d)
			}
			return err
		})
	})
}

// TestTwoInstances has two processes share hosts and wire, by UDP port; where XDP is used, one of them has it.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	for _, wire := range []bool{false, true} {
		t.Run(fmt.Sprintf("wire-%v", wire), func(t *testing.T) {
			a, b := newSides(t, false, wire, nil)
			sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
			meet(sa, sb)
			second := func(s *side) *side {
				other := *s
				other.f, other.next = nil, portIndex
				return &other
			}
			a2, b2 := second(a), second(b)
			change := func(o *Options, _ *Domain) { o.Ports = []uint16{testPort + 1} }
			a2.start(b2, false, change)
			b2.start(a2, false, change)
			for _, s := range []*side{a2, b2} {
				t.Cleanup(func() { s.f.Close() })
				p := Peer{Index: peerIndex, Ifindex: s.host.Index(s.wire.Name), MaxFrame: 1464, Divided: s.divided}
				p.NextHop = map[*side]netip.Addr{a2: b.host.Underlay4(), b2: a.host.Underlay4()}[s]
				p.Addr = netip.AddrPortFrom(p.NextHop, testPort+1)
				if err := s.f.PutPeer(p); err != nil {
					t.Fatal(err)
				}
			}
			sa2, sb2 := a2.veth("xa", 1450), b2.veth("xb", 1450)
			meet(sa2, sb2)
			carries(t, sa, sb)
			carries(t, sa2, sb2)
			balanced(t, sa, sb)
			balanced(t, sa2, sb2)
		})
	}
}

// TestTakeoverElsewhere: what a process was killed over in another network namespace is not taken over, though the interface there has the number of the one here.
//
//	the former's: side a ── eth0 ═══ eth0 ── side b: the next one's
func TestTakeoverElsewhere(t *testing.T) {
	t.Parallel()
	for _, decap := range []DecapMode{TCX, XDPNative} {
		t.Run([...]string{TCX: "tcx", XDPNative: "xdp"}[decap], func(t *testing.T) {
			dir := pinDir(t)
			var o Options
			a, b := newSides(t, false, true, func(options *Options, _ *Domain) {
				options.Decap = decap
				if o.MaxEntries == 0 {
					options.PinDir = dir
					o = *options
				}
			})
			there, here := a.host.Index(a.wire.Name), b.host.Index(b.wire.Name)
			if there != here {
				t.Fatalf("ifindex %d in one namespace, %d in the other", there, here)
			}
			sa := a.veth("wa", 1450)
			if err := a.f.Commit(); err != nil {
				t.Fatal(err)
			}
			had := a.programs(there)
			if had == 0 {
				t.Fatal("no programs")
			}
			a.do(a.f.Abandon)
			b.do(func() (err error) {
				if err = b.f.Close(); err != nil {
					return err
				}
				if b.f, err = Open(o); err != nil {
					return err
				}
				if fd := b.f.FormerFilter(sa.port.Ifindex); fd != -1 {
					t.Error("the filter of a port elsewhere is offered")
				}
				_, err = b.f.AttachUnderlay(here)
				return errors.Join(err, b.f.Commit())
			})
			if n := b.programs(here); n != had {
				t.Errorf("%d programs here, want %d", n, had)
			}
			if n := a.programs(there); n != 0 {
				t.Errorf("%d programs are still attached where the former was", n)
			}
		})
	}
}
