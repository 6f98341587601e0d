package dataplane

import (
	"fmt"
	"testing"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// mode is a way to run the switch in which its conformance is proved.
type mode struct {
	name   string
	change func(*Config)
	fast   bool // needs the fast path
}

// modes are all of them: each conformance test runs once in each.
var modes = []mode{
	{name: "offload", change: func(c *Config) { c.FastPath = FastPathOff }},
	{name: "plain", change: func(c *Config) { c.Offload, c.FastPath = false, FastPathOff }},
	{name: "fast path", change: func(c *Config) { c.FastPath = FastPathOn }, fast: true},
}

// everyMode runs a conformance test over IPv4 and over IPv6 in every mode, each with a scene of its own with a number of remotes, at the same time as other
// parallel tests.
func everyMode(t *testing.T, remotes int, f func(t *testing.T, s *scene)) {
	t.Helper()
	t.Parallel()
	for _, family := range []int{4, 6} {
		for _, m := range modes {
			t.Run(fmt.Sprintf("IPv%d %s", family, m.name), func(t *testing.T) {
				t.Parallel()
				if m.fast {
					needFastPath(t)
				}
				build := newScene
				if family == 6 {
					build = newScene6
				}
				f(t, build(t, remotes, m.change))
			})
		}
	}
}

// needFastPath skips a test where the kernel has not what the fast path cannot do without, and names it.
func needFastPath(t testing.TB) {
	t.Helper()
	lab.NeedRoot(t)
	can := xdp.Probe()
	for _, c := range []xdp.Capability{can.BPF, can.TCX, can.BTF, can.RedirectNeigh, can.RedirectPeer} {
		if !c.On {
			t.Skipf("no fast path here: %s: %s", c.Name, c.Reason)
		}
	}
}

// fastPathOn says whether the fast path is on.
func (s *scene) fastPathOn() bool { return s.config.FastPath == FastPathOn }

// pinned makes stations known for good, at a port or behind the first remote (port ""): what is known the fast path carries.
func (s *scene) pinned(vni uint32, port string, stations ...uint64) {
	s.t.Helper()
	for _, mac := range stations {
		e := FDBEntry{VNI: vni, MAC: fdb.MAC(mac), Port: port, State: fdb.Static}
		if port == "" {
			e.Dst = peerAt(s.remotes[0].addr)
		}
		if err := s.FDBPut(e, fdb.Replace); err != nil {
			s.t.Fatal(err)
		}
	}
	s.Switch.fast.catchUp()
}

// wantCarried wants the fast path, where it is on, to have carried a number of frames to peers and from them: a test of it that user space passed proves nothing.
func (s *scene) wantCarried(encap, decap uint64) {
	s.t.Helper()
	if got := s.Status().FastPath; s.fastPathOn() && (got.Encap < encap || got.Decap < decap) {
		s.t.Errorf("the fast path carried %d frames to peers and %d from peers, want %d and %d at least", got.Encap, got.Decap, encap, decap)
	}
}
