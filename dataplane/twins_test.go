package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// twins are two scenes that are alike but for the fast path: the first carries every frame in user space, the second what it can by programs. Both get the
// same frames; what comes out and what is counted and learned has to be the same.
//
//	p0, p1 (VNI 42) ──┐
//	q0 .. q3 (10..13) ┼─ switch ── eth0 ══ eth0 ── r0 (member), r1 (member), r2 (stranger)
//	tr (all of them) ─┘
type twins struct {
	t     *testing.T
	v6    bool
	pair  [2]*twin
	names []string // of the ports

	frames, carried, came uint64 // put in, carried by the fast path, and come out of it
}

// twin is one of them, with everything that shows of it.
type twin struct {
	*scene
	in      map[string]*lab.Injector
	wireIn  *lab.Injector
	wireOut *lab.Sniffer
	before  outcome // the counters when the last burst had been looked at
	now     outcome // of the burst in hand
	fast    bool
}

// outcome is everything that shows of what a switch did with some frames.
type outcome struct {
	Out      map[string][]string // frames in hexadecimal, sorted, by port; "wire" are datagrams
	Counters map[string]Counters
	Drops    map[string]uint64
	Totals   Totals
	Table    []string // forwarding entries
}

// twinOptions say what twins are made of.
type twinOptions struct {
	kind  PortType
	v6    bool
	zero6 bool             // IPv6 without UDP checksum, both ways
	shape func(*lab.Link)  // of the underlay
	vnis  func(*VNIConfig) // a change to every VNI
}

// The underlay's addresses on the wire, the same for both twins.
const (
	switchMAC = uint64(0x02_00_00_00_aa_01)
	wireMAC   = uint64(0x02_00_00_00_aa_02)
)

// newTwins makes twins that know the stations of twinStations.
func newTwins(t *testing.T, o twinOptions) *twins {
	t.Helper()
	tw := &twins{t: t, v6: o.v6, names: []string{"p0", "p1", "q0", "q1", "q2", "q3", "tr"}}
	for i, mode := range []FastPathMode{FastPathOff, FastPathOn} {
		s := newSceneOf(t, o.kind, func(l *lab.Link) {
			setMAC(t, l.A, switchMAC)
			setMAC(t, l.B, wireMAC)
			if o.shape != nil {
				o.shape(l)
			}
		}, 3, func(c *Config) {
			c.FastPath = mode
			c.UDP6ZeroChecksumRx = o.zero6
			if o.v6 {
				c.Local = netip.MustParseAddr("2001:db8::1")
			}
		})
		w := &twin{scene: s, in: make(map[string]*lab.Injector), fast: mode == FastPathOn}
		w.configure(o)
		w.wireIn, w.wireOut = s.wire.Injector(s.link.B.Name), s.wire.SniffOffload(s.link.B.Name)
		tw.pair[i] = w
	}
	tw.teach()
	return tw
}

func setMAC(t *testing.T, e lab.End, mac uint64) {
	t.Helper()
	var b [8]byte
	for i := range b {
		b[i] = byte(mac >> (8 * (7 - i)))
	}
	link, err := e.Host.Netlink().LinkByName(e.Name)
	if err == nil {
		err = e.Host.Netlink().LinkSetHardwareAddr(link, b[2:])
	}
	if err != nil {
		t.Fatal(err)
	}
}

// twinVNIs are VNIs that differ in all that the programs have to know of one.
var twinVNIs = []VNIConfig{
	{VNI: 42, Learning: true},
	{VNI: 10, Learning: true, MSSClamp: MSSOff, Header: HeaderPolicy{StrictReserved: true, InheritTTL: true, InheritDSCP: true, ECN: encap.ECNLinux}},
	{VNI: 11, MSSClamp: MSSOff, Header: HeaderPolicy{TTL: 7, DSCP: 46}},
	{VNI: 12, Learning: true, Policy: Learn, SpoofGuard: true, Header: HeaderPolicy{TTL: 255, InheritDSCP: true}},
	{VNI: 13, Learning: true, MSSClamp: MSSOff, Header: HeaderPolicy{KeepInnerVLAN: true, UDPChecksum: ChecksumOn}},
}

// configure adds VNIs and ports.
func (w *twin) configure(o twinOptions) {
	w.t.Helper()
	for _, c := range twinVNIs {
		c.Header.UDP6ZeroChecksumTx = o.zero6
		if o.vnis != nil {
			o.vnis(&c)
		}
		w.set(c, w.addrs(0, 1)...)
	}
	trunk := PortConfig{Name: "tr", Untagged: 42, NativeVID: 7}
	for _, vni := range []uint32{10, 11, 12, 13} {
		trunk.Tagged = append(trunk.Tagged, VIDMap{uint16(vni), vni})
	}
	for _, c := range []PortConfig{
		{Name: "p0", Untagged: 42}, {Name: "p1", Untagged: 42}, {Name: "q0", Untagged: 10}, {Name: "q1", Untagged: 11, MTU: 1500}, {Name: "q2", Untagged: 12},
		{Name: "q3", Untagged: 13}, trunk,
	} {
		w.port(c)
	}
}

// port adds a port and opens both its ends to the test.
func (w *twin) port(c PortConfig) {
	w.t.Helper()
	c = w.ofKind(c)
	w.do(func() error { return w.AddPort(c) })
	w.sniffed[c.Name] = w.outer().SniffOffload(c.Name)
	w.in[c.Name] = w.outer().Injector(c.Name)
}

// host is the n-th station's MAC, 1..15. Any two differ in several bits, so that one bit that is turned makes a stranger of it.
func host(n int) uint64 { return 0x02_00_00_00_00_00 | uint64(n)*0x1111 }

// twinStations are where stations are, in every VNI: 1 behind the VNI's own port, 2 behind p1, 3 behind the trunk, 4 and 5 behind the members, 6 behind
// the stranger where strangers are admitted.
const (
	hostOwn, hostSecond, hostTrunk, hostMember0, hostMember1, hostStranger, hostNobody = 1, 2, 3, 4, 5, 6, 9
)

// ownPort is the access port of a VNI.
var ownPort = map[uint32]string{42: "p0", 10: "q0", 11: "q1", 12: "q2", 13: "q3"}

// teach has both switches know the stations.
func (tw *twins) teach() {
	tw.t.Helper()
	var list []action
	for _, c := range twinVNIs {
		vni := c.VNI
		list = append(list, fromPort(ownPort[vni], frameOf(host(hostOwn), broadcast)))
		trunk := frameOf(host(hostTrunk), broadcast)
		if vni != 42 {
			trunk = putTag(trunk, encap.EtherTypeVLAN, uint16(vni))
		}
		list = append(list, fromPort("tr", trunk),
			tw.fromRemote(0, datagramOf(vni, frameOf(host(hostMember0), broadcast)), nil), tw.fromRemote(1, datagramOf(vni, frameOf(host(hostMember1), broadcast)), nil))
	}
	list = append(list, fromPort("p1", frameOf(host(hostSecond), broadcast)), tw.fromRemote(2, datagramOf(12, frameOf(host(hostStranger), broadcast)), nil))
	// A static entry of a peer where nothing is learned from peers, and one of a port.
	for _, w := range tw.pair {
		w.static(11, host(hostMember0), FDBEntry{Dst: netip.AddrPortFrom(w.remotes[0].addr, w.config.DstPort)})
		w.static(11, host(hostMember1), FDBEntry{Dst: netip.AddrPortFrom(w.remotes[1].addr, w.config.DstPort)})
		w.static(42, host(8), FDBEntry{Port: "p1"})
	}
	tw.burst("teaching", list...)
}

// action is one frame put somewhere.
type action struct {
	name    string
	where   string // a port, or "wire"
	frame   []byte
	offload encap.Offload
}

func fromPort(port string, frame []byte) action {
	return action{name: fmt.Sprintf("%s %x", port, frame), where: port, frame: frame}
}

// fromRemote is a datagram of a remote as it crosses the wire; change, unless nil, makes it another.
func (tw *twins) fromRemote(i int, datagram []byte, change func(*encaptest.Packet)) action {
	s := tw.pair[0]
	p := encaptest.Packet{
		SrcMAC: wireMAC, DstMAC: switchMAC, V6: tw.v6, Src: s.remotes[i].addr, Dst: s.config.Local, Proto: encap.ProtoUDP,
		SrcPort: 50000, DstPort: s.config.DstPort, Payload: datagram, Fragment: encap.IPv4DontFragment,
	}
	if change != nil {
		change(&p)
	}
	f := p.Frame()
	return action{name: fmt.Sprintf("r%d %x", i, f), where: "wire", frame: f}
}

// burst puts frames into both, whose order does not matter, and compares what comes of them. It returns how many of them the fast path carried.
func (tw *twins) burst(name string, list ...action) (carried uint64) {
	tw.t.Helper()
	before := tw.pair[1].carried()
	for _, w := range tw.pair {
		w.now = outcome{Out: make(map[string][]string)}
		for _, a := range list {
			in := w.in[a.where]
			if a.where == "wire" {
				in = w.wireIn
			}
			var header [encap.OffloadLen]byte
			a.offload.Encode(header[:])
			if err := in.Send(header, a.frame); err != nil {
				tw.t.Fatalf("%s: %v", a.name, err)
			}
		}
	}
	// What is late on a busy machine is waited for; what is different stays different.
	diff := "?"
	for i := 0; diff != "" && i < 8; i++ {
		if i > 1 {
			time.Sleep(time.Duration(i) * 10 * time.Millisecond)
		}
		for _, w := range tw.pair {
			w.quiet()
			w.look(tw.names)
		}
		diff = gocmp.Diff(tw.pair[0].now, tw.pair[1].now)
	}
	for _, w := range tw.pair {
		w.before = w.count()
		w.balance()
	}
	for _, list := range tw.pair[1].now.Out {
		tw.came += uint64(len(list))
	}
	if diff != "" {
		tw.t.Errorf("%s: user space (-) and fast path (+) differ:\n%.3000s", name, diff)
		if len(list) == 1 {
			tw.t.Logf("%s", list[0].name)
		}
	}
	return tw.pair[1].carried() - before
}

// each puts frames into both one by one: what one of them teaches holds for the next.
func (tw *twins) each(name string, list ...action) (carried uint64) {
	tw.t.Helper()
	for i, a := range list {
		carried += tw.burst(fmt.Sprintf("%s %d", name, i), a)
	}
	return carried
}

// carried is how many frames the fast path took.
func (w *twin) carried() uint64 {
	f := w.Status().FastPath
	return f.Encap + f.Decap + f.Local
}

// quiet waits until the switch has done with what it was given.
func (w *twin) quiet() {
	w.t.Helper()
	w.barrier.pass(w.t)
	w.settleFrame()
	w.barrier.pass(w.t)
}

// look adds what has come out since the last look to the burst in hand, and counts.
func (w *twin) look(ports []string) {
	w.t.Helper()
	for _, p := range ports {
		w.take(p, w.sniffed[p], func(f []byte) string { return fmt.Sprintf("%x", f) })
	}
	w.take("wire", w.wireOut, w.datagram)
	now := w.count()
	w.now.Counters, w.now.Drops, w.now.Table = make(map[string]Counters), make(map[string]uint64), now.Table
	for name, c := range now.Counters {
		b := w.before.Counters[name]
		w.now.Counters[name] = Counters{c.RxPackets - b.RxPackets, c.RxBytes - b.RxBytes, c.TxPackets - b.TxPackets, c.TxBytes - b.TxBytes, c.RxDropped - b.RxDropped, c.TxDropped - b.TxDropped}
	}
	for name, n := range now.Drops {
		if n -= w.before.Drops[name]; n > 0 {
			w.now.Drops[name] = n
		}
	}
	b := w.before.Totals
	w.now.Totals = Totals{now.Totals.Received - b.Received, now.Totals.Forwarded - b.Forwarded, now.Totals.Dropped - b.Dropped}
}

// take adds the frames that a sniffer has, cut and with finished checksums, as text; empty text is left out.
func (w *twin) take(name string, s *lab.Sniffer, text func([]byte) string) {
	w.t.Helper()
	for {
		f, ok := s.Waiting()
		if !ok {
			break
		}
		for _, piece := range w.pieces(name, f) {
			if line := text(piece); line != "" {
				w.now.Out[name] = append(w.now.Out[name], line)
			}
		}
	}
	slices.Sort(w.now.Out[name])
}

// count reads all counters.
func (w *twin) count() outcome {
	out := outcome{Counters: make(map[string]Counters), Drops: make(map[string]uint64), Totals: w.Totals()}
	for _, c := range w.PortStats() {
		out.Counters[c.Port] = c.Counters
	}
	for _, c := range w.PeerStats() {
		out.Counters[c.Peer.String()] = c.Counters
	}
	for _, c := range w.VNIStats() {
		out.Counters[fmt.Sprint("vni ", c.VNI)] = c.Counters
	}
	for _, d := range w.Drops() {
		out.Drops[fmt.Sprintf("%s %s %d %s", d.Reason, d.Port, d.VNI, d.Peer)] += d.Count
	}
	for _, e := range w.FDBDump(FDBFilter{}) {
		out.Table = append(out.Table, fmt.Sprintf("%d %s %s %s %s %d", e.VNI, e.MAC, e.Port, e.Dst, e.State, e.Moves))
	}
	slices.Sort(out.Table)
	return out
}

// static puts a static entry.
func (w *twin) static(vni uint32, mac uint64, e FDBEntry) {
	w.t.Helper()
	e.VNI, e.MAC, e.State = vni, fdb.MAC(mac), fdb.Static
	w.do(func() error { return w.FDBPut(e, fdb.Replace) })
}
