package dataplane

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
)

// lines is a log that a test reads.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestUnderlayRetried: an interface that refused its programs is asked again, ever less often, and each change is told once.
func TestUnderlayRetried(t *testing.T) {
	log := new(lines)
	s, f := fakeScene(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	f.locked(func() { f.refuse = errors.New("not today") })
	s.set(VNIConfig{VNI: 10, Learning: true}, s.addrs(1)...)
	s.do(func() error { return s.AddPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 10}) })
	s.fast.catchUp()
	asked := func() (n int) { f.locked(func() { n = f.asked }); return n }
	// look is what a poll or an announcement does, when the pause after a failure is over, or is not.
	look := func(over bool) (pause time.Duration) {
		s.fast.with(func(m *mirror) {
			for _, u := range m.underlays {
				if over {
					u.due = time.Time{}
				}
				pause = u.pause
			}
			m.look()
			s.fast.round()
		})
		return pause
	}
	first := asked()
	if first == 0 {
		t.Fatal("never attached")
	}
	for range 20 {
		look(false)
	}
	if n := asked(); n > first+1 { // one may have come due
		t.Errorf("asked %d times without a pause", n-first)
	}
	var pause time.Duration
	for range 8 {
		pause = look(true)
	}
	if pause != underlayRetryMost {
		t.Errorf("pause %v after many failures, want %v", pause, underlayRetryMost)
	}
	if n := log.count("not today"); n != 1 {
		t.Errorf("told %d times of the same failure", n)
	}
	f.locked(func() { f.refuse = nil })
	look(true)
	if got := s.Status().FastPath.Attachments; len(got) < 2 || got[0].Kind == "" && got[1].Kind == "" {
		t.Errorf("not attached afterwards: %+v", got)
	}
	for range 3 {
		look(false)
	}
	if n := log.count("datagrams are taken"); n != 1 {
		t.Errorf("told %d times that it is attached", n)
	}
	f.locked(func() { f.decap = xdp.Decap{Mode: "xdp+tcx"} })
	for range 3 {
		look(false)
	}
	if n := log.count("by=xdp+tcx"); n != 1 {
		t.Errorf("told %d times of the better way", n)
	}
	if log.count(`reason=""`) != 0 {
		t.Error("told of a reason that there is not")
	}
}

// TestUnderlayFollowsDevice: how datagrams are taken follows what the device is now: its segmentation offload, its GRO, its MAC.
func TestUnderlayFollowsDevice(t *testing.T) {
	// XDP on both ends would take the segmentation offload from each other.
	_, nodes, w := fastPair(t, PortVeth, func(c *Config) {
		if c.Local == netip.MustParseAddr("192.0.2.1") {
			c.fastDecap = xdp.TCX
		}
	})
	n := nodes[1]
	kind := func() (k, reason string) {
		for _, a := range n.Status().FastPath.Attachments {
			if a.Port == "" {
				k, reason = a.Kind, a.Reason
			}
		}
		return k, reason
	}
	becomes := func(want, when string) {
		t.Helper()
		for end := time.Now().Add(lab.Patience); ; time.Sleep(20 * time.Millisecond) {
			k, reason := kind()
			if k == want {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %q (%s), want %q", when, k, reason, want)
			}
		}
		pings(t, w[0], w[1].Overlay4(), 20)
	}
	becomes("tcx", "at first")
	n.Must("ethtool", "-K", "eth0", "tso", "off")
	becomes("tcx+gro", "without superframes")
	n.Must("ethtool", "-K", "eth0", "gro", "on")
	for end := time.Now().Add(lab.Patience); ; time.Sleep(20 * time.Millisecond) {
		if _, reason := kind(); strings.Contains(reason, "left unfinished") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("with GRO of its own: no word of why XDP is not used")
		}
	}
	becomes("tcx+gro", "with GRO of its own")
	n.Must("ip", "link", "set", "eth0", "address", "02:00:5e:00:53:07")
	nodes[0].Must("ip", "neigh", "flush", "dev", "eth0")
	time.Sleep(4 * routeSettle)
	carriedPings(t, w[0], w[1].Overlay4(), n)
	becomes("tcx+gro", "after a change of the MAC")
	n.Must("ethtool", "-K", "eth0", "gro", "off")
	becomes("tcx+gro", "without GRO of its own")
	n.Must("ethtool", "-K", "eth0", "tso", "on")
	becomes("tcx", "with superframes")
	for _, n := range nodes {
		n.balance()
	}
}
