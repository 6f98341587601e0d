package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// netnsDir is where iproute2 keeps named network namespaces (NETNS_RUN_DIR).
	netnsDir = "/run/netns"
	// aliveDir holds one flocked file a living lab. It is not under netnsDir, where `ip netns list` would take the file for a namespace.
	aliveDir = "/run/vtepd-lab"
	// namePrefix starts the name of every namespace of every lab.
	namePrefix = "vtepd-lab-"
)

// Permitted says whether this process may make network namespaces: nil, or an error that wraps ErrNeedRoot.
func Permitted() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("%w: capget: %w", ErrNeedRoot, err)
	}
	const need = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SYS_ADMIN
	if sets[0].Effective&need != need {
		return ErrNeedRoot
	}
	return nil
}

// announce takes this lab's lock, and sweeps away labs whose lock nobody holds any more.
func (l *Lab) announce() error {
	return underNetnsLock(func() error {
		if err := os.MkdirAll(aliveDir, 0o755); err != nil {
			return err
		}
		sweep()
		f, err := os.OpenFile(filepath.Join(aliveDir, l.suffix), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			return fmt.Errorf("flock %s: %w", f.Name(), err)
		}
		l.alive = f
		return nil
	})
}

// vanish gives the lock back. The directory goes with the last lab.
func (l *Lab) vanish() error {
	return underNetnsLock(func() error {
		err := os.Remove(l.alive.Name())
		l.alive.Close()
		_ = os.Remove(aliveDir) // not empty while other labs live
		return err
	})
}

// sweep removes the namespaces and files of labs whose process is gone: killed, or ended by a test's time limit, which runs no clean-up. The kernel dropped their
// locks with the process. Called under the netns lock, so that no lab is between making its file and locking it.
func sweep() {
	files, _ := filepath.Glob(filepath.Join(aliveDir, "*"))
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			spaces, _ := filepath.Glob(filepath.Join(netnsDir, namePrefix+filepath.Base(path)+"-*"))
			for _, space := range spaces {
				killInside(space)
				_ = unpin(space)
			}
			_ = removeFiles(filepath.Base(path))
			_ = os.Remove(path)
		}
		f.Close()
	}
}

// underNetnsLock runs f while it holds the lock that iproute2, too, takes around a change of netnsDir, which is made when it is missing.
func underNetnsLock(f func() error) error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("flock %s: %w", netnsDir, err)
	}
	return f()
}

// pinNew makes a network namespace and pins it at netnsDir/name as `ip netns add` does, so that it outlives the threads in it.
func pinNew(name string) (path string, err error) {
	path = filepath.Join(netnsDir, name)
	err = underNetnsLock(func() error {
		// A shared mount carries the removal of a namespace into every mount namespace; otherwise a copy elsewhere would keep it busy.
		err := unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		if errors.Is(err, unix.EINVAL) { // not a mount point yet
			if err = unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
				err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
			}
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", netnsDir, err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		return "", err
	}
	err = inOtherNamespace(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error {
		return unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, "")
	})
	if err != nil {
		_ = os.Remove(path)
		return "", fmt.Errorf("new namespace %s: %w", name, err)
	}
	return path, nil
}

// unpin takes the name away. The kernel removes the namespace once the last process and socket in it is gone.
func unpin(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return os.Remove(path)
}

// enter moves the calling thread into the namespace pinned at path.
func enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns %s: %w", path, err)
	}
	return nil
}

// inOtherNamespace moves the calling goroutine's thread elsewhere, calls f there, and brings the thread back. A thread that cannot come back is not used again.
func inOtherNamespace(move, f func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		unix.Close(home)
	}()
	if err := move(); err != nil {
		return err
	}
	return f()
}

// killInside kills every process in the namespace pinned at path, daemons that left their process group included; never this process.
func killInside(path string) {
	var space unix.Stat_t
	if unix.Stat(path, &space) != nil {
		return
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(filepath.Join("/proc", e.Name(), "ns/net"), &st) == nil && st.Ino == space.Ino && st.Dev == space.Dev {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
