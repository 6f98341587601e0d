package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NetNSDir is where iproute2 keeps named namespaces.
const NetNSDir = "/run/netns"

// OwnNetNS is the namespace of the calling thread, which may differ from that
// of the process.
const OwnNetNS = "/proc/thread-self/ns/net"

// OpenNetNS opens a namespace by name under /run/netns or by absolute path.
func OpenNetNS(name string) (int, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(NetNSDir, name)
	}
	// O_NONBLOCK: opening a FIFO would wait for a writer, with all of control behind it.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return -1, fmt.Errorf("netns %q: %w: %s", name, ErrNoNetNS, HowToNetNS(name))
	}
	if errors.Is(err, unix.EACCES) && strings.HasPrefix(filepath.Clean(path), "/proc/") {
		// PTRACE_MODE_READ_FSCREDS of ptrace(2): root without it may look at no process that has a capability which it lacks itself.
		return -1, fmt.Errorf("netns %q: %w: the way through another process asks for CAP_SYS_PTRACE: give the namespace a name with `ip netns attach NAME PID`, and write that",
			name, err)
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

// HowToNetNS says how to have a namespace that is not there. What is outside NetNSDir is not for `ip netns add` to make.
func HowToNetNS(name string) string {
	if word := NetNSWord(name); !strings.Contains(word, "/") {
		return fmt.Sprintf("see `ip netns list`, or make it with `ip netns add %s`", word)
	}
	return fmt.Sprintf("write the path of one that is there, such as /proc/PID/ns/net, or a name of `ip netns list` for one in %s", NetNSDir)
}

// NetNSWord is how a namespace is called for people: its name where OpenNetNS would find it by that, or its path.
func NetNSWord(name string) string {
	if rest, ok := strings.CutPrefix(filepath.Clean(name), NetNSDir+"/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return name
}

// NetNSKey is equal for all names of one namespace, and "" for that of the calling thread. A name that nothing has is a namespace of its own.
func NetNSKey(name string) string {
	if name == "" {
		return ""
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(NetNSDir, name)
	}
	var own, st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return filepath.Clean(path)
	}
	if unix.Stat(OwnNetNS, &own) == nil && own.Ino == st.Ino && own.Dev == st.Dev {
		return ""
	}
	return netNSKey(&st)
}

func netNSKey(st *unix.Stat_t) string { return fmt.Sprintf("%d:%d", st.Dev, st.Ino) }

// KeyOfNetNS is NetNSKey of the namespace behind fd, whatever it is called; "" when that cannot be found out.
func KeyOfNetNS(fd int) string {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return ""
	}
	return netNSKey(&st)
}

// HandleIn opens rtnetlink in a namespace; -1 is the present one. (netlink.NewHandleAt would do, but for its errors: they hide that of setns(2).)
func HandleIn(ns int) (h *netlink.Handle, err error) {
	err = Within(ns, func() (err error) {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	return h, nil
}

// Within runs f on a thread that stands in namespace ns; -1 is the present one.
func Within(ns int, f func() error) error {
	if ns < 0 {
		return f()
	}
	runtime.LockOSThread()
	back, err := unix.Open(OwnNetNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open %s: %w", OwnNetNS, err)
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

// Enter puts the calling thread, which must be locked and is never to be unlocked, into a namespace. It asks for no privilege where the thread is there
// already.
func Enter(ns int) error {
	if IsOwnNetNS(ns) {
		return nil
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return nil
}

// Move puts an interface of the present namespace into another, under name.
func Move(passing string, target int, h *netlink.Handle, name string) error {
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

// KeyOfOwnNetNS is KeyOfNetNS of the calling thread's, and opens nothing.
func KeyOfOwnNetNS() string {
	var st unix.Stat_t
	if unix.Stat(OwnNetNS, &st) != nil {
		return ""
	}
	return netNSKey(&st)
}

// NetNSByKey finds the name under /run/netns of the namespace with a KeyOfNetNS; "" when it has none.
func NetNSByKey(key string) string {
	entries, err := os.ReadDir(NetNSDir)
	if err != nil || key == "" {
		return ""
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(NetNSDir, e.Name()), &st) == nil && netNSKey(&st) == key {
			return e.Name()
		}
	}
	return ""
}

// SameFile says whether two paths lead to one file, as two names of one
// namespace do.
func SameFile(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Ino == y.Ino && x.Dev == y.Dev
}

// IsOwnNetNS says whether fd is the namespace of the calling thread.
func IsOwnNetNS(fd int) bool {
	var own, other unix.Stat_t
	return unix.Stat(OwnNetNS, &own) == nil && unix.Fstat(fd, &other) == nil &&
		own.Ino == other.Ino && own.Dev == other.Dev
}
