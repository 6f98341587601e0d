package dataplane

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/fdb"
)

// portInfo finds a port.
func (n *node) portInfo(name string) PortInfo {
	n.t.Helper()
	for _, p := range n.Ports() {
		if p.Config.Name == name {
			return p
		}
	}
	n.t.Fatalf("no port %s", name)
	return PortInfo{}
}

// keepSending sends frames to everybody from a port and from a remote until the returned function is called.
func (s *scene) keepSending(port string) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	j := newInjector(s.t, s.Host, port)
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			j.send(frameOf(station(50), broadcast))
			j.send(frameOf(station(50), station(60)))
			s.remotes[0].send(42, frameOf(station(51), broadcast), frameOf(station(51), station(60)))
		}
	})
	return func() { close(done); wg.Wait() }
}

// Interfaces of ports go down and up, change their names and namespaces and vanish while traffic flows. The switch says so, counts what does not get
// through, and goes on; other ports do not notice.
//
//	p0 (traffic) ──┐
//	p1 (victim)  ──┤ switch ════ r0 (traffic)
//	p2           ──┘
func TestPortStates(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	other := l.Host("other")
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs()...)
	// In a namespace by its name, so that a port is made again there and not where this process lives.
	for _, p := range []string{"p0", "p1", "p2"} {
		s.do(func() error {
			return s.AddPort(PortConfig{Name: p, Type: PortTAP, Untagged: 42, NetNS: s.Name()})
		})
	}
	events, cancel := s.Subscribe(1 << 14)
	defer cancel()
	stop := sync.OnceFunc(s.keepSending("p0"))
	defer stop()

	// The victim has a station of its own, which the traffic is for.
	s.Inject("p1", frameOf(station(60), broadcast))
	eventually(t, "the victim's station is learned", func() bool { return s.known(42, station(60)) })
	reaches := func(when string, h *lab.Host, ifname string) {
		t.Helper()
		for _, source := range []uint64{station(50), station(51)} {
			sniffer := h.Sniff(ifname)
			want := frameOf(source, broadcast)
			if _, ok := sniffer.Until(lab.Patience, func(f []byte) bool { return string(f) == string(want) }); !ok {
				t.Fatalf("%s: nothing of %#x arrives; drops %v, port %+v", when, source, s.Drops(), s.portInfo("p1"))
			}
			sniffer.Close()
		}
	}
	drops := func(when string, reason Reason) {
		t.Helper()
		before := s.dropped(reason)
		eventually(t, when+": frames for the station are dropped for "+reason.String(), func() bool { return s.dropped(reason) > before+2 })
	}
	becomes := func(state PortState) {
		t.Helper()
		eventually(t, "state "+string(state), func() bool { return s.portInfo("p1").State == state })
	}
	reaches("at first", s.Host, "p1")

	s.do(func() error {
		return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(60)), Port: "p1", State: fdb.Static}, fdb.Replace)
	})
	s.Must("ip", "link", "set", "p1", "down")
	becomes(PortIsDown)
	drops("down", PortDown)
	if err := s.FDBDel(42, fdb.MAC(station(60)), netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	s.Must("ip", "link", "set", "p1", "up")
	becomes(PortUp)
	reaches("up again", s.Host, "p1")
	fromVictim := func(when string, h *lab.Host, ifname string) {
		t.Helper()
		sniffer, want := s.Sniff("p2"), frameOf(station(60), broadcast)
		h.Inject(ifname, want)
		if _, ok := sniffer.Until(lab.Patience, func(f []byte) bool { return string(f) == string(want) }); !ok {
			t.Errorf("%s: what the victim sends does not arrive", when)
		}
		sniffer.Close()
	}
	fromVictim("up again", s.Host, "p1")

	s.Rename("p1", "renamed")
	if got := s.portInfo("p1"); got.Ifname != "renamed" || got.State != PortUp {
		t.Errorf("renamed: %+v", got)
	}
	reaches("renamed", s.Host, "renamed")
	fromVictim("renamed", s.Host, "renamed")

	// The kernel sets an interface down when it moves.
	s.Must("ip", "link", "set", "renamed", "netns", other.Name())
	other.Must("ip", "link", "set", "renamed", "up")
	if got := s.portInfo("p1"); got.NetNS != other.Name() || got.State != PortUp {
		t.Errorf("moved: %+v", got)
	}
	reaches("moved", other, "renamed")
	fromVictim("moved", other, "renamed")

	gone := s.dropped(PortGone)
	other.Must("ip", "link", "del", "renamed")
	// It is made again under its name, where it belongs, and what was known behind it is forgotten.
	eventually(t, "state missing, then up", func() bool {
		seen := ""
		for len(events) > 0 {
			if e := <-events; e.Object == "port" && e.Port == "p1" {
				seen += e.Action + " "
			}
		}
		if strings.Contains(seen, "missing") {
			t.Log(seen)
			return true
		}
		return false
	})
	if s.known(42, station(60)) {
		t.Error("a station behind a port that is missing is still known")
	}
	becomes(PortUp)
	if got := s.portInfo("p1"); got.Ifname != "p1" || got.NetNS != "" {
		t.Errorf("made again: %+v", got)
	}
	t.Logf("%d frames dropped for port_gone meanwhile", s.dropped(PortGone)-gone)
	reaches("made again", s.Host, "p1")
	fromVictim("made again", s.Host, "p1")
	if e := s.entry(42, station(60)); e.Port != "p1" || e.Moves != 0 {
		t.Errorf("the station after its port was made again: %+v", e)
	}
	stop()
	s.rest()
	s.balance()
	if got := s.portInfo("p0"); got.State != PortUp {
		t.Errorf("the port that nothing happened to: %+v", got)
	}
}

// What was learned at a port goes when the port goes down, as at a Linux bridge: a station that has moved, and has nothing to say, is looked for elsewhere. Static
// entries stay.
//
//	p0 p1 (goes down) ── switch ════ r0
func TestPortDownForgets(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs()...)
	s.port("p0", 42)
	s.port("p1", 42)
	s.do(func() error {
		return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(3)), Port: "p1", State: fdb.Static}, fdb.Add)
	})
	s.Inject("p1", frameOf(station(2), broadcast))
	s.Inject("p0", frameOf(station(1), broadcast))
	s.forget()
	s.Inject("p0", frameOf(station(1), station(2)))
	if got, want := s.counts(), "p1:1"; got != want {
		t.Errorf("a frame for the station: %q, want %q", got, want)
	}

	s.outer().Must("ip", "link", "set", "p1", "down")
	eventually(t, "p1 is down, and its station forgotten", func() bool {
		return s.portInfo("p1").State == PortIsDown && !s.known(42, station(2))
	})
	if !s.known(42, station(1)) || !s.known(42, station(3)) {
		t.Errorf("a station of another port, or a static entry, went as well: %+v", s.FDBDump(FDBFilter{}))
	}
	s.forget()
	s.Inject("p0", frameOf(station(1), station(2)))
	if got, want := s.counts(), "r0:1"; got != want {
		t.Errorf("a frame for the station that has moved: %q, want %q", got, want)
	}
	s.drops(1, PortDown, func() { s.Inject("p0", frameOf(station(1), station(3))) })
	s.remotes[0].send(42, frameOf(station(2), station(1)))
	s.rest()
	if e := s.entry(42, station(2)); e.Dst != peerAt(s.remotes[0].addr) {
		t.Errorf("the station after it has answered from elsewhere: %+v", e)
	}

	// Learned from what waited in the port's queue: gone with the next look.
	s.fdb.Learn(42, fdb.MAC(station(4)), s.ports["p1"].published.place(), s.now())
	eventually(t, "a station that was learned at a port that is down is forgotten", func() bool { return !s.known(42, station(4)) })

	s.outer().Must("ip", "link", "set", "p1", "up")
	eventually(t, "p1 is up", func() bool { return s.portInfo("p1").State == PortUp })
	s.Inject("p1", frameOf(station(2), broadcast))
	s.rest()
	if e := s.entry(42, station(2)); e.Port != "p1" || e.Moves != 1 {
		t.Errorf("the station after it has come back: %+v", e)
	}
}

// A port whose interface cannot be made again, because something else has the name, stays missing and is made once it can; it can be deleted meanwhile.
//
//	p0 p1 ── switch
func TestMissingPort(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	add := func(name string) {
		s.do(func() error {
			return s.AddPort(PortConfig{Name: name, Type: PortTAP, Untagged: 42, NetNS: s.Name()})
		})
	}
	add("p0")
	add("p1")
	for _, p := range []string{"p0", "p1"} {
		s.Must("ip", "link", "del", p)
		s.Must("ip", "link", "add", p, "type", "bridge")
	}
	for _, p := range []string{"p0", "p1"} {
		eventually(t, "missing", func() bool { return s.portInfo(p).State == PortMissing })
	}
	time.Sleep(retryFirst + 100*time.Millisecond)
	if got := s.portInfo("p0").State; got != PortMissing {
		t.Errorf("state %s while a bridge has the name", got)
	}
	// A change of its VLANs is remembered.
	s.set(VNIConfig{VNI: 43, Learning: true})
	s.do(func() error {
		return s.SetPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 43, NetNS: s.Name()})
	})
	s.do(func() error { return s.DelPort("p1") })
	s.Must("ip", "link", "del", "p0")
	eventually(t, "made once it can be", func() bool { return s.portInfo("p0").State == PortUp })
	s.configuredPort(PortConfig{Name: "p2", Untagged: 43})
	s.Inject("p0", frameOf(station(1), broadcast))
	if got, want := s.counts(), "p2:1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.Must("ip", "link", "show", "p1") // the bridge is not ours to delete
	if err := s.Switch.Close(); err != nil {
		t.Error(err)
	}
	// A child that another test has just forked may hold the device until it runs its program.
	eventually(t, "nothing is left after Close", func() bool {
		out, err := s.Command("ip", "-o", "link", "show", "type", "tun")
		return err == nil && strings.TrimSpace(out) == ""
	})
	s.Must("ip", "link", "show", "p1")
}

// A pair that vanishes after its workload's end could not be found any more, as when the name of the namespace went first, is made again with the MAC that its neighbours
// know.
//
//	{eth0} workload ── v0 ── switch
func TestMACOutlastsTheEnd(t *testing.T) {
	t.Parallel()
	n := newLoneNode(t)
	l := lab.New(t)
	workload, elsewhere := l.Host("workload"), l.Host("elsewhere")
	n.do(func() error {
		return n.AddPort(PortConfig{Name: "v0", Type: PortVeth, Untagged: 42, NetNS: workload.Name()})
	})
	mac := n.portInfo("v0").MAC.String()
	workload.Must("ip", "link", "set", "eth0", "netns", elsewhere.Name())
	eventually(t, "the end is not where it was", func() bool { return n.portInfo("v0").MAC == nil })
	elsewhere.Must("ip", "link", "del", "eth0")
	eventually(t, "the pair is missing", func() bool { return n.portInfo("v0").State == PortMissing })
	eventually(t, "the pair is there again", func() bool { return n.portInfo("v0").State == PortUp })
	if got := n.portInfo("v0").MAC.String(); got != mac {
		t.Errorf("MAC %s, was %s", got, mac)
	}
}
