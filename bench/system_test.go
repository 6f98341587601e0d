package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// TestMain lets the test binary be the far end of EventRoundTrips.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == EchoCommand {
		fmt.Fprintln(os.Stderr, Echo(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestSystemsCarryTraffic builds every system that needs no vtepd and passes a little of each load through it.
func TestSystemsCarryTraffic(t *testing.T) {
	lab.NeedRoot(t)
	for _, s := range Systems(Programs{Vtepd: "/nonexistent/vtepd"}) {
		if s.Own {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			if err := s.Available(); err != nil {
				t.Skip(err)
			}
			l := lab.New(t)
			a, b, err := s.Build(l, WireGRO)
			if err != nil {
				t.Fatal(err)
			}
			if err := WaitReady(a, b); err != nil {
				t.Fatal(err)
			}
			for _, mixed := range []bool{false, true} {
				load, err := UDPLoad(a, b, 100*time.Millisecond, mixed)
				if err != nil || load.ReceivedPPS < 1000 || load.ReceivedPPS > load.SentPPS {
					t.Errorf("mixed %v: load %+v, error %v", mixed, load, err)
				}
			}
			for how, f := range map[string]func(a, b Site, d time.Duration) ([]float64, int, error){"blocking": RoundTrips, "epoll": EventRoundTrips} {
				micros, lost, err := f(a, b, 50*time.Millisecond)
				if err != nil || len(micros) < 10 || lost > 1 || micros[0] <= 0 || micros[0] > micros[len(micros)-1] {
					t.Errorf("round trips, %s: %d answered, %d lost, error %v", how, len(micros), lost, err)
				}
			}
		})
	}
}

func TestRunMeasuresAndSaysWhatIsMissing(t *testing.T) {
	lab.NeedRoot(t)
	if err := Install(t.Output(), IPerf3); err != nil {
		t.Skip(err)
	}
	systems := Systems(Programs{Vtepd: "/nonexistent/vtepd"})
	plan := Plan{Modes: []Mode{Wire}, Metrics: []Metric{TCP1, CPU}, Rounds: 1, Time: time.Second, Log: t.Output()}
	for _, s := range systems {
		if s.Name == "vtepd" || s.Name == Baseline {
			plan.Systems = append(plan.Systems, s)
		}
	}
	r := plan.Run(context.Background())
	for _, m := range plan.Metrics {
		if v := r.Values[Cell{Baseline, Wire, m}]; len(v) != 1 || v[0] < 0.01 {
			t.Errorf("%s of the kernel: %v", m, v)
		}
	}
	if why := r.Missing["vtepd"]; !strings.Contains(why, "make build") || len(r.Missing) != 1 {
		t.Errorf("missing: %v", r.Missing)
	}
}
