package dataplane

import (
	"strconv"
	"strings"
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
			// A twentieth, and what was lost. Segments that pass the large ones by are sent again by the ten thousand, each time; on a busy machine some thousand are now
			// and then, because what acknowledges them is late.
			for try := 1; ; try++ {
				before, lost := sentAgain(t, sender), a.dropped(TooBig)
				elapsed := transfer(t, sender, c.to, address, 64<<20)
				again := sentAgain(t, sender) - before
				lost = a.dropped(TooBig) - lost
				t.Logf("%s, %s: %.2f Gb/s, %d segments sent again, %d superframes lost", c.name, server.name, 64*8*1.048576/1000/elapsed.Seconds(), again, lost)
				most := 2400 + int(lost)*(size/1400+1)
				if again <= most {
					break
				}
				if try == 3 {
					t.Errorf("%s, %s: %d segments of 48000 were sent again, %d at most are to be", c.name, server.name, again, most)
					break
				}
			}
		}
	}
	if a.Status().FastPath.Active {
		for _, p := range a.Ports() {
			if off := strings.Contains(p.FastPathReason, "more than 64 KiB"); off != (p.Config.Name == "port0") {
				t.Errorf("%s: fast path %v %s", p.Config.Name, p.FastPath, p.FastPathReason)
			}
		}
	}
	rest(a)
	a.balance()
	b.balance()
	for _, d := range a.Drops() {
		switch d.Reason {
		case TooBig, LinkLocalMulticast, NoDestination, FastPathBusy:
		default:
			t.Errorf("dropped: %+v", d)
		}
	}
	// None at all would say that none were made.
	if lost, most := a.dropped(TooBig), uint64(len(a.workers)*netdev.MaxFrames); lost == 0 || lost > most {
		t.Errorf("%d superframes were lost, want those of the first read of a queue, %d at most: %+v", lost, most, a.Drops())
	}
}

// sentAgain is how many TCP segments a host has sent more than once.
func sentAgain(t *testing.T, h *lab.Host) int {
	t.Helper()
	var names []string
	for line := range strings.Lines(h.Must("cat", "/proc/self/net/snmp")) {
		words := strings.Fields(line)
		if words[0] != "Tcp:" {
			continue
		}
		for i, name := range names {
			if name == "RetransSegs" {
				n, err := strconv.Atoi(words[i])
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		names = words
	}
	t.Fatal("the kernel does not count RetransSegs")
	return 0
}
