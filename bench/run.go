package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"vtepd/bench/lab"
)

// settleTime is the pause after a system is up and between its measurements, so that one does not pay for another's remains.
const settleTime = 200 * time.Millisecond

// Cell names a place in the table of results.
type Cell struct {
	System string
	Mode   Mode
	Metric Metric
}

// Results are all values, one a round, and why others are missing.
type Results struct {
	Values  map[Cell][]float64
	Missing map[string]string // system name -> reason; a system may have values and a reason, when it failed on the way
}

// measured says whether a system has any value.
func (r Results) measured(system string) bool {
	for c, values := range r.Values {
		if c.System == system && len(values) > 0 {
			return true
		}
	}
	return false
}

// Times are how long the measurements of one round take.
type Times struct {
	TCP   time.Duration // of a stream: congestion control takes a second or two to find its pace, and BBR begins at half of it
	UDP   time.Duration // of a load
	Trips time.Duration // of one kind of round trips, and of short connections
}

// TimesFor are in proportion to a stream of the given length.
func TimesFor(tcp time.Duration) Times { return Times{TCP: tcp, UDP: tcp / 4, Trips: tcp / 8} }

// Plan says what to run.
type Plan struct {
	Systems []System
	Modes   []Mode
	Metrics []Metric
	Rounds  int
	Times   Times
	// Congestion is the TCP congestion control of the workloads (tcp_congestion_control of ip-sysctl); "" leaves them the machine's.
	Congestion string
	Log        io.Writer // a line for each measurement
}

// Run goes round by round through all systems, each in a fresh lab, so that a drift of the machine meets all of them alike. It ends early, with what it has,
// when ctx ends.
func (p Plan) Run(ctx context.Context) Results {
	r := Results{Values: map[Cell][]float64{}, Missing: map[string]string{}}
	var systems []System
	for _, s := range p.Systems {
		if err := s.Available(); err != nil {
			r.Missing[s.Name] = err.Error()
			fmt.Fprintf(p.Log, "%-14s %v\n", s.Name, err)
			continue
		}
		systems = append(systems, s)
	}
	for round := 1; round <= p.Rounds; round++ {
		for _, mode := range p.Modes {
			for _, s := range systems {
				if ctx.Err() != nil {
					return r
				}
				if s.Local && mode != p.Modes[0] {
					continue // has no underlay
				}
				if _, failed := r.Missing[s.Name]; failed && !r.measured(s.Name) {
					continue // it never came up: the next round would say the same
				}
				if err := p.measure(ctx, s, mode, round, &r); err != nil {
					r.Missing[s.Name] = fmt.Sprintf("round %d, %s: %v", round, mode, err)
					fmt.Fprintf(p.Log, "round %d  %-8s %-14s FAILED: %v\n", round, mode, s.Name, err)
				}
			}
		}
	}
	return r
}

// measure takes all figures of one system once.
func (p Plan) measure(ctx context.Context, s System, mode Mode, round int, r *Results) error {
	return lab.Run(func(l *lab.Lab) error {
		a, b, err := s.Build(l, mode)
		if err != nil {
			return err
		}
		if err := p.congest(a, b); err != nil {
			return err
		}
		if err := WaitReady(a, b); err != nil {
			return err
		}
		taken := map[Metric]float64{}
		var errs []error
		for _, step := range p.steps(s, a, b, func(m Metric, v float64) { taken[m] = v }) {
			if ctx.Err() != nil {
				break
			}
			time.Sleep(settleTime)
			errs = append(errs, step())
			if err := cmp.Or(a.alive(), b.alive()); err != nil {
				errs = append(errs, err)
				break
			}
			for _, m := range p.Metrics {
				if v, ok := taken[m]; ok {
					cell := Cell{s.Name, mode, m}
					r.Values[cell] = append(r.Values[cell], v)
					fmt.Fprintf(p.Log, "round %d  %-8s %-14s %-34s %s %s\n", round, mode, s.Name, m.Title(), FormatValue(v), m.Unit())
				}
			}
			clear(taken)
		}
		return errors.Join(errs...)
	})
}

// congest gives the workloads their congestion control. Connections that are there keep theirs.
func (p Plan) congest(sites ...Site) error {
	if p.Congestion == "" {
		return nil
	}
	for _, s := range sites {
		if err := s.Host.Sysctl(congestionKey, p.Congestion); err != nil {
			return congestionError(p.Congestion, err)
		}
	}
	return nil
}

// congestionError says what keeps a network namespace from having a congestion control by default: the kernel lacks it, or leaves it to the first namespace
// (tcp_set_default_congestion_control).
func congestionError(name string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("congestion control %q: %w (other namespaces than the first get those of net.ipv4.tcp_allowed_congestion_control only: add it there by sysctl -w)", name, err)
	}
	return fmt.Errorf("congestion control %q: %w (the kernel has those of net.ipv4.tcp_available_congestion_control)", name, err)
}

// steps are the measurements of one system, those that the plan wants.
func (p Plan) steps(s System, a, b Site, record func(Metric, float64)) (steps []func() error) {
	add := func(f func() error, of ...Metric) {
		if slices.ContainsFunc(of, func(m Metric) bool { return slices.Contains(p.Metrics, m) }) {
			steps = append(steps, f)
		}
	}
	if s.Local {
		add(func() error {
			t, err := TCP(a, b, 1, p.Times.TCP)
			if err != nil {
				return err
			}
			record(LocalTP, t.Gbps)
			return nil
		}, LocalTP)
		return steps
	}
	add(func() error {
		t, err := TCP(a, b, 1, p.Times.TCP)
		if err != nil {
			return err
		}
		record(TCP1, t.Gbps)
		record(CPU, t.CPUSeconds/(t.Bytes/1e9))
		return nil
	}, TCP1, CPU)
	add(func() error {
		t, err := TCP(a, b, 4, p.Times.TCP)
		if err != nil {
			return err
		}
		record(TCP4, t.Gbps)
		return nil
	}, TCP4)
	for _, load := range []struct {
		metric Metric
		mixed  bool
	}{{UDP1, false}, {UDP64, true}} {
		add(func() error {
			u, err := UDPLoad(a, b, p.Times.UDP, load.mixed)
			if err != nil {
				return err
			}
			record(load.metric, u.ReceivedPPS/1e3)
			return nil
		}, load.metric)
	}
	add(func() error {
		micros, lost, err := RoundTrips(a, b, p.Times.Trips)
		if err != nil {
			return err
		}
		return recordTrips(record, Answers{P50: Percentile(micros, 0.50), P99: Percentile(micros, 0.99), Answered: len(micros), Lost: lost}, RTT50, RTT99)
	}, RTT50, RTT99)
	for _, trip := range []struct {
		Dialogue
		p50, p99 Metric
	}{
		{Dialogue{"udp", 1, Anywhere}, Event50, Event99},
		{Dialogue{"udp", 1, Together}, One50, One99},
		{Dialogue{"udp", 1, Apart}, Apart50, Apart99},
		{Dialogue{"udp", manyFlows, Anywhere}, Many50, Many99},
		{Dialogue{"tcp", 1, Anywhere}, Stream50, Stream99},
		{Dialogue{"tcp", manyFlows, Anywhere}, Streams50, Streams99},
	} {
		if trip.Place == Apart && runtime.NumCPU() < 2 {
			continue
		}
		add(func() error {
			answers, err := trip.Ask(a, b, p.Times.Trips)
			if err != nil {
				return err
			}
			return recordTrips(record, answers, trip.p50, trip.p99)
		}, trip.p50, trip.p99)
	}
	for _, short := range []struct {
		Dialogue
		metric Metric
	}{{Dialogue{connectRequest, 1, Anywhere}, CRR}, {Dialogue{connectRequest, manyFlows, Anywhere}, CRRs}} {
		add(func() error {
			answers, err := short.Ask(a, b, p.Times.Trips)
			if err != nil {
				return err
			}
			record(short.metric, answers.PerSecond)
			return nil
		}, short.metric)
	}
	return steps
}

// manyFlows is how many requests a busy service has in flight.
const manyFlows = 16

func recordTrips(record func(Metric, float64), a Answers, p50, p99 Metric) error {
	if a.Answered == 0 || a.Lost > a.Answered/100 {
		return fmt.Errorf("%w, %s: %d answered, %d lost", errAsk, p50.Title(), a.Answered, a.Lost)
	}
	record(p50, a.P50)
	record(p99, a.P99)
	return nil
}
