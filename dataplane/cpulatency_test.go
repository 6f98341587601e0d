package dataplane

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/dataplane/pmqos"
)

// What are requests and responses, and what is not, in 50 ms.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name string
		now  carriedSoFar
		want bool
	}{
		{"nothing", carriedSoFar{}, false},
		{"by user space", carriedSoFar{received: 100}, true},
		{"too few", carriedSoFar{received: 99}, false},
		{"bulk by user space", carriedSoFar{received: 5000, batches: 100, bulk: 51}, false},
		{"hardly bulk", carriedSoFar{received: 5000, batches: 100, bulk: 50}, true},
		{"past it", carriedSoFar{toPeers: 50, toPorts: 50}, true},
		{"too few past it", carriedSoFar{toPeers: 50, toPorts: 49}, false},
		{"nobody answers", carriedSoFar{toPeers: 5000}, false},
		{"nobody asks", carriedSoFar{toPorts: 5000}, false},
		{"four answers each", carriedSoFar{toPeers: 400, toPorts: 1600}, true},
		{"five", carriedSoFar{toPeers: 400, toPorts: 2000}, false},
		{"as many as can be", carriedSoFar{toPeers: 5000, toPorts: 5000}, true},
		{"bulk past user space", carriedSoFar{toPeers: 5000, toPorts: 5001}, false},
		{"requests by user space, bulk past it", carriedSoFar{received: 1000, toPeers: 80000, toPorts: 2000}, false},
	} {
		last := carriedSoFar{at: time.Now(), received: 7, batches: 11, bulk: 8, toPeers: 9, toPorts: 10}
		now := c.now
		now.at = last.at.Add(latencyLook)
		now.received, now.batches, now.bulk, now.toPeers, now.toPorts = now.received+7, now.batches+11, now.bulk+8, now.toPeers+9, now.toPorts+10
		if got := requests(last, now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// CPUs are held while there are requests, and a little longer; without, looks become rare.
func TestCPULatency(t *testing.T) {
	device := filepath.Join(t.TempDir(), "latency")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := cpuLatency{hold: pmqos.NewRequest(device, 0), pause: latencyLook}
	now := carriedSoFar{at: time.Now()}
	look := func(frames uint64) {
		t.Helper()
		now.at, now.received = now.at.Add(latencyLook), now.received+frames
		if err := l.look(now); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 2 {
		look(0)
		look(500)
		if !l.hold.Held() || l.pause != latencyLook {
			t.Fatalf("round %d: held %v, next look after %v", round, l.hold.Held(), l.pause)
		}
		for i := range latencyLapse {
			look(0)
			if !l.hold.Held() || l.pause != latencyLook {
				t.Fatalf("round %d, %d looks later: held %v, next look after %v", round, i, l.hold.Held(), l.pause)
			}
		}
		for range 5 {
			look(0)
		}
		if l.hold.Held() || l.pause != latencyRest {
			t.Fatalf("round %d, without requests: held %v, next look after %v", round, l.hold.Held(), l.pause)
		}
	}
}

// Requests and responses have CPUs held by either path, where the machine has something to hold them from.
//
//	p0 ── switch ════ r0
func TestCPULatencyHeld(t *testing.T) {
	t.Parallel()
	for _, mode := range []FastPathMode{FastPathOff, FastPathOn} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newScene(t, 1, func(c *Config) { c.FastPath, c.CPULatency = mode, CPULatencyOn })
			s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff}, s.addrs()...)
			s.port("p0", 42)
			s.Inject("p0", frameOf(station(1), broadcast))
			s.remotes[0].send(42, frameOf(station(4), broadcast))
			s.forget()
			s.settleFrame()
			in := s.Host.Injector("p0")
			fastest := 0.0 // frames a second that this machine came to beside what else it does
			said := s.Status().CPULatency
			for end := time.Now().Add(lab.Patience / 2); !said.Held; said = s.Status().CPULatency {
				if i := s.latency.Load(); i.Reason != "" || fastest < 2*latencyLeast && time.Now().After(end) {
					t.Skipf("%.0f frames a second; %s", fastest, i.Reason)
				}
				if time.Now().After(end) {
					t.Fatalf("CPUs are not held at %.0f frames a second", fastest)
				}
				began := time.Now()
				const frames = 400
				for i := range frames { // a few at once: many are bulk
					if err := in.Send([10]byte{}, frameOf(station(1), station(4))); err != nil {
						t.Fatal(err)
					}
					s.remotes[0].send(42, frameOf(station(4), station(1)))
					if i%4 == 0 {
						time.Sleep(100 * time.Microsecond)
					}
				}
				fastest = max(fastest, 2*frames/time.Since(began).Seconds())
			}
			if said.Reason != "" {
				t.Errorf("held, and the status says %+v", said)
			}
			eventually(t, "CPUs are let go", func() bool { return !s.Status().CPULatency.Held })
		})
	}
}

// Who did not ask for it is not told that it cannot be had.
func TestCPULatencyTold(t *testing.T) {
	t.Parallel()
	for mode, want := range map[CPULatencyMode]int{CPULatencyAuto: 0, CPULatencyOn: 1} {
		if _, err := pmqos.Look("/sys"); err == nil {
			t.Skip("this machine has idle states")
		}
		log := new(lines)
		s := newScene(t, 0, func(c *Config) { c.CPULatency, c.Log = mode, slog.New(slog.NewTextHandler(log, nil)) })
		eventually(t, "it says why not", func() bool { return s.Status().CPULatency.Reason != "" })
		told := func() int { return log.count("CPUs are let sleep") }
		if want > 0 {
			eventually(t, "it is told", func() bool { return told() == want })
		} else if told() != 0 {
			t.Errorf("mode %d: told %d times", mode, told())
		}
	}
}

func TestCPULatencyOff(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	eventually(t, "it says so", func() bool { return s.Status().CPULatency.Reason == "switched off" })
}
