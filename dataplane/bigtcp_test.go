package dataplane

import (
	"testing"

	"github.com/vishvananda/netlink"

	"vtepd/bench/lab"
	"vtepd/dataplane/netdev"
)

// Hosts that make TCP superframes of more than 64 KiB (BIG TCP) are served as others are, toward peers and toward ports; only what the first read of a queue brings of
// them is lost.
//
//	eth0 ══ port0 ── switch ── eth0 ══ eth0 ── switch ── port1 ══ eth0
//	eth0 ══ port2 ─────┘
func TestBigTCP(t *testing.T) {
	t.Parallel()
	const size = 180000
	l := lab.New(t)
	ha, hb := l.Host("a"), l.Host("b")
	l.Link(ha, hb, lab.LinkOptions{})
	a, b := startNode(t, ha, nil), startNode(t, hb, nil)
	a.vni(42, hb.Underlay4())
	b.vni(42, ha.Underlay4())
	sender := a.packetPort(l, PortNetdev, "port0", 42, 1450, nil)
	near := a.packetPort(l, PortNetdev, "port2", 42, 1450, nil)
	far := b.packetPort(l, PortNetdev, "port1", 42, 1450, nil)
	if err := sender.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err == nil {
			err = netlink.LinkSetGSOMaxSize(link, size)
		}
		if err == nil {
			err = netlink.LinkSetGSOIPv4MaxSize(link, size)
		}
		return err
	}); err != nil {
		t.Skipf("no BIG TCP here: %v", err)
	}
	for _, to := range []*lab.Host{far, near} {
		waitForAddress(t, &node{Host: to, t: t}, to.Overlay6())
	}
	waitForAddress(t, &node{Host: sender, t: t}, sender.Overlay6())
	for _, c := range []struct {
		name string
		to   *lab.Host
	}{{"to a peer", far}, {"to a port", near}} {
		for _, server := range []struct {
			name string
			v6   bool
		}{{"IPv4", false}, {"IPv6", true}} {
			address := c.to.Overlay4()
			if server.v6 {
				address = c.to.Overlay6()
			}
			elapsed := transfer(t, sender, c.to, address, 64<<20)
			t.Logf("%s, %s: %.2f Gb/s", c.name, server.name, 64*8*1.048576/1000/elapsed.Seconds())
		}
	}
	rest(a)
	a.balance()
	b.balance()
	lost := uint64(0)
	for _, d := range a.Drops() {
		switch d.Reason {
		case TooBig:
			lost += d.Count
		case LinkLocalMulticast, NoDestination, FastPathBusy:
		default:
			t.Errorf("dropped: %+v", d)
		}
	}
	// None at all would say that none were made.
	if most := uint64(len(a.workers) * netdev.MaxFrames); lost == 0 || lost > most {
		t.Errorf("%d superframes were lost, want those of the first read of a queue, %d at most: %+v", lost, most, a.Drops())
	}
}
