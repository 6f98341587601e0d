package pmqos

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoGain: there is nothing that CPUs could be kept from. The text says why.
var ErrNoGain = errors.New("pmqos: CPUs cannot be had quicker to wake up")

// Idle is what a machine's CPUs can do when they have nothing to do, and what of it is quick.
type Idle struct {
	// Bound is the time to wake up to ask for: that of the shallowest sleep where there are several, else 0.
	Bound time.Duration
	// Polls says that with Bound CPUs do not sleep at all, but look around, which takes as much power as work does.
	Polls bool
	// CPUs is how many it is for: all of the machine.
	CPUs int
}

// pollState is the name of the idle state in which a CPU looks around (drivers/cpuidle/poll_state.c).
const pollState = "POLL"

// Look reads what the kernel says of its idle states, below sys, the directory of a sysfs.
func Look(sys string) (Idle, error) {
	states, err := filepath.Glob(filepath.Join(sys, "devices/system/cpu/cpu0/cpuidle/state*"))
	if err != nil {
		return Idle{}, fmt.Errorf("pmqos: %w", err)
	}
	var sleeps []time.Duration
	polls := false
	for _, dir := range states {
		name, nerr := os.ReadFile(filepath.Join(dir, "name"))
		text, lerr := os.ReadFile(filepath.Join(dir, "latency"))
		us, perr := strconv.Atoi(strings.TrimSpace(string(text)))
		if err := cmp.Or(nerr, lerr, perr); err != nil {
			return Idle{}, fmt.Errorf("pmqos: idle states: %w", err)
		}
		if strings.TrimSpace(string(name)) == pollState {
			polls = true
			continue
		}
		sleeps = append(sleeps, time.Duration(us)*time.Microsecond)
	}
	slices.Sort(sleeps)
	cpus, err := filepath.Glob(filepath.Join(sys, "devices/system/cpu/cpu[0-9]*"))
	if err != nil {
		return Idle{}, fmt.Errorf("pmqos: %w", err)
	}
	idle := Idle{CPUs: len(cpus)}
	switch {
	case len(sleeps) > 1:
		idle.Bound = sleeps[0]
	case polls && len(sleeps) == 1:
		idle.Polls = true
	case len(sleeps) == 1:
		return Idle{}, fmt.Errorf("%w: they know one way to sleep and none to stay awake", ErrNoGain)
	default:
		return Idle{}, fmt.Errorf("%w: the kernel has no idle states for them (no cpuidle driver)", ErrNoGain)
	}
	return idle, nil
}
