package main_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLockHeldAfterKill: whoever could read the lock of a former version may hold it when that was killed. The next vtepd says so, and begins when it is free, with a lock of its own.
func TestLockHeldAfterKill(t *testing.T) {
	l, h, other, _ := pair(t)
	d := start(t, l, h, overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes()))
	lock := d.socket + ".lock"
	mode := func() os.FileMode {
		t.Helper()
		info, err := os.Stat(lock)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if got := mode(); got != 0o600 {
		t.Errorf("mode of the lock: %v", got)
	}
	if err := os.Chmod(lock, 0o644); err != nil {
		t.Fatal(err)
	}
	killed := d.PID()
	if err := d.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-d.Done()
	f, err := os.Open(lock)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	got := execute(t, h, vtepdPath, d.args()...)
	want := fmt.Sprintf("lock %s: held by another process than the vtepd that wrote its pid, %d, and has gone: `fuser %s` or `lslocks` finds it", lock, killed, lock)
	if got.code != 1 || !strings.Contains(got.stderr, want) {
		t.Errorf("exit code %d, %s; want 1 and %s", got.code, got.stderr, want)
	}
	f.Close()
	d.run(t)
	if got := mode(); got != 0o600 {
		t.Errorf("mode of a former version's lock: %v", got)
	}
	d.stop(t, syscall.SIGTERM)
}
