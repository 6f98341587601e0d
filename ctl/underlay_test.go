package ctl

import (
	"net/netip"
	"testing"
)

func TestHasAddress(t *testing.T) {
	for _, c := range []struct {
		name, address string
		want          bool
	}{{"lo", "127.0.0.1", true}, {"lo", "192.0.2.1", false}, {"nosuch0", "127.0.0.1", false}} {
		if got := hasAddress(c.name, netip.MustParseAddr(c.address)); got != c.want {
			t.Errorf("%s has %s: %t", c.name, c.address, got)
		}
	}
}
