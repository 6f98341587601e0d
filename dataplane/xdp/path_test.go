package xdp

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// mtu leaves room for the outer headers on an underlay of 1500 bytes.
func mtu(ipv6 bool) int {
	if ipv6 {
		return 1430
	}
	return 1450
}

// TestPaths sends everything that is carried over every pair of ways in and out: echo requests, TCP and UDP superframes, both inner
// families over both outer ones.
func TestPaths(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		for _, wire := range []bool{false, true} {
			for _, decap := range []DecapMode{Auto, TCX, XDPNative} {
				if !wire && decap != TCX {
					continue // Auto is tcx then, and XDP switches segmentation offload of the other end off: then it is a wire
				}
				for _, kind := range []string{"tap", "veth"} {
					word := map[bool]string{false: "4", true: "6"}[ipv6] + map[bool]string{false: "-whole", true: "-wire"}[wire]
					t.Run(fmt.Sprintf("%s%s-%s", kind, word, [...]string{"auto", "tcx", "xdp"}[decap]), func(t *testing.T) {
						t.Parallel()
						a, b := newSides(t, ipv6, wire, func(o *Options, _ *Domain) { o.Decap = decap })
						var sa, sb *station
						if kind == "tap" {
							sa, sb = a.tap("tap0", mtu(ipv6)), b.tap("tap0", mtu(ipv6))
						} else {
							sa, sb = a.veth("wa", mtu(ipv6)), b.veth("wb", mtu(ipv6))
						}
						meet(sa, sb)
						carries(t, sa, sb)
						balanced(t, sa, sb)
					})
				}
			}
		}
	}
}

// carries wants all that the programs are for to arrive.
func carries(t *testing.T, a, b *station) {
	t.Helper()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("echo 4", a.ping(b.host.Overlay4()))
	check("echo 6", a.ping(b.host.Overlay6()))
	check("tcp 4", transfer(a, b, b.host.Overlay4(), 4<<20))
	check("tcp 6", transfer(b, a, a.host.Overlay6(), 4<<20))
	if a.side != b.side && !a.divided {
		for _, to := range []netip.Addr{b.host.Overlay4(), b.host.Overlay6()} {
			check("udp", datagrams(a, b, to, 20, 1, 1200, false))
		}
		// UDP superframes to peers are cut in user space, and there is none. They come last: what is sent right behind them goes there, too.
		before := a.f.Totals().Punted["odd_superframe"]
		check("udp in vain", superframes(a, &net.UDPAddr{IP: b.host.Overlay4().AsSlice(), Port: 9}, 1, 3, 1200))
		if after := a.f.Totals().Punted["odd_superframe"]; after != before+1 {
			t.Errorf("%d UDP superframes left to user space", after-before)
		}
		return
	}
	check("udp 4", datagrams(a, b, b.host.Overlay4(), 10, 20, 1200, false))
	check("udp 6", datagrams(b, a, a.host.Overlay6(), 10, 20, 1200, false))
	check("udp 4 joined", datagrams(a, b, b.host.Overlay4(), 10, 20, 1200, true))
	check("udp 6 joined", datagrams(b, a, a.host.Overlay6(), 10, 20, 1200, true))
}

// balanced wants what one side sent to have been received by the other, but for what the underlay says it lost, and no frame lost in
// a race.
func balanced(t *testing.T, a, b *station) {
	t.Helper()
	arrived := func(from, to *station) {
		t.Helper()
		// A veth device whose other end runs XDP holds 256 frames (VETH_RING_SIZE, Linux 4.19) and drops the next one on a busy machine.
		lost := from.side.underlayDrops()
		sent, got := from.f.Totals().Encap, to.f.Totals().Decap
		tx, rx := from.f.PeerCounters(peerIndex), to.f.PeerCounters(peerIndex)
		if got > sent || sent-got > lost || rx.RxPackets > tx.TxPackets || tx.TxPackets-rx.RxPackets > lost ||
			rx.RxBytes > tx.TxBytes || lost == 0 && rx.RxBytes != tx.TxBytes {
			t.Errorf("of %d encapsulated %d arrived, and the underlay lost %d\npeer counters there %+v\nhere %+v", sent, got, lost, tx, rx)
		}
	}
	arrived(a, b)
	arrived(b, a)
	if ta, tb := a.f.Totals(), b.f.Totals(); ta.Races+tb.Races+ta.Busy+tb.Busy != 0 {
		t.Errorf("a: %+v\nb: %+v", ta, tb)
	}
	for _, s := range []*station{a, b} {
		port, peer, vni := s.f.PortCounters(portIndex), s.f.PeerCounters(peerIndex), s.f.VNICounters(testVNI)
		if port.RxPackets != peer.TxPackets || port.TxPackets != peer.RxPackets || port.RxBytes != peer.TxBytes || port.TxBytes != peer.RxBytes {
			t.Errorf("port %+v, peer %+v", port, peer)
		}
		if n := port.RxPackets + peer.RxPackets; vni.RxPackets != n || vni.TxPackets != n {
			t.Errorf("vni %+v, port %+v, peer %+v", vni, port, peer)
		}
	}
}
