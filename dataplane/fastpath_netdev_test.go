package dataplane

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
	"vtepd/encap"
	"vtepd/fdb"
)

// awaitWhole waits until the maps say whether superframes may be put into a netdev port whole.
func (n *node) awaitWhole(port string, whole bool) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("port %s takes superframes whole: %v", port, whole), func() (yes bool) {
		n.fast.with(func(m *mirror) {
			for _, mp := range m.ports {
				if mp != nil && mp.p.config.Name == port {
					yes = (mp.put.Kind == xdp.Veth) == whole
				}
			}
		})
		return yes
	})
}

// wholly wants all that a call has sent to be carried, in a few tries: the first may pass before the maps know the stations, and others behind it for a while.
func (n *node) wholly(t *testing.T, what string, send func()) {
	t.Helper()
	var left [2]uint64
	for range 5 {
		before := n.Status().FastPath.Punted
		send()
		after := n.Status().FastPath.Punted
		for i, reason := range []string{"odd_superframe", "behind_superframe"} {
			left[i] = after[reason] - before[reason]
		}
		if left == [2]uint64{} {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("%s: %d superframes left to user space, and %d frames behind them", what, left[0], left[1])
}

// TestFastPathSuperframesToNetdev: superframes of a peer, in the kernel or on the fast path, cross a netdev port whole when its interface is a veth whose other
// end is in another namespace. Nothing is lost of them, each segment counts once, and what forwards them beyond that end can cut them and finish their checksums.
//
//	workload ══ web0 ── switch ── eth0 ══ eth0 ── switch ── db0 ══ eth0 ── br0 ── st0 ══ eth0
//	   (or a kernel's vxlan)                         b             workload              station
func TestFastPathSuperframesToNetdev(t *testing.T) {
	for _, c := range []struct {
		name          string
		kernel, noSum bool
		inner6        bool
		station       bool // behind a bridge of the workload's that takes no superframes
		shaped        bool // the port's interface has a queueing discipline that divides them
	}{
		{name: "from the fast path"},
		{name: "from the fast path, IPv6 inside", inner6: true},
		{name: "from a kernel VTEP", kernel: true},
		{name: "from a kernel VTEP, without outer checksums", kernel: true, noSum: true},
		{name: "from the fast path, shaped", shaped: true},
		{name: "from a kernel VTEP, shaped", kernel: true, shaped: true},
		{name: "from the fast path, to behind a bridge", station: true},
		{name: "from a kernel VTEP, to behind a bridge", kernel: true, station: true},
		{name: "from a kernel VTEP, to behind a bridge, IPv6 inside", kernel: true, station: true, inner6: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			needFastPath(t)
			ha, hb := l.Host("a"), l.Host("b")
			l.Link(ha, hb, lab.LinkOptions{})
			b := startNode(t, hb, func(n *Config) { n.FastPath = FastPathOn })
			b.vni(42, ha.Underlay4())
			var wb, to *lab.Host
			if c.station {
				wb = l.Host("wb")
				l.Link(wb, hb, lab.LinkOptions{MTU: 1450, Addressing: lab.Bare, NameA: "eth0", NameB: "db0"})
				to = l.Workload(wb, "station", "st0", 1450)
				behind := lab.Link{A: lab.End{Host: wb, Name: "st0"}, B: lab.End{Host: to, Name: "eth0"}}
				behind.OffloadsOff()
				behind.ChecksumsOff()
				wb.Bridge("br0", "eth0", "st0")
			} else {
				wb = l.Workload(hb, "wb", "db0", 1450)
				to = wb
			}
			if c.shaped {
				if out, err := hb.Command("tc", "qdisc", "add", "dev", "db0", "root", "tbf", "rate", "2gbit", "burst", "20k", "latency", "50ms"); err != nil {
					t.Skipf("no such queueing discipline here: %s", out)
				}
			}
			b.do(func() error { return b.AddPort(PortConfig{Name: "db0", Type: PortNetdev, Untagged: 42}) })
			from := ha
			if c.kernel {
				device := ha.VXLAN(lab.VXLANOptions{VNI: 42, Local: ha.Underlay4(), Peers: []netip.Addr{hb.Underlay4()}, MTU: 1450, NoCsum: c.noSum})
				ha.Addr(device, ha.OverlayPrefixes()...)
			} else {
				a := startNode(t, ha, func(n *Config) { n.FastPath = FastPathOn })
				a.vni(42, hb.Underlay4())
				from = a.packetPort(l, PortVeth, "web0", 42, 1450, nil)
			}
			server := to.Overlay4()
			if c.inner6 {
				server = to.Overlay6()
				waitForAddress(t, &node{Host: from, t: t}, from.Overlay6())
				waitForAddress(t, &node{Host: to, t: t}, to.Overlay6())
			}
			newPinger(t, from, server).ping(100)
			b.awaitWhole("db0", true)
			sentTo := func() uint64 {
				for _, p := range b.PortStats() {
					if p.Port == "db0" {
						return p.TxPackets
					}
				}
				return 0
			}
			sniffer := wb.SniffOffload("eth0")
			const size = 64 << 20
			var before, after FastPathInfo
			var sent uint64
			b.wholly(t, "superframes", func() {
				before, sent = b.Status().FastPath, sentTo()
				transfer(t, from, to, server, size)
				rest(b)
				after, sent = b.Status().FastPath, sentTo()-sent
			})
			carried := after.Decap - before.Decap
			if carried < size/1450 || carried > 2*size/1450 {
				t.Errorf("%d segments were carried of %d MB", carried, size>>20)
			}
			if sent < carried || sent > carried+carried/100+20 {
				t.Errorf("%d frames counted at the port, %d carried", sent, carried)
			}
			if n := b.dropped(FastPathRace); n != 0 {
				t.Errorf("%d frames were dropped", n)
			}
			whole := false
			for f, ok := sniffer.Waiting(); ok && !whole; f, ok = sniffer.Waiting() {
				whole = len(f.Data) > 2*1450
			}
			if !whole && !c.shaped {
				t.Error("no superframe came whole")
			}
			if c.shaped {
				var passed int
				out := hb.Must("tc", "-s", "qdisc", "show", "dev", "db0")
				if _, behind, ok := strings.Cut(out, "Sent "); ok {
					fmt.Sscan(behind, &passed)
				}
				if passed < size {
					t.Errorf("%d bytes passed the queueing discipline: %s", passed, out)
				}
			}
			b.balance()
		})
	}
}

// TestFastPathTaggedSuperframe: they cross a trunk whole, too, with their tag.
//
//	workload ══ web0 ── switch ── eth0 ══ eth0 ── switch ── db0 (trunk) ══ eth0
//	                      a                         b                    workload
func TestFastPathTaggedSuperframe(t *testing.T) {
	t.Parallel()
	l, nodes, w := fastPair(t, PortVeth, nil)
	b := nodes[1]
	to := b.packetPort(l, PortNetdev, "db0", 0, 1450, func(c *PortConfig) { c.Tagged = []VIDMap{{VID: 10, VNI: 42}} })
	b.awaitWhole("db0", true)
	to.Inject("eth0", putTag(frameOf(station(2), broadcast), encap.EtherTypeVLAN, 10))
	w[0].Inject("eth0", frameOf(station(1), broadcast))
	for _, n := range nodes { // a superframe that passes user space before the maps know it would keep back those behind it
		for i := range 2 {
			eventually(t, "the stations are known", func() bool { _, err := n.FDBGet(42, fdb.MAC(station(1+i))); return err == nil })
		}
		n.fast.catchUp()
	}
	p := stream(1, 2, 10_000, false, false)
	p.SrcMAC, p.DstMAC = station(1), station(2)
	frame, off := p.Superframe(1000)
	sniffer := to.SniffOffload("eth0")
	defer sniffer.Close()
	before := b.Status().FastPath.Decap
	w[0].InjectSuperframe("eth0", encodeOffload(off), frame)
	f, ok := sniffer.Until(lab.Patience, func(f []byte) bool { return len(f) == len(frame)+encap.VLANTagLen })
	if !ok {
		t.Fatal("no superframe came")
	}
	var got encap.Offload
	if got.Decode(f.Offload[:]); got.GSOSize != 1000 || b.Status().FastPath.Decap != before+10 {
		t.Errorf("%+v, %d segments carried, left to user space %v", got, b.Status().FastPath.Decap-before, b.Status().FastPath.Punted)
	}
}

// TestFastPathFollowsOtherEnd: whether superframes from peers are put into a netdev port whole follows its interface and the other end of that, wherever they go.
//
//	workload ══ web0 ── switch ── eth0 ══ eth0 ── switch ── db0 ══ end0
//	                      a                         b
func TestFastPathFollowsOtherEnd(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	needFastPath(t)
	ha, hb, first, second := l.Host("a"), l.Host("b"), l.Host("first"), l.Host("second")
	l.Link(ha, hb, lab.LinkOptions{})
	a, b := startNode(t, ha, func(c *Config) { c.FastPath = FastPathOn }), startNode(t, hb, func(c *Config) { c.FastPath = FastPathOn })
	a.vni(42, hb.Underlay4())
	b.vni(42, ha.Underlay4())
	from := a.packetPort(l, PortVeth, "web0", 42, 1450, nil)
	pair := func(to *lab.Host) {
		hb.Must("ip", "link", "add", "db0", "mtu", "1450", "type", "veth", "peer", "name", "end0", "mtu", "1450", "netns", to.Name())
		to.Up("end0")
	}
	pair(first)
	b.do(func() error { return b.AddPort(PortConfig{Name: "db0", Type: PortNetdev, Untagged: 42}) })

	address := netip.MustParsePrefix("198.51.100.77/24")
	serves := func(when string, at *lab.Host, whole bool) {
		t.Helper()
		at.Up("end0")
		if !strings.Contains(at.Must("ip", "address", "show", "end0"), address.String()) {
			at.Addr("end0", address)
		}
		b.awaitWhole("db0", whole)
		eventually(t, when+": the port is up", func() bool { return b.portInfo("db0").State == PortUp })
		from.Must("ip", "neighbour", "flush", "dev", "eth0")
		newPinger(t, from, address.Addr()).ping(100)
		stream := func() {
			transfer(t, from, at, address.Addr(), 8<<20)
			rest(b)
		}
		if whole {
			b.wholly(t, when, stream)
			return
		}
		odd := b.Status().FastPath.Punted["odd_superframe"]
		if stream(); b.Status().FastPath.Punted["odd_superframe"] == odd {
			t.Errorf("%s: no superframe was left to user space", when)
		}
	}
	serves("at first", first, true)
	for _, feature := range []string{"tx-tcp-segmentation", "tx-udp_tnl-segmentation"} {
		end := lab.End{Host: hb, Name: "db0"}
		end.Features(map[string]bool{feature: false})
		serves("without "+feature, first, false)
		end.Features(map[string]bool{feature: true})
		serves("with "+feature, first, true)
	}
	hb.Rename("db0", "else0")
	b.awaitWhole("db0", true)
	hb.Rename("else0", "db0")
	first.Must("ip", "link", "set", "end0", "netns", second.Name())
	serves("in another namespace", second, true)
	second.Must("ip", "link", "set", "end0", "netns", hb.Name())
	serves("in the namespace of the port", hb, false)
	hb.Must("ip", "link", "set", "end0", "netns", first.Name())
	serves("away again", first, true)
	hb.Must("ip", "link", "del", "db0")
	eventually(t, "the port is missing", func() bool { return b.portInfo("db0").State == PortMissing })
	pair(hb)
	serves("made again, with both ends in the namespace of the port", hb, false)
	hb.Must("ip", "link", "del", "db0")
	pair(second)
	serves("made again", second, true)
	b.balance()
}

// TestFastPathWhileMACChanges: of what comes from a peer nothing is lost and nothing doubled while the other end of a netdev port's interface changes its MAC to
// that of the frames and back.
//
//	r0 ════ switch ── nic0 ══ far0
func TestFastPathWhileMACChanges(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.FastPath = FastPathOn })
	out := s.l.Host("far")
	silence(t, out)
	s.Must("ip", "link", "add", "nic0", "type", "veth", "peer", "name", "far0", "netns", out.Name())
	out.Up("far0")
	s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff}, s.addrs()...)
	s.do(func() error { return s.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Untagged: 42}) })
	s.awaitWhole("nic0", true)
	out.Inject("far0", frameOf(station(1), broadcast))
	s.remotes[0].send(42, frameOf(station(4), broadcast))
	s.forget()
	eventually(t, "the station is known", func() bool { return s.known(42, station(1)) })
	s.settleFrame()

	sniffer := out.Sniff("far0")
	defer sniffer.Close()
	frame, found, before := frameOf(station(4), station(1)), out.MAC("far0").String(), s.Status().FastPath.Decap
	const rounds, batch = 20, 50
	for i := range rounds {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range batch {
				s.remotes[0].send(42, frame)
			}
		}()
		out.Must("ip", "link", "set", "far0", "address", map[bool]string{true: "02:00:00:00:20:01", false: found}[i&1 == 0])
		<-sent
	}
	s.rest()
	seen := 0
	for {
		f, ok := sniffer.Next(100 * time.Millisecond)
		if !ok {
			break
		}
		if bytes.Equal(f.Data, frame) {
			seen++
		}
	}
	if seen != rounds*batch {
		t.Errorf("%d of %d frames arrived", seen, rounds*batch)
	}
	if got := s.Status().FastPath.Decap - before; got < rounds*batch {
		t.Errorf("%d of %d frames were carried", got, rounds*batch)
	}
	s.balance()
}
