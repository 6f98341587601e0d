package device

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFIFOIsNoNamespace: it is refused at once, where opening it would wait for somebody to write.
func TestFIFOIsNoNamespace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if fd, err := OpenNetNS(path); !errors.Is(err, ErrOption) {
		t.Errorf("%d, %v", fd, err)
	}
}
