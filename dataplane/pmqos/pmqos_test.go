package pmqos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sysfs is one with the idle states of CPU 0, "name latency" each.
func sysfs(t *testing.T, cpus int, states ...string) string {
	t.Helper()
	sys := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(sys, "devices/system/cpu", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range cpus {
		write(fmt.Sprintf("cpu%d/online", i), "1")
	}
	write("cpuidle/current_driver", "any")
	write("cpufreq/none", "")
	for i, s := range states {
		var name, latency string
		fmt.Sscan(s, &name, &latency)
		write(fmt.Sprintf("cpu0/cpuidle/state%d/name", i), name)
		write(fmt.Sprintf("cpu0/cpuidle/state%d/latency", i), latency)
	}
	return sys
}

func TestLook(t *testing.T) {
	for _, c := range []struct {
		name   string
		states []string
		want   Idle
		err    error
	}{
		{"virtual machine with halt polling", []string{"POLL 0", "haltpoll 1"}, Idle{Polls: true, CPUs: 4}, nil},
		{"intel_idle", []string{"POLL 0", "C1 2", "C1E 10", "C6 133"}, Idle{Bound: 2 * time.Microsecond, CPUs: 4}, nil},
		{"acpi_idle", []string{"POLL 0", "C1 1", "C2 18", "C3 350"}, Idle{Bound: time.Microsecond, CPUs: 4}, nil},
		{"arm64", []string{"WFI 1", "cpu-sleep-0 250", "cluster-sleep-0 500"}, Idle{Bound: time.Microsecond, CPUs: 4}, nil},
		{"not in order", []string{"POLL 0", "C6 133", "C1 2"}, Idle{Bound: 2 * time.Microsecond, CPUs: 4}, nil},
		{"one sleep, no looking around", []string{"WFI 1"}, Idle{}, ErrNoGain},
		{"looking around only", []string{"POLL 0"}, Idle{}, ErrNoGain},
		{"no driver", nil, Idle{}, ErrNoGain},
	} {
		got, err := Look(sysfs(t, 4, c.states...))
		if got != c.want || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %+v, %v, want %+v, %v", c.name, got, err, c.want, c.err)
		}
	}
	if _, err := Look(sysfs(t, 1, "POLL 0", "C1 x")); err == nil || errors.Is(err, ErrNoGain) {
		t.Errorf("a latency that is no number: %v", err)
	}
}

func TestRequest(t *testing.T) {
	device := filepath.Join(t.TempDir(), "cpu_dma_latency")
	r := NewRequest(device, 2*time.Microsecond)
	if err := r.Hold(); !errors.Is(err, os.ErrNotExist) || r.Held() {
		t.Errorf("without the device: %v, held %v", err, r.Held())
	}
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Hold(); err != nil || !r.Held() {
			t.Fatalf("%v, held %v", err, r.Held())
		}
	}
	if got, _ := os.ReadFile(device); !bytes.Equal(got, binary.NativeEndian.AppendUint32(nil, 2)) {
		t.Errorf("wrote % x", got)
	}
	r.Release()
	r.Release()
	if r.Held() {
		t.Error("held after its release")
	}
}

// The kernel's own device says what is asked of it.
func TestRequestKernel(t *testing.T) {
	f, err := os.Open(Device)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	asked := func() int32 {
		t.Helper()
		var b [4]byte
		if _, err := f.ReadAt(b[:], 0); err != nil {
			t.Fatal(err)
		}
		return int32(binary.NativeEndian.Uint32(b[:]))
	}
	before := asked()
	r := NewRequest(Device, 0)
	defer r.Release()
	if err := r.Hold(); err != nil {
		t.Skip(err)
	}
	if got := asked(); got != 0 {
		t.Errorf("%d us asked for, want 0", got)
	}
	r.Release()
	if got := asked(); got == 0 && before != 0 { // another process may ask for it, too
		t.Errorf("%d us asked for after the release, %d before", got, before)
	}
}
