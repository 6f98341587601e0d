package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// socketMode lets owner and group speak to vtepd. lockMode lets nobody else open the lock: who may read a file may lock it, and keep the next vtepd off.
const (
	socketMode = 0o660
	lockMode   = 0o600
)

// dyingPatience is how long a vtepd that was killed may take to be gone: with 200 veth ports it took 5 to 8 s. dyingPoll is how often it is looked at,
// and dyingSilence how long nothing is said of it.
const (
	dyingPatience = time.Minute
	dyingPoll     = 20 * time.Millisecond
	dyingSilence  = 300 * time.Millisecond
)

// controlSocket is the unix socket of the control API with the lock that keeps a second vtepd off it.
type controlSocket struct {
	net.Listener
	path string
	lock *os.File
	// made are the directories that were made for it, the deepest first.
	made []string
}

// claim takes the place of the control socket at path, so that nobody else can have it. A second vtepd is refused with the first one's pid, and so is any
// other process that listens there; a socket that nobody serves any more is removed. The lock is a file beside the socket (a socket itself cannot be
// locked), and goes with the process however that ends. For one that was killed, and closes its ports one by one, claim waits,
// until ctx ends with a cause that is then the error's.
func claim(ctx context.Context, path string, log *slog.Logger) (*controlSocket, error) {
	s := &controlSocket{path: path}
	var err error
	// Another vtepd that stops just now may remove the directory that it made, between here and the lock.
	for range 3 {
		s.made = missing(filepath.Dir(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("control socket %s: %w", path, noPlace(err))
		}
		if s.lock, err = lockFile(ctx, path+".lock", log); !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	if err := s.removeStale(); err != nil {
		s.unlock()
		return nil, err
	}
	return s, nil
}

// bind makes the socket. It is there only when the ports are, and nobody is answered before the rest is, so that who waits for the file finds everything done.
func (s *controlSocket) bind() error {
	// Between bind and chmod nobody else may connect: the mask is taken off the bits that the socket is born with.
	old := unix.Umask(0o777 &^ socketMode)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("control socket %s: %w", s.path, noPlace(err))
	}
	// The API ends before the switch does; the file is removed by Close, under the lock, when everything has.
	l.SetUnlinkOnClose(false)
	s.Listener = l
	if err := os.Chmod(s.path, socketMode); err != nil {
		return fmt.Errorf("control socket %s: %w", s.path, bare(err))
	}
	return nil
}

// Close removes the socket and lets go of the lock. It may be called again.
func (s *controlSocket) Close() error {
	if s.lock == nil {
		return nil
	}
	defer s.unlock()
	if s.Listener == nil {
		return nil
	}
	err := s.Listener.Close()
	if rerr := os.Remove(s.path); err == nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = rerr
	}
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

func (s *controlSocket) unlock() {
	os.Remove(s.lock.Name())
	for _, dir := range s.made {
		// One that others use by now is not empty, and stays.
		os.Remove(dir)
	}
	s.lock.Close()
	s.lock = nil
}

// missing lists the directories that have to be made for dir to be there, the deepest first.
func missing(dir string) []string {
	var list []string
	for {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return list
		}
		list = append(list, dir)
		dir = filepath.Dir(dir)
	}
}

// lockFile takes an exclusive lock on a file that it makes, and writes the pid into it. The one who holds it removes the file before letting go, so
// whoever gets a lock makes sure that it is on the file which has the name now.
func lockFile(ctx context.Context, path string, log *slog.Logger) (*os.File, error) {
	sure, said := false, false
	for begun := time.Now(); ; {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, lockMode)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, noPlace(err))
		}
		closeToOthers(f)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			pid := holder(f)
			gone := !has(pid, f)
			f.Close()
			switch {
			case dying(pid) && time.Since(begun) < dyingPatience:
				if !said && time.Since(begun) > dyingSilence {
					said = true
					log.Info("waiting for a killed vtepd to be gone", "pid", pid, "lock", path, "at_most", dyingPatience)
				}
				select {
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				case <-time.After(dyingPoll):
				}
				continue
			case !sure: // it may have let go between the two looks, or has not written its pid yet
				sure = true
				if gone {
					time.Sleep(dyingPoll)
				}
				continue
			}
			return nil, inUse(path, pid, gone)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		var held, named unix.Stat_t
		if unix.Fstat(int(f.Fd()), &held) != nil || unix.Stat(path, &named) != nil || held.Ino != named.Ino || held.Dev != named.Dev {
			f.Close()
			continue
		}
		if err := f.Truncate(0); err == nil {
			_, err = fmt.Fprintln(f, os.Getpid())
			if err != nil {
				os.Remove(path)
				f.Close()
				return nil, fmt.Errorf("lock %s: %w", path, noPlace(err))
			}
		}
		return f, nil
	}
}

// closeToOthers mends the mode of a lock that a former version made, which let everybody read it. Where it is another user's, that one may lock it anyway.
func closeToOthers(f *os.File) {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) == nil && int(st.Uid) == os.Geteuid() && st.Mode&0o777 != lockMode {
		_ = unix.Fchmod(int(f.Fd()), lockMode) // who has it open already keeps it all the same
	}
}

// inUse says who keeps vtepd from the lock. Whoever may read the file of a former version can hold it, and the pid in it is then of one that has gone.
func inUse(path string, pid int, gone bool) error {
	who := "a process that has not written its pid"
	switch {
	case dying(pid):
		return fmt.Errorf("in use by another vtepd, pid %d, which was killed and is not gone yet: wait until it is, or give this one a socket of its own", pid)
	case !gone:
		return fmt.Errorf("in use by another vtepd, pid %d: stop it, or give this one a socket of its own", pid)
	case pid != 0:
		who = fmt.Sprintf("another process than the one whose pid stands there, %d", pid)
	}
	return fmt.Errorf("lock %s: held by %s: `fuser %s` or `lslocks` finds it: stop it, or give this one a socket of its own", path, who, path)
}

// has says whether a process lives and has a file open, or may have: another user's cannot be looked into. A pid may be another process's by now.
func has(pid int, f *os.File) bool {
	var want, st unix.Stat_t
	if pid <= 0 || unix.Kill(pid, 0) == unix.ESRCH {
		return false
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil || unix.Fstat(int(f.Fd()), &want) != nil {
		return true
	}
	for _, fd := range list {
		if unix.Stat(filepath.Join(dir, fd.Name()), &st) == nil && st.Ino == want.Ino && st.Dev == want.Dev {
			return true
		}
	}
	return false
}

// holder is the process that wrote a lock file; 0: it has not.
func holder(f *os.File) int {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// removeStale takes away a socket that nobody serves, and refuses anything else that has its name.
func (s *controlSocket) removeStale() error {
	info, err := os.Lstat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket %s: %w", s.path, noPlace(err))
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket %s: there is something else of that name, and it is not a socket: remove it, or choose another place with socket", s.path)
	}
	c, err := net.DialTimeout("unix", s.path, time.Second)
	if err == nil {
		defer c.Close()
		return fmt.Errorf("control socket %s: in use by another program%s: stop it, or choose another place with socket", s.path, peerOf(c.(*net.UnixConn)))
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("control socket %s: %w", s.path, noPlace(err))
	}
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("control socket %s: %w", s.path, noPlace(err))
	}
	return nil
}

// peerOf says which process is at the other end of a connection.
func peerOf(c *net.UnixConn) string {
	raw, err := c.SyscallConn()
	if err != nil {
		return ""
	}
	text := ""
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && cred.Pid > 0 {
			text = fmt.Sprintf(", pid %d", cred.Pid)
		}
	})
	return text
}

// noPlace says how to mend it that the host has no place for the socket or what belongs to it.
func noPlace(err error) error {
	remedy := "choose another place with socket"
	switch err = bare(err); {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		remedy = "start as root, or " + remedy
	case errors.Is(err, unix.EROFS):
		remedy = "mount it writable, or " + remedy
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		remedy = "make room there, or " + remedy
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		remedy = "raise LimitNOFILE= in the unit, or `ulimit -n` where vtepd is started"
	}
	return fmt.Errorf("%w: %s", err, remedy)
}

// bare is the innermost cause of an error of the os or net package: path and operation are said already.
func bare(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
