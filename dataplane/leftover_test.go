package dataplane

import (
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
)

// TestRemoveLeftPairs: of the pairs that no veth port is for, those go before the ports come that would bar the way of one, and the others when all are there; one
// that fits stays, and is taken up.
//
//	on a, left by this instance: gone0 ══ gone1 (w)   kept0 ══ kept1 (w)
//	                             moved0 ══ moved1   tap0 ══ tap1   called0 ══ called1   idle0 ══ idle1   near0 ══ near1   same0 ══ same1
//	on a, left by another:       other0 ══ other1
func TestRemoveLeftPairs(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	w := l.Host("w")
	for _, pair := range [][2]string{{"gone0", "gone1"}, {"kept0", "kept1"}, {"other0", "other1"}, {"moved0", "moved1"}, {"tap0", "tap1"}, {"called0", "called1"}, {"idle0", "idle1"}, {"near0", "near1"}} {
		h.Must("ip", "link", "add", pair[0], "type", "veth", "peer", "name", pair[1])
		h.Must("ip", "link", "set", pair[0], "alias", "made by vtepd at /run/test.sock")
	}
	h.Must("ip", "link", "set", "other0", "alias", "made by vtepd at /run/other.sock")
	h.Must("ip", "link", "set", "kept1", "netns", w.Name())
	h.Must("ip", "link", "set", "gone1", "netns", w.Name())
	// A port elsewhere has the number there that a pair has here.
	h.Must("ip", "tuntap", "add", "dev", "away0", "mode", "tap")
	number := strconv.Itoa(h.Index("away0"))
	h.Must("ip", "link", "set", "away0", "netns", w.Name())
	if got := strconv.Itoa(w.Index("away0")); got != number {
		t.Skipf("away0 is number %s, not %s", got, number)
	}
	h.Must("ip", "link", "add", "same0", "index", number, "type", "veth", "peer", "name", "same1")
	h.Must("ip", "link", "set", "same0", "alias", "made by vtepd at /run/test.sock")
	n := startNode(t, h, func(c *Config) { c.Instance = "/run/test.sock" })
	n.vni(42)
	ports := []PortConfig{
		{Name: "away0", Type: PortTAP, NetNS: w.Name(), Untagged: 42},
		{Name: "kept0", Type: PortVeth, NetNS: w.Name(), IfName: "kept1", Untagged: 42},
		{Name: "came0", Type: PortVeth, NetNS: w.Name(), IfName: "gone1", Untagged: 42},
		{Name: "moved0", Type: PortVeth, NetNS: w.Name(), IfName: "moved1", Untagged: 42},
		{Name: "tap0", Type: PortTAP, Untagged: 42},
		{Name: "called0", Type: PortVeth, IfName: "called2", Untagged: 42},
		{Name: "far0", Type: PortVeth, IfName: "near0", Untagged: 42},
	}
	index := h.Index("kept0")
	n.ClearTheWay(ports)
	for _, name := range []string{"idle0", "kept0", "moved0", "called0"} {
		h.Must("ip", "link", "show", name) // until it is certain that the new ports can be had
	}
	for _, c := range ports {
		n.do(func() error { return n.AddPort(c) })
	}
	h.Must("ip", "link", "show", "idle0")
	n.RemoveLeftPairs(ports)
	for _, name := range []string{"gone0", "moved1", "tap1", "called1", "idle0", "same0"} {
		if out, err := h.Command("ip", "link", "show", name); err == nil {
			t.Errorf("still there: %s", out)
		}
	}
	if h.Index("kept0") != index || h.Index("other0") == 0 {
		t.Error("a pair went that is another's or a port's")
	}
	for _, name := range []string{"kept1", "gone1", "moved1"} {
		w.Must("ip", "link", "show", name)
	}
	h.Must("ip", "link", "show", "called2")
}

// TestPortUnderFormer: a port that begins under the program of a former process has no sink, and gets one when it does not come onto the fast path.
func TestPortUnderFormer(t *testing.T) {
	lab.NeedRoot(t)
	nothing, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		t.Skipf("no socket filter: %v", err)
	}
	defer nothing.Close()
	f := newFakePrograms(t)
	f.former, f.formerFilter, f.refusePort = &xdp.State{}, nothing.FD(), errors.New("not this one")
	s := newScene(t, 1, func(c *Config) {
		c.FastPath = FastPathOn
		c.openPrograms = func(xdp.Options) (programs, error) { return f, nil }
	})
	s.set(VNIConfig{VNI: 10, Learning: true}, s.addrs(1)...)
	s.Host.Must("ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0")
	s.Host.Must("ip", "link", "set", "far0", "up")
	s.do(func() error { return s.AddPort(PortConfig{Name: "near0", Type: PortNetdev, Untagged: 10}) })
	dev := s.ports["near0"].published.link.dev.(filteredDevice)
	s.fast.catchUp()
	if dev.Shut() {
		t.Error("a sink stands before the former's program")
	}
	s.do(s.TakeOver)
	if !dev.Shut() {
		t.Error("no sink after the takeover without a fast path")
	}
}

// TestTakeOverForetellsPorts: the maps know every port that a former process served before a program of ours comes to the first, or what goes from there to
// another would be dropped; and they know it by the number that its stations are learned under.
func TestTakeOverForetellsPorts(t *testing.T) {
	lab.NeedRoot(t)
	nothing, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		t.Skipf("no socket filter: %v", err)
	}
	defer nothing.Close()
	f := newFakePrograms(t)
	f.former, f.formerFilter = &xdp.State{}, nothing.FD()
	var known []int // ports in the maps whenever a program came to one
	f.attaching = func() { known = append(known, len(f.ports)) }
	s := newScene(t, 1, func(c *Config) {
		c.FastPath = FastPathOn
		c.openPrograms = func(xdp.Options) (programs, error) { return f, nil }
	})
	s.set(VNIConfig{VNI: 10, Learning: true}, s.addrs(1)...)
	for _, name := range []string{"near0", "near1", "near2"} {
		s.Host.Must("ip", "link", "add", name, "type", "veth", "peer", "name", "far-"+name)
		s.Host.Must("ip", "link", "set", "far-"+name, "up")
		s.do(func() error { return s.AddPort(PortConfig{Name: name, Type: PortNetdev, Untagged: 10}) })
	}
	s.do(s.TakeOver)
	s.fast.catchUp()
	f.locked(func() {
		for i, p := range f.ports {
			if p.Serial == 0 {
				t.Errorf("port %d has no number", i)
			}
		}
		if !slices.Equal(known, []int{3, 3, 3}) {
			t.Errorf("ports in the maps when a program came to each: %v, want all three each time", known)
		}
	})
}

// TestPinsToldOf: what status says of the pins is so, from a takeover on that cannot pin to their being removed and made anew, and the log tells of every change once.
func TestPinsToldOf(t *testing.T) {
	lab.NeedRoot(t)
	f := newFakePrograms(t)
	f.refusePin = errors.New("no room for pins")
	log := new(lines)
	s := newScene(t, 1, func(c *Config) {
		c.FastPath, c.PinDir = FastPathOn, "/nowhere/instance"
		c.openPrograms = func(xdp.Options) (programs, error) { return f, nil }
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	s.do(s.TakeOver)
	var all int
	told := make(map[string]int)
	for _, step := range []struct {
		name   string
		change func()
		pins   string
		reason string
		logged string // "": nothing
	}{
		{"not pinned from the start", func() {}, "", "no room for pins", "fast path goes with vtepd: not everything is pinned"},
		{"still not", func() {}, "", "no room for pins", ""},
		{"there is room", func() { f.refusePin = nil }, "/nowhere/instance", "", "fast path outlives vtepd again"},
		{"nothing happens", func() {}, "/nowhere/instance", "", ""},
		{"removed", func() { f.unpinned = true }, "/nowhere/instance", "", "fast path: pins were removed, and are made anew"},
		{"removed for good", func() { f.unpinned, f.refusePin = true, errors.New("read-only") }, "", "read-only", "fast path goes with vtepd: not everything is pinned"},
		{"still so", func() {}, "", "read-only", ""},
	} {
		f.locked(step.change)
		info := s.Status().FastPath
		if info.Pins != step.pins || info.PinReason != step.reason {
			t.Errorf("%s: pinned in %q, reason %q; want %q and %q", step.name, info.Pins, info.PinReason, step.pins, step.reason)
		}
		if step.logged != "" {
			all++
			told[step.logged]++
		}
		if n, m := log.count(step.logged), log.count("msg=\"fast path"); step.logged != "" && n != told[step.logged] || m != all {
			t.Errorf("%s: %q was logged %d times, and %d lines of the fast path, want %d and %d", step.name, step.logged, n, m, told[step.logged], all)
		}
	}
}
