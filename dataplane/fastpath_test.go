package dataplane

import (
	"testing"
)

// TestFastPathCarries: known traffic between two hosts passes user space by, both ways.
func TestFastPathCarries(t *testing.T) {
	a, b, _ := pair(t, func(c *Config) { c.FastPath = FastPathOn })
	out, err := a.Command("ping", "-c", "20", "-i", "0.02", b.Overlay4().String())
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, n := range []*node{a, b} {
		st := n.Status()
		t.Logf("%+v", st.FastPath)
		t.Logf("%+v", n.Ports())
		t.Logf("%+v %+v", st.Totals, n.PortStats())
		if st.FastPath.Encap < 15 || st.FastPath.Decap < 15 {
			t.Errorf("%s: %+v: the fast path carried too little", n.Host.Name(), st.FastPath)
		}
		n.balance()
	}
}
