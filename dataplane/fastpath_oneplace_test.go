package dataplane

import (
	"errors"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	ebpflink "github.com/cilium/ebpf/link"
)

// TestFastPathPlaceOfTheSink: what keeps the host from seeing a port's frames and the port's program take turns in one place: while the fast path goes on and
// off nothing is attached or detached, which the kernel lets everybody wait for, and what stands there beside stays where it is.
func TestFastPathPlaceOfTheSink(t *testing.T) {
	t.Parallel()
	for _, kind := range []PortType{PortVeth, PortNetdev} {
		t.Run(string(kind), func(t *testing.T) {
			_, nodes, w := fastPair(t, kind, nil)
			n := nodes[0]
			at := func() (links []ebpflink.ID) {
				t.Helper()
				err := n.Host.Do(func() error {
					r, err := ebpflink.QueryPrograms(ebpflink.QueryOptions{Target: n.Host.Index("port0"), Attach: ebpf.AttachTCXIngress})
					if err != nil {
						return err
					}
					for _, p := range r.Programs {
						id, _ := p.LinkID()
						links = append(links, id)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				return links
			}
			carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
			first := at()
			if len(first) != 1 {
				t.Fatalf("links at the port: %v", first)
			}
			dev := n.ports["port0"].published.link.dev.(filteredDevice)
			for range 2 {
				if err := n.SetFastPath(FastPathOff); err != nil {
					t.Fatal(err)
				}
				if got := at(); !slices.Equal(got, first) || !dev.Shut() {
					t.Errorf("off: links at the port %v, shut %v, want %v as before", got, dev.Shut(), first)
				}
				pings(t, w[0], w[1].Overlay4(), 3)
				if err := n.SetFastPath(FastPathOn); err != nil {
					t.Fatal(err)
				}
				if got := at(); !slices.Equal(got, first) || dev.Shut() {
					t.Errorf("on: links at the port %v, shut %v, want %v as before", got, dev.Shut(), first)
				}
				carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
			}
			// The device holds the place to its end, and no longer.
			if err := errors.Join(n.SetFastPath(FastPathOff), n.DelPort("port0")); err != nil {
				t.Fatal(err)
			}
			if kind == PortNetdev && len(at()) != 0 {
				t.Errorf("given back with links %v", at())
			}
			nodes[1].balance()
		})
	}
}
