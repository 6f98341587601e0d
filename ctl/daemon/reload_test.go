package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// launchWithFile is a vtepd that has started with a file, and what writes that anew and has it read again.
func launchWithFile(t *testing.T) (r *run, reload func(text string)) {
	t.Helper()
	dir := shortDir(t)
	path := filepath.Join(dir, "c.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	r = launch(t, nil, "--config", path, "--socket", filepath.Join(dir, "s"))
	r.logged(t, "msg=started")
	return r, func(text string) {
		write(text)
		r.reloads <- syscall.SIGHUP
	}
}

// TestStopInsideReload: a reload that a stop ends is not told as one that was refused and has changed nothing.
func TestStopInsideReload(t *testing.T) {
	r, reload := launchWithFile(t)
	r.sw.Fail(func(op string) error {
		if op == "add port tap1" {
			r.stops <- syscall.SIGTERM
			time.Sleep(200 * time.Millisecond) // until the signal is heeded
		}
		return nil
	})
	reload(file + "- {name: tap1, vni: 42}\n- {name: tap2, vni: 42}\n")
	if code := r.wait(t); code != ExitClean {
		t.Errorf("exit %d: %s", code, r.err)
	}
	if out := r.err.String(); strings.Contains(out, "refused") || strings.Contains(out, "reloaded") {
		t.Errorf("the stop came between two ports: %s", out)
	}
}

// TestReloadNotUndone: a reload that could not be undone does not pass for one that has changed nothing.
func TestReloadNotUndone(t *testing.T) {
	r, reload := launchWithFile(t)
	r.sw.Fail(func(op string) error {
		if op == "add port tap2" || op == "del port tap1" {
			return errors.New(op + ": the host refuses")
		}
		return nil
	})
	reload(file + "- {name: tap1, vni: 42}\n- {name: tap2, vni: 42}\n")
	r.logged(t, "add port tap2: the host refuses; and port add tap1 could not be undone: del port tap1: the host refuses")
	if out := r.err.String(); strings.Contains(out, "nothing changed") || !strings.Contains(out, `msg="reload failed, and not all of it could be undone"`) {
		t.Error(out)
	}
	r.stops <- syscall.SIGTERM
	r.wait(t)
}
