package dataplane

import (
	"fmt"
	"testing"
	"time"
)

// Two hosts, pings of all sizes and a TCP transfer through the overlay, in each way of offloading.
func TestPingAndTransfer(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%t", offload), func(t *testing.T) {
			a, b, _ := pair(t, func(c *Config) { c.Offload = offload })
			for _, size := range []int{0, 56, 1000, 1422, 4000, 20000} {
				if err := a.Pinger(b.Overlay4()).Echoes(5, 10*time.Millisecond, size); err != nil {
					t.Errorf("%d bytes: %v", size, err)
				}
			}
			waitForAddress(t, a, a.Overlay6())
			waitForAddress(t, b, b.Overlay6())
			if err := a.Pinger(b.Overlay6()).Echoes(2, 10*time.Millisecond, 56); err != nil {
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
