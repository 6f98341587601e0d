package tap

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// newNetNS puts the test into a namespace of its own, which ends with it.
func newNetNS(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root: makes network namespaces")
	}
	runtime.LockOSThread()
	home, err := netns.Get()
	must(tb, err)
	here, err := netns.New()
	must(tb, err)
	tb.Cleanup(func() {
		here.Close()
		// A thread that cannot go home stays locked, and dies with the goroutine.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
	})
	must(tb, silence())
}

// silence keeps the stack from sending router solicitations and the like: the
// tests count frames. /proc/sys/net is that of the thread that opens it.
func silence() error {
	const dir = "/proc/sys/net/ipv6/conf/"
	return errors.Join(
		os.WriteFile(dir+"all/disable_ipv6", []byte("1"), 0),
		os.WriteFile(dir+"default/disable_ipv6", []byte("1"), 0))
}

// namedNetNS makes a namespace with a name under /run/netns, without going
// there, and gives the name and a function that deletes it.
func namedNetNS(tb testing.TB) (name string, remove func()) {
	tb.Helper()
	name = fmt.Sprintf("vtepd-test-%08x", rand.Uint32())
	path := filepath.Join(device.NetNSDir, name)
	must(tb, os.MkdirAll(device.NetNSDir, 0o755))
	here, err := netns.Get()
	must(tb, err)
	defer here.Close()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	must(tb, err)
	f.Close()
	removed := false
	remove = func() {
		if !removed {
			removed = true
			_ = unix.Unmount(path, unix.MNT_DETACH)
			must(tb, os.Remove(path))
		}
	}
	tb.Cleanup(remove)
	there, err := netns.New()
	must(tb, err)
	defer there.Close()
	err = errors.Join(silence(), unix.Mount(device.OwnNetNS, path, "", unix.MS_BIND, ""))
	must(tb, netns.Set(here))
	must(tb, err)
	return name, remove
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func mustOpen(tb testing.TB, o Options) *Device {
	tb.Helper()
	d, err := Open(o)
	must(tb, err)
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

// exists says whether the present namespace has such an interface.
func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// interfaces lists what the present namespace has beside what the kernel puts into every one: loopback, and the fallback devices of tunnel modules that happen
// to be loaded (net.core.fb_tunnels_only_for_init_net), which are the only ones of their kinds here.
func interfaces(tb testing.TB) (names []string) {
	tb.Helper()
	links, err := netlink.LinkList()
	must(tb, err)
	for _, l := range links {
		switch l.Type() {
		case "tuntap", "veth", "dummy", "bridge":
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}
