package dataplane

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// node is a host of the lab with a switch in this process.
type node struct {
	*lab.Host
	*Switch
	t testing.TB
}

// startNode opens a switch on a host. Where it is to have the fast path and the kernel has none the test is skipped.
func startNode(t testing.TB, h *lab.Host, change func(*Config)) *node {
	t.Helper()
	c := Config{Local: h.Underlay4(), Workers: 2, Offload: true, FastPath: behaviourMode(t)}
	if change != nil {
		change(&c)
	}
	if c.FastPath == FastPathOn && c.openPrograms == nil {
		needFastPath(t)
	}
	n := &node{Host: h, t: t}
	n.do(func() error {
		var err error
		n.Switch, err = New(c)
		return err
	})
	t.Cleanup(func() {
		if err := n.Switch.Close(); err != nil && err != ErrClosed {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

// behaviourMode is the fast path's mode in the tests of what the switch does: they hold for the fast path too, and run a second time with it when
// VTEPD_TEST_FASTPATH is "on".
func behaviourMode(t testing.TB) FastPathMode {
	t.Helper()
	switch mode := os.Getenv("VTEPD_TEST_FASTPATH"); mode {
	case "", "off":
		return FastPathOff
	case "on":
		return FastPathOn
	default:
		t.Fatalf("VTEPD_TEST_FASTPATH is %q: want on or off", mode)
		return 0
	}
}

// do runs f in the node's namespace.
func (n *node) do(f func() error) {
	n.t.Helper()
	if err := n.Host.Do(f); err != nil {
		n.t.Fatal(err)
	}
}

// vni declares a VNI with learning on and the given peers.
func (n *node) vni(vni uint32, peers ...netip.Addr) {
	n.t.Helper()
	c := VNIConfig{VNI: vni, Learning: true, Ageing: 300 * time.Second}
	for _, p := range peers {
		c.Peers = append(c.Peers, netip.AddrPortFrom(p, 0))
	}
	n.do(func() error { return n.SetVNI(c) })
}

// tap adds an untagged port.
func (n *node) tap(name string, vni uint32, change func(*PortConfig)) {
	n.t.Helper()
	c := PortConfig{Name: name, Type: PortTAP, Untagged: vni}
	if change != nil {
		change(&c)
	}
	n.do(func() error { return n.AddPort(c) })
}

// pair makes two joined hosts with a switch each, VNI 42 between them and the port vtep0 with the host's overlay addresses.
//
//	     a                                       b
//	vtep0 198.51.100.1 ── switch ── eth0 ══ eth0 ── switch ── vtep0 198.51.100.2
func pair(t *testing.T, change func(*Config)) (a, b *node, link *lab.Link) {
	t.Helper()
	l := lab.New(t)
	ha, hb := l.Host("a"), l.Host("b")
	link = l.Link(ha, hb, lab.LinkOptions{})
	a, b = startNode(t, ha, change), startNode(t, hb, change)
	a.vni(42, hb.Underlay4())
	b.vni(42, ha.Underlay4())
	for _, n := range []*node{a, b} {
		n.tap("vtep0", 42, func(c *PortConfig) { c.Addresses = n.OverlayPrefixes() })
	}
	return a, b, link
}

// idle waits until no frame has entered any of the switches for a while.
func idle(nodes ...*node) {
	var last uint64
	for range 100 {
		time.Sleep(30 * time.Millisecond)
		var now uint64
		for _, n := range nodes {
			now += n.Totals().Received
		}
		if now == last {
			return
		}
		last = now
	}
}

// balance fails the test unless every frame is accounted for.
func (n *node) balance() {
	n.t.Helper()
	got := n.Totals()
	if got.Received != got.Forwarded+got.Dropped {
		n.t.Errorf("%s: received %d != forwarded %d + dropped %d", n.Host.Name(), got.Received, got.Forwarded, got.Dropped)
	}
	var ledger uint64
	for _, d := range n.Drops() {
		ledger += d.Count
	}
	if ledger != got.Dropped {
		n.t.Errorf("%s: ledger says %d dropped, totals say %d: %v", n.Host.Name(), ledger, got.Dropped, n.Drops())
	}
}

// waitListening waits until something on the node listens on a TCP port.
func waitListening(t *testing.T, n *node, port int) {
	t.Helper()
	for end := time.Now().Add(lab.Patience); time.Now().Before(end); {
		out, err := n.Command("ss", "-Hltn", "sport", "=", strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(out) != "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("nothing listens on port %d", port)
}
