package tap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ownNetNS is the namespace of the calling thread, which may differ from that
// of the process.
const ownNetNS = "/proc/thread-self/ns/net"

// openNetNS opens a namespace by name under /run/netns or by absolute path.
func openNetNS(name string) (int, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(netnsDir, name)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return -1, fmt.Errorf("netns %q: %w: see `ip netns`, or add it: `ip netns add %s`", name, err, filepath.Base(path))
	}
	if err != nil {
		return -1, fmt.Errorf("netns %q: %w", name, err)
	}
	// A file that is no namespace is no terminal either: ENOTTY.
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		unix.Close(fd)
		return -1, fmt.Errorf("netns %q: %w: not a network namespace: see `ip netns`", name, ErrOption)
	}
	return fd, nil
}

// handleIn opens rtnetlink in a namespace; -1 is the present one.
func handleIn(ns int) (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	return h, nil
}

// within runs f on a thread that stands in namespace ns; -1 is the present one.
func within(ns int, f func() error) error {
	if ns < 0 {
		return f()
	}
	runtime.LockOSThread()
	back, err := unix.Open(ownNetNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open %s: %w", ownNetNS, err)
	}
	defer unix.Close(back)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("setns: %w", err)
	}
	err = f()
	if e := unix.Setns(back, unix.CLONE_NEWNET); e != nil {
		// The thread stays locked to this goroutine, and ends with it: no other
		// may ever run in the wrong namespace.
		return errors.Join(err, fmt.Errorf("setns back: %w", e))
	}
	runtime.UnlockOSThread()
	return err
}

// move puts an interface of the present namespace into another, under name.
func move(passing string, target int, h *netlink.Handle, name string) error {
	link, err := netlink.LinkByName(passing)
	if err != nil {
		return fmt.Errorf("look for %q: %w", passing, err)
	}
	if err := netlink.LinkSetNsFd(link, target); err != nil {
		return fmt.Errorf("move to its namespace: %w", err)
	}
	if link, err = h.LinkByName(passing); err != nil {
		return fmt.Errorf("look for %q in its namespace: %w", passing, err)
	}
	if err := h.LinkSetName(link, name); err != nil {
		return fmt.Errorf("rename in its namespace: %w", err)
	}
	return nil
}

// netnsName finds the name under /run/netns of the namespace behind fd; "" when
// it has none.
func netnsName(fd int) string {
	var want unix.Stat_t
	if unix.Fstat(fd, &want) != nil {
		return ""
	}
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(netnsDir, e.Name()), &st) == nil && st.Ino == want.Ino && st.Dev == want.Dev {
			return e.Name()
		}
	}
	return ""
}

// sameFile says whether two paths lead to one file, as two names of one
// namespace do.
func sameFile(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Ino == y.Ino && x.Dev == y.Dev
}

// isOwnNetNS says whether fd is the namespace of the calling thread.
func isOwnNetNS(fd int) bool {
	var own, other unix.Stat_t
	return unix.Stat(ownNetNS, &own) == nil && unix.Fstat(fd, &other) == nil &&
		own.Ino == other.Ino && own.Dev == other.Dev
}
