package dataplane

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPace(t *testing.T) {
	var all bulk
	var asked []uint64
	begin := func() *pace {
		return &pace{all: &all, set: func(a *unix.SchedAttr) error {
			asked = append(asked, a.Runtime)
			return nil
		}}
	}
	one, other := begin(), begin()
	expect := func(step string, want ...uint64) {
		t.Helper()
		if len(asked) != len(want) {
			t.Fatalf("%s: asked for %v, want %v", step, asked, want)
		}
		for i := range want {
			if asked[i] != want[i] {
				t.Fatalf("%s: asked for %v, want %v", step, asked, want)
			}
		}
		asked = nil
	}
	for range calmBatches - 1 {
		one.note(busyPollLoad)
	}
	expect("not calm for long enough")
	one.note(busyPollLoad)
	expect("calm", calmSlice)
	for range 1000 {
		one.note(1)
	}
	expect("still calm")
	other.note(busyPollLoad + 1)
	one.note(1)
	expect("bulk at the other worker", 0)
	for range calmBatches - 1 {
		one.note(1)
	}
	other.note(busyPollLoad + 1)
	one.note(1)
	expect("bulk again before it was calm for long enough")
	for range calmBatches {
		one.note(1)
	}
	expect("calm again", calmSlice)

	refused := begin()
	calls := 0
	refused.set = func(*unix.SchedAttr) error { calls++; return unix.EPERM }
	for range 10 * calmBatches {
		refused.note(1)
	}
	if calls != 1 {
		t.Errorf("asked %d times after a refusal, want once", calls)
	}
	if n := testing.AllocsPerRun(1000, func() { one.note(1) }); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

// TestPaceOnThread: the kernel has the slice, and policy and nice value are what they were.
func TestPaceOnThread(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its slice
		before, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return
		}
		var all bulk
		var p pace
		p.begin(&all)
		for range calmBatches {
			p.note(1)
		}
		calm, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return
		}
		if calm.Policy != before.Policy || calm.Nice != before.Nice {
			t.Errorf("policy %d and nice %d, were %d and %d", calm.Policy, calm.Nice, before.Policy, before.Nice)
		}
		if calm.Runtime != calmSlice && calm.Runtime != before.Runtime {
			t.Errorf("slice %d, want %d, or %d where the kernel has no custom slices", calm.Runtime, calmSlice, before.Runtime)
		}
		p.note(busyPollLoad + 1)
		if after, err := unix.SchedGetAttr(0, 0); err != nil || after.Runtime != before.Runtime {
			t.Errorf("slice %d after bulk, want %d, error %v", after.Runtime, before.Runtime, err)
		}
	}()
	<-done
}
