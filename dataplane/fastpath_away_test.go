package dataplane

import (
	"net/netip"
	"testing"
	"time"
)

// TestFastPathLocalAway: datagrams to an address that the host has given up are left to the host, which may route them to whoever has it now. The programs hear
// them still, because of the other address.
func TestFastPathLocalAway(t *testing.T) {
	t.Parallel()
	_, nodes, w := fastPair(t, PortVeth, func(c *Config) {
		c.OtherLocal = netip.MustParseAddr(map[bool]string{true: "2001:db8::1", false: "2001:db8::2"}[c.Local == netip.MustParseAddr("192.0.2.1")])
	})
	b := nodes[1]
	link, err := b.Netlink().LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].Must("ip", "neigh", "replace", "192.0.2.2", "lladdr", link.Attrs().HardwareAddr.String(), "dev", "eth0", "nud", "permanent")
	carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)

	heard := func() bool {
		for _, a := range b.Status().FastPath.Attachments {
			if a.Port == "" && a.Kind != "" {
				return true
			}
		}
		return false
	}
	b.Must("ip", "address", "del", "192.0.2.2/24", "dev", "eth0")
	eventually(t, "b does not take datagrams to its former address", func() bool {
		before := b.Status().FastPath.Decap
		_, _ = w[0].Command("ping", "-c", "5", "-i", "0.01", "-w", "1", w[1].Overlay4().String())
		return b.Status().FastPath.Decap == before
	})
	if !heard() {
		t.Error("the programs do not listen for the other address")
	}
	before := nodes[0].Status().FastPath.Encap
	_, _ = w[0].Command("ping", "-c", "5", "-i", "0.01", "-w", "1", w[1].Overlay4().String())
	if n := nodes[0].Status().FastPath.Encap - before; n < 5 {
		t.Errorf("a sent %d of 5 frames: the test shows nothing", n)
	}
	b.Must("ip", "address", "add", "192.0.2.2/24", "dev", "eth0")
	time.Sleep(4 * routeSettle)
	carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
}
