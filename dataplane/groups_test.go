package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// member is a socket on the wire that has joined a group, on a UDP port.
func (s *scene) member(group netip.AddrPort) *remote {
	s.t.Helper()
	r := &remote{t: s.t, addr: group.Addr(), buf: make([]byte, 1<<16)}
	// The net package would bind to the unspecified address, which the remotes leave no room for.
	var fd int
	index := s.wire.Index(s.link.B.Name)
	err := s.wire.Do(func() (err error) {
		var to unix.Sockaddr
		domain := unix.AF_INET
		if group.Addr().Is6() {
			domain = unix.AF_INET6
			to = &unix.SockaddrInet6{Port: int(group.Port()), Addr: group.Addr().As16(), ZoneId: uint32(index)}
		} else {
			to = &unix.SockaddrInet4{Port: int(group.Port()), Addr: group.Addr().As4()}
		}
		if fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		if err = unix.Bind(fd, to); err != nil {
			return err
		}
		if group.Addr().Is6() {
			return unix.SetsockoptIPv6Mreq(fd, unix.SOL_IPV6, unix.IPV6_ADD_MEMBERSHIP, &unix.IPv6Mreq{Multiaddr: group.Addr().As16(), Interface: uint32(index)})
		}
		return unix.SetsockoptIPMreqn(fd, unix.SOL_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group.Addr().As4(), Ifindex: int32(index)})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "member")
	conn, err := net.FilePacketConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		s.t.Fatal(err)
	}
	r.conn = conn.(*net.UDPConn)
	s.t.Cleanup(func() { r.conn.Close() })
	r.option(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	return r
}

// toGroup is the remote as a sender to a group.
func (r *remote) toGroup(s *scene, group netip.AddrPort) *remote {
	r.t.Helper()
	if group.Addr().Is6() {
		r.option(unix.SOL_IPV6, unix.IPV6_MULTICAST_IF, s.wire.Index(s.link.B.Name))
		r.option(unix.SOL_IPV6, unix.IPV6_MULTICAST_LOOP, 0)
	} else {
		r.option(unix.SOL_IP, unix.IP_MULTICAST_LOOP, 0)
	}
	to := *r
	to.sw = group
	return &to
}

// setGroup declares or changes a VNI with a group.
func (s *scene) setGroup(vni uint32, group netip.AddrPort, peers ...netip.Addr) {
	s.t.Helper()
	s.set(VNIConfig{VNI: vni, Learning: true, Group: group, GroupTTL: 1}, peers...)
}

// joined says whether the switch's host is in a group on its underlay interface.
func (s *scene) joined(group netip.Addr) bool {
	s.t.Helper()
	out := s.Must("ip", "maddr", "show", "dev", s.link.A.Name)
	return slices.Contains(strings.Fields(out), group.String())
}

// A frame is flooded to the group once and to each peer once, a datagram from the group is processed once, whoever sends it obeys the VNI's policy, and
// what came from a peer or by a group goes to no peer and no group (split horizon).
//
//	p0 p1 (VNI 42: group, r0) ──┐                ┌── r0
//	p9    (VNI 43: group)     ──┴─ switch ═══════┼── r1
//	                                             └── member of the group
func TestGroup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		build   func(testing.TB, int, func(*Config)) *scene
		group   string
		offload bool
	}{
		{"v4", newScene, "239.1.1.1", true}, {"v4, offload off", newScene, "239.1.1.1", false},
		{"v6", newScene6, "ff05::100", true}, {"v6, offload off", newScene6, "ff05::100", false},
		{"v6 link-local", newScene6, "ff02::4242", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.build(t, 2, func(conf *Config) { conf.Offload = c.offload })
			group := netip.AddrPortFrom(netip.MustParseAddr(c.group), DefaultPort)
			s.setGroup(42, group, s.remotes[0].addr)
			s.setGroup(43, group)
			if policy := s.VNIs()[1].Config.Policy; policy != Learn {
				t.Errorf("policy %s with a group and nothing else, want learn", policy)
			}
			s.port("p0", 42)
			s.port("p1", 42)
			s.port("p9", 43)
			s.remotes = append(s.remotes, s.member(group)) // r2
			byGroup := []*remote{s.remotes[0].toGroup(s, group), s.remotes[1].toGroup(s, group)}

			for _, dst := range []uint64{broadcast, 0x01005e000101, station(99)} {
				s.Inject("p0", times(10, frameOf(station(1), dst))...)
				if got, want := s.counts(), "p1:10 r0:10 r2:10"; got != want {
					t.Errorf("to %x from p0: %q, want %q", dst, got, want)
				}
				byGroup[0].send(42, times(10, frameOf(station(2), dst))...)
				if got, want := s.counts(), "p0:10 p1:10"; got != want {
					t.Errorf("to %x from r0 by the group: %q, want %q", dst, got, want)
				}
				s.remotes[0].send(42, times(10, frameOf(station(2), dst))...)
				if got, want := s.counts(), "p0:10 p1:10"; got != want {
					t.Errorf("to %x from r0: %q, want %q", dst, got, want)
				}
				s.Inject("p9", times(10, frameOf(station(9), dst))...)
				if got, want := s.counts(), "r2:10"; got != want {
					t.Errorf("to %x from p9: %q, want %q", dst, got, want)
				}
				byGroup[1].send(43, times(10, frameOf(station(3), dst))...)
				if got, want := s.counts(), "p9:10"; got != want {
					t.Errorf("to %x from r1 by the group: %q, want %q", dst, got, want)
				}
			}
			// Known now: station 2 behind r0 and station 3 behind r1, learned from the group.
			s.Inject("p0", times(10, frameOf(station(1), station(2)))...)
			if got, want := s.counts(), "r0:10"; got != want {
				t.Errorf("known unicast: %q, want %q", got, want)
			}
			s.Inject("p9", times(10, frameOf(station(9), station(3)))...)
			if got, want := s.counts(), "r1:10"; got != want {
				t.Errorf("known unicast of a learned peer: %q, want %q", got, want)
			}
			s.drops(10, SplitHorizon, func() { byGroup[1].send(43, times(10, frameOf(station(4), station(3)))...) })
			s.drops(10, UnknownPeer, func() { byGroup[1].send(42, times(10, frameOf(station(5), broadcast))...) })
			if got := s.counts(); got != "" {
				t.Errorf("dropped frames arrived: %q", got)
			}
			// The group is a flood destination like a peer, but no peer.
			if got, want := s.floodList(42), fmt.Sprintf("%s %s", peerAt(s.remotes[0].addr), group); got != want {
				t.Errorf("flood list %q, want %q", got, want)
			}
			for _, p := range s.Peers() {
				if p.Addr.Addr().IsMulticast() {
					t.Errorf("peer %s", p.Addr)
				}
			}
			for _, p := range s.PeerStats() {
				if p.Peer == group && (p.TxPackets != 60 || p.RxPackets != 0) {
					t.Errorf("group counts %+v, want 60 sent", p.Counters)
				}
			}
			s.balance()
		})
	}
}

// floodList are the destinations of the all-zero MAC.
func (s *scene) floodList(vni uint32) string {
	var list []string
	for _, e := range s.FDBDump(FDBFilter{VNI: vni}) {
		if e.Flood {
			list = append(list, e.Dst.String())
		}
	}
	return strings.Join(list, " ")
}

// A group that several VNIs share is joined once and left with the last of them; a group on another port is another one.
//
//	switch ════ wire
func TestGroupReferences(t *testing.T) {
	s := newScene(t, 1, func(c *Config) { c.Listen = []uint16{8472} })
	one, two := netip.MustParseAddrPort("239.1.1.1:4789"), netip.MustParseAddrPort("239.1.1.2:8472")
	s.setGroup(42, netip.AddrPortFrom(one.Addr(), 0))
	s.setGroup(43, one)
	if len(s.groups) != 1 || !s.joined(one.Addr()) {
		t.Fatalf("%d groups, joined %t; want one, joined", len(s.groups), s.joined(one.Addr()))
	}
	s.setGroup(43, two)
	if len(s.groups) != 2 || !s.joined(one.Addr()) || !s.joined(two.Addr()) {
		t.Errorf("%d groups, joined %t %t; want two, both joined", len(s.groups), s.joined(one.Addr()), s.joined(two.Addr()))
	}
	if st := s.Status(); st.Peers != 0 {
		t.Errorf("%d peers, want none: groups are not peers", st.Peers)
	}
	s.do(func() error { return s.DelVNI(42) })
	if s.joined(one.Addr()) || !s.joined(two.Addr()) {
		t.Errorf("joined %t %t; want the second alone", s.joined(one.Addr()), s.joined(two.Addr()))
	}
	s.set(VNIConfig{VNI: 43})
	if len(s.groups) != 0 || s.joined(two.Addr()) {
		t.Errorf("%d groups, joined %t; want none", len(s.groups), s.joined(two.Addr()))
	}
	for range 3 { // slots and descriptors are used again
		s.setGroup(43, two)
		s.setGroup(43, one)
	}
	if got := s.VNIs()[0]; got.GroupInterface != s.link.A.Name {
		t.Errorf("joined on %q, want %q", got.GroupInterface, s.link.A.Name)
	}

	// Refusals change nothing.
	for _, c := range []struct {
		group, want string
		err         error
	}{
		{"192.0.2.9:0", "is no multicast address", ErrInvalid},
		{"[ff05::1]:0", "address family", ErrInvalid},
		{"239.1.1.2:4790", "answer at UDP port 4790, which is not listened on", ErrInvalid},
	} {
		err := s.Do(func() error {
			return s.SetVNI(VNIConfig{VNI: 43, Learning: true, Group: netip.MustParseAddrPort(c.group)})
		})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("group %s: %v, want %q", c.group, err, c.want)
		}
	}
	s.do(func() error { return s.SetVNI(VNIConfig{VNI: 45, Group: netip.MustParseAddrPort("239.1.1.2:4790")}) }) // nothing is learned that would be answered there
	s.do(func() error { return s.DelVNI(45) })
	if err := s.Sysctl("net/ipv4/igmp_max_memberships", "0"); err != nil {
		t.Fatal(err)
	}
	err := s.Do(func() error {
		return s.SetVNI(VNIConfig{VNI: 44, Group: two, Peers: []netip.AddrPort{peerAt(s.remotes[0].addr)}})
	})
	if err == nil || !strings.Contains(err.Error(), "net.ipv4.igmp_max_memberships") {
		t.Errorf("a group beyond the kernel's limit: %v", err)
	}
	if len(s.groups) != 1 || len(s.VNIs()) != 1 || !s.joined(one.Addr()) {
		t.Errorf("a refused command changed something: %d groups, %d VNIs", len(s.groups), len(s.VNIs()))
	}
}

// The TTL toward a group is its own, and an inherited one where the group has none; toward peers it is the VNI's.
//
//	p0 ── switch ──── r0 and the group
func TestGroupTTL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		build func(testing.TB, int, func(*Config)) *scene
		group string
	}{{"v4", newScene, "239.1.1.1"}, {"v6", newScene6, "ff05::100"}} {
		t.Run(c.name, func(t *testing.T) {
			s := newWiretap(c.build(t, 1, nil))
			s.set(VNIConfig{VNI: 42})
			s.port("p0", 42)
			for _, ttl := range []struct {
				group       uint8
				header      HeaderPolicy
				toPeer, toG uint8
			}{
				{1, HeaderPolicy{}, 64, 1},
				{5, HeaderPolicy{TTL: 9}, 9, 5},
				{0, HeaderPolicy{TTL: 9}, 9, 9},
				{0, HeaderPolicy{InheritTTL: true}, 33, 33},
				{7, HeaderPolicy{InheritTTL: true}, 33, 7},
			} {
				s.set(VNIConfig{VNI: 42, Learning: true, Group: netip.AddrPortFrom(netip.MustParseAddr(c.group), 0), GroupTTL: ttl.group, Header: ttl.header}, s.addrs()...)
				s.outers()
				frame := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, TTL: 33, Proto: encap.ProtoUDP, Payload: encaptest.Payload(40, 1)}.Frame()
				s.Inject("p0", frame)
				got := s.outers()
				if len(got) != 2 || got[0].ttl != ttl.toPeer || got[1].ttl != ttl.toG {
					t.Errorf("%+v: %+v, want TTL %d toward the peer and %d toward the group", ttl, got, ttl.toPeer, ttl.toG)
				}
			}
		})
	}
}

// A datagram whose source is our own address is dropped, whatever the policy: one of ours that came back, or a forged one.
//
//	p0 ── switch ════ wire
func TestOwnSource(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(testing.TB, int, func(*Config)) *scene
		group string
		mac   uint64
	}{{"v4", newScene, "239.1.1.1", 0x01005e010101}, {"v6", newScene6, "ff05::100", 0x333300000100}} {
		t.Run(c.name, func(t *testing.T) {
			s := c.build(t, 1, nil)
			group := netip.AddrPortFrom(netip.MustParseAddr(c.group), DefaultPort)
			s.setGroup(42, group)
			s.port("p0", 42)
			// The kernel itself drops such packets over IPv4 unless told otherwise.
			for _, key := range []string{"accept_local", "rp_filter"} {
				value := map[string]string{"accept_local": "1", "rp_filter": "0"}[key]
				for _, dev := range []string{"all", s.link.A.Name} {
					if err := s.Sysctl("net/ipv4/conf/"+dev+"/"+key, value); err != nil {
						t.Fatal(err)
					}
				}
			}
			packet := encaptest.Packet{
				SrcMAC: macOf(s.wire.MAC("eth0")), DstMAC: c.mac, V6: group.Addr().Is6(), Src: s.config.Local, Dst: group.Addr(), Proto: encap.ProtoUDP,
				SrcPort: 50000, DstPort: DefaultPort, Payload: datagramOf(42, frameOf(station(1), broadcast)),
			}
			s.drops(3, OwnSource, func() { s.wire.Inject("eth0", times(3, packet.Frame())...) })
			packet.Src = s.remotes[0].addr
			s.drops(0, OwnSource, func() { s.wire.Inject("eth0", packet.Frame()) })
			if got, want := s.counts(), "p0:1"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// awaitHeard waits until what remote 0 sends to a group comes out of a port.
func (s *scene) awaitHeard(t *testing.T, group netip.AddrPort, port, what string) {
	t.Helper()
	eventually(t, what, func() bool {
		r := s.remotes[0].toGroup(s, group)
		// While the link comes up the kernel may have no address to send from.
		_, _ = r.conn.WriteToUDPAddrPort(datagramOf(42, frameOf(station(1), broadcast)), group)
		time.Sleep(20 * time.Millisecond)
		return len(s.seen(port)) > 0
	})
}

// awaitSent waits until what a port floods comes to a member of the group.
func (s *scene) awaitSent(t *testing.T, group netip.AddrPort, port, what string) {
	t.Helper()
	member := s.member(group)
	eventually(t, what, func() bool {
		s.Inject(port, frameOf(station(9), broadcast))
		time.Sleep(20 * time.Millisecond)
		return len(member.received()) > 0
	})
}

// Groups are joined again when the underlay's interface was deleted and made anew, and are there through a link that goes down and up.
//
//	p0 ── switch ── eth0 ══ eth0 ── sender to the group
func TestGroupInterfaceComesBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(testing.TB, int, func(*Config)) *scene
		group string
	}{{"v4", newScene, "239.1.1.1"}, {"v6", newScene6, "ff05::100"}} {
		t.Run(c.name, func(t *testing.T) {
			s := c.build(t, 1, nil)
			group := netip.AddrPortFrom(netip.MustParseAddr(c.group), DefaultPort)
			s.setGroup(42, group)
			s.port("p0", 42)
			s.awaitHeard(t, group, "p0", "the group is heard")
			s.Must("ip", "link", "set", s.link.A.Name, "down")
			s.do(func() error { s.refreshGroups(); return nil })
			if s.VNIs()[0].GroupInterface != s.link.A.Name {
				t.Error("a link that is down makes memberships be given up")
			}
			s.Must("ip", "link", "set", s.link.A.Name, "up")
			if group.Addr().Is6() { // the kernel takes them away with the link
				s.Addr(s.link.A.Name, netip.PrefixFrom(s.config.Local, 64))
			}
			s.awaitHeard(t, group, "p0", "the group is heard after down and up")

			s.Must("ip", "link", "del", s.link.A.Name)
			s.do(func() error { s.refreshGroups(); return nil })
			if got := s.VNIs()[0].GroupInterface; got != "" {
				t.Errorf("joined on %q, which is gone", got)
			}
			before := s.Totals().Dropped
			s.Inject("p0", times(2, frameOf(station(9), broadcast))...)
			s.rest()
			if got := s.Totals().Dropped - before; got != 2 {
				t.Errorf("%d frames dropped without an interface, want 2: %v", got, s.Drops())
			}
			if err := errors.Join(s.Sysctl("net/ipv6/conf/default/disable_ipv6", "0"), s.wire.Sysctl("net/ipv6/conf/default/disable_ipv6", "0")); err != nil {
				t.Fatal(err)
			}
			s.link = s.l.Link(s.Host, s.wire, lab.LinkOptions{NameA: s.link.A.Name, NameB: s.link.B.Name})
			s.do(func() error { s.refreshGroups(); return nil })
			if got := s.VNIs()[0].GroupInterface; got != s.link.A.Name {
				t.Errorf("joined on %q, want %q again", got, s.link.A.Name)
			}
			s.awaitHeard(t, group, "p0", "the group is heard on the new interface")
			s.awaitSent(t, group, "p0", "the group is sent to on the new interface")

			// What happens while there is no group is asked for by the next one.
			s.set(VNIConfig{VNI: 42, Learning: true})
			s.Must("ip", "link", "del", s.link.A.Name)
			s.link = s.l.Link(s.Host, s.wire, lab.LinkOptions{NameA: s.link.A.Name, NameB: s.link.B.Name})
			s.setGroup(42, group)
			s.awaitHeard(t, group, "p0", "the group is heard on an interface that came while there was none")
			s.balance()
		})
	}
}

// A membership that the kernel took away without a word is found out, and the group joined again: the interface was made anew with the number that it had, or IPv6
// was taken from it for a while because its MTU was too small.
//
//	p0 ── switch ── eth0 ══ eth0 ── sender to the group
func TestGroupForgotten(t *testing.T) {
	anew := func(s *scene) {
		a, b := s.link.A.Name, s.link.B.Name
		s.Must("sh", "-c", fmt.Sprintf("printf 'link del %s\\nlink add %s index %d type veth peer name %s netns %s\\nlink set %s up\\n' | ip -batch -", a, a, s.Index(a), b, s.wire.Name(), a))
		s.wire.Up(b)
	}
	shrunk := func(s *scene) {
		s.MTU(s.link.A.Name, encap.IPv6MinMTU-1)
		s.MTU(s.link.A.Name, 1500)
	}
	for _, c := range []struct {
		name, group string
		build       func(testing.TB, int, func(*Config)) *scene
		forget      func(*scene)
	}{{"v4 made anew", "239.1.1.1", newScene, anew}, {"v6 made anew", "ff05::100", newScene6, anew}, {"v6 with a small MTU", "ff05::100", newScene6, shrunk}} {
		t.Run(c.name, func(t *testing.T) {
			s := c.build(t, 1, nil)
			group := netip.AddrPortFrom(netip.MustParseAddr(c.group), DefaultPort)
			s.setGroup(42, group)
			s.port("p0", 42)
			s.awaitHeard(t, group, "p0", "the group is heard")
			if err := errors.Join(s.Sysctl("net/ipv6/conf/default/disable_ipv6", "0"), s.wire.Sysctl("net/ipv6/conf/default/disable_ipv6", "0")); err != nil {
				t.Fatal(err)
			}
			c.forget(s)
			bits := map[bool]int{false: 24, true: 64}[group.Addr().Is6()]
			s.Addr(s.link.A.Name, netip.PrefixFrom(s.config.Local, bits))
			if _, err := s.wire.Command("ip", "address", "add", netip.PrefixFrom(s.remotes[0].addr, bits).String(), "dev", s.link.B.Name, "nodad"); err != nil {
				t.Logf("the wire kept its address: %v", err)
			}
			eventually(t, "the group is joined again", func() bool { return s.joined(group.Addr()) && s.VNIs()[0].GroupInterface == s.link.A.Name })
			s.awaitHeard(t, group, "p0", "the group is heard again")
			s.awaitSent(t, group, "p0", "the group is sent to again")
			s.balance()
		})
	}
}

// Groups go after our address to another interface while the one that had it stays, as when a bridge is made over it; not while the first still has it.
//
//	p0 ── switch ── (br0, later) eth0 ══ eth0 ── sender to the group
func TestGroupFollowsTheAddress(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(testing.TB, int, func(*Config)) *scene
		group string
		bits  int
	}{{"v4", newScene, "239.1.1.1", 24}, {"v6", newScene6, "ff05::100", 64}} {
		t.Run(c.name, func(t *testing.T) {
			s := c.build(t, 1, nil)
			group := netip.AddrPortFrom(netip.MustParseAddr(c.group), DefaultPort)
			s.setGroup(42, group)
			s.port("p0", 42)
			on := func(want string) {
				t.Helper()
				s.do(func() error { s.refreshGroups(); return nil })
				if got := s.VNIs()[0].GroupInterface; got != want {
					t.Errorf("joined on %q, want %q", got, want)
				}
			}
			local := netip.PrefixFrom(s.config.Local, c.bits)
			on(s.link.A.Name)
			if err := s.Sysctl("net/ipv6/conf/default/disable_ipv6", "0"); err != nil {
				t.Fatal(err)
			}
			s.Must("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
			s.Addr("br0", local)
			s.Must("ip", "link", "set", "br0", "up")
			on(s.link.A.Name)
			// Of two that have the address one that carries nothing is left.
			s.wire.Must("ip", "link", "set", s.link.B.Name, "down")
			eventually(t, "joined on the one with a carrier", func() bool {
				s.do(func() error { s.refreshGroups(); return nil })
				return s.VNIs()[0].GroupInterface == "br0"
			})
			s.wire.Must("ip", "link", "set", s.link.B.Name, "up")
			s.Must("ip", "addr", "del", local.String(), "dev", s.link.A.Name)
			s.Must("ip", "link", "set", s.link.A.Name, "master", "br0")
			on("br0")
			s.awaitHeard(t, group, "p0", "the group is heard on the bridge")
			s.awaitSent(t, group, "p0", "the group is sent to by the bridge")
			s.balance()
		})
	}
}

// Kernel vxlan devices of a group find each other and us, in both directions, and so does a second switch; each frame arrives once.
//
//	vtep0 .1 ── switch ══╗
//	vtep0 .2 ── switch ══╬══ bridge
//	      vxlan42 .3   ══╝  (kernel, group, ttl 4)
func TestGroupWithKernel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		v6      bool
		offload bool
	}{{"v4", false, true}, {"v6", true, true}, {"v4, offload off", false, false}, {"v6, offload off", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			l := lab.New(t)
			ha, hb, hk := l.Host("a"), l.Host("b"), l.Host("kernel")
			sw := l.Switch("net", lab.LinkOptions{}, ha, hb, hk)
			local, group, mtu := (*lab.Host).Underlay4, netip.MustParseAddr("239.1.1.1"), 1450
			if c.v6 {
				local, group, mtu = (*lab.Host).Underlay6, netip.MustParseAddr("ff05::100"), 1430
			}
			var nodes []*node
			for _, h := range []*lab.Host{ha, hb} {
				n := startNode(t, h, func(conf *Config) { conf.Local, conf.Offload = local(h), c.offload })
				n.do(func() error {
					return n.SetVNI(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute, Group: netip.AddrPortFrom(group, 0), GroupTTL: 1})
				})
				n.tap("vtep0", 42, func(p *PortConfig) { p.Addresses, p.MTU = h.OverlayPrefixes(), mtu })
				nodes = append(nodes, n)
			}
			device := hk.VXLAN(lab.VXLANOptions{VNI: 42, Local: local(hk), Group: group, Device: sw.Links[2].A.Name, MTU: mtu})
			hk.Addr(device, hk.OverlayPrefixes()...)
			all := []*lab.Host{ha, hb, hk}
			for i, from := range all {
				for j, to := range all {
					if i == j {
						continue
					}
					eventually(t, from.Name()+" reaches "+to.Name(), func() bool {
						_, err := from.Command("ping", "-n", "-q", "-c", "1", "-W", "1", to.Overlay4().String())
						return err == nil
					})
					if err := from.Pinger(to.Overlay4()).Echoes(20, 10*time.Millisecond, 1400); err != nil {
						t.Errorf("%s to %s: %v", from.Name(), to.Name(), err)
					}
				}
			}
			waitForAddress(t, nodes[0], ha.Overlay6())
			for _, way := range [][2]*lab.Host{{ha, hk}, {hk, hb}, {ha, hb}} {
				transfer(t, way[0], way[1], way[1].Overlay4(), 8<<20)
			}
			rest(nodes...)
			for _, n := range nodes {
				n.balance()
			}
		})
	}
}

// Members of a group with link-local scope send from their link-local addresses, as the kernel's vxlan device does. They are answered on the link of the group,
// though the host may have other interfaces that such addresses could be behind, of which the kernel takes the first.
//
//	other ── switch ── eth0 ══ eth0 ── r1 (fe80::...)
//	    p0 ──┘
func TestLinkLocalMembers(t *testing.T) {
	t.Parallel()
	s := newScene6(t, 1, nil)
	s.Must("ip", "link", "add", "other", "type", "veth", "peer", "name", "otherend")
	for _, name := range []string{"other", "otherend"} {
		if err := s.Sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "0"); err != nil {
			t.Fatal(err)
		}
		s.Must("ip", "link", "set", name, "up")
	}
	s.Must("ip", "-6", "route", "add", "fe80::/64", "dev", "other", "metric", "1")
	group := netip.AddrPortFrom(netip.MustParseAddr("ff02::4242"), DefaultPort)
	s.setGroup(42, group)
	s.port("p0", 42)

	own := s.wire.Must("ip", "-o", "-6", "address", "show", "dev", s.link.B.Name, "scope", "link")
	fields := strings.Fields(own)
	prefix := netip.MustParsePrefix(fields[slices.Index(fields, "inet6")+1])
	r := &remote{t: t, addr: prefix.Addr(), buf: make([]byte, 1<<16)}
	eventually(t, "the link-local address is there", func() bool {
		err := s.wire.Do(func() (err error) {
			r.conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: prefix.Addr().AsSlice(), Zone: s.link.B.Name, Port: DefaultPort})
			return err
		})
		return err == nil
	})
	t.Cleanup(func() { r.conn.Close() })
	s.remotes = append(s.remotes, r)
	member := r.toGroup(s, group)

	answered := func(what string) {
		t.Helper()
		member.send(42, frameOf(station(2), broadcast))
		s.rest()
		if e := s.entry(42, station(2)); e.Dst.Addr() != r.addr {
			t.Fatalf("%s: learned at %v", what, e.Dst)
		}
		s.counts()
		s.Inject("p0", times(10, frameOf(station(1), station(2)))...)
		if got := s.counts(); got != "r1:10" {
			t.Errorf("%s: %q; %v", what, got, s.Drops())
		}
		eventually(t, what+": the way to it is known", func() bool {
			return slices.ContainsFunc(s.Peers(), func(p PeerInfo) bool { return p.Addr.Addr() == r.addr && p.RouteMTU == 1500 })
		})
	}
	answered("at first")
	if probe, err := s.ProbePath(t.Context(), r.addr); err != nil || probe.Evidence != EvidenceEcho || probe.Fits != 1500 {
		t.Errorf("the path is probed: %+v, %v", probe, err)
	}
	// Who was learned before the group was joined on its interface: it is another one by then.
	s.peers.onLink(s.Index("other"))
	s.do(func() error {
		return s.SetVNI(VNIConfig{VNI: 43, Group: netip.MustParseAddrPort("[ff02::4343]:4789"), GroupTTL: 1})
	})
	answered("after the interface was found anew")
	s.balance()
}
