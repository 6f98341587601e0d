package dataplane

import (
	"testing"
	"time"

	"vtepd/bench/lab"
)

// TestNamespaceLookedFor: a namespace that has been away for long is looked for as often as one that has just gone.
//
//	{p0} ── switch on a {eth0} ══ {eth0} b
func TestNamespaceLookedFor(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	n := startNode(t, h, nil)
	n.vni(42)
	n.do(func() error {
		return n.AwaitPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, NetNS: "vtepd-none"})
	})
	for range 8 {
		n.mu.Lock()
		r := n.ports["p0"]
		r.retry = time.Time{}
		n.refreshPort(r)
		wait, state := r.wait, r.state
		n.mu.Unlock()
		if wait != retryFirst || state != PortMissing {
			t.Fatalf("%s, looked for again after %v, want %v", state, wait, retryFirst)
		}
	}
}
