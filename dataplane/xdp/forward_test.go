package xdp

import (
	"net/netip"
	"testing"

	"vtepd/bench/lab"
)

// TestForwardedOn sends superframes to a workload that passes them on, through a bridge, to one of its own: what is left of a tunnel on an
// unwrapped superframe must not break it there.
//
//	station a ── ... ── port ── veth ── workload b: bridge ── veth ── guest
func TestForwardedOn(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"whole", "whole, then cut", "wire"} {
		t.Run(kind, func(t *testing.T) {
			a, b := newSides(t, false, kind == "wire", nil)
			sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
			guest := b.lab.Host("guest")
			inner := b.lab.Link(sb.host, guest, lab.LinkOptions{MTU: 1450, NameA: "in0", NameB: "eth0"})
			if kind == "whole, then cut" {
				inner.OffloadsOff()
			}
			sb.host.Bridge("br0", "eth0", "in0")
			addresses := guest.OverlayPrefixes()
			guest.Addr("eth0", addresses...)
			sg := &station{side: sb.side, host: guest, dev: "eth0", port: sb.port, mac: guest.MAC("eth0")}
			meet(sa, sg)
			if err := sa.ping(addresses[0].Addr()); err != nil {
				t.Error(err)
			}
			for _, to := range []netip.Addr{addresses[0].Addr(), addresses[1].Addr()} {
				if err := transfer(sa, sg, to, 8<<20); err != nil {
					t.Error(err)
				}
			}
			t.Logf("%+v", b.f.Totals())
		})
	}
}
