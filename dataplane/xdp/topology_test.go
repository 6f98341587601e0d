package xdp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vtepd/bench/lab"
	"vtepd/dataplane/tap"
)

const (
	testVNI  = 7777
	testPort = 4789
	testMTU  = 1450
	// The index of the one peer of a side, and of its first port.
	peerIndex = 5
	portIndex = 3
	// Serials of the peer, and of the first port.
	peerSerial = 77
	portSerial = 33
)

// side is one host with a fast path and nobody in user space: what the programs do not carry goes nowhere.
type side struct {
	t    *testing.T
	lab  *lab.Lab
	host *lab.Host
	wire lab.End
	f    *FastPath
	next uint32
	// divided: superframes of UDP leave for the other side as datagrams.
	divided bool
}

// station is where a workload lives: a namespace and an interface in it.
type station struct {
	*side
	host *lab.Host
	dev  string
	port Port
	mac  net.HardwareAddr
}

// newSides joins two hosts by fast paths.
//
//	station ── port ── side a ── eth0 ═══ eth0 ── side b ── port ── station
//	                  192.0.2.1       192.0.2.2
//	                  2001:db8::1     2001:db8::2
//
// Between them everything crosses whole, or only what fits a wire.
func newSides(t *testing.T, ipv6, wire bool, change func(*Options, *Domain)) (a, b *side) {
	t.Helper()
	l := lab.New(t)
	needFastPath(t)
	ha, hb := l.Host("a"), l.Host("b")
	link := l.Link(ha, hb, lab.LinkOptions{})
	if wire {
		link.OffloadsOff()
	}
	a, b = &side{t: t, lab: l, host: ha, wire: link.A, next: portIndex}, &side{t: t, lab: l, host: hb, wire: link.B, next: portIndex}
	a.start(b, ipv6, change)
	b.start(a, ipv6, change)
	t.Cleanup(func() { // before the lab goes
		for _, s := range []*side{a, b} {
			if s.f != nil {
				s.do(func() error { s.f.Close(); return nil })
			}
		}
	})
	return a, b
}

// needFastPath skips where the kernel has no fast path, and says what is missing.
func needFastPath(t testing.TB) {
	t.Helper()
	c := Probe()
	for _, c := range c.List() {
		if !c.On && c.Name != "flow-cache" { // which nothing but its own tests needs
			t.Skipf("%s: %s", c.Name, c.Reason)
		}
	}
}

func (s *side) do(f func() error) {
	s.t.Helper()
	if err := s.host.Do(f); err != nil {
		s.t.Fatal(err)
	}
}

func (s *side) underlay(ipv6 bool) netip.Addr {
	if ipv6 {
		return s.host.Underlay6()
	}
	return s.host.Underlay4()
}

// underlayDrops is how many frames the device toward the underlay took and did not hand to the other end.
func (s *side) underlayDrops() uint64 {
	s.t.Helper()
	link, err := s.host.Netlink().LinkByName(s.wire.Name)
	if err != nil {
		s.t.Fatal(err)
	}
	return link.Attrs().Statistics.TxDropped
}

// domain is what the tests' VNI is unless they change it.
func testDomain() Domain {
	return Domain{VNI: testVNI, Learning: true, ZeroChecksumTx: true, ZeroChecksum6Tx: true, ZeroChecksum6Rx: true}
}

func (s *side) start(other *side, ipv6 bool, change func(*Options, *Domain)) {
	s.t.Helper()
	o := Options{Locals: []netip.Addr{s.host.Underlay4(), s.host.Underlay6()}, Ports: []uint16{testPort}, MaxEntries: 4096, Alone: true}
	d := testDomain()
	if change != nil {
		change(&o, &d)
	}
	s.do(func() (err error) {
		if s.f, err = Open(o); err != nil {
			return err
		}
		if err := s.f.PutDomain(d); err != nil {
			return err
		}
		remote, overhead := other.underlay(ipv6), 50
		if ipv6 {
			overhead = 70
		}
		link, err := s.host.Netlink().LinkByName(s.wire.Name)
		if err != nil {
			return err
		}
		s.divided = DividesUDP(link)
		err = s.f.PutPeer(Peer{
			Index: peerIndex, Addr: netip.AddrPortFrom(remote, testPort), Ifindex: s.host.Index(s.wire.Name), NextHop: remote, MaxFrame: 1500 + 14 - overhead,
			Divided: s.divided,
		})
		if err != nil {
			return err
		}
		if err := s.f.PutSource(testVNI, remote, peerIndex, peerSerial); err != nil {
			return err
		}
		_, err = s.f.AttachUnderlay(s.host.Index(s.wire.Name))
		return err
	})
}

// tap makes a TAP port whose interface the host itself uses.
func (s *side) tap(name string, mtu int) *station {
	s.t.Helper()
	st := &station{side: s, host: s.host, dev: name}
	s.do(func() error {
		d, err := tap.Open(tap.Options{Name: name, Offload: true, MTU: mtu, Addresses: s.host.OverlayPrefixes()})
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { d.Close() })
		return nil
	})
	st.port = Port{Index: s.next, Ifindex: s.host.Index(name), Kind: TAP, MaxFrame: mtu + 14, Untagged: testVNI}
	st.mac = s.host.MAC(name)
	st.put(Egress)
	return st
}

// veth makes a port with a workload in a namespace of its own behind it.
func (s *side) veth(name string, mtu int) *station {
	s.t.Helper()
	w := s.lab.Workload(s.host, name, "v"+name, mtu)
	st := &station{side: s, host: w, dev: "eth0", mac: w.MAC("eth0")}
	st.port = Port{Index: s.next, Ifindex: s.host.Index("v" + name), Kind: Veth, MaxFrame: mtu + 14, Untagged: testVNI, PeerMAC: [6]byte(st.mac)}
	st.put(Ingress)
	return st
}

func (st *station) put(at Hook) {
	st.t.Helper()
	st.port.Serial = portSerial + st.port.Index - portIndex
	st.next++
	st.do(func() error {
		if err := st.f.PutPort(st.port); err != nil {
			return err
		}
		return st.f.AttachPort(st.port.Ifindex, at, -1)
	})
}

// do is the side's: a station's own namespace is host.
func (st *station) do(f func() error) { st.t.Helper(); st.side.do(f) }

// meet tells both fast paths and both kernels where two stations are.
func meet(a, b *station) {
	for _, p := range [][2]*station{{a, b}, {b, a}} {
		me, other := p[0], p[1]
		own := Entry{VNI: testVNI, MAC: [6]byte(me.mac), Index: me.port.Index, Seen: me.f.Now()}
		far := Entry{VNI: testVNI, MAC: [6]byte(other.mac), ToPeer: true, Index: peerIndex, Seen: me.f.Now()}
		if me.side == other.side {
			far.ToPeer, far.Index = false, other.port.Index
		}
		for _, e := range []Entry{own, far} {
			if err := me.f.PutEntry(e); err != nil {
				me.t.Fatal(err)
			}
		}
		me.neighbour(other)
	}
	for _, st := range []*station{a, b} {
		st.host.AwaitAddress(st.host.Overlay6())
	}
}

// neighbour spares the kernel the question for an address, which the programs do not carry.
func (st *station) neighbour(other *station) {
	st.t.Helper()
	for _, a := range []netip.Addr{other.host.Overlay4(), other.host.Overlay6()} {
		n := &netlink.Neigh{LinkIndex: st.host.Index(st.dev), State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: other.mac}
		if err := st.host.Netlink().NeighSet(n); err != nil {
			st.t.Fatal(err)
		}
	}
}

// ping wants every one of 5 echo requests answered.
func (st *station) ping(to netip.Addr) error {
	p := st.host.Pinger(to)
	defer p.Close()
	return p.Echoes(5, 20*time.Millisecond, 56)
}

// pingInVain sends 5 echo requests and says whether all were answered, which for once they should not be: it does not wait for long.
func (st *station) pingInVain(to netip.Addr) (answered bool) {
	p := st.host.Pinger(to)
	defer p.Close()
	p.Wait = 500 * time.Millisecond
	return p.Echoes(5, 20*time.Millisecond, 56) == nil
}
