package dataplane

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// An underlay that is lost is told of, in events and by Status, and so is its return; what was there from the start, and what does not change, is not.
//
//	switch ── eth0 ══ eth0 ── r0
func TestUnderlayLost(t *testing.T) {
	t.Parallel()
	for _, build := range []func(testing.TB, int, func(*Config)) *scene{newScene, newScene6} {
		s := build(t, 1, nil)
		local := s.config.Local
		bits := 24
		if local.Is6() {
			bits = 64
		}
		addr := netip.PrefixFrom(local, bits).String()
		events, cancel := s.Subscribe(1000)
		defer cancel()
		// What happens between may be told as well; what ends it is.
		told := func(action, reason string) {
			t.Helper()
			end := time.After(lab.Patience)
			for {
				select {
				case e := <-events:
					if e.Object != "underlay" {
						continue
					}
					if e.Local != local {
						t.Errorf("%+v, want it to be about %s", e, local)
					}
					if e.Action == action && e.Reason == reason {
						return
					}
				case <-end:
					t.Fatalf("%s: no event %s (%s)", local, action, reason)
				}
			}
		}
		down := func(want ...netip.Addr) {
			t.Helper()
			if got := s.Status(); !slices.Equal(got.Down, want) {
				t.Errorf("status: down %v, want %v", got.Down, want)
			}
		}
		s.MTU("eth0", 1400) // no word of this
		down()
		s.Must("ip", "address", "del", addr, "dev", "eth0")
		told("missing", "on no interface")
		down()
		s.Must("ip", "address", "add", addr, "dev", "eth0", "nodad")
		told("up", "on eth0")
		s.Must("ip", "link", "add", "br0", "type", "bridge")
		s.do(func() error { return s.Sysctl("net/ipv6/conf/br0/disable_ipv6", "0") })
		s.Must("ip", "link", "set", "eth0", "master", "br0")
		s.Must("ip", "address", "del", addr, "dev", "eth0")
		s.Must("ip", "address", "add", addr, "dev", "br0", "nodad")
		told("down", "br0 is down")
		down(local)
		s.Must("ip", "link", "set", "br0", "up")
		told("up", "on br0")
		down()
		s.wire.Must("ip", "link", "set", "eth0", "down") // and with it the carrier of the bridge
		told("down", "br0 is down")
		s.wire.Must("ip", "link", "set", "eth0", "up")
		told("up", "on br0")
		s.Must("ip", "link", "del", "br0")
		told("missing", "on no interface")
		// A route of type local is as good: the host hears what is sent to it, and may send from it.
		s.Must("ip", "route", "add", "local", local.String(), "dev", "lo")
		told("up", "on lo")
		if peers := s.Peers(); len(peers) > 0 && peers[0].NoRoute != "" {
			t.Errorf("with a route of type local: %s", peers[0].NoRoute)
		}
		s.Must("ip", "route", "del", "local", local.String(), "dev", "lo")
		told("missing", "on no interface")
		// But not the kernel's, which goes a moment after its address.
		s.Must("ip", "route", "add", "local", local.String(), "dev", "lo", "proto", "kernel")
		s.do(func() error {
			if on, _, err := s.paths.holders(familyOf(local)); err != nil || len(on) > 0 {
				t.Errorf("a route that the kernel has not taken away yet: on %v, %v", on, err)
			}
			return nil
		})
		s.Must("ip", "route", "del", "local", local.String(), "dev", "lo")
		if local.Is6() {
			s.do(func() error {
				return errors.Join(s.Sysctl("net/ipv6/conf/eth0/accept_dad", "1"), s.Sysctl("net/ipv6/conf/eth0/dad_transmits", "1"))
			})
			s.wire.Must("ip", "address", "add", addr, "dev", "eth0", "nodad")
			s.Must("ip", "address", "add", addr, "dev", "eth0")
			told("missing", "dadfailed: another host has it")
			if want := awayText("", local, dadFailed); s.paths.away(1) != want {
				t.Errorf("%q, want %q", s.paths.away(1), want)
			}
			s.Must("ip", "address", "del", addr, "dev", "eth0")
			s.wire.Must("ip", "address", "del", addr, "dev", "eth0")
			told("missing", "on no interface")
		}
		// Of two interfaces with the address one that is up will do.
		s.Must("ip", "address", "add", addr, "dev", "eth0", "nodad")
		told("up", "on eth0")
		s.Must("ip", "link", "add", "d0", "type", "bridge")
		s.do(func() error { return s.Sysctl("net/ipv6/conf/d0/disable_ipv6", "0") })
		s.Must("ip", "address", "add", netip.PrefixFrom(local, local.BitLen()).String(), "dev", "d0", "nodad")
		down()
		s.wire.MTU("eth0", 1400)
		time.Sleep(100 * time.Millisecond)
		for len(events) > 0 {
			if e := <-events; e.Object == "underlay" {
				t.Errorf("%+v for no reason", e)
			}
		}
	}
}
