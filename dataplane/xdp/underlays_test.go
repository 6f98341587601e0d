package xdp

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"vtepd/bench/lab"
)

// wireSides are two sides with XDP on the wire between them, and a station each.
func wireSides(t *testing.T) (a, b *side, sa, sb *station) {
	t.Helper()
	a, b = newSides(t, false, true, func(o *Options, _ *Domain) { o.Decap = XDPNative })
	sa, sb = a.veth("wa", 1450), b.veth("wb", 1450)
	meet(sa, sb)
	return a, b, sa, sb
}

// decap judges the wire of a side anew.
func (s *side) decap() (d Decap) {
	s.t.Helper()
	s.do(func() (err error) {
		d, err = s.f.AttachUnderlay(s.host.Index(s.wire.Name))
		return err
	})
	return d
}

// sendTo has a host send to the other's underlay address at a MAC.
func (s *side) sendTo(other *side, mac net.HardwareAddr) {
	s.t.Helper()
	n := &netlink.Neigh{LinkIndex: s.host.Index(s.wire.Name), State: netlink.NUD_PERMANENT, IP: other.host.Underlay4().AsSlice(), HardwareAddr: mac}
	if err := s.host.Netlink().NeighSet(n); err != nil {
		s.t.Fatal(err)
	}
}

// TestUnderlayForeignMAC: a datagram to our address but another host's MAC, which a device in promiscuous mode receives, is another host's. A MAC that
// changes is followed.
func TestUnderlayForeignMAC(t *testing.T) {
	t.Parallel()
	a, b, sa, sb := wireSides(t)
	if err := sa.ping(sb.host.Overlay4()); err != nil {
		t.Fatal(err)
	}
	b.host.Must("ip", "link", "set", b.wire.Name, "promisc", "on")
	foreign := net.HardwareAddr{2, 0, 0x5e, 0, 0x53, 1}
	a.sendTo(b, foreign)
	before := b.f.PortCounters(portIndex).TxPackets
	if sa.pingInVain(sb.host.Overlay4()) {
		t.Error("answered to another host's MAC")
	}
	if n := b.f.PortCounters(portIndex).TxPackets - before; n != 0 {
		t.Errorf("%d frames unwrapped that were another host's", n)
	}

	b.host.Must("ip", "link", "set", b.wire.Name, "address", foreign.String())
	if d := b.decap(); d.Mode != "xdp+tcx" {
		t.Fatalf("judged anew: %+v", d)
	}
	before = b.unwrapped()
	if err := sa.ping(sb.host.Overlay4()); err != nil {
		t.Errorf("after the change of the MAC: %v", err)
	}
	if n := b.unwrapped() - before; n < 5 {
		t.Errorf("XDP unwrapped %d frames", n)
	}
}

// unwrapped counts what was delivered from peers.
func (s *side) unwrapped() uint64 { return s.f.Totals().Decap }

// TestUnderlayOwners: a device that others stand on is left to tcx, for as long as they do.
func TestUnderlayOwners(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"vlan id 200", "macvlan mode bridge", "ipvlan mode l2"} {
		t.Run(strings.Fields(kind)[0], func(t *testing.T) {
			lab.NeedRoot(t)
			_, b, sa, sb := wireSides(t)
			if d := b.decap(); d.Mode != "xdp+tcx" {
				t.Fatalf("at first: %+v", d)
			}
			add := append([]string{"link", "add", "link", b.wire.Name, "name", "over0", "type"}, strings.Fields(kind)...)
			if out, err := b.host.Command("ip", add...); err != nil {
				t.Skipf("no %s here: %s", kind, out)
			}
			d := b.decap()
			if d.Mode != "tcx" || !strings.Contains(d.Reason, "over0") {
				t.Errorf("with %s on it: %+v", kind, d)
			}
			if err := sa.ping(sb.host.Overlay4()); err != nil {
				t.Errorf("by tcx: %v", err)
			}
			b.host.Must("ip", "link", "del", "over0")
			if d := b.decap(); d.Mode != "xdp+tcx" {
				t.Errorf("after it went: %+v", d)
			}
			if err := sa.ping(sb.host.Overlay4()); err != nil {
				t.Errorf("by XDP again: %v", err)
			}
		})
	}
}

// TestUnderlayWithoutXDP: a device whose driver knows no XDP is tcx's, and that is said in words.
func TestUnderlayWithoutXDP(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	_, b, _, _ := wireSides(t)
	b.host.Must("ip", "link", "add", "br0", "type", "bridge")
	b.host.Must("ip", "link", "set", "br0", "up")
	var d Decap
	err := b.host.Do(func() (err error) {
		d, err = b.f.AttachUnderlay(b.host.Index("br0"))
		return err
	})
	if err != nil || d.Mode != "tcx" || d.Reason != "xdp: the driver of the interface has none, or not as it is set up now" {
		t.Errorf("%+v, %v", d, err)
	}
}
