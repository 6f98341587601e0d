package dataplane

import (
	"fmt"
	"testing"
)

// A peer that nothing gets to is told with the reason: a route that leads nowhere, by its type, and an own address that is on no interface, which another one
// may hide.
func TestWhyNothingGetsThere(t *testing.T) {
	t.Parallel()
	for _, make := range []func() *scene{func() *scene { return newScene(t, 1, nil) }, func() *scene { return newScene6(t, 1, nil) }} {
		s := make()
		peer, local := s.remotes[0].addr, s.config.Local
		family := fmt.Sprintf("-%d", version(peer.Is6()))
		s.set(VNIConfig{VNI: 42, Learning: true}, peer)
		said := func(why string) {
			t.Helper()
			eventually(t, fmt.Sprintf("the reason %q", why), func() bool { return s.Peers()[0].NoRoute == why })
			if got := s.probePath(peer); got.NoRoute != why || got.Fits != 0 && why != "" {
				t.Errorf("probed: %+v, want %q", got, why)
			}
			s.do(func() error {
				r, err := newRoutes(s.log)
				if err != nil {
					return err
				}
				defer r.close()
				if got := r.find(peer, local); got.reason != why {
					t.Errorf("fast path: %q, want %q", got.reason, why)
				}
				return nil
			})
		}
		said("")
		for _, kind := range []string{"blackhole", "unreachable", "prohibit"} {
			s.Host.Must("ip", family, "route", "add", kind, peer.String())
			said("its route is of type " + kind)
			s.Host.Must("ip", family, "route", "del", kind, peer.String())
		}
		said("")
		s.Host.Must("ip", family, "address", "flush", "dev", "eth0")
		gone := fmt.Sprintf("the own address %s is on no interface", local)
		if local.Is4() {
			said(gone)
			s.Host.Must("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")
			said(gone)
		} else {
			eventually(t, gone, func() bool { return s.Peers()[0].NoRoute == gone })
		}
		if got := s.probePath(peer); !got.Away || got.NoRoute != gone {
			t.Errorf("probed without %s: %+v", local, got)
		}
	}
}
