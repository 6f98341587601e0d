package xdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
)

func known() packet { return packet{proto: 17, l4: udpTo(7, 100)} }

// TestFromPort puts every question that vtepd_tap asks to a frame, each with its answer; slow_only has to agree.
func TestFromPort(t *testing.T) {
	t.Parallel()
	ipv6 := known()
	ipv6.ipv6 = true
	with := func(change func(*packet)) []byte { p := known(); change(&p); return p.frame(macB, macA) }
	domain := func(change func(*Domain)) func(*Options, *Domain) { return func(_ *Options, d *Domain) { change(d) } }
	port := func(change func(*Port)) func(*bench) {
		return func(b *bench) {
			p := Port{Index: 0, Ifindex: loopback, Kind: TAP, MaxFrame: 1464, Untagged: testVNI}
			change(&p)
			if err := b.PutPort(p); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	isolate := func(indexes ...uint32) func(*bench) {
		return func(b *bench) {
			for _, i := range indexes {
				p := b.ports[i]
				p.Isolated = true
				if err := b.PutPort(p); err != nil {
					b.t.Fatal(err)
				}
			}
		}
	}
	syn := func(d *Domain) { d.ClampMSS, d.MSS4, d.MSS6 = true, 1400, 1380 }
	guard := func(d *Domain) { d.SpoofGuard = true }
	for _, c := range []struct {
		name    string
		frame   []byte
		verdict int
		domain  func(*Options, *Domain)
		before  func(*bench)
	}{
		{name: "to an IPv4 peer", frame: known().frame(macB, macA), verdict: toPeer},
		{name: "to an IPv6 peer", frame: known().frame(macC, macA), verdict: toPeer},
		{name: "IPv6 to an IPv4 peer", frame: ipv6.frame(macB, macA), verdict: toPeer},
		{name: "IPv6 to an IPv6 peer", frame: ipv6.frame(macC, macA), verdict: toPeer},
		{name: "to a static entry", frame: known().frame(macE, macA), verdict: toPeer},
		{name: "to a port", frame: known().frame(macD, macA), verdict: toPort},
		{name: "IP options", frame: with(func(p *packet) { p.options = 4 }), verdict: toPeer},
		{name: "fragment", frame: with(func(p *packet) { p.flags = 0x2000 }), verdict: toPeer},
		{name: "the largest", frame: with(func(p *packet) { p.l4 = udpTo(7, maxInner-14-20-8) }), verdict: toPeer},
		{name: "one more", frame: with(func(p *packet) { p.l4 = udpTo(7, maxInner-14-20-8+1) }), verdict: tooLarge},
		{name: "the largest over IPv6", frame: packet{proto: 17, l4: udpTo(7, maxInner-20-14-20-8)}.frame(macC, macA), verdict: toPeer},
		{name: "one more over IPv6", frame: packet{proto: 17, l4: udpTo(7, maxInner-20-14-20-8+1)}.frame(macC, macA), verdict: tooLarge},
		{name: "more than the port takes", frame: packet{proto: 17, l4: udpTo(7, 1400-14-20-8+1)}.frame(macD, macA), verdict: tooLarge},
		{name: "ARP", frame: ethernet(macB, macA, encap.EtherTypeARP, make([]byte, 46)), verdict: notIP},
		{name: "IPv4 that is none", frame: ethernet(macB, macA, encap.EtherTypeIPv4, make([]byte, 46)), verdict: oddIP},
		{name: "IPv6 that is none", frame: ethernet(macB, macA, encap.EtherTypeIPv6, make([]byte, 46)), verdict: oddIP},
		{name: "options cut short", frame: with(func(p *packet) { p.options, p.l4 = 40, nil })[:14+20], verdict: oddIP},
		{name: "in-band tag", frame: ethernet(macB, macA, encap.EtherTypeVLAN, append([]byte{0, 5, 8, 0}, known().bytes()...)), verdict: notIP},
		{name: "broadcast", frame: known().frame([6]byte{255, 255, 255, 255, 255, 255}, macA), verdict: groupAddress},
		{name: "multicast", frame: known().frame([6]byte{1, 0, 0x5e, 0, 0, 1}, macA), verdict: groupAddress},
		{name: "multicast source", frame: known().frame(macB, [6]byte{3, 0, 0, 0, 0, 1}), verdict: badSource},
		{name: "zero source", frame: known().frame(macB, [6]byte{}), verdict: badSource},
		{name: "unknown source", frame: known().frame(macB, macNone), verdict: unknownSource},
		{name: "source at another port", frame: known().frame(macB, macD), verdict: unknownSource},
		{name: "source behind a peer", frame: known().frame(macD, macB), verdict: unknownSource},
		{name: "unknown destination", frame: known().frame(macNone, macA), verdict: unknownDestination},
		{name: "to itself", frame: known().frame(macA, macA), verdict: samePlace},
		{name: "to a port without the VNI", frame: known().frame(macF, macA), verdict: unknownDestination},
		{name: "isolated, to an isolated port", frame: known().frame(macD, macA), verdict: portToUser, before: isolate(0, 1)},
		{name: "isolated, to another port", frame: known().frame(macD, macA), verdict: toPort, before: isolate(0)},
		{name: "to an isolated port", frame: known().frame(macD, macA), verdict: toPort, before: isolate(1)},
		{name: "isolated, to a peer", frame: known().frame(macB, macA), verdict: toPeer, before: isolate(0, 1)},
		{name: "to a port that has gone", frame: known().frame(macD, macA), verdict: unknownDestination, before: func(b *bench) { b.DelPort(1) }},
		{name: "to a peer that has gone", frame: known().frame(macB, macA), verdict: noRoute, before: func(b *bench) { b.DelPeer(0) }},
		{name: "no port", frame: known().frame(macB, macA), verdict: noPort, before: func(b *bench) { b.DelPort(0) }},
		{name: "port up", frame: known().frame(macB, macA), verdict: portToUser, before: port(func(p *Port) { p.ToUser = true })},
		{name: "port without untagged", frame: known().frame(macB, macA), verdict: noDomain, before: port(func(p *Port) { p.Untagged = 0 })},
		{name: "port of another VNI", frame: known().frame(macB, macA), verdict: noDomain, before: port(func(p *Port) { p.Untagged = 5 })},
		{name: "no domain", frame: known().frame(macB, macA), verdict: noDomain, before: func(b *bench) { b.DelDomain(testVNI) }},
		{name: "domain up", frame: known().frame(macB, macA), verdict: domainPolicy, domain: domain(func(d *Domain) { d.ToUser = true })},
		{name: "checksum wanted", frame: known().frame(macB, macA), verdict: udpChecksum, domain: domain(func(d *Domain) { d.ZeroChecksumTx = false })},
		{name: "checksum wanted elsewhere", frame: known().frame(macC, macA), verdict: toPeer, domain: domain(func(d *Domain) { d.ZeroChecksumTx = false })},
		{name: "checksum wanted, IPv6", frame: known().frame(macC, macA), verdict: udpChecksum, domain: domain(func(d *Domain) { d.ZeroChecksum6Tx = false })},
		{name: "SYN", frame: packet{proto: 6, l4: opening(2, mss(1460))}.frame(macB, macA), verdict: domainPolicy, domain: domain(syn)},
		{name: "SYN ACK over IPv6", frame: packet{ipv6: true, proto: 6, l4: opening(0x12, mss(1381))}.frame(macB, macA), verdict: domainPolicy, domain: domain(syn)},
		{name: "SYN in a first fragment", frame: packet{proto: 6, flags: 0x2000, l4: opening(2, mss(1400))}.frame(macB, macA), verdict: domainPolicy, domain: domain(syn)},
		{name: "ACK", frame: packet{proto: 6, l4: tcpWith(16, 0)}.frame(macB, macA), verdict: toPeer, domain: domain(syn)},
		{name: "later fragment of TCP", frame: packet{proto: 6, flags: 5, l4: tcpWith(2, 0)}.frame(macB, macA), verdict: toPeer, domain: domain(syn)},
		{name: "TCP cut short", frame: packet{proto: 6, l4: tcpWith(2, 0)[:13]}.frame(macB, macA), verdict: domainPolicy, domain: domain(syn)},
		{name: "TCP behind extensions", frame: packet{ipv6: true, proto: 60, l4: append([]byte{6, 0, 1, 4, 0, 0, 0, 0}, tcpWith(2, 0)...)}.frame(macB, macA), verdict: domainPolicy, domain: domain(syn)},
		{name: "SYN with no one to clamp", frame: packet{proto: 6, l4: opening(2, mss(1460))}.frame(macB, macA), verdict: toPeer},
		{name: "VXLAN to a peer", frame: packet{proto: 17, dst: remote4, l4: udpTo(testPort, 50)}.frame(macB, macA), verdict: domainPolicy, domain: domain(guard)},
		{name: "VXLAN to a peer, options", frame: packet{proto: 17, options: 8, dst: remote4, l4: udpTo(testPort, 50)}.frame(macB, macA), verdict: domainPolicy, domain: domain(guard)},
		{name: "VXLAN to a port", frame: packet{proto: 17, dst: remote4, l4: udpTo(testPort, 50)}.frame(macD, macA), verdict: domainPolicy, domain: domain(guard)},
		{name: "VXLAN to ourselves", frame: packet{ipv6: true, proto: 17, dst: local6, l4: udpTo(8472, 50)}.frame(macB, macA), verdict: domainPolicy, domain: domain(guard)},
		{name: "VXLAN to a mapped address", frame: packet{ipv6: true, proto: 17, dst: netip.AddrFrom16(remote4.As16()), l4: udpTo(testPort, 50)}.frame(macB, macA), verdict: domainPolicy, domain: domain(guard)},
		{name: "VXLAN to a station", frame: packet{proto: 17, l4: udpTo(testPort, 50)}.frame(macB, macA), verdict: toPeer, domain: domain(guard)},
		{name: "VXLAN to a station, IPv6", frame: packet{ipv6: true, proto: 17, l4: udpTo(testPort, 50)}.frame(macC, macA), verdict: toPeer, domain: domain(guard)},
		{name: "fragment of VXLAN to a station", frame: packet{proto: 17, flags: 0x2000, l4: udpTo(testPort, 50)}.frame(macB, macA), verdict: domainPolicy, domain: domain(guard)},
		{name: "another port of a peer", frame: packet{proto: 17, dst: remote4, l4: udpTo(4790, 50)}.frame(macB, macA), verdict: toPeer, domain: domain(guard)},
		{name: "fragment of UDP, guarded", frame: packet{proto: 17, flags: 5, l4: udpTo(7, 50)}.frame(macB, macA), verdict: domainPolicy, domain: domain(guard)},
		{name: "other UDP, guarded", frame: known().frame(macB, macA), verdict: toPeer, domain: domain(guard)},
		{name: "VXLAN inside, not guarded", frame: packet{proto: 17, dst: remote4, l4: udpTo(testPort, 50)}.frame(macB, macA), verdict: toPeer},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.domain)
			if c.before != nil {
				c.before(b)
			}
			answer, verdict, out := b.run(b.objects.VtepdTap, c.frame, nil)
			if verdict != c.verdict {
				t.Errorf("verdict %d %q, want %d %q", verdict, word(verdict), c.verdict, word(c.verdict))
			}
			want := uint32(nextTCX)
			if c.verdict <= toPort {
				want = redirect
			} else if !bytes.Equal(out, c.frame) {
				t.Error("the frame is no longer what it was")
			}
			if answer != want {
				t.Errorf("answer %d, want %d", int32(answer), int32(want))
			}
			answer, _, _ = b.run(b.objects.VtepdDevice, c.frame, nil)
			if want == nextTCX {
				want = dropTCX
			}
			if answer != want {
				t.Errorf("on a device: answer %d, want %d", int32(answer), int32(want))
			}
			answer, _, _ = b.run(b.objects.SlowOnly, asSocket(c.frame), nil)
			if want := uint32(keepFrame); c.verdict <= toPort {
				if answer != 0 {
					t.Errorf("the filter keeps %d of a frame that is carried", answer)
				}
			} else if answer != want {
				t.Errorf("the filter keeps %d", answer)
			}
		})
	}
}

// asSocket has a test run show the frame to a socket filter from its Ethernet header on, as packet sockets do: it takes one header off.
func asSocket(frame []byte) []byte { return append(bytes.Clone(frame[:14]), frame...) }

func word(verdict int) string {
	if verdict < 0 || verdict >= numVerdicts {
		return "none"
	}
	return puntWords[verdict]
}

// TestEncapsulated compares what leaves for a peer with what user space writes, for every policy of the outer header.
func TestEncapsulated(t *testing.T) {
	t.Parallel()
	for _, mode := range []encap.ECNMode{encap.ECNRFC6040, encap.ECNLinux} {
		for _, inherit := range []bool{false, true} {
			b := newBench(t, func(_ *Options, d *Domain) {
				d.ECNLinux = mode == encap.ECNLinux
				d.InheritDSCP, d.InheritTTL = inherit, inherit
				d.TOS, d.TTL = 46<<2, 99
			})
			for _, ipv6 := range []bool{false, true} {
				for ecn := range uint8(4) {
					for _, to := range []struct {
						mac         [6]byte
						local, peer netip.Addr
					}{{macB, netip.MustParseAddr("192.0.2.200"), remote4}, {macC, local6, remote6}} {
						p := known()
						p.ipv6, p.tos, p.ttl = ipv6, 10<<2|ecn, 77
						inner := p.frame(to.mac, macA)
						_, verdict, out := b.run(b.objects.VtepdTap, inner, nil)
						if verdict != toPeer {
							t.Fatalf("verdict %d", verdict)
						}
						w := wrap{
							dstMAC: to.mac, srcMAC: macA, src: to.local, dst: to.peer, tos: 46<<2 | encap.ECNEncap(mode, ecn), ttl: 99, flags: 0x4000,
							port: testPort, noUDPSum: true, vxlan: vxlanHeader(testVNI), inner: inner,
						}
						if inherit {
							w.tos, w.ttl = 10<<2|w.tos&3, 77
						}
						at := 34
						if to.peer.Is6() {
							at = 54
						}
						w.srcPort = binary.BigEndian.Uint16(out[at:])
						if w.srcPort < 49152 {
							t.Errorf("source port %d", w.srcPort)
						}
						want := w.bytes()
						if to.peer.Is6() { // the flow label is a hash
							label := binary.BigEndian.Uint32(out[14:]) & 0xfffff
							binary.BigEndian.PutUint32(want[14:], binary.BigEndian.Uint32(want[14:])|label)
							if label == 0 {
								t.Error("no flow label")
							}
						}
						if diff := cmp.Diff(want, out); diff != "" {
							t.Errorf("ecn mode %d, inherit %v, inner IPv6 %v, ecn %d, to %s (-want +got):\n%s", mode, inherit, ipv6, ecn, to.peer, diff)
						}
					}
				}
			}
		}
	}
}

// TestSourcePorts wants the ports to be of the range that was asked for, and all of it to be used.
func TestSourcePorts(t *testing.T) {
	b := newBench(t, func(o *Options, _ *Domain) { o.SourcePorts = [2]uint16{60000, 60003} })
	seen := make(map[uint16]int)
	for i := range 200 {
		p := packet{proto: 17, l4: udpTo(uint16(1000+i), 10)}
		_, _, out := b.run(b.objects.VtepdTap, p.frame(macB, macA), nil)
		seen[binary.BigEndian.Uint16(out[34:])]++
	}
	for port := uint16(60000); port <= 60003; port++ {
		if seen[port] < 20 {
			t.Errorf("port %d: %d of 200 flows", port, seen[port])
		}
		delete(seen, port)
	}
	if len(seen) != 0 {
		t.Errorf("ports out of the range: %v", seen)
	}
}

// TestSourcePortList wants exactly the ports that are listed, for each family its own.
func TestSourcePortList(t *testing.T) {
	lists := map[[6]byte][]uint16{macB: {50001, 60123, 49999}, macC: {50002, 60124}}
	b := newBench(t, func(o *Options, _ *Domain) { o.SourcePortList, o.SourcePortList6 = lists[macB], lists[macC] })
	for to, list := range lists {
		seen := make(map[uint16]int)
		for i := range 300 {
			p := packet{proto: 17, l4: udpTo(uint16(1000+i), 10)}
			_, _, out := b.run(b.objects.VtepdTap, p.frame(to, macA), nil)
			at := 34
			if to == macC {
				at = 54
			}
			seen[binary.BigEndian.Uint16(out[at:])]++
		}
		for _, port := range list {
			if seen[port] < 50 {
				t.Errorf("port %d: %d of 300 flows", port, seen[port])
			}
			delete(seen, port)
		}
		if len(seen) != 0 {
			t.Errorf("other ports: %v", seen)
		}
	}
	if f, err := Open(Options{SourcePortList6: make([]uint16, 65)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("65 ports: %v", err)
		if err == nil {
			f.Close()
		}
	}
}

// TestMark has the filter keep a frame that was given back to user space.
func TestMark(t *testing.T) {
	b := newBench(t, func(o *Options, _ *Domain) { o.Alone = false })
	s := b.loaded()
	frame := known().frame(macB, macA)
	for _, c := range []struct{ mark, want uint32 }{{0, 0}, {s.Mark, keepFrame}, {s.Mark ^ 2, 0}} {
		answer, _, _ := b.run(b.objects.SlowOnly, asSocket(frame), skb{Mark: c.mark})
		if answer != c.want {
			t.Errorf("mark %#x: keeps %d, want %d", c.mark, answer, c.want)
		}
	}
}

// TestSeen wants a source to be refreshed, and a static one not.
func TestSeen(t *testing.T) {
	b := newBench(t, nil)
	b.run(b.objects.VtepdTap, known().frame(macB, macA), nil)
	letter := letterFrom(remote4, known().frame(macA, macE))
	b.run(b.objects.VtepdUnderlay, letter.bytes(), nil)
	now := b.Now()
	seen := make(map[[6]byte]uint32)
	if err := b.WalkEntries(func(e Entry) bool { seen[e.MAC] = e.Seen; return true }); err != nil {
		t.Fatal(err)
	}
	if s := seen[macA]; now-s > 1 {
		t.Errorf("source seen at %d, now is %d", s, now)
	}
	if seen[macE] != 0 || seen[macB] != 0 {
		t.Errorf("refreshed without reason: %v", fmt.Sprint(seen))
	}
}
