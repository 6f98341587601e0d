package bench

import (
	"errors"
	"fmt"
	"time"

	"vtepd/bench/lab"
)

const (
	// restTick and restTicks: a process rests that used no more than a tick of processor time in so many spans of this length.
	restTick  = 100 * time.Millisecond
	restTicks = 3
	// restPatience bounds the wait for that.
	restPatience = time.Minute
)

var errBusy = errors.New("vtepd does not come to rest")

// manyEntries fills the forwarding tables of two hosts with the fast path, and with them the maps of its programs, between two measurements.
func (p Programs) manyEntries(l *lab.Lab, d time.Duration, record func(string, float64)) error {
	if err := p.canRun(vethPort, fastOn)(); err != nil {
		return err
	}
	a, b, _ := underlay(l, Wire)
	ends, daemons, err := p.vethOverlay(l, fastOn, fmt.Sprintf("max-macs: %d\n", 2*scaleManyMACs), a, b)
	if err != nil {
		return err
	}
	if err := WaitReady(ends[0], ends[1]); err != nil {
		return err
	}
	for _, step := range []struct {
		entries  int
		tcp, udp string
	}{{scaleFewMACs, "maps-few", "maps-udpfew"}, {scaleManyMACs, "maps-tcp", "maps-udp"}} {
		began := time.Now()
		if err := errors.Join(fillTable(daemons[0], b, a, step.entries), fillTable(daemons[1], a, b, step.entries)); err != nil {
			return err
		}
		for _, daemon := range daemons {
			if err := awaitRest(daemon.PID()); err != nil {
				return err
			}
		}
		if step.entries == scaleManyMACs {
			record("maps-load", (time.Since(began)-2*restTicks*restTick).Seconds()/2)
		}
		if err := streams(ends[0], ends[1], d, step.tcp, record); err != nil {
			return err
		}
		for range scaleRuns {
			u, err := UDPLoad(ends[0], ends[1], d/2, false)
			if err != nil {
				return err
			}
			record(step.udp, u.ReceivedPPS/1e3)
		}
	}
	return nil
}

// awaitRest waits until a vtepd has written into its maps what it learned: nothing else is there to do.
func awaitRest(pid int) error {
	last, quiet := 0.0, 0
	for end := time.Now().Add(restPatience); time.Now().Before(end); time.Sleep(restTick) {
		used, err := processSeconds(pid)
		if err != nil {
			return err
		}
		if used-last > 1.0/ticksPerSecond {
			quiet = 0
		} else if quiet++; quiet == restTicks {
			return nil
		}
		last = used
	}
	return fmt.Errorf("%w within %v", errBusy, restPatience)
}
