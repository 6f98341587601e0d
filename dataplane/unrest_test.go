package dataplane

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What changes now and then is told each time. What changes all the time is told of a few times and then summed up, and its end always.
func TestUnrest(t *testing.T) {
	start := time.Now()
	var u unrest
	now := start
	for i := range 50 {
		if now = now.Add(unrestWindow / unrestBurst); !u.change(now) {
			t.Fatalf("change %d of a port that changes every %s is not told", i, unrestWindow/unrestBurst)
		}
	}
	if _, say := u.rests(now.Add(time.Hour)); say {
		t.Error("a port whose changes were told comes to rest")
	}

	now = now.Add(unrestWindow)
	told, words, heard := 0, 0, 0
	for range 10_000 { // over 400 seconds
		now = now.Add(40 * time.Millisecond)
		if u.change(now) {
			told++
		} else if n, of, say := u.word(now); say {
			words++
			heard += n
			if words == 1 && (n != unrestBurst+1 || of != unrestBurst*40*time.Millisecond) || words > 1 && of < unrestTell {
				t.Errorf("word %d tells of %d changes in %s", words, n, of)
			}
		}
		if _, say := u.rests(now.Add(unrestWindow - 1)); say {
			t.Fatal("at rest too early")
		}
	}
	if told != unrestBurst || words != 7 {
		t.Errorf("%d changes are told, and %d times how many there were; want %d and 7", told, words, unrestBurst)
	}
	if want := 10_000 - 1000; heard < want {
		t.Errorf("%d changes of 10000 are told of meanwhile, want %d at least", heard, want)
	}
	now = now.Add(unrestWindow)
	if all, say := u.rests(now); !say || all != 10_000-unrestBurst {
		t.Errorf("at rest: %t, after %d changes that were not told", say, all)
	}
	if _, say := u.rests(now); say {
		t.Error("at rest twice")
	}
	if !u.change(now) {
		t.Error("the next change is not told")
	}
}

// A workload that sets its end down and up as fast as it can does not fill the log. Events tell each change, and the log the last state.
//
//	workload ── p0 ── switch
func TestUnrestOfPort(t *testing.T) {
	t.Parallel()
	log := new(lines)
	s := newSceneOf(t, PortVeth, nil, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	eventually(t, "the port is up", func() bool { return s.portInfo("p0").State == PortUp })
	events, cancel := s.Subscribe(1000)
	defer cancel()
	told := func() (n int) {
		for len(events) > 0 {
			if e := <-events; e.Object == "port" && (e.Action == "up" || e.Action == "down") {
				n++
			}
		}
		return n
	}
	const flaps = 20
	name := s.portInfo("p0").Config.IfName
	if name == "" {
		name = "eth0"
	}
	changes := 0
	for i := range flaps {
		want, mtu := PortIsDown, "1400"
		if i%2 == 1 {
			want, mtu = PortUp, "1300"
		}
		s.outside.Must("ip", "link", "set", name, map[PortState]string{PortIsDown: "down", PortUp: "up"}[want])
		s.outside.Must("ip", "link", "set", name, "mtu", mtu)
		eventually(t, "the port is "+string(want), func() bool { return s.portInfo("p0").State == want })
		changes += told()
	}
	if changes != flaps {
		t.Errorf("%d events for %d changes", changes, flaps)
	}
	single := log.count(`msg="port state" port=p0`) + log.count(`msg="port MTU was changed from outside" port=p0`)
	if words := log.count("port changes all the time"); single > unrestBurst || words != 1 {
		t.Errorf("%d lines for single changes and %d for all, want %d and 1:\n%s", single, words, unrestBurst, log.text())
	}
	if n := log.count("port rests"); n != 0 {
		t.Error("at rest at once")
	}
	s.mu.Lock()
	u := &s.ports["p0"].unrest
	for i := range u.latest {
		u.latest[i] = u.latest[i].Add(-unrestWindow)
	}
	s.mu.Unlock()
	eventually(t, "the log tells what came of it", func() bool { return log.count(`msg="port rests" port=p0 state=up`) == 1 })
	if _, last, _ := strings.Cut(log.text(), "port rests"); !strings.Contains(last, "mtu=1300") {
		t.Errorf("another MTU than the last:\n%s", log.text())
	}
	s.outside.Must("ip", "link", "set", name, "down")
	eventually(t, "the next change is told", func() bool { return log.count("from=up to=down") > 0 && s.portInfo("p0").State == PortIsDown })
}

// TestUnderlayToldOnce: the programs leave with the last port and come back with it as often as a workload likes, and the log does not tell each time.
func TestUnderlayToldOnce(t *testing.T) {
	log := new(lines)
	s, f := fakeScene(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	s.set(VNIConfig{VNI: 10, Learning: true}, s.addrs(1)...)
	s.do(func() error { return s.AddPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 10}) })
	flap := func() {
		for _, on := range []bool{false, true} {
			s.fast.with(func(m *mirror) {
				for _, mp := range m.ports {
					if mp != nil {
						mp.on = on
					}
				}
				m.underlaysStale = true
				m.underlaysFollow()
			})
		}
	}
	s.fast.catchUp()
	attached := func() (n int) { f.locked(func() { n = f.asked }); return n }
	before := attached()
	for range 10 {
		flap()
	}
	if attached() < before+10 {
		t.Fatalf("attached %d times", attached()-before)
	}
	if n := log.count("datagrams are taken"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.text())
	}
	f.locked(func() { f.decap.Mode = "xdp+tcx" })
	flap()
	flap()
	if n := log.count("by=xdp+tcx"); n != 1 {
		t.Errorf("told %d times of another way", n)
	}
}
