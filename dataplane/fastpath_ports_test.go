package dataplane

import (
	"sync/atomic"
	"testing"

	"vtepd/dataplane/device"
)

// askedDevice counts how often a port's interface is asked for its state.
type askedDevice struct {
	portDevice
	asked *atomic.Int32
}

func (d askedDevice) Attr() (device.Attr, error) {
	d.asked.Add(1)
	return d.portDevice.Attr()
}

// TestMirrorAsksFew: a look at what the kernel may have changed asks no port that is on, of which there may be thousands; one whose interface has changed is
// looked at, and no other.
func TestMirrorAsksFew(t *testing.T) {
	t.Parallel()
	s, _ := fakeScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	names := []string{"p0", "p1", "p2"}
	for _, n := range names {
		s.port(n, 42)
	}
	s.rest()
	var m *mirror
	s.fast.with(func(of *mirror) { m = of })
	var asked [3]atomic.Int32
	s.mu.Lock() // so that nobody else asks
	s.fast.do(func() {
		for i, mp := range m.ports[:3] {
			mp.p.link.dev = askedDevice{mp.p.link.dev, &asked[i]}
		}
		for range 5 {
			m.look()
			m.portsCome(m.snap)
		}
		s.fast.portChanged(m.ports[1].p)
		m.portsCome(m.snap)
	})
	s.mu.Unlock()
	for i, n := range names {
		if got, want := asked[i].Load(), int32(i%2); got != want {
			t.Errorf("%s was asked %d times, want %d", n, got, want)
		}
	}
}

// TestMirrorFollowsPorts: a port whose interface goes down leaves the fast path, and comes back with it.
func TestMirrorFollowsPorts(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	s.port("p0", 42)
	s.port("p1", 42)
	on := func(want int) func() bool {
		return func() (yes bool) { f.locked(func() { yes = len(f.ports) == want }); return yes }
	}
	eventually(t, "both ports are on", on(2))
	for range 3 {
		s.Must("ip", "link", "set", "p1", "down")
		eventually(t, "the one that is down is off", on(1))
		s.Must("ip", "link", "set", "p1", "up")
		eventually(t, "it is on again", on(2))
	}
}
