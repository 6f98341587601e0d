package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
)

// A netdev port waits for its interface, takes it when it appears, by its name or by being renamed to it, lets go when it vanishes, and takes it again.
//
//	p0 (TAP) ──┐
//	nic0     ──┤ switch ════ r0
func TestInterfaceComesAndGoes(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	out := s.l.Host("out")
	silence(t, out)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs()...)
	s.port("p0", 42)
	events, cancel := s.Subscribe(64)
	defer cancel()
	s.do(func() error { return s.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42}) })
	becomes := func(when string, state PortState) {
		t.Helper()
		eventually(t, when+": state "+string(state), func() bool { return s.portInfo("nic0").State == state })
	}
	if i := s.portInfo("nic0"); i.State != PortMissing || i.Reason == "" {
		t.Errorf("not there yet: %+v", i)
	}
	works := func(when string) {
		t.Helper()
		sniffer := out.Sniff("far0")
		defer sniffer.Close()
		for _, source := range []struct {
			mac  uint64
			send func(frame []byte)
		}{
			{station(1), func(f []byte) { s.Inject("p0", f) }},
			{station(5), func(f []byte) { s.remotes[0].send(42, f) }},
		} {
			frame := frameOf(source.mac, broadcast)
			source.send(frame)
			if _, ok := sniffer.Until(lab.Patience, func(b []byte) bool { return string(b) == string(frame) }); !ok {
				t.Errorf("%s: nothing of %#x comes out: %+v, drops %v", when, source.mac, s.portInfo("nic0"), s.Drops())
			}
		}
		s.forget()
		out.Inject("far0", frameOf(station(7), broadcast))
		eventually(t, when+": what comes in is learned", func() bool { return s.known(42, station(7)) })
		if e := s.entry(42, station(7)); e.Port != "nic0" {
			t.Errorf("%s: learned at %q", when, e.Port)
		}
		s.forget()
	}
	pair := func(name string) {
		s.Must("ip", "link", "add", name, "type", "veth", "peer", "name", "far0", "netns", out.Name())
		out.Up("far0")
	}
	pair("nic0")
	becomes("made", PortUp)
	works("made")
	s.Must("ip", "link", "del", "nic0")
	becomes("deleted", PortMissing)
	if s.known(42, station(7)) {
		t.Error("an entry of a port without interface is left")
	}
	pair("other0")
	s.Must("ip", "link", "set", "other0", "name", "nic0")
	becomes("renamed to it", PortUp)
	works("renamed to it")
	s.Must("ip", "link", "set", "nic0", "down")
	becomes("down", PortIsDown)
	s.Must("ip", "link", "set", "nic0", "up")
	becomes("up", PortUp)
	works("up again")

	// In a bridge it cannot be a port, and the port says so until it left.
	s.Must("ip", "link", "del", "nic0")
	becomes("deleted again", PortMissing)
	s.Must("ip", "link", "add", "br0", "type", "bridge")
	pair("other0")
	s.Must("ip", "link", "set", "other0", "master", "br0")
	s.Must("ip", "link", "set", "other0", "name", "nic0")
	eventually(t, "the reason is shown", func() bool { return strings.Contains(s.portInfo("nic0").Reason, `belongs to the bridge "br0"`) })
	s.Must("ip", "link", "set", "nic0", "nomaster")
	becomes("left the bridge", PortUp)
	works("left the bridge")

	// Put into one while it is a port, it stays the port, with a warning.
	s.Must("ip", "link", "set", "nic0", "master", "br0")
	eventually(t, "the warning is shown", func() bool { return strings.Contains(s.portInfo("nic0").Warning, `it was put into the bridge "br0"`) })
	works("in a bridge")
	s.Must("ip", "link", "set", "nic0", "nomaster")
	eventually(t, "the warning is gone", func() bool { return s.portInfo("nic0").Warning == "" })

	s.do(func() error { return s.DelPort("nic0") })
	if out := s.Must("ip", "-d", "link", "show", "nic0"); !strings.Contains(out, "promiscuity 0") {
		t.Errorf("given back: %s", out)
	}
	s.rest()
	s.balance()
	var seen []string
	for len(events) > 0 {
		if e := <-events; e.Object == "port" {
			seen = append(seen, e.Action)
		}
	}
	if got, want := strings.Join(seen, " "), "missing up missing up down up missing up del"; !strings.HasSuffix(got, strings.TrimPrefix(want, "missing ")) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// An interface that is deleted and made anew is taken at once, though both are seen in one look: nothing may be announced of it again.
//
//	nic0 ── switch
func TestInterfaceMadeAnew(t *testing.T) {
	t.Parallel()
	n := newLoneNode(t)
	silence(t, n.Host)
	batch := func(lines string) { n.Must("sh", "-c", "ip -batch - <<END\n"+lines+"END") }
	anew := "link add nic0 type veth peer name far0\nlink set nic0 up\nlink set far0 up\n"
	batch(anew)
	n.do(func() error { return n.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42}) })
	n.mu.Lock()
	r := n.ports["nic0"]
	former := r.attr.Ifindex
	batch("link del nic0\n" + anew)
	n.do(func() error { n.refreshPort(r); return nil })
	state, index := r.state, r.attr.Ifindex
	n.mu.Unlock()
	if want := n.Index("nic0"); state == PortMissing || index != want || former == want {
		t.Errorf("%s at interface %d, want that of index %d; the former had %d", state, index, want, former)
	}
}

// Frames are judged by the MTU that a netdev has, whoever set it; one that the port sets is given back.
func TestNetdevMTU(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	out := s.l.Host("out")
	silence(t, out)
	s.Must("ip", "link", "add", "nic0", "type", "veth", "peer", "name", "far0", "netns", out.Name())
	out.Up("far0")
	s.set(VNIConfig{VNI: 42})
	s.port("p0", 42)
	s.Must("ip", "link", "set", "p0", "mtu", "9000")
	s.do(func() error { return s.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42}) })
	fits := func(when string, mtu int) {
		t.Helper()
		if got := s.portInfo("nic0").MTU; got != mtu {
			t.Errorf("%s: mtu %d, want %d", when, got, mtu)
		}
		s.drops(0, TooBig, func() { s.Inject("p0", sized(encap.EthernetLen+mtu)) })
		s.drops(1, TooBig, func() { s.Inject("p0", sized(encap.EthernetLen+mtu+1)) })
	}
	fits("as found", 1500)
	s.Must("ip", "link", "set", "nic0", "mtu", "1300")
	eventually(t, "the port follows", func() bool { return s.current.Load().ports[1].maxFrame == 1314 })
	fits("changed by somebody", 1300)
	s.do(func() error { return s.SetPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42, MTU: 1400}) })
	fits("set", 1400)
	s.do(func() error { return s.SetPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42}) })
	fits("set back", 1500)
	s.do(func() error { return s.SetPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42, MTU: 1200}) })
	s.do(func() error { return s.DelPort("nic0") })
	if got := s.Must("ip", "link", "show", "nic0"); !strings.Contains(got, "mtu 1500") {
		t.Errorf("given back: %s", got)
	}
}

// What a kind of port does not have is refused, with what to do; so is the interface that carries the underlay.
func TestRefusedPorts(t *testing.T) {
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42})
	one := []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}
	for _, c := range []struct {
		c    PortConfig
		want error
		text string
	}{
		{PortConfig{Name: "eth0", Type: PortNetdev}, ErrInvalid, "carries the underlay address"},
		{PortConfig{Name: "lo", Type: PortNetdev}, ErrUnfit, "loopback"},
		{PortConfig{Name: "nic0", Type: PortNetdev, NetNS: "blue"}, ErrInvalid, "where vtepd runs"},
		{PortConfig{Name: "nic0", Type: PortNetdev, Addresses: one}, ErrInvalid, "give them to the workload"},
		{PortConfig{Name: "nic0", Type: PortNetdev, IfName: "eth0"}, ErrInvalid, "called as the interface"},
		{PortConfig{Name: "web0", Type: PortVeth}, ErrInvalid, "ifname: required without netns"},
		{PortConfig{Name: "web0", Type: PortVeth, NetNS: "nosuch"}, nil, "ip netns add nosuch"},
		{PortConfig{Name: "eth0", Type: PortVeth, IfName: "a"}, ErrUnfit, "vtepd did not make it"},
		{PortConfig{Name: "tap0", Type: PortTAP, IfName: "a"}, ErrInvalid, "one end only"},
		{PortConfig{Name: "x0", Type: "bridge"}, ErrInvalid, `this switch has "tap", "netdev" and "veth"`},
	} {
		c.c.Untagged = 42
		s.do(func() error {
			err := s.AddPort(c.c)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%+v: %v", c.c, err)
			}
			if s.CheckPort(c.c) == nil {
				t.Errorf("%+v: the check has nothing against it", c.c)
			}
			return nil
		})
	}
	if n := len(s.Ports()); n != 0 {
		t.Errorf("%d ports are left", n)
	}
}

// A station moves from a TAP to a netdev and on to a veth: frames for it follow.
func TestMoveBetweenKinds(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	out := s.l.Host("out")
	silence(t, out)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs()...)
	s.port("p0", 42)
	hosts := map[string]*lab.Host{"p0": s.Host, "nic0": out, "web0": out}
	for name, kind := range map[string]PortType{"nic0": PortNetdev, "web0": PortVeth} {
		c := s.node.ofKind(kind, out, PortConfig{Name: name, Untagged: 42})
		s.do(func() error { return s.AddPort(c) })
		s.sniffed[name] = out.Sniff(name)
	}
	mover := station(9)
	for _, at := range []string{"p0", "nic0", "web0", "nic0", "p0", "web0"} {
		hosts[at].Inject(at, frameOf(mover, broadcast))
		eventually(t, "learned at "+at, func() bool { return s.known(42, mover) && s.entry(42, mover).Port == at })
		s.forget()
		s.remotes[0].send(42, times(5, frameOf(station(5), mover))...)
		if got, want := s.counts(), at+":5"; got != want {
			t.Errorf("mover at %s: frames from a peer go to %q", at, got)
		}
		for _, from := range []string{"p0", "nic0", "web0"} {
			if from == at {
				continue
			}
			hosts[from].Inject(from, times(5, frameOf(station(20), mover))...)
			if got, want := s.counts(), at+":5"; got != want {
				t.Errorf("mover at %s: frames from %s go to %q", at, from, got)
			}
		}
	}
	s.balance()
}

// A workload that tunnels through a veth port, TCP and all: no superframe of a kind comes out that a virtio-net header cannot tell.
//
//	vxlan7 ── eth0 ══ a0 ── switch ── b0 ══ eth0 ── vxlan7
func TestTunnelInsideVeth(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host, wire := l.Host("sw"), l.Host("wire")
	l.Link(host, wire, lab.LinkOptions{})
	n := startNode(t, host, nil)
	n.vni(42)
	a := n.packetPort(l, PortVeth, "a0", 42, 1500, nil)
	b := n.packetPort(l, PortVeth, "b0", 42, 1500, nil)
	inner := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, i}) }
	for i, h := range []*lab.Host{a, b} {
		other := []*lab.Host{b, a}[i]
		name := h.VXLAN(lab.VXLANOptions{VNI: 7, Local: h.Overlay4(), Peers: []netip.Addr{other.Overlay4()}, MTU: 1450, Port: 8472})
		h.Addr(name, netip.PrefixFrom(inner(byte(i+1)), 24))
	}
	newPinger(t, a, inner(2)).ping(1000)
	transfer(t, a, b, inner(2), 20<<20)
	transfer(t, b, a, inner(1), 20<<20)
	rest(n)
	n.balance()
	if lost := n.dropped(BadOffload); lost > 0 {
		t.Errorf("%d frames dropped for %s", lost, BadOffload)
	}
}

// A second switch cannot take what the first one has; its port waits until it can.
func TestInterfaceOfAnotherSwitch(t *testing.T) {
	s := newScene(t, 0, nil)
	out := s.l.Host("out")
	s.Must("ip", "link", "add", "nic0", "type", "veth", "peer", "name", "far0", "netns", out.Name())
	out.Up("far0")
	s.set(VNIConfig{VNI: 42})
	s.do(func() error { return s.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42}) })
	other := startNode(t, s.Host, func(c *Config) { c.DstPort = 4790 })
	other.vni(42)
	other.do(func() error {
		err := other.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42})
		if !errors.Is(err, ErrBusy) {
			t.Errorf("taken twice: %v", err)
		}
		return nil
	})
	s.do(func() error { return s.DelPort("nic0") })
	other.do(func() error { return other.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42}) })
}

// What the kernel has no room for on its way to us is counted.
func TestPortKernelDrops(t *testing.T) {
	s := newScene(t, 0, nil)
	out := s.l.Host("out")
	s.Must("ip", "link", "add", "nic0", "type", "veth", "peer", "name", "far0", "netns", out.Name())
	out.Up("far0")
	s.set(VNIConfig{VNI: 42})
	s.do(func() error {
		return s.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 3}})
	})
	s.parked()
	// A queue holds some 21,000 of them.
	frames := times(40000, frameOf(station(1), broadcast))
	out.Inject("far0", frames...)
	info, status := s.portInfo("nic0"), s.Status()
	if info.KernelDrops == 0 || status.PortKernelDrops != info.KernelDrops {
		t.Errorf("port says %d, status %d, of %d frames that nobody reads", info.KernelDrops, status.PortKernelDrops, len(frames))
	}
	if info.KernelDrops > uint64(len(frames)) {
		t.Errorf("%d drops of %d frames", info.KernelDrops, len(frames))
	}
}
