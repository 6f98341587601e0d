package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pinPasses bounds how often the threads of a process are gone through: one that was made meanwhile may have been missed.
const pinPasses = 10

// Pin ties the host to one CPU, counted from 0 among those that this program may use: every thread of the processes that run on it, and of those that are started later. What the kernel does
// on behalf of nobody goes where it will.
func (h *Host) Pin(cpu int) error {
	set, err := nthCPU(cpu)
	if err != nil {
		return err
	}
	return h.setAffinity(&set)
}

// Unpin lets the host have all CPUs again.
func (h *Host) Unpin() error {
	set, err := ownCPUs()
	if err != nil {
		return err
	}
	return h.setAffinity(&set)
}

// ownCPUs are the CPUs of the program's first thread, which no host is tied by.
func ownCPUs() (set unix.CPUSet, err error) {
	if err = unix.SchedGetaffinity(os.Getpid(), &set); err != nil {
		err = fmt.Errorf("sched_getaffinity: %w", err)
	}
	return set, err
}

func nthCPU(n int) (one unix.CPUSet, err error) {
	all, err := ownCPUs()
	if err != nil {
		return one, err
	}
	left := n
	for cpu := range len(all) * 64 {
		if !all.IsSet(cpu) {
			continue
		}
		if left == 0 {
			one.Set(cpu)
			return one, nil
		}
		left--
	}
	return one, fmt.Errorf("CPU %d: %w: there are %d", n, errors.ErrUnsupported, all.Count())
}

func (h *Host) setAffinity(set *unix.CPUSet) error {
	var err error
	h.onResident(func() { err = unix.SchedSetaffinity(0, set) })
	if err != nil {
		return fmt.Errorf("sched_setaffinity: %w", err)
	}
	h.mu.Lock()
	processes := append([]*Process(nil), h.processes...)
	h.mu.Unlock()
	for _, p := range processes {
		select {
		case <-p.done:
			continue
		default:
		}
		if err := pinProcess(p.PID(), set); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// pinProcess sets the affinity of all threads until a pass finds nothing to do.
func pinProcess(pid int, set *unix.CPUSet) error {
	for range pinPasses {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		changed := false
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return fmt.Errorf("/proc/%d/task: %w", pid, err)
			}
			var now unix.CPUSet
			if err := unix.SchedGetaffinity(tid, &now); err != nil || now == *set {
				continue // it has ended, or is where it shall be
			}
			if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("sched_setaffinity of thread %d: %w", tid, err)
			}
			changed = true
		}
		if !changed {
			return nil
		}
	}
	return fmt.Errorf("process %d: makes threads faster than they can be tied to a CPU", pid)
}
