package xdp

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNeedDescriptors: too few are refused, and whoever opens something meanwhile is in nobody's way. In a process of its own, for the limit is a process's.
func TestNeedDescriptors(t *testing.T) {
	const child = "VTEPD_TEST_DESCRIPTORS"
	if os.Getenv(child) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(self, "-test.run=^TestNeedDescriptors$", "-test.count=1")
		c.Env = append(os.Environ(), child+"=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	limit := func(n uint64) {
		t.Helper()
		var was unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(spareDescriptors)
	done, others := make(chan struct{}), make(chan error)
	go func() {
		for {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				others <- err
				return
			}
			unix.Close(fd)
			select {
			case <-done:
				others <- nil
				return
			default:
			}
		}
	}()
	for range 2000 {
		if err := needDescriptors(); !errors.Is(err, unix.EMFILE) {
			t.Fatalf("with a limit of %d: %v", spareDescriptors, err)
		}
	}
	close(done)
	if err := <-others; err != nil {
		t.Errorf("another, meanwhile: %v", err)
	}
	limit(spareDescriptors + 40)
	if err := needDescriptors(); err != nil {
		t.Errorf("with a limit of %d: %v", spareDescriptors+40, err)
	}
}
