package cli

import (
	"testing"

	"vtepd/ctl/api"
)

func TestPathNote(t *testing.T) {
	for _, c := range []struct {
		peer api.Peer
		want string
	}{
		{api.Peer{PMTU: 1500, RouteMTU: 1500, Inside: 1450}, "path MTU 1500, 1450 inside"},
		{api.Peer{PMTU: 1400, RouteMTU: 1500, Inside: 1350}, "path MTU 1400, said by ICMP (the route carries 1500), 1350 inside"},
		{api.Peer{}, "path MTU not known yet: the kernel is asked within two seconds"},
		{api.Peer{NoRoute: "its route is of type blackhole"}, "nothing gets there and back: its route is of type blackhole"},
		{api.Peer{PMTU: 1500, RouteMTU: 1500, NoRoute: "the own address 2001:db8::1 is on no interface"},
			"nothing gets there and back: the own address 2001:db8::1 is on no interface"},
	} {
		if got := pathNote(c.peer); got != c.want {
			t.Errorf("%+v: %q, want %q", c.peer, got, c.want)
		}
	}
}
