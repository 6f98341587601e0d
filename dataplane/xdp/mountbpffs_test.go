package xdp

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMountBPFFSOnce: processes that start at once where there is no bpffs yet end up with one, not each with its own upon the others'.
func TestMountBPFFSOnce(t *testing.T) {
	t.Parallel()
	// Never unlocked: the threads have a mount namespace of their own, and end with what ran on them.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs root: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	// unmounted takes away what is mounted there, and says how many that were. The list of mounts may have more: those under a /sys that another one hides.
	unmounted := func() (n int) {
		for on, err := onBPFFS(bpffs); on || err != nil; on, err = onBPFFS(bpffs) {
			if err = errors.Join(err, unix.Unmount(bpffs, unix.MNT_DETACH)); err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	unmounted()
	ns, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for range 20 {
		var ready, done sync.WaitGroup
		start, errs := make(chan struct{}), make([]error, 8)
		for i := range errs {
			ready.Add(1)
			done.Go(func() {
				runtime.LockOSThread()
				if errs[i] = unix.Unshare(unix.CLONE_FS); errs[i] == nil {
					errs[i] = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
				}
				ready.Done()
				if <-start; errs[i] == nil {
					errs[i] = ensureBPFFS(bpffs + "/vtepd")
				}
			})
		}
		ready.Wait()
		close(start)
		done.Wait()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		if n := unmounted(); n != 1 {
			t.Fatalf("%d bpffs are mounted on %s", n, bpffs)
		}
	}
}
