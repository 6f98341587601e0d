package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

// TestClaimWaitsForTheDying: the place of a vtepd that was killed is had as soon as that lets go of it, and of one that lives not at all.
func TestClaimWaitsForTheDying(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	f, err := os.OpenFile(socket+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p := exec.Command("sleep", "600")
	p.ExtraFiles = []*os.File{f}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer p.Process.Kill()
	pid := strconv.Itoa(p.Process.Pid)
	if _, err := f.WriteString(pid + "\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := claim(socket); err == nil || !strings.Contains(err.Error(), "in use by another vtepd, pid "+pid) {
		t.Fatalf("of one that lives: %v", err)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	claimed := make(chan error, 1)
	go func() {
		s, err := claim(socket)
		if err == nil {
			err = s.Close()
		}
		claimed <- err
	}()
	select {
	case err := <-claimed:
		t.Fatalf("while it holds the lock: %v", err)
	case <-time.After(5 * dyingPoll):
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
}
