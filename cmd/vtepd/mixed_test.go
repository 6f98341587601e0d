package main_test

import (
	"encoding/json"
	"fmt"
	"testing"
)

// TestMixed joins a host with an address of each family to one that speaks IPv6 alone, on another port, and says what it listens on.
//
//	a: 192.0.2.1 and 2001:db8::1, port 4789 ══ b: 2001:db8::2, port 8472 and 4789
func TestMixed(t *testing.T) {
	l, ha, hb, _ := pair(t)
	a := start(t, l, ha, fmt.Sprintf("local: [%s, %s]\nsource-ports: 50000-50999\nflow-label: flow\nvnis:\n- {vni: 42, peers: ['[%s]:8472']}\nports:\n- {name: vtep0, vni: 42, addresses: [%s]}\n",
		ha.Underlay4(), ha.Underlay6(), hb.Underlay6(), ha.OverlayPrefixes()[0]))
	b := start(t, l, hb, fmt.Sprintf("local: %s\ndstport: 8472\nlisten: [4789]\nvnis:\n- {vni: 42, peers: ['[%s]:4789']}\nports:\n- {name: vtep0, vni: 42, addresses: [%s]}\n",
		hb.Underlay6(), ha.Underlay6(), hb.OverlayPrefixes()[0]))
	reach(t, ha, hb.Overlay4())
	reach(t, hb, ha.Overlay4())
	for _, c := range []struct {
		d    *daemon
		want string
	}{
		{a, fmt.Sprintf("%s [%[1]s %s] 4789 [4789] 50000-50999", ha.Underlay4(), ha.Underlay6())},
		{b, fmt.Sprintf("%s [%[1]s] 8472 [8472 4789] 49152-65535", hb.Underlay6())},
	} {
		var s map[string]any
		if err := json.Unmarshal([]byte(c.d.tell(t, "-j", "status")), &s); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%v %v %v %v %v", s["local"], s["locals"], s["dstport"], s["listen"], s["source_ports"]); got != c.want {
			t.Errorf("status: %s, want %s", got, c.want)
		}
	}
	if port := a.list(t, "port", "show", "vtep0")[0]; port["mtu"] != 1430.0 {
		t.Errorf("the TAP of a VNI with an IPv6 peer has MTU %v, want 1430", port["mtu"])
	}
}
