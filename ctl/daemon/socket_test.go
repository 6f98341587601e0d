package daemon

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlaceRefused: where the host has no place for the socket, what is advised mends it.
func TestPlaceRefused(t *testing.T) {
	const elsewhere = "choose another place with socket"
	for errno, want := range map[unix.Errno]string{
		unix.EACCES:  "start as root, or " + elsewhere,
		unix.EPERM:   "start as root, or " + elsewhere,
		unix.EROFS:   "mount it writable, or " + elsewhere,
		unix.ENOSPC:  "make room there, or " + elsewhere,
		unix.EDQUOT:  "make room there, or " + elsewhere,
		unix.ENOTDIR: elsewhere,
		unix.EMFILE:  "raise LimitNOFILE= in the unit, or `ulimit -n` where vtepd is started",
	} {
		err := noPlace(&os.PathError{Op: "open", Path: "/x", Err: errno})
		if got := err.Error(); got != errno.Error()+": "+want {
			t.Errorf("%v: %s", errno, got)
		}
	}
}

// TestFullPlace: a filesystem without room keeps no lock of a vtepd that did not start.
func TestFullPlace(t *testing.T) {
	dir := t.TempDir()
	// Never unlocked: the thread has a mount namespace of its own, and ends with the test, however that ends.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs root: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("x", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	if err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := claim(filepath.Join(dir, "s")); err == nil || !strings.HasSuffix(err.Error(), "no space left on device: make room there, or choose another place with socket") {
		t.Errorf("a full filesystem: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := unix.Mount("x", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"s", "new/s"} {
		if _, err := claim(filepath.Join(dir, path)); err == nil || !strings.HasSuffix(err.Error(), "read-only file system: mount it writable, or choose another place with socket") {
			t.Errorf("%s on a read-only filesystem: %v", path, err)
		}
	}
}
