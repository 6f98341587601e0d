package dataplane

import (
	"bytes"
	"testing"

	"vtepd/bench/lab"
)

// What a workload sends does not take its connection off the fast path, though it looks as if the kernel had joined datagrams of several stations: superframes of
// a tunnel of the kernel's, with checksums, are told by their kind.
//
//	workload ══ web0 ── switch ── eth0 ══ eth0 ── vxlan42
//	                      a                       k
func TestFastPathPayloadLikeDatagrams(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	needFastPath(t)
	ha, k := l.Host("a"), l.Host("k")
	l.Link(ha, k, lab.LinkOptions{})
	a := startNode(t, ha, func(c *Config) { c.FastPath = FastPathOn })
	a.vni(42, k.Underlay4())
	k.Must("ip", "link", "add", "vxlan42", "mtu", "1450", "type", "vxlan", "id", "42", "local", k.Underlay4().String(), "remote", ha.Underlay4().String(),
		"dstport", "4789", "udpcsum")
	k.Must("ip", "link", "set", "vxlan42", "up")
	k.Addr("vxlan42", k.OverlayPrefixes()...)
	w := a.packetPort(l, PortVeth, "web0", 42, 1450, nil)
	newPinger(t, k, w.Overlay4()).ping(100)

	// At every other place the flags of a VXLAN header, with nothing where seven bytes later its reserved one would be.
	block := bytes.Repeat([]byte{8, 0}, 1<<19)
	stream := func(size int) {
		transferOf(t, k, w, w.Overlay4(), size, block)
		rest(a)
	}
	const size = 64 << 20
	stream(1 << 20) // the first may pass before the maps know the stations
	before := a.Status().FastPath
	stream(size)
	after := a.Status().FastPath
	if n := after.Decap - before.Decap; n < size/1450 {
		t.Errorf("%d segments were carried, want %d at least", n, size/1450)
	}
	for _, reason := range []string{"odd_superframe", "behind_superframe"} {
		if n := after.Punted[reason] - before.Punted[reason]; n != 0 {
			t.Errorf("%s: %d left to user space", reason, n)
		}
	}
}
