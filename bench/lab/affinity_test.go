package lab

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPin: threads that run are tied, those that come inherit it, and all of it is undone.
func TestPin(t *testing.T) {
	l := New(t)
	h := l.Host("h")
	before, err := h.Start("sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	want, err := ownCPUs()
	if err != nil {
		t.Fatal(err)
	}
	has := func(pid int) (set unix.CPUSet) {
		t.Helper()
		if err := unix.SchedGetaffinity(pid, &set); err != nil {
			t.Fatal(err)
		}
		return set
	}
	if err := h.Pin(0); err != nil {
		t.Fatal(err)
	}
	after, err := h.Start("sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*Process{"before": before, "after": after} {
		if set := has(p.PID()); set.Count() != 1 {
			t.Errorf("process started %s Pin may use %d CPUs, want 1", name, set.Count())
		}
	}
	if set := has(os.Getpid()); set != want {
		t.Errorf("the program itself has %d CPUs, want %d", set.Count(), want.Count())
	}
	if err := h.Unpin(); err != nil {
		t.Fatal(err)
	}
	if set := has(before.PID()); set != want {
		t.Errorf("after Unpin %d CPUs, want %d", set.Count(), want.Count())
	}
	if err := h.Pin(runtime.NumCPU()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a CPU that is not there: error %v", err)
	}
}
