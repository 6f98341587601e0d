package dataplane

import (
	"net/netip"
	"testing"

	"vtepd/bench/lab"
)

// TestUncutBehindABridge: what a kernel on the same machine sends uncut has lost the size of its segments. They fit the underlay, and so the station behind a port
// of a larger MTU, whose bridge has no TSO to cut larger ones again.
//
//	vxlan42 (kernel) ── eth0 ══ eth0 ── switch ── port0 ══ eth0 ── br0 ── p1 ══ eth0 1450
func TestUncutBehindABridge(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	ha, hk := l.Host("vtepd"), l.Host("kernel")
	l.Link(ha, hk, lab.LinkOptions{})
	a := startNode(t, ha, nil)
	a.vni(42, hk.Underlay4())
	between := a.packetPort(l, PortNetdev, "port0", 42, 1500, nil)
	between.Must("ip", "address", "flush", "dev", "eth0")
	station := l.Workload(between, "station", "p1", 1450)
	between.Must("ethtool", "-K", "p1", "tso", "off")
	between.Must("ip", "link", "add", "br0", "type", "bridge")
	between.Must("ip", "link", "set", "eth0", "master", "br0")
	between.Must("ip", "link", "set", "p1", "up", "master", "br0")
	between.Must("ip", "link", "set", "br0", "up")
	device := hk.VXLAN(lab.VXLANOptions{VNI: 42, Local: hk.Underlay4(), Peers: []netip.Addr{ha.Underlay4()}, MTU: 1450})
	hk.Addr(device, hk.OverlayPrefixes()...)
	newPinger(t, hk, station.Overlay4()).ping(56)
	transfer(t, hk, station, station.Overlay4(), 16<<20)
	transfer(t, station, hk, hk.Overlay4(), 16<<20)
	rest(a)
	a.balance()
}
