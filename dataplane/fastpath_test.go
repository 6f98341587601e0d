package dataplane

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// fastPair makes two joined hosts with a switch each and the fast path on, VNI 42 between them, and a workload behind a port of a kind on each.
//
//	workload ── port0 ── switch ── eth0 ══ eth0 ── switch ── port0 ── workload
//	198.51.100.x                192.0.2.1  192.0.2.2                  198.51.100.y
func fastPair(t *testing.T, kind PortType, change func(*Config)) (l *lab.Lab, nodes [2]*node, workloads [2]*lab.Host) {
	t.Helper()
	l = lab.New(t)
	hosts := [2]*lab.Host{l.Host("a"), l.Host("b")}
	l.Link(hosts[0], hosts[1], lab.LinkOptions{})
	for i, h := range hosts {
		n := startNode(t, h, func(c *Config) {
			c.FastPath = FastPathOn
			if change != nil {
				change(c)
			}
		})
		peer := hosts[1-i].Underlay4()
		if n.config.Local.Is6() {
			peer = hosts[1-i].Underlay6()
		}
		n.do(func() error {
			return n.SetVNI(VNIConfig{VNI: 42, Learning: true, Ageing: 300 * time.Second, Peers: []netip.AddrPort{netip.AddrPortFrom(peer, 0)},
				Header: HeaderPolicy{UDP6ZeroChecksumTx: true}})
		})
		nodes[i], workloads[i] = n, h
		if kind == PortTAP {
			n.tap("port0", 42, func(c *PortConfig) { c.Addresses = h.OverlayPrefixes() })
		} else {
			workloads[i] = n.packetPort(l, kind, fmt.Sprintf("port%d", i), 42, 1400, nil)
		}
	}
	return l, nodes, workloads
}

// TestFastPathCarries: known traffic passes user space by, from and to every kind of port, over both families.
func TestFastPathCarries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind PortType
		v6   bool
	}{{PortTAP, false}, {PortTAP, true}, {PortVeth, false}, {PortVeth, true}, {PortNetdev, false}} {
		name := string(c.kind)
		if c.v6 {
			name += " over IPv6"
		}
		t.Run(name, func(t *testing.T) {
			_, nodes, w := fastPair(t, c.kind, func(conf *Config) {
				if c.v6 {
					conf.Local = netip.MustParseAddr(map[bool]string{true: "2001:db8::1", false: "2001:db8::2"}[conf.Local == netip.MustParseAddr("192.0.2.1")])
					conf.UDP6ZeroChecksumRx = true
				}
			})
			for _, n := range nodes {
				for _, p := range n.Ports() {
					if !p.FastPath {
						t.Fatalf("%s: port %s is not on the fast path: %s", n.Host.Name(), p.Config.Name, p.FastPathReason)
					}
				}
			}
			for _, to := range []netip.Addr{w[1].Overlay4(), w[1].Overlay6()} {
				if to.Is6() {
					for _, h := range w {
						waitForAddress(t, &node{Host: h, t: t}, h.Overlay6())
					}
				}
				carriedPings(t, w[0], to, nodes[:]...)
			}
			for _, n := range nodes {
				n.balance()
			}
		})
	}
}

// TestFastPathListens: the programs take datagrams on as many UDP ports as a switch listens on.
func TestFastPathListens(t *testing.T) {
	t.Parallel()
	_, nodes, w := fastPair(t, PortTAP, func(c *Config) {
		for i := range MaxListen {
			c.DstPort = uint16(20000 + i)
			c.Listen = append(c.Listen, c.DstPort)
		}
	})
	carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
	for _, n := range nodes {
		n.balance()
	}
}

// TestFastPathLocal: frames between two ports of one switch pass user space by, too.
//
//	workload ── port0 ── switch on a ── port1 ── workload
func TestFastPathLocal(t *testing.T) {
	t.Parallel()
	for _, kinds := range [][2]PortType{{PortVeth, PortVeth}, {PortVeth, PortNetdev}, {PortTAP, PortVeth}, {PortNetdev, PortTAP}} {
		t.Run(fmt.Sprintf("%s to %s", kinds[0], kinds[1]), func(t *testing.T) {
			l := lab.New(t)
			h := l.Host("a")
			l.Link(h, l.Host("b"), lab.LinkOptions{})
			n := startNode(t, h, func(c *Config) { c.FastPath = FastPathOn })
			n.vni(42)
			var w [2]*lab.Host
			for i, kind := range kinds {
				name := fmt.Sprintf("port%d", i)
				if kind == PortTAP {
					w[i] = h
					n.tap(name, 42, func(c *PortConfig) { c.Addresses = h.OverlayPrefixes() })
				} else {
					w[i] = n.packetPort(l, kind, name, 42, 1400, nil)
				}
			}
			carriedPings(t, w[0], w[1].Overlay4(), n)
			n.balance()
		})
	}
}

// TestFastPathSwitchesWithoutLoss: switching the fast path off and on loses no frame of known traffic, and off leaves nothing attached.
func TestFastPathSwitchesWithoutLoss(t *testing.T) {
	t.Parallel()
	for _, kind := range []PortType{PortTAP, PortVeth} {
		t.Run(string(kind), func(t *testing.T) {
			_, nodes, w := fastPair(t, kind, nil)
			t.Cleanup(func() {
				for _, n := range nodes {
					if t.Failed() {
						t.Logf("%s: %+v, dropped %+v", n.Host.Name(), n.Status().FastPath, n.Drops())
					}
				}
			})
			carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range 12 {
					mode := FastPathOff
					if i%2 == 1 {
						mode = FastPathOn
					}
					for _, n := range nodes {
						if err := n.SetFastPath(mode); err != nil {
							t.Errorf("%s: %v", mode, err)
						}
					}
					time.Sleep(80 * time.Millisecond)
				}
			}()
			pings(t, w[0], w[1].Overlay4(), 600)
			<-done
			for _, n := range nodes {
				n.balance()
				if err := n.SetFastPath(FastPathOff); err != nil {
					t.Fatal(err)
				}
				if got := attachedPrograms(n); len(got) > 0 {
					t.Errorf("%s: still attached: %v", n.Host.Name(), got)
				}
				if st := n.Status().FastPath; st.Active || st.Reason == "" || st.Encap == 0 {
					t.Errorf("%s: %+v", n.Host.Name(), st)
				}
			}
		})
	}
}

// pings sends so many echo requests from a host, and wants one answer to each.
func pings(t *testing.T, from *lab.Host, to netip.Addr, n int) {
	t.Helper()
	p := from.Pinger(to)
	defer p.Close()
	if err := p.Echoes(n, 2*time.Millisecond, 56); err != nil {
		t.Error(err)
	}
}

// carriedPings sends echo requests in rounds, wants an answer to each, and ends with the first round that the fast path of every node carried both ways, on its way to and from peers or between two ports.
// How many frames user space sees before the programs know both stations is a matter of the machine's load.
func carriedPings(t *testing.T, from *lab.Host, to netip.Addr, nodes ...*node) {
	t.Helper()
	const round = 50
	var late []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && !t.Failed(); {
		before := make([]FastPathInfo, len(nodes))
		for i, n := range nodes {
			before[i] = n.Status().FastPath
		}
		pings(t, from, to, round)
		late = nil
		for i, n := range nodes {
			was, is := before[i], n.Status().FastPath
			if (is.Encap < was.Encap+round || is.Decap < was.Decap+round) && is.Local < was.Local+2*round {
				late = append(late, fmt.Sprintf("%s: the fast path carried less than %d frames each way: %+v, then %+v", n.Host.Name(), round, was, is))
			}
		}
		if late == nil {
			return
		}
	}
	t.Error(strings.Join(late, "\n"))
}

// TestFastPathTwoInstances: two switches on each of two hosts, on the same underlay interfaces, both on the fast path, and one going does not disturb the other.
//
//	t0 ── switch 192.0.2.x  ─┬─ eth0 ══ eth0 ─┬─ switch ── t0
//	t1 ── switch 192.0.2.5x ─┘                └─ switch ── t1
func TestFastPathTwoInstances(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := [2]*lab.Host{l.Host("a"), l.Host("b")}
	l.Link(hosts[0], hosts[1], lab.LinkOptions{})
	local := func(host, instance int) netip.Addr {
		a := hosts[host].Underlay4().As4()
		a[3] += byte(50 * instance)
		return netip.AddrFrom4(a)
	}
	inside := func(host, instance int) netip.Addr {
		return netip.AddrFrom4([4]byte{203, 0, 113, byte(64*instance + host + 1)})
	}
	var nodes [2][2]*node
	for h, host := range hosts {
		host.Addr("eth0", netip.PrefixFrom(local(h, 1), 24))
		for i := range 2 {
			n := startNode(t, host, func(c *Config) { c.FastPath, c.Local, c.Workers = FastPathOn, local(h, i), 1 })
			n.vni(42, local(1-h, i))
			n.tap(fmt.Sprintf("t%d", i), 42, func(c *PortConfig) { c.Addresses = []netip.Prefix{netip.PrefixFrom(inside(h, i), 26)} })
			nodes[h][i] = n
		}
	}
	for i := range 2 {
		carriedPings(t, hosts[0], inside(1, i), nodes[0][i], nodes[1][i])
	}
	if err := nodes[0][1].Switch.Close(); err != nil {
		t.Error(err)
	}
	before := nodes[0][0].Status().FastPath
	pings(t, hosts[0], inside(1, 0), 100)
	if after := nodes[0][0].Status().FastPath; after.Encap < before.Encap+90 || after.Decap < before.Decap+90 {
		t.Errorf("the other one's end disturbed: %+v, then %+v", before, after)
	}
}

// TestFastPathOfPortsByTheirVNIs: a port says what of it the programs do not carry because its VNIs are not theirs.
func TestFastPathOfPortsByTheirVNIs(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	n := startNode(t, h, func(c *Config) { c.FastPath = FastPathOn })
	n.vni(42)
	for _, vni := range []uint32{43, 44} {
		n.do(func() error { return n.SetVNI(VNIConfig{VNI: vni, Learning: true, Header: HeaderPolicy{GBP: true}}) })
	}
	want := map[string]struct {
		on     bool
		reason string
	}{
		"plain": {true, ""},
		"gbp":   {false, "VNI 43: gbp: "},
		"both":  {true, "but 1 of its 2 VNIs, as VNI 43: gbp: "},
		"none":  {false, "none of its 2 VNIs, as VNI 43: gbp: "},
	}
	n.tap("plain", 42, nil)
	n.tap("gbp", 43, nil)
	n.tap("both", 0, func(c *PortConfig) { c.Tagged = []VIDMap{{2, 42}, {3, 43}} })
	n.tap("none", 0, func(c *PortConfig) { c.Tagged = []VIDMap{{2, 44}, {3, 43}} })
	for _, p := range n.Ports() {
		if w := want[p.Config.Name]; p.FastPath != w.on || !strings.HasPrefix(p.FastPathReason, w.reason) || w.reason == "" && p.FastPathReason != "" {
			t.Errorf("%s: %v %q, want %v %q", p.Config.Name, p.FastPath, p.FastPathReason, w.on, w.reason)
		}
	}
}
