package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"vtepd/dataplane/pmqos"
)

// CPULatencyMode says whether CPUs are held quick to wake up while there are requests and responses.
type CPULatencyMode uint8

const (
	// CPULatencyOff lets them sleep.
	CPULatencyOff CPULatencyMode = iota
	// CPULatencyAuto holds them to the shallowest sleep; where they would have to look around instead, only up to latencyCPUs of them.
	CPULatencyAuto
	// CPULatencyOn does so on any machine.
	CPULatencyOn
)

const (
	// latencyLook is how often the counters are looked at while there is traffic; without, ever more rarely, down to latencyRest.
	latencyLook = 50 * time.Millisecond
	latencyRest = 400 * time.Millisecond
	// latencyLeast is the least of frames a second that are worth it, latencyMost the most: more is bulk, which leaves CPUs no time to sleep.
	latencyLeast = 2000
	latencyMost  = 200_000
	// latencyBalance is how many times as many frames may go one way as the other: each request has its response.
	latencyBalance = 4
	// latencyLapse is how many looks in a row must find no requests before CPUs may sleep.
	latencyLapse = 4
	// latencyCPUs bounds the CPUs that are made to look around without having been asked to.
	latencyCPUs = 8
)

// carriedSoFar is what the switch had carried at some time.
type carriedSoFar struct {
	at       time.Time
	received uint64 // frames that workers received, from wherever
	batches  uint64 // of workers
	bulk     uint64 // those of them that were bulk
	toPeers  uint64 // by the fast path
	toPorts  uint64
}

// requests says whether requests and responses came and went between two looks.
func requests(last, now carriedSoFar) bool {
	rate := func(frames uint64) float64 { return float64(frames) / now.at.Sub(last.at).Seconds() }
	if !now.at.After(last.at) || 2*(now.bulk-last.bulk) > now.batches-last.batches {
		return false
	}
	user, to, from := now.received-last.received, now.toPeers-last.toPeers, now.toPorts-last.toPorts
	if rate(user+to+from) > latencyMost {
		return false
	}
	return rate(user) >= latencyLeast || rate(to+from) >= latencyLeast && max(to, from) <= latencyBalance*min(to, from)
}

// cpuLatency is what is remembered between two looks. One goroutine uses it.
type cpuLatency struct {
	hold    *pmqos.Request
	last    carriedSoFar
	pause   time.Duration // to the next look
	without int           // looks in a row that found no requests
}

// look holds CPUs quick while there are requests and responses. The error is for good.
func (l *cpuLatency) look(now carriedSoFar) error {
	found := requests(l.last, now)
	l.last = now
	switch {
	case found:
		l.without, l.pause = 0, latencyLook
		return l.hold.Hold()
	case l.without < latencyLapse:
		l.without++
	default:
		l.hold.Release()
		l.pause = min(2*l.pause, latencyRest)
	}
	return nil
}

// watchLatency holds CPUs quick to wake up while requests and responses come and go, by user space or past it.
func (s *Switch) watchLatency(ctx context.Context) {
	if s.config.CPULatency == CPULatencyOff {
		s.latency.Store(&CPULatencyInfo{Reason: "switched off"})
		return
	}
	idle, err := pmqos.Look("/sys")
	if err == nil && idle.Polls && s.config.CPULatency == CPULatencyAuto && idle.CPUs > latencyCPUs {
		err = fmt.Errorf("they would have to look around all the time, and there are %d: cpu-latency: on has them do so", idle.CPUs)
	}
	l := cpuLatency{hold: pmqos.NewRequest(pmqos.Device, idle.Bound), pause: latencyLook}
	defer l.hold.Release()
	for err == nil {
		s.latency.Store(&CPULatencyInfo{Held: l.hold.Held(), Bound: idle.Bound, Polls: idle.Polls})
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.pause):
		}
		err = l.look(s.carriedSoFar())
	}
	s.latency.Store(&CPULatencyInfo{Reason: err.Error()})
	level := slog.LevelDebug // as on any virtual machine, and nobody has to do anything
	if s.config.CPULatency == CPULatencyOn {
		level = slog.LevelInfo
	}
	s.log.Log(ctx, level, "CPUs are let sleep between requests and responses", "reason", err)
}

func (s *Switch) carriedSoFar() carriedSoFar {
	c := carriedSoFar{bulk: s.bulk.batches.Load()}
	for _, w := range s.workers {
		c.received += w.totals.received.Load()
		c.batches += w.batch.Load()
	}
	s.fast.with(func(m *mirror) { m.collectTotals() })
	c.toPeers, c.toPorts = s.fast.sums[sumEncap].Load(), s.fast.sums[sumDecap].Load()
	c.at = time.Now()
	return c
}

// CPULatencyInfo is what is asked of the CPUs for requests and responses.
type CPULatencyInfo struct {
	// Held: there are some at present, and CPUs are to wake up within Bound. With Polls they do not sleep at all.
	Held  bool
	Bound time.Duration
	Polls bool
	// Reason says why they never are.
	Reason string
}
