package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/dataplane/underlay"
)

// superframeBounds are what the kernel makes superframes for an interface by, for IPv4 and IPv6, in bytes.
func superframeBounds(t testing.TB, h *lab.Host, name string) [2]uint32 {
	t.Helper()
	link, err := h.Netlink().LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	a := link.Attrs()
	if a.GSOIPv4MaxSize == 0 {
		t.Skip("this kernel has one bound for IPv4 and IPv6")
	}
	return [2]uint32{a.GSOIPv4MaxSize, a.GSOMaxSize}
}

// The superframes of TAPs and pairs fit one message of UDP GSO, where that saves messages and harms nobody: toward peers, on an interface that frames of others do not pass.
//
//	peers (VNI 42) alone (VNI 43, no peers) away (VNI 42, in a namespace) eth0 of a pair (VNI 42, in it too) ── switch ── eth0 ══ r0
func TestSuperframesFitTheUnderlay(t *testing.T) {
	t.Parallel()
	const whole = 65536
	none := [2]uint32{whole, whole}
	build := func(t *testing.T, change func(*Config)) *scene {
		s := newScene(t, 1, func(c *Config) {
			c.FastPath = FastPathOff
			if change != nil {
				change(c)
			}
		})
		s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
		s.set(VNIConfig{VNI: 43, Learning: true})
		s.awaitPath(s.remotes[0].addr, 1500)
		return s
	}
	add := func(s *scene, c PortConfig) {
		if c.Type == "" {
			c.Type = PortTAP
		}
		s.do(func() error { return s.AddPort(c) })
	}
	wants := func(t *testing.T, h *lab.Host, name, when string, want [2]uint32) {
		t.Helper()
		var got [2]uint32
		for end := time.Now().Add(lab.Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if got = superframeBounds(t, h, name); got == want {
				return
			}
		}
		t.Errorf("%s, %s: superframes of %v bytes, want %v", name, when, got, want)
	}
	fitting := func(mtu, segments int) [2]uint32 {
		return [2]uint32{uint32(segments*(mtu-40) + 321), uint32(segments*(mtu-60) + 321)}
	}
	t.Run("life", func(t *testing.T) {
		s := build(t, nil)
		work := s.l.Host("work")
		add(s, PortConfig{Name: "peers", Untagged: 42})
		add(s, PortConfig{Name: "alone", Untagged: 43})
		add(s, PortConfig{Name: "away", Untagged: 42, NetNS: work.Name()})
		add(s, PortConfig{Name: "pair", Type: PortVeth, Untagged: 42, NetNS: work.Name()})
		fits := fitting(1450, 44)
		wants(t, s.Host, "peers", "at first", fits)
		wants(t, s.Host, "alone", "at first", none)
		wants(t, work, "away", "at first", fits)
		wants(t, work, "eth0", "at first", fits)
		wants(t, s.Host, "pair", "the end that vtepd reads", none)

		s.Must("ip", "link", "add", "br0", "type", "bridge")
		s.Must("ip", "link", "set", "peers", "master", "br0")
		wants(t, s.Host, "peers", "in a bridge", none)
		s.Must("ip", "link", "set", "peers", "nomaster")
		wants(t, s.Host, "peers", "out of the bridge", fits)

		for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
			if err := s.Sysctl(key, "1"); err != nil {
				t.Fatal(err)
			}
			s.eachPort(s.boundSuperframes)
			wants(t, s.Host, "peers", key, none)
			wants(t, work, "away", key+" of another namespace", fits)
			if err := s.Sysctl(key, "0"); err != nil {
				t.Fatal(err)
			}
			s.eachPort(s.boundSuperframes)
			wants(t, s.Host, "peers", "no "+key, fits)
		}

		s.MTU("eth0", 9000)
		s.awaitPath(s.remotes[0].addr, 9000)
		s.fit()
		wants(t, s.Host, "peers", "jumbo frames", fitting(8950, 7))

		s.set(VNIConfig{VNI: 42, Learning: true})
		wants(t, s.Host, "peers", "no peers any more", none)
	})
	t.Run("no UDP GSO", func(t *testing.T) {
		s := build(t, func(c *Config) { c.refuseUnderlay = underlay.Refuse{GSO: true} })
		add(s, PortConfig{Name: "peers", Untagged: 42})
		wants(t, s.Host, "peers", "without messages", none)
	})
	t.Run("fast path", func(t *testing.T) {
		s := build(t, nil)
		if err := s.SetFastPath(FastPathOn); err != nil {
			t.Skip(err)
		}
		work := s.l.Host("work")
		add(s, PortConfig{Name: "peers", Untagged: 42})
		add(s, PortConfig{Name: "away", Untagged: 42, NetNS: work.Name()})
		add(s, PortConfig{Name: "pair", Type: PortVeth, Untagged: 42, NetNS: work.Name()})
		wants(t, work, "eth0", "on the fast path", none)
		wants(t, s.Host, "peers", "on the fast path", none)
		wants(t, work, "away", "which the fast path does not carry", fitting(1450, 44))
		if err := s.SetFastPath(FastPathOff); err != nil {
			t.Fatal(err)
		}
		wants(t, s.Host, "peers", "off the fast path", fitting(1450, 44))
		wants(t, work, "eth0", "off the fast path", fitting(1450, 44))
	})
}

// TCP's superframes leave as messages that are full, over IPv4 and IPv6 inside.
//
//	vtep0 198.51.100.1 ── switch ── eth0 ══ eth0 ── vxlan42 198.51.100.2 (kernel)
func TestMessagesAreFull(t *testing.T) {
	t.Parallel()
	for _, inside6 := range []bool{false, true} {
		name := "IPv4"
		if inside6 {
			name = "IPv6"
		}
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			ha, hk := l.Host("vtepd"), l.Host("kernel")
			l.Link(ha, hk, lab.LinkOptions{}).ChecksumsOff()
			a := startNode(t, ha, func(c *Config) { c.FastPath = FastPathOff })
			a.vni(42, hk.Underlay4())
			a.awaitPath(hk.Underlay4(), 1500)
			a.tap("vtep0", 42, func(p *PortConfig) { p.Addresses = ha.OverlayPrefixes() })
			device := hk.VXLAN(lab.VXLANOptions{VNI: 42, Local: hk.Underlay4(), Peers: []netip.Addr{ha.Underlay4()}, MTU: 1450})
			hk.Addr(device, hk.OverlayPrefixes()...)
			server := hk.Overlay4()
			if inside6 {
				server = hk.Overlay6()
				waitForRoute(t, a, server)
				waitForAddress(t, a, ha.Overlay6())
			}
			transfer(t, ha, hk, server, 100<<20)
			// Not all are: a connection begins slowly, and sends what there is when its window is small.
			c := a.sockets[familyOf(ha.Underlay4())].Counters()
			if c.GSORuns == 0 {
				t.Skip("no UDP GSO here")
			}
			per := float64(c.Datagrams) / float64(c.Messages)
			t.Logf("%d datagrams in %d messages: %.1f each", c.Datagrams, c.Messages, per)
			if per < 38 {
				t.Errorf("%.1f datagrams a message, want nearly 44", per)
			}
		})
	}
}
