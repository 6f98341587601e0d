package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDying: a process that was killed and is not gone yet is told from one that lives, and from none.
func TestDying(t *testing.T) {
	if dying(os.Getpid()) {
		t.Error("this process is told to be dying")
	}
	p := exec.Command("sleep", "600")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer p.Process.Kill()
	if dying(p.Process.Pid) {
		t.Error("a process that sleeps is told to be dying")
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Nobody has waited for it: from the signal on it is dying, and stays so.
	for range 100 {
		if !dying(p.Process.Pid) {
			t.Fatal("a killed process is not told to be dying")
		}
	}
	if err := inUse("/x.lock", p.Process.Pid, true); !strings.Contains(err.Error(), fmt.Sprintf("pid %d, which was killed and is not gone yet", p.Process.Pid)) {
		t.Errorf("of one that takes too long: %v", err)
	}
	_ = p.Wait()
	if dying(p.Process.Pid) {
		t.Error("a process that has gone is told to be dying")
	}
}

// heldLock is a lock beside the socket that is held, with the pid of a process that lives until it is killed, and a zombie then. Who calls release lets go of it.
func heldLock(t *testing.T, socket string) (holder *exec.Cmd, release func()) {
	t.Helper()
	f, err := os.OpenFile(socket+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p := exec.Command("sleep", "600")
	p.ExtraFiles = []*os.File{f}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill() // it may have been already
		_ = p.Wait()
	})
	if _, err := fmt.Fprintln(f, p.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return p, func() {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
			t.Error(err)
		}
	}
}

// TestClaimWaitsForTheDying: the place of a vtepd that was killed is had as soon as that lets go of it, and of one that lives not at all. A wait that takes long is told of once.
func TestClaimWaitsForTheDying(t *testing.T) {
	for _, c := range []struct {
		held time.Duration
		says int
	}{{5 * dyingPoll, 0}, {dyingSilence + 10*dyingPoll, 1}} {
		socket := filepath.Join(shortDir(t), "s")
		p, release := heldLock(t, socket)
		pid := p.Process.Pid
		if _, err := claimNow(socket); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by another vtepd, pid %d", pid)) {
			t.Fatalf("of one that lives: %v", err)
		}
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var said syncBuffer
		claimed := make(chan error, 1)
		begun := time.Now()
		go func() {
			s, err := claim(context.Background(), socket, slog.New(slog.NewTextHandler(&said, nil)))
			if err == nil {
				err = s.Close()
			}
			claimed <- err
		}()
		select {
		case err := <-claimed:
			t.Fatalf("while it holds the lock: %v", err)
		case <-time.After(c.held):
		}
		release()
		if err := <-claimed; err != nil {
			t.Fatal(err)
		}
		if c.says == 0 && time.Since(begun) > dyingSilence {
			continue // the machine is busy
		}
		if line := fmt.Sprintf(`msg="waiting for a killed vtepd to be gone" pid=%d lock=%s.lock at_most=1m0s`, pid, socket); strings.Count(said.String(), line) != c.says {
			t.Errorf("held for %v: want %q %d times, got: %s", c.held, line, c.says, said.String())
		}
	}
}

// TestStopWhileWaitingForTheDying: a signal ends the wait as it ends any start, and the lock stays whose it is.
func TestStopWhileWaitingForTheDying(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		dir := shortDir(t)
		socket := filepath.Join(dir, "s")
		p, _ := heldLock(t, socket)
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		r := launch(t, nil, "--local", "192.0.2.1", "--vni", "42", "--tap", "tap0", "--socket", socket)
		r.logged(t, "waiting for a killed vtepd to be gone")
		r.stops <- sig
		if code := r.wait(t); code != ExitClean || !strings.HasSuffix(r.err.String(), "level=INFO msg=stopping reason="+sig.String()+"\n") || r.sw != nil {
			t.Errorf("exit %d, switch %v: %s", code, r.sw, r.err)
		}
		if b, err := os.ReadFile(socket + ".lock"); err != nil || string(b) != fmt.Sprintln(p.Process.Pid) {
			t.Errorf("the lock has %q, error %v", b, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}
}
