package dataplane

import (
	"fmt"
	"testing"
)

// Two hosts, pings of all sizes and a TCP transfer through the overlay, in each way of offloading.
func TestPingAndTransfer(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%t", offload), func(t *testing.T) {
			a, b, _ := pair(t, func(c *Config) { c.Offload = offload })
			for _, size := range []string{"0", "56", "1000", "1422", "4000", "20000"} {
				out, err := a.Command("ping", "-n", "-q", "-i", "0.01", "-c", "5", "-W", "2", "-s", size, b.Overlay4().String())
				if err != nil {
					t.Errorf("ping -s %s: %v\n%s", size, err, out)
				}
			}
			if _, err := a.Command("ping", "-n", "-q", "-c", "2", "-W", "2", b.Overlay6().String()); err != nil {
				t.Error(err)
			}
			server, err := b.Start("iperf3", "-s", "-1", "-B", b.Overlay4().String())
			if err != nil {
				t.Fatal(err)
			}
			defer server.Stop()
			waitListening(t, b, 5201)
			out, err := a.Command("iperf3", "-c", b.Overlay4().String(), "-t", "2")
			if err != nil {
				t.Fatalf("iperf3: %v\n%s", err, out)
			}
			t.Logf("%s", out)
			idle(a, b)
			a.balance()
			b.balance()
			t.Logf("drops a %v b %v", a.Drops(), b.Drops())
			t.Logf("underlay a %+v", a.sockets[0].Counters())
			t.Logf("underlay b %+v", b.sockets[0].Counters())
		})
	}
}
