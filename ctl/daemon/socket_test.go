package daemon

import (
	"fmt"
	"os"
	"os/exec"
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

// TestLockIsClosedToOthers: who may read a file may lock it, and keep the next vtepd off. One that a former version made is mended.
func TestLockIsClosedToOthers(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	socket := filepath.Join(shortDir(t), "s")
	lock := socket + ".lock"
	for _, former := range []os.FileMode{0, 0o644, 0o666} {
		if former != 0 {
			if err := os.WriteFile(lock, []byte("1\n"), former); err != nil {
				t.Fatal(err)
			}
		}
		s, err := claimNow(socket)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(lock); err != nil || info.Mode() != 0o600 {
			t.Errorf("made with mode %v: mode %v, error %v", former, info.Mode(), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	// Another user's stays as it is.
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(lock, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	s, err := claimNow(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(lock); err != nil || info.Mode() != 0o644 {
		t.Errorf("another user's: mode %v, error %v", info.Mode(), err)
	}
}

// TestLockHeldByStranger: a pid that has gone, or is another process's by now, is not told to be a vtepd that could be stopped.
func TestLockHeldByStranger(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	lock := socket + ".lock"
	f, err := os.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	const held = "lock LOCK: held by another process than the one whose pid stands there, %d"
	const find = ": `fuser LOCK` or `lslocks` finds it: stop it, or give this one a socket of its own"
	for _, c := range []struct{ written, says string }{
		{fmt.Sprintln(gone.Process.Pid), fmt.Sprintf(held, gone.Process.Pid) + find},
		{fmt.Sprintln(other.Process.Pid), fmt.Sprintf(held, other.Process.Pid) + find},
		{"", "lock LOCK: held by a process that has not written its pid" + find},
		{fmt.Sprintln(os.Getpid()), fmt.Sprintf("in use by another vtepd, pid %d: stop it, or give this one a socket of its own", os.Getpid())},
	} {
		if err := os.WriteFile(lock, []byte(c.written), 0o600); err != nil {
			t.Fatal(err)
		}
		want := "control socket " + socket + ": " + strings.ReplaceAll(c.says, "LOCK", lock)
		if _, err := claimNow(socket); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", c.written, err, want)
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
	if _, err := claimNow(filepath.Join(dir, "s")); err == nil || !strings.HasSuffix(err.Error(), "no space left on device: make room there, or choose another place with socket") {
		t.Errorf("a full filesystem: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := unix.Mount("x", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"s", "new/s"} {
		if _, err := claimNow(filepath.Join(dir, path)); err == nil || !strings.HasSuffix(err.Error(), "read-only file system: mount it writable, or choose another place with socket") {
			t.Errorf("%s on a read-only filesystem: %v", path, err)
		}
	}
}
