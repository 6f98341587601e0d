package main_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// bridge1D is the network of the kernel's selftest vxlan_bridge_1d.sh (tools/testing/selftests/net/forwarding), with network namespaces for its VRFs and
// vtepd for its bridge br1 with the device vx1. The other two VTEPs are the kernel's.
//
//	h1: tap1 ──┐                                            .33 ══ .34 ns1: vx2 ── br2 ── w1 ══ eth0 of w1
//	           ├ vtepd on sw, VNI 1000, .17 ══ .18 router ──┤
//	h2: tap2 ──┘                                            .49 ══ .50 ns2: vx2 ── br2 ── w1 ══ eth0 of w2
//
// Addresses of the underlay are 192.0.2.0/24 cut into /28, or 2001:db8:0:N::/64; those of the overlay are the lab's.
type bridge1D struct {
	t            *testing.T
	over         family
	port         int // of UDP
	d            *daemon
	h1, h2       *lab.Host
	sw, router   *lab.Host
	ns, workload [2]*lab.Host
	swAddr       netip.Addr
	nsAddr       [2]netip.Addr
	counters     [3]*lab.Sniffer // h2's port, vx2 in ns1, vx2 in ns2
	serial       uint16
	h1MAC        uint64
	mac          uint64 // of the station the script sends to
}

const (
	bridgeVNI = 1000
	// floodSize is how many frames the script sends for each count.
	floodSize = 10
	// straggle is how long a frame too many has to turn up.
	straggle = 60 * time.Millisecond
)

func newBridge1D(t *testing.T, s setting, over family, port int) *bridge1D {
	l := lab.New(t)
	b := &bridge1D{t: t, over: over, port: port, mac: 0xdeadbeef1337}
	b.sw, b.router = l.Host("sw"), l.Host("router")
	b.ns = [2]*lab.Host{l.Host("ns1"), l.Host("ns2")}
	b.h1, b.h2 = l.Host("h1"), l.Host("h2")

	b.join(l, b.sw, 1, 17, 18)
	b.swAddr = b.underlay(1, 17)
	for i, n := range b.ns {
		number := 2 + i
		b.join(l, n, number, []int{34, 50}[i], []int{33, 49}[i])
		b.nsAddr[i] = b.underlay(number, []int{34, 50}[i])
	}
	for _, forwarding := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := b.router.Sysctl(forwarding, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range b.ns {
		n.VXLAN(lab.VXLANOptions{Name: "vx2", VNI: bridgeVNI, Local: b.nsAddr[i], Peers: []netip.Addr{b.swAddr, b.nsAddr[1-i]}, Port: port, MTU: 1430})
		b.workload[i] = l.Workload(n, fmt.Sprintf("w%d", i+1), "w1", 1430)
		n.Bridge("br2", "vx2", "w1")
	}

	b.d = start(t, l, b.sw, fmt.Sprintf(
		"local: \"%v\"\ndstport: %d\n%slearning: false\ndscp: inherit\nttl: 100\necn: linux\n"+
			"vnis:\n- {vni: %d, peers: [\"%v\", \"%v\"]}\n"+
			"ports:\n- {%[11]s, vni: %[4]d, netns: %[7]s, mtu: 1430, addresses: [%[8]v]}\n- {%[12]s, vni: %[4]d, netns: %[9]s, mtu: 1430, addresses: [%[10]v]}\n",
		b.swAddr, port, s.yaml, bridgeVNI, b.nsAddr[0], b.nsAddr[1], b.h1.Name(), b.h1.OverlayPrefixes()[0], b.h2.Name(), b.h2.OverlayPrefixes()[0], s.port("tap1"), s.port("tap2")))
	b.counters = [3]*lab.Sniffer{b.h2.Sniff("tap2"), b.ns[0].Sniff("vx2"), b.ns[1].Sniff("vx2")}
	b.h1MAC = number(b.h1.MAC("tap1"))
	return b
}

// number is a MAC as encap writes it.
func number(mac net.HardwareAddr) uint64 {
	return binary.BigEndian.Uint64(append(make([]byte, 2, 8), mac...))
}

// underlay is an address of the underlay.
func (b *bridge1D) underlay(network, host int) netip.Addr {
	if b.over.v6 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%d::%d", network, host))
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(host)})
}

// join links a host to the router and sends everything there.
func (b *bridge1D) join(l *lab.Lab, h *lab.Host, network, own, gateway int) {
	b.t.Helper()
	link := l.Link(h, b.router, lab.LinkOptions{Addressing: lab.Bare})
	link.OffloadsOff() // datagrams are counted: a run of them must not cross as one
	bits := 28
	if b.over.v6 {
		bits = 64
		for _, e := range []lab.End{link.A, link.B} {
			if err := e.Host.Sysctl("net/ipv6/conf/"+e.Name+"/disable_ipv6", "0"); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	h.Addr(link.A.Name, netip.PrefixFrom(b.underlay(network, own), bits))
	b.router.Addr(link.B.Name, netip.PrefixFrom(b.underlay(network, gateway), bits))
	h.Must("ip", "route", "add", "default", "via", b.underlay(network, gateway).String())
}

// icmp is an echo reply, which asks for no answer; each call makes another one.
func (b *bridge1D) icmp(src, dst uint64, tos uint8) encaptest.Packet {
	b.serial++
	return encaptest.Packet{SrcMAC: src, DstMAC: dst, Src: b.workload[0].Overlay4(), Dst: b.h1.Overlay4(), TOS: tos, Proto: encap.ProtoICMP, Rest: uint32(b.serial),
		Payload: encaptest.Payload(36, uint64(b.serial))}
}

// floods sends ten frames to a MAC from h1 and wants each of h2, ns1 and ns2 to get its number of them, unchanged (vxlan_flood_test).
func (b *bridge1D) floods(what string, mac uint64, want ...int) {
	b.t.Helper()
	frame := b.icmp(b.h1MAC, mac, 0).Frame()
	b.h1.Inject("tap1", slices.Repeat([][]byte{frame}, floodSize)...)
	b.arrive(what, frame, b.counters[:], want)
}

// arrive wants each sniffer to see a frame a number of times, and not once more.
func (b *bridge1D) arrive(what string, frame []byte, at []*lab.Sniffer, want []int) {
	b.t.Helper()
	got := make([]int, len(at))
	same := func(f []byte) bool { return bytes.Equal(f, frame) }
	for i, s := range at {
		for end := time.Now().Add(soonTimeout); got[i] < want[i]; got[i]++ {
			if _, ok := s.Until(time.Until(end), same); !ok {
				break
			}
		}
	}
	time.Sleep(straggle)
	for i, s := range at {
		drain(s, func(f []byte) {
			if same(f) {
				got[i]++
			}
		})
		if lost, err := s.Lost(); lost > 0 || err != nil {
			b.t.Errorf("%s: a sniffer lost %d frames: %v", what, lost, err)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("%s: h2, ns1 and ns2 got %v, want %v", what, got, want)
	}
}

// pings sends ten echo requests from h1 with a TOS, and wants all of them answered. It is not ping(8), which under load counts some as sent that it did not send.
func (b *bridge1D) pings(to netip.Addr, tos uint8) {
	b.t.Helper()
	p := newPinger(b.t, b.h1, to)
	defer p.Close()
	if err := p.TOS(tos); err != nil {
		b.t.Fatal(err)
	}
	for range floodSize {
		p.ping(smallestPing)
	}
	if p.lost > 0 {
		b.t.Errorf("ping %v with TOS %#02x: %d lost; drops %v", to, tos, p.lost, b.d.list(b.t, "drops", "show"))
	}
}

// reachable is ping_ipv4.
func (b *bridge1D) reachable() {
	b.t.Helper()
	for _, to := range []*lab.Host{b.h2, b.workload[0], b.workload[1]} {
		reach(b.t, b.h1, to.Overlay4())
		b.pings(to.Overlay4(), 0)
	}
}

// outers pings a workload of ns1 and counts the datagrams that reach it over the router meanwhile, by a field of their outer header; it waits for ten that
// have the wanted one.
func (b *bridge1D) outers(field func(frame []byte) uint8, want, tos uint8) map[uint8]int {
	b.t.Helper()
	wire := b.ns[0].Sniff("eth0")
	defer wire.Close()
	b.pings(b.workload[0].Overlay4(), tos)
	counts := map[uint8]int{}
	count := func(f []byte) bool {
		at := outerUDP(b.over.v6)
		if len(f) > at+8+8+14+20 && int(binary.BigEndian.Uint16(f[at+2:])) == b.port && binary.BigEndian.Uint16(f[at+8+8+12:]) == encap.EtherTypeIPv4 {
			counts[field(f)]++
		}
		return counts[want] == floodSize
	}
	wire.Until(soonTimeout, count)
	time.Sleep(straggle)
	drain(wire, func(f []byte) { count(f) })
	return counts
}

// outerTTL and outerTOS read the outer header of an untagged frame.
func (b *bridge1D) outerTTL(f []byte) uint8 {
	if b.over.v6 {
		return f[14+7]
	}
	return f[14+8]
}

func (b *bridge1D) outerTOS(f []byte) uint8 {
	if b.over.v6 {
		return f[14]<<4 | f[15]>>4
	}
	return f[15]
}

// set changes the VNI while it is in use.
func (b *bridge1D) set(words ...string) {
	b.t.Helper()
	b.d.tell(b.t, append([]string{"vni", "set", strconv.Itoa(bridgeVNI)}, words...)...)
}

// entry says where vtepd has a MAC: "port tap2", "dst 192.0.2.34", or "".
func (b *bridge1D) entry(mac uint64) string {
	b.t.Helper()
	entries := b.d.list(b.t, "fdb", "show", "mac", macText(mac))
	if len(entries) == 0 {
		return ""
	}
	if port, ok := entries[0]["port"]; ok {
		return fmt.Sprint("port ", port)
	}
	return fmt.Sprint("dst ", entries[0]["dst"])
}

func macText(mac uint64) string {
	return net.HardwareAddr(binary.BigEndian.AppendUint64(nil, mac)[2:]).String()
}

// dropped sums vtepd's drops of a reason.
func (b *bridge1D) dropped(reason string) (sum int) {
	b.t.Helper()
	for _, d := range b.d.list(b.t, "drops", "show") {
		if d["reason"] == reason {
			sum += int(d["count"].(float64))
		}
	}
	return sum
}

// TestKernelSelftestBridge1D has the cases of vxlan_bridge_1d.sh in its order, and with the two families and ports those of vxlan_bridge_1d_ipv6.sh,
// vxlan_bridge_1d_port_8472.sh and vxlan_bridge_1d_port_8472_ipv6.sh. Each subtest bears the name of the script's function.
//
// Where the script has two tables, the bridge's and the device's, vtepd has one: "show learned FDB entry" and "learning toggling on bridge port" look at it.
func TestKernelSelftestBridge1D(t *testing.T) {
	t.Parallel()
	everySetting(t, func(t *testing.T, s setting, over family) {
		port := 4789
		if s != settings[0] {
			port = 8472
		}
		b := newBridge1D(t, s, over, port)
		for _, c := range []struct {
			name string
			test func()
		}{
			{"ping_ipv4", b.reachable},
			{"test_flood", b.testFlood},
			{"test_unicast", b.testUnicast},
			{"test_ttl", b.testTTL},
			{"test_tos", b.testTOS},
			{"test_ecn_encap", b.testECNEncap},
			{"test_ecn_decap", b.testECNDecap},
			{"reapply_config", b.reapplyConfig},
			{"ping_ipv4 again", b.reachable},
			{"test_flood again", b.testFlood},
			{"test_unicast again", b.testUnicast},
			{"test_learning", b.testLearning},
		} {
			if !t.Run(c.name, func(t *testing.T) {
				b.t = t
				c.test()
			}) {
				break
			}
		}
	})
}

// Unknown unicast reaches every port and every peer once (RFC 7348 section 4.2), also when one more peer cannot be reached.
func (b *bridge1D) testFlood() {
	b.floods("flood", b.mac, 10, 10, 10)
	nowhere := "203.0.113.1"
	if b.over.v6 {
		nowhere = "2001:db8:ffff::1"
	}
	b.d.tell(b.t, "fdb", "append", "00:00:00:00:00:00", "vni", "1000", "dst", nowhere)
	b.floods("flood, unresolved FDB entry", b.mac, 10, 10, 10)
	b.d.tell(b.t, "fdb", "del", "00:00:00:00:00:00", "vni", "1000", "dst", nowhere)
}

// Known unicast reaches the one place where its MAC is (RFC 7348 section 4.1).
func (b *bridge1D) testUnicast() {
	for i, to := range []struct {
		what, where string
		mac         net.HardwareAddr
	}{
		{"local MAC unicast", "port tap2", b.h2.MAC("tap2")},
		{"remote MAC 1 unicast", "dst " + b.nsAddr[0].String(), b.workload[0].MAC("eth0")},
		{"remote MAC 2 unicast", "dst " + b.nsAddr[1].String(), b.workload[1].MAC("eth0")},
	} {
		var place [2]string
		_, _ = fmt.Sscan(to.where, &place[0], &place[1])
		b.d.tell(b.t, "fdb", "replace", to.mac.String(), "vni", "1000", place[0], place[1], "static")
		want := make([]int, 3)
		want[i] = floodSize
		b.floods(to.what, number(to.mac), want...)
		b.d.tell(b.t, "fdb", "del", to.mac.String(), "vni", "1000")
	}
}

// The outer TTL is the configured 100, less the router's one.
func (b *bridge1D) testTTL() {
	got := b.outers(b.outerTTL, 99, 0)
	if len(got) != 1 || got[99] < floodSize || got[99] > floodSize+5 {
		b.t.Errorf("envelope TTL: datagrams by TTL %v, want 10 of 99", got)
	}
}

// The inner DSCP is the outer one's (tos inherit): 0x14 is, and 0x18 makes another.
func (b *bridge1D) testTOS() {
	for _, tos := range []uint8{0x14, 0x18} {
		got := b.outers(b.outerTOS, tos, tos)
		if got[tos] < floodSize || tos != 0x14 && got[0x14] != 0 {
			b.t.Errorf("envelope TOS inheritance: ping -Q %#x, datagrams by TOS %v", tos, got)
		}
	}
}

// The script wants what INET_ECN_encapsulate() makes (RFC 3168 section 9.1.1): `ecn: linux`. The default copies CE, the normal mode of RFC 6040 section 4.1.
func (b *bridge1D) testECNEncap() {
	for _, mode := range []struct {
		name string
		want [4]uint8
	}{{"linux", [4]uint8{0, 1, 2, 2}}, {"rfc6040", [4]uint8{0, 1, 2, 3}}} {
		b.set("ecn", mode.name)
		for inner, outer := range mode.want {
			got := b.outers(b.outerTOS, outer, uint8(inner))
			if got[outer] < floodSize || got[outer] > floodSize+5 {
				b.t.Errorf("ECN encap, %s, %d->%d: datagrams by TOS %v", mode.name, inner, outer, got)
			}
		}
	}
	b.set("ecn", "linux")
}

// The sixteen cases of RFC 6040 section 4.2, figure 4; the one that drops has its counter.
func (b *bridge1D) testECNDecap() {
	const drop = 0xff
	to := b.router.MAC("eth1")
	h1 := b.h1.Sniff("tap1")
	defer h1.Close()
	for inner, row := range [4][4]uint8{
		{0, 0, 0, drop},
		{1, 1, 1, 3},
		{2, 1, 2, 3},
		{3, 3, 3, 3},
	} {
		for outer, want := range row {
			packet := b.icmp(number(b.workload[0].MAC("eth0")), b.h1MAC, uint8(inner))
			datagram := make([]byte, encap.VXLANLen)
			encap.PutVXLAN(datagram, bridgeVNI)
			envelope := encaptest.Packet{SrcMAC: number(b.ns[0].MAC("eth0")), DstMAC: number(to), V6: b.over.v6, Src: b.nsAddr[0], Dst: b.swAddr, TOS: uint8(outer),
				Proto: encap.ProtoUDP, SrcPort: 23456, DstPort: uint16(b.port), Payload: append(datagram, packet.Frame()...)}.Frame()
			before := b.dropped("ecn_not_ect")
			b.ns[0].Inject("eth0", slices.Repeat([][]byte{envelope}, floodSize)...)
			name := fmt.Sprintf("ECN decap: %02x/%02x->%02x", outer, inner, want)
			if want == drop {
				soon(b.t, name+" counts its drops", func() bool { return b.dropped("ecn_not_ect") == before+floodSize })
				b.arrive(name, packet.Frame(), []*lab.Sniffer{h1}, []int{0})
			} else {
				packet.TOS = want
				b.arrive(name, packet.Frame(), []*lab.Sniffer{h1}, []int{floodSize})
				if got := b.dropped("ecn_not_ect"); got != before {
					b.t.Errorf("%s: %d drops", name, got-before)
				}
			}
		}
	}
}

// The peers and the underlay's own address go away and come back.
func (b *bridge1D) reapplyConfig() {
	for _, peer := range b.nsAddr {
		b.d.tell(b.t, "fdb", "del", "00:00:00:00:00:00", "vni", "1000", "dst", peer.String())
	}
	own := netip.PrefixFrom(b.swAddr, map[bool]int{false: 28, true: 64}[b.over.v6])
	b.sw.Must("ip", "address", "del", own.String(), "dev", "eth0")
	time.Sleep(straggle)
	for _, peer := range b.nsAddr {
		b.d.tell(b.t, "fdb", "append", "00:00:00:00:00:00", "vni", "1000", "dst", peer.String())
	}
	time.Sleep(straggle)
	b.sw.Addr("eth0", own)
	b.sw.Must("ip", "route", "replace", "default", "via", b.underlay(1, 18).String())
}

// Learning from the overlay (RFC 7348 section 4.1): what is learned is not flooded, what is deleted or aged out is, and traffic to a MAC does not keep
// its entry alive. The script's half minutes are seconds here.
func (b *bridge1D) testLearning() {
	const ageing = 2 * time.Second
	mac := b.mac
	hello := func() {
		b.workload[0].Inject("eth0", b.icmp(mac, 1<<48-1, 0).Frame())
	}
	where := "dst " + b.nsAddr[0].String()
	learned := func() {
		b.t.Helper()
		hello()
		soon(b.t, "the entry is learned", func() bool { return b.entry(mac) == where })
	}
	b.set("learning", "on", "ageing", ageing.String())
	b.reapplyConfig()
	reach(b.t, b.h1, b.workload[0].Overlay4())
	reach(b.t, b.h1, b.workload[1].Overlay4())

	b.floods("flood before learning", mac, 10, 10, 10)
	learned()
	b.floods("learned FDB entry", mac, 0, 10, 0)
	b.d.tell(b.t, "fdb", "del", macText(mac), "vni", "1000")
	b.floods("deletion of learned FDB entry", mac, 10, 10, 10)

	learned()
	since := time.Now()
	b.floods("learned again", mac, 0, 10, 0)
	frame := b.icmp(b.h1MAC, mac, 0).Frame()
	for b.entry(mac) != "" {
		if time.Since(since) > 3*ageing {
			b.t.Fatalf("ageing of learned FDB entry: after %v it is still %s", time.Since(since), b.entry(mac))
		}
		b.h1.Inject("tap1", frame)
		time.Sleep(50 * time.Millisecond)
	}
	if age := time.Since(since); age < ageing-time.Second {
		b.t.Errorf("ageing of learned FDB entry: gone after %v, ageing is %v", age, ageing)
	}
	b.floods("aged out", mac, 10, 10, 10)

	b.set("learning", "off")
	hello()
	time.Sleep(straggle)
	if got := b.entry(mac); got != "" {
		b.t.Errorf("learning toggling: learned at %s while it was off", got)
	}
	b.set("learning", "on")
	learned()
	b.set("learning", "off", "ageing", "default")
}
