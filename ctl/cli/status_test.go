package cli

import (
	"testing"

	"vtepd/ctl/api"
)

func TestUnderlayText(t *testing.T) {
	const v4, v6 = "192.0.2.1", "2001:db8::1"
	for _, c := range []struct {
		locals, away, down []string
		on, vrf            string
		want               string
	}{
		{[]string{v4}, nil, nil, "eth0", "", "192.0.2.1 port 4789, on eth0, MTU 1500"},
		{[]string{v4}, []string{v4}, nil, "", "", "192.0.2.1 port 4789, which is on no interface now"},
		{[]string{v4, v6}, nil, nil, "eth0", "", "192.0.2.1 and 2001:db8::1 port 4789, on eth0, MTU 1500"},
		{[]string{v4, v6}, []string{v4}, nil, "eth0", "", "192.0.2.1 and 2001:db8::1 port 4789, on eth0, MTU 1500; 192.0.2.1 is on no interface now"},
		{[]string{v4, v6}, []string{v6}, nil, "eth0", "", "192.0.2.1 and 2001:db8::1 port 4789, on eth0, MTU 1500; 2001:db8::1 is on no interface now"},
		{[]string{v4, v6}, []string{v4, v6}, nil, "", "", "192.0.2.1 and 2001:db8::1 port 4789, which are on no interface now"},
		{[]string{v4}, nil, nil, "eth0", "blue", "192.0.2.1 port 4789, on eth0 of the VRF blue, MTU 1500"},
		{[]string{v4}, []string{v4}, nil, "", "blue", "192.0.2.1 port 4789, which is on no interface of the VRF blue now"},
		{[]string{v4}, nil, []string{v4}, "eth0", "", "192.0.2.1 port 4789, on eth0, MTU 1500; the interface of 192.0.2.1 is down"},
	} {
		s := api.Status{Locals: c.locals, LocalsAway: c.away, LocalsDown: c.down, Listen: []uint16{4789}, VRF: c.vrf, UnderlayInterface: c.on, UnderlayMTU: 1500}
		if got := underlayText(s); got != c.want {
			t.Errorf("%v without %v: %q, want %q", c.locals, c.away, got, c.want)
		}
	}
}
