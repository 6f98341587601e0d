package bench

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// TestFiguresOfADeadVtepdDoNotCount: traffic goes on where a vtepd has died, as over its fast path. Here a process that is gone stands for it, and a veth pair for what it left.
func TestFiguresOfADeadVtepdDoNotCount(t *testing.T) {
	lab.NeedRoot(t)
	build := func(dead bool) func(l *lab.Lab, mode Mode) (Site, Site, error) {
		return func(l *lab.Lab, mode Mode) (a, b Site, err error) {
			if a, b, err = buildBare(l, mode); err != nil {
				return a, b, err
			}
			d := &Daemon{}
			if d.Process, err = b.Host.Start("sleep", "60"); err == nil && dead {
				if err = d.Signal(syscall.SIGKILL); err == nil {
					<-d.Done()
				}
			}
			b.Vtepd = d
			return a, b, err
		}
	}
	always := func() error { return nil }
	plan := Plan{Modes: []Mode{Veth}, Metrics: []Metric{UDP1, UDP64}, Rounds: 1, Times: Times{UDP: 50 * time.Millisecond}, Log: t.Output(),
		Systems: []System{{Name: "dead", Available: always, Build: build(true)}, {Name: "alive", Available: always, Build: build(false)}}}
	r := plan.Run(context.Background())
	if why := r.Missing["dead"]; !strings.Contains(why, "ended while it was measured") || !strings.Contains(why, "killed") || r.measured("dead") {
		t.Errorf("dead: %q, values %v", why, r.Values)
	}
	for _, m := range plan.Metrics {
		if v := r.Values[Cell{"alive", Veth, m}]; len(v) != 1 || v[0] <= 0 || len(r.Missing) != 1 {
			t.Errorf("alive, %s: %v, missing %v", m, v, r.Missing)
		}
	}
}
