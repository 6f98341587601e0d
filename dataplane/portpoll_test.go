package dataplane

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// While the switch asks the kernel about every one of its ports, a command gets its turn between two of them.
//
//	q0 .. q149 (VNI 42) ── switch
func TestPollingLetsCommandsThrough(t *testing.T) {
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	silence(t, h)
	n := startNode(t, h, func(c *Config) { c.Workers = 1 })
	n.vni(42)
	const ports = 150
	for i := range ports {
		n.tap(fmt.Sprintf("q%d", i), 42, nil)
	}
	for name, ask := range map[string]func(){
		"poll": func() { n.refreshPorts(nil) },
		"list": func() {
			if got := len(n.Ports()); got != ports {
				t.Errorf("%d ports are listed", got)
			}
		},
	} {
		// A waiter is served within some milliseconds, not when all ports have been asked: where it is not, no round but one that was held up itself looks as if it were.
		var shares []float64
		for range 15 {
			done := make(chan time.Duration, 1)
			go func() {
				began := time.Now()
				ask()
				done <- time.Since(began)
			}()
			longest, took := time.Duration(0), time.Duration(0)
			for took == 0 {
				waited := time.Now()
				n.mu.Lock()
				longest = max(longest, time.Since(waited))
				n.mu.Unlock()
				select {
				case took = <-done:
				default:
				}
			}
			shares = append(shares, float64(longest)/float64(took))
		}
		slices.Sort(shares)
		if shares[len(shares)/4] > 0.5 {
			t.Errorf("%s: a command waits for all ports: shares of the whole time that one waited: %.2f", name, shares)
		}
		t.Logf("%s: %.2f", name, shares)
	}
}
