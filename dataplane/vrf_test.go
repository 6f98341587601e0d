package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// vrfScene is a host in two networks that have the same addresses, each in a VRF.
//
//	wBlue ── switch ── eth0 (in blue) ══ eth0 ── b ── wb
//	wGreen ─ switch ── eth1 (in green) ═ eth0 ── c ── wc
//	               (a)
type vrfScene struct {
	l           *lab.Lab
	a           *lab.Host
	blue, green *node // of a
	b, c        *node
	// The workloads behind them.
	wBlue, wGreen, wb, wc *lab.Host
}

// bringVRFs makes VRFs on a host, or skips the test where the kernel has none.
func bringVRFs(t *testing.T, h *lab.Host, names ...string) {
	t.Helper()
	for i, name := range names {
		if out, err := h.Command("ip", "link", "add", name, "type", "vrf", "table", fmt.Sprint(10+i)); err != nil {
			t.Skipf("no VRF here (CONFIG_NET_VRF): %v: %s", err, out)
		}
		h.Must("ip", "link", "set", name, "up")
	}
	// The table of those in no VRF comes after the rule of VRFs (vrf.rst).
	for _, family := range []string{"-4", "-6"} {
		h.Must("ip", family, "rule", "add", "pref", "32765", "table", "local")
		h.Must("ip", family, "rule", "del", "pref", "0")
	}
}

func newVRFScene(t *testing.T, v6 bool, mode FastPathMode, vni VNIConfig) *vrfScene {
	t.Helper()
	s := &vrfScene{l: lab.New(t)}
	s.a = s.l.Host("a")
	hb, hc := s.l.Host("b"), s.l.Host("c")
	bringVRFs(t, s.a, "blue", "green")
	s.l.Link(s.a, hb, lab.LinkOptions{Addressing: lab.Bare})
	s.l.Link(s.a, hc, lab.LinkOptions{Addressing: lab.Bare})
	s.a.Must("ip", "link", "set", "eth0", "master", "blue")
	s.a.Must("ip", "link", "set", "eth1", "master", "green")
	near, far := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")
	if v6 {
		near, far = netip.MustParsePrefix("2001:db8::1/64"), netip.MustParsePrefix("2001:db8::2/64")
	}
	for h, links := range map[*lab.Host][]string{s.a: {"eth0", "eth1"}, hb: {"eth0"}, hc: {"eth0"}} {
		for _, name := range links {
			if v6 {
				if err := h.Sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "0"); err != nil {
					t.Fatal(err)
				}
			}
			h.Addr(name, map[bool]netip.Prefix{true: near, false: far}[h == s.a])
		}
	}
	start := func(h *lab.Host, local, peer netip.Addr, in string) *node {
		n := startNode(t, h, func(c *Config) {
			c.Local, c.VRF, c.FastPath, c.Workers, c.UDP6ZeroChecksumRx = local, in, mode, 1, true
		})
		c := vni
		if !c.Group.IsValid() {
			c.Peers = []netip.AddrPort{netip.AddrPortFrom(peer, 0)}
		}
		n.do(func() error { return n.SetVNI(c) })
		return n
	}
	s.blue, s.green = start(s.a, near.Addr(), far.Addr(), "blue"), start(s.a, near.Addr(), far.Addr(), "green")
	s.b, s.c = start(hb, far.Addr(), near.Addr(), ""), start(hc, far.Addr(), near.Addr(), "")
	for i, n := range []*node{s.blue, s.green, s.b, s.c} {
		w := n.packetPort(s.l, PortVeth, fmt.Sprintf("port%d", i), 42, 1400, nil)
		*[]**lab.Host{&s.wBlue, &s.wGreen, &s.wb, &s.wc}[i] = w
	}
	return s
}

// unreachable fails when anything gets from one workload to another.
func unreachable(t *testing.T, from, to *lab.Host) {
	t.Helper()
	if out, err := from.Command("ping", "-c", "3", "-i", "0.2", "-W", "1", to.Overlay4().String()); err == nil {
		t.Errorf("%s reaches %s: %s", from.Name(), to.Name(), out)
	}
}

// TestVRF: underlays in two VRFs, with the same addresses on one host, know nothing of each other.
func TestVRF(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		for _, mode := range []FastPathMode{FastPathOff, FastPathOn} {
			t.Run(fmt.Sprintf("IPv%d, fast path %v", version(v6), mode), func(t *testing.T) {
				s := newVRFScene(t, v6, mode, VNIConfig{VNI: 42, Learning: true, Ageing: 300 * time.Second, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}})
				for _, n := range []*node{s.blue, s.green} {
					st := n.Status()
					if want := map[*node]string{s.blue: "eth0", s.green: "eth1"}[n]; st.UnderlayInterface != want || st.UnderlayMTU != 1500 || len(st.Away) != 0 {
						t.Errorf("in %q: on %q, MTU %d, away %v, want %s", st.VRF, st.UnderlayInterface, st.UnderlayMTU, st.Away, want)
					}
					if p := n.Peers()[0]; p.NoRoute != "" || p.PMTU != 1500 {
						t.Errorf("in %q: peer %+v", st.VRF, p)
					}
				}
				if mode == FastPathOn {
					carriedPings(t, s.wBlue, s.wb.Overlay4(), s.blue, s.b)
					carriedPings(t, s.wGreen, s.wc.Overlay4(), s.green, s.c)
					for n, want := range map[*node]string{s.blue: "eth0", s.green: "eth1"} {
						for _, a := range n.Status().FastPath.Attachments {
							if a.Port == "" && a.Interface != want {
								t.Errorf("datagrams are taken from %s, too", a.Interface)
							}
						}
					}
				} else {
					pings(t, s.wBlue, s.wb.Overlay4(), 20)
					pings(t, s.wGreen, s.wc.Overlay4(), 20)
				}
				unreachable(t, s.wBlue, s.wc)
				unreachable(t, s.wGreen, s.wb)
				got := s.blue.probePath(s.blue.Peers()[0].Addr.Addr())
				if got.Evidence != EvidenceProbe || got.Fits != 1500 {
					t.Errorf("probed: %+v", got)
				}
			})
		}
	}
}

// TestVRFLeft: an interface that leaves the VRF takes the address away from the underlay, and one that comes brings it.
func TestVRFLeft(t *testing.T) {
	t.Parallel()
	s := newVRFScene(t, false, behaviourMode(t), VNIConfig{VNI: 42, Learning: true, Ageing: 300 * time.Second, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}})
	pings(t, s.wBlue, s.wb.Overlay4(), 5)
	s.a.Must("ip", "link", "set", "eth0", "nomaster")
	why := "the own address 192.0.2.1 is on no interface of the VRF blue"
	eventually(t, why, func() bool {
		p := s.blue.Peers()[0]
		return p.NoRoute != "" && !p.FastPath && s.blue.paths.away(0) == why
	})
	unreachable(t, s.wBlue, s.wb)
	s.a.Must("ip", "link", "set", "eth0", "master", "blue")
	eventually(t, "it is back", func() bool {
		_, err := s.wBlue.Command("ping", "-c", "1", "-W", "1", s.wb.Overlay4().String())
		return err == nil
	})
}

// TestNoVRF: an underlay in no VRF has nothing to do with the same address in one.
//
//	wa ── switch ── eth0 ══ eth0 ── switch ── wb
//	         (a)    eth1 (in blue)
func TestNoVRF(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	bringVRFs(t, a, "blue")
	l.Link(a, b, lab.LinkOptions{})
	a.Must("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
	a.Must("ip", "link", "set", "eth1", "master", "blue", "up")
	a.Addr("eth1", netip.PrefixFrom(a.Underlay4(), 24))
	na := startNode(t, a, func(c *Config) { c.FastPath = FastPathOn })
	na.vni(42, b.Underlay4())
	nb := startNode(t, b, func(c *Config) { c.FastPath = FastPathOn })
	nb.vni(42, a.Underlay4())
	wa, wb := na.packetPort(l, PortVeth, "port0", 42, 1400, nil), nb.packetPort(l, PortVeth, "port1", 42, 1400, nil)
	carriedPings(t, wa, wb.Overlay4(), na, nb)
	for _, at := range na.Status().FastPath.Attachments {
		if at.Port == "" && at.Interface != "eth0" {
			t.Errorf("datagrams are taken from %s", at.Interface)
		}
	}
	a.Must("ip", "link", "set", "eth0", "master", "blue")
	why := "the own address 192.0.2.1 is on no interface that is in no VRF"
	eventually(t, why, func() bool { return na.paths.away(0) == why && !na.Peers()[0].FastPath })
	unreachable(t, wa, wb)
	a.Must("ip", "link", "set", "eth0", "nomaster")
	eventually(t, "it is back", func() bool {
		_, err := wa.Command("ping", "-c", "1", "-W", "1", wb.Overlay4().String())
		return err == nil
	})
}

// TestVRFOwnAddress: the address may be that of the VRF's own device, as one on lo is elsewhere.
func TestVRFOwnAddress(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	bringVRFs(t, a, "blue")
	l.Link(a, b, lab.LinkOptions{Addressing: lab.Bare})
	a.Must("ip", "link", "set", "eth0", "master", "blue")
	a.Addr("eth0", netip.MustParsePrefix("192.0.2.1/24"))
	a.Addr("blue", netip.MustParsePrefix("203.0.113.1/32"))
	b.Addr("eth0", netip.MustParsePrefix("192.0.2.2/24"))
	b.Must("ip", "route", "add", "203.0.113.1", "via", "192.0.2.1")
	near, far := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("192.0.2.2")
	na := startNode(t, a, func(c *Config) { c.Local, c.VRF, c.FastPath = near, "blue", FastPathOn })
	na.vni(42, far)
	nb := startNode(t, b, func(c *Config) { c.Local, c.FastPath = far, FastPathOn })
	nb.vni(42, near)
	wa, wb := na.packetPort(l, PortVeth, "port0", 42, 1400, nil), nb.packetPort(l, PortVeth, "port1", 42, 1400, nil)
	carriedPings(t, wa, wb.Overlay4(), na, nb)
	for _, at := range na.Status().FastPath.Attachments {
		if at.Port == "" && at.Interface != "eth0" {
			t.Errorf("datagrams are taken from %s", at.Interface)
		}
	}
	// Ports without an MTU go by Ethernet's, not by the 65,575 bytes of the VRF's device.
	if got := na.paths.carrier(0); got != standardMTU {
		t.Errorf("the underlay carries %d bytes, want %d", got, standardMTU)
	}
}

// TestVRFGroup: a multicast group is joined in the VRF alone, and heard from it.
func TestVRFGroup(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("IPv%d", version(v6)), func(t *testing.T) {
			group := netip.MustParseAddrPort(map[bool]string{false: "233.252.0.1:0", true: "[ff05::db8]:0"}[v6])
			s := newVRFScene(t, v6, behaviourMode(t), VNIConfig{VNI: 42, Learning: true, Ageing: 300 * time.Second, Group: group, GroupTTL: 1})
			pings(t, s.wBlue, s.wb.Overlay4(), 5)
			pings(t, s.wGreen, s.wc.Overlay4(), 5)
			unreachable(t, s.wBlue, s.wc)
			unreachable(t, s.wc, s.wBlue)
		})
	}
}

// TestFindVRF: what is no VRF is refused with a word that says where to look.
func TestFindVRF(t *testing.T) {
	t.Parallel()
	h := lab.New(t).Host("a")
	h.Must("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	h.Must("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
	for name, want := range map[string]string{"red": "there is no such interface", "eth0": "that interface is no VRF (veth)"} {
		err := h.Do(func() error {
			s, err := New(Config{Local: netip.MustParseAddr("192.0.2.1"), VRF: name, FastPath: FastPathOff})
			if err == nil {
				return s.Close()
			}
			return err
		})
		if !errors.Is(err, ErrHost) || !strings.Contains(err.Error(), "vrf "+name+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
