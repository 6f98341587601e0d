package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
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
	want := fmt.Sprintf("lock %s: held by another process than the one whose pid stands there, %d: `fuser %s` or `lslocks` finds it", lock, killed, lock)
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

// TestStopWhileWaitingForKilled: a vtepd that waits until a killed one is gone says so, and a signal ends it at once.
func TestStopWhileWaitingForKilled(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		l, h, other, _ := pair(t)
		blue := l.Host("blue")
		d := prepare(t, l, h, overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes()))
		awaitCarrier(t, h, "eth0")
		// A process that nobody waits for is as one that closes its ports for long.
		killed := exec.Command("sleep", "600")
		if err := killed.Start(); err != nil {
			t.Fatal(err)
		}
		if err := killed.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		defer killed.Wait()
		f, err := os.Create(d.socket + ".lock")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(f, killed.Process.Pid)
		before := traces(t, d, blue)
		d.launch(t)
		says := fmt.Sprintf(`level=INFO msg="waiting for a killed vtepd to be gone" pid=%d`, killed.Process.Pid)
		soon(t, "vtepd says what it waits for", func() bool { return strings.Contains(d.Output(), says) })
		d.stop(t, sig)
		if !strings.Contains(d.Output(), "msg=stopping reason="+sig.String()) {
			t.Errorf("%v: %s", sig, d.Output())
		}
		if d := cmp.Diff(before, traces(t, d, blue)); d != "" {
			t.Errorf("left behind (-before +after):\n%s", d)
		}
	}
}
