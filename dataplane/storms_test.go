package dataplane

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// calmed has storms that are on be without a drop for long enough.
func (s *scene) calmed() {
	s.t.Helper()
	s.followStorms()
	s.mu.Lock()
	for _, st := range s.storms.on {
		st.last -= int64(stormHold)
	}
	s.mu.Unlock()
	s.followStorms()
}

// A storm is told when it begins and when it is over, once each, by the log and by an event, and what status says meanwhile; not the next one before that.
//
//	p0 p1 ── switch ════ r0 (named) r1 (not named)
func TestStormsAreTold(t *testing.T) {
	t.Parallel()
	log, json := new(lines), new(lines)
	s := newScene(t, 2, func(c *Config) {
		c.Log = slog.New(slog.NewMultiHandler(slog.NewTextHandler(log, nil), slog.NewJSONHandler(json, nil)))
	})
	bound := StormControl{Broadcast: pps(3), Multicast: Rate{N: 1000, Bits: true}}
	set := func(c StormControl) {
		s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute, Policy: Learn, StormControl: c}, s.addrs(0)...)
	}
	set(bound)
	s.port("p0", 42)
	s.port("p1", 42)
	events, cancel := s.Subscribe(100)
	defer cancel()
	told := func() (list []string) {
		for len(events) > 0 {
			if e := <-events; e.Action == "storm" || e.Action == "calm" {
				from := e.Port
				if e.Object == "peer" {
					from = e.Peer.String()
				}
				list = append(list, fmt.Sprintf("%s %s %s vni %d (%s) %d", e.Object, e.Action, from, e.VNI, e.Reason, e.Count))
			}
		}
		slices.Sort(list)
		return list
	}
	want := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: told\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
	const many = 50
	multicast := uint64(0x01005e000101)

	s.Inject("p0", times(3, frameOf(station(1), broadcast))...)
	s.rest()
	s.followStorms()
	want("within the bound", told())

	for range 3 {
		s.Inject("p0", times(many, frameOf(station(1), broadcast))...)
		s.remotes[0].send(42, times(many, frameOf(station(2), multicast))...)
		s.remotes[1].send(42, times(many, frameOf(station(3), broadcast))...)
		s.rest()
		s.followStorms()
	}
	r0, r1 := s.remotes[0].addr.String(), s.remotes[1].addr.String()
	want("three storms", told(), "peer storm "+r1+":4789 vni 42 (broadcast over 3pps) 0", "peer storm "+r0+":4789 vni 42 (multicast over 1kbit) 0",
		"port storm p0 vni 42 (broadcast over 3pps) 0")
	for _, line := range []string{"port=p0 vni=42 kind=broadcast rate=3pps", "peer=" + r0 + ":4789 vni=42 kind=multicast rate=1kbit", "peer=" + r1 + ":4789 vni=42 kind=broadcast rate=3pps"} {
		if log.count(`level=WARN msg="storm: more is flooded than storm-control allows, and dropped" `+line+"\n") != 1 {
			t.Errorf("%s is not told once:\n%s", line, log.text())
		}
	}
	if json.count(`"port":"p0","vni":42,"kind":"broadcast","rate":"3pps"`) != 1 {
		t.Errorf("in JSON:\n%s", json.text())
	}
	dropped := make(map[string]uint64)
	for _, d := range s.Drops() {
		if d.Reason == StormLimited {
			dropped[d.Port+d.Peer.Addr().String()] += d.Count
		}
	}
	var all uint64
	storms := s.Status().Storms
	for _, st := range storms {
		all += st.Dropped
		if st.VNI != 42 || st.Age <= 0 || (st.Port == "") == !st.Peer.IsValid() {
			t.Errorf("status: %+v", st)
		}
	}
	if len(storms) != 3 || all != s.dropped(StormLimited) {
		t.Errorf("status tells of %d storms, which cost %d frames of %d: %+v", len(storms), all, s.dropped(StormLimited), storms)
	}

	s.followStorms()
	want("meanwhile", told())
	s.calmed()
	if list := told(); len(list) != 3 || !strings.HasPrefix(list[2], "port calm p0 vni 42 (broadcast over 3pps) ") || !strings.HasSuffix(list[2], fmt.Sprint(" ", dropped["p0invalid IP"])) {
		t.Errorf("at the end: %q; dropped %v", list, dropped)
	}
	if log.count(`level=INFO msg="storm is over" port=p0 vni=42 kind=broadcast rate=3pps dropped=`) != 1 || log.count("storm is over") != 3 {
		t.Errorf("the ends are not told:\n%s", log.text())
	}
	if n := len(s.Status().Storms); n != 0 {
		t.Errorf("%d storms after the last", n)
	}
	s.calmed()
	want("once over", told())

	// Another one, which ends with its bound, and as the next by another.
	s.Inject("p0", times(many, frameOf(station(1), broadcast))...)
	s.rest()
	s.followStorms()
	want("again", told(), "port storm p0 vni 42 (broadcast over 3pps) 0")
	set(StormControl{Broadcast: pps(5)})
	s.followStorms()
	if list := told(); len(list) != 1 || !strings.HasPrefix(list[0], "port calm p0 vni 42 (broadcast over 3pps, its bound has changed or gone) ") {
		t.Errorf("with another bound: %q", list)
	}
	s.Inject("p0", times(many, frameOf(station(1), broadcast))...)
	s.rest()
	s.followStorms()
	want("by another bound", told(), "port storm p0 vni 42 (broadcast over 5pps) 0")
	s.do(func() error { return s.DelPort("p0") })
	s.followStorms()
	if list := told(); len(list) != 1 || !strings.HasPrefix(list[0], "port calm p0 vni 42 (broadcast over 5pps, its bound has changed or gone) ") {
		t.Errorf("with the port gone: %q", list)
	}
	for i := range s.storms.followed {
		if n := s.storms.followed[i].Load(); n != 0 {
			t.Errorf("%d storms of source %d are still followed", n, i)
		}
	}
}

// Who floods in every VNI of a trunk, and from as many addresses as it likes, does not fill log and memory, nor hide another's storm.
//
//	trunk (VNIs 1 to 12), p0 ── switch ════ r0 r1 ... (not named)
func TestStormsAreBounded(t *testing.T) {
	t.Parallel()
	log := new(lines)
	const vnis, strangers = 12, 4
	s := newScene(t, 1+strangers, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	one := pps(1)
	trunk := PortConfig{Name: "trunk"}
	for vni := uint32(1); vni <= vnis; vni++ {
		s.set(VNIConfig{VNI: vni, Learning: true, Policy: Learn, StormControl: StormControl{one, one, one}}, s.addrs(0)...)
		trunk.Tagged = append(trunk.Tagged, VIDMap{VID: uint16(vni), VNI: vni})
	}
	s.configuredPort(trunk)
	s.port("p0", 1)
	flood := func() {
		for _, dst := range []uint64{broadcast, 0x01005e000101, station(99)} {
			for vni := uint16(1); vni <= vnis; vni++ {
				s.Inject("trunk", times(4, putTag(frameOf(station(1), dst), 0x8100, vni))...)
			}
			for i, r := range s.remotes[1:] {
				for vni := uint32(1); vni <= vnis; vni += 4 {
					r.send(vni, times(4, frameOf(station(2+i), dst))...)
				}
			}
		}
		s.rest()
		s.followStorms()
	}
	flood()
	flood()
	s.Inject("p0", times(4, frameOf(station(90), broadcast))...)
	s.remotes[0].send(7, times(4, frameOf(station(91), broadcast))...)
	s.rest()
	s.followStorms()
	by := make(map[string]int)
	for _, st := range s.Status().Storms {
		switch {
		case st.Port != "":
			by[st.Port]++
		case st.Peer.Addr() == s.remotes[0].addr:
			by["named"]++
		default:
			by["others"]++
		}
	}
	if by["trunk"] != stormsAtOnce || by["others"] != stormsAtOnce || by["p0"] != 1 || by["named"] != 1 {
		t.Errorf("storms that are followed: %v", by)
	}
	begun := func() int { return log.count("storm: more is flooded") }
	if n := begun(); n != 2*stormLines+2 {
		t.Errorf("%d lines", n)
	}
	for range 5 {
		s.calmed()
		flood()
	}
	s.calmed()
	if n := begun(); n != 2*stormLines+2 {
		t.Errorf("%d lines of storms in a minute:\n%s", n, log.text())
	}
	if n := log.count(`msg="storms were not told each" port=trunk storms=8`); n == 0 {
		t.Errorf("what is not told is not told of:\n%s", log.text())
	}
	if n := len(s.storms.told); n != 4 {
		t.Errorf("%d sources are remembered", n)
	}
}

// What many workers drop at once begins one storm, and nothing of it is lost, whenever that ends.
func TestStormBegins(t *testing.T) {
	const workers, each = 4, 20_000
	f := newStorms()
	var b stormBudget
	done := make(chan int)
	for range workers {
		go func() {
			begun := 0
			for range each {
				if b.dropped.Add(1) == 1 {
					if f.begin(&storm{source: 3, budget: &b}) {
						begun++
					} else {
						b.dropped.Store(0)
					}
				}
			}
			done <- begun
		}()
	}
	begun, ended := 0, 0
	var counted uint64
	for left := workers; left > 0 || b.dropped.Load() > 0; {
		select {
		case n := <-done:
			begun += n
			left--
		default:
		}
		f.mu.Lock()
		fresh := len(f.fresh)
		f.fresh = f.fresh[:0]
		f.refill()
		f.mu.Unlock()
		if fresh > 1 {
			t.Fatalf("%d storms at once of one budget", fresh)
		}
		if fresh == 1 {
			ended++
			counted += b.dropped.Swap(0)
			f.followed[3].Add(-1)
		}
	}
	if begun != ended || counted != workers*each {
		t.Errorf("%d storms began, %d ended, with %d of %d frames", begun, ended, counted, workers*each)
	}
	if n := f.followed[3].Load(); n != 0 {
		t.Errorf("%d are followed", n)
	}

	// What finds no room leaves none behind.
	for i := range 2 * freshStorms {
		if ok := f.begin(&storm{source: i}); ok != (i < freshStorms) {
			t.Fatalf("storm %d between two looks: %v", i, ok)
		}
	}
	if f.followed[freshStorms].Load() != 0 {
		t.Error("a storm that found no room is followed")
	}
}
