package tap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

var testMAC = net.HardwareAddr{2, 0, 0x5e, 0, 0x53, 1}

func TestOptionsRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"no name", Options{}, "a name is required"},
		{"long name", Options{Name: "sixteen-bytes-xx"}, "16 bytes"},
		{"slash", Options{Name: "a/b"}, "'/'"},
		{"space", Options{Name: "a b"}, "white space"},
		{"pattern", Options{Name: "tap%d"}, "'%'"},
		{"control character", Options{Name: "a\x01"}, "unprintable"},
		{"dots", Options{Name: ".."}, "no such name"},
		{"queues", Options{Name: "tap0", Queues: 257}, "1 to 256"},
		{"negative queues", Options{Name: "tap0", Queues: -1}, "1 to 256"},
		{"mtu", Options{Name: "tap0", MTU: -1}, "mtu -1"},
		{"txqueuelen", Options{Name: "tap0", TxQueueLen: -1}, "txqueuelen -1"},
		{"short MAC", Options{Name: "tap0", MAC: net.HardwareAddr{2}}, "not 6"},
		{"group MAC", Options{Name: "tap0", MAC: net.HardwareAddr{1, 0, 0, 0, 0, 1}}, "group address"},
		{"zero MAC", Options{Name: "tap0", MAC: make(net.HardwareAddr, 6)}, "all zero"},
		{"address", Options{Name: "tap0", Addresses: []netip.Prefix{{}}}, "prefix length"},
		{"netns", Options{Name: "tap0", NetNS: "../x"}, "neither a name nor an absolute path"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Open(tc.o)
			if !errors.Is(err, ErrOption) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: %v; want ErrOption and %q", err, tc.want)
			}
		})
	}
}

func TestOpenConfigureClose(t *testing.T) {
	for _, offload := range []bool{true, false} {
		for _, queues := range []int{1, 3} {
			t.Run(fmt.Sprintf("offload=%v/queues=%d", offload, queues), func(t *testing.T) {
				newNetNS(t)
				d := mustOpen(t, Options{
					Name: "tap0", Queues: queues, Offload: offload, MTU: 1450, MAC: testMAC,
					Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")},
				})
				if d.Queues() != queues || d.Caps().VnetHdr != offload || d.Caps().MultiQueue != (queues > 1) {
					t.Errorf("%d queues, caps %+v", d.Queues(), d.Caps())
				}
				got, err := d.Attr()
				must(t, err)
				want := Attr{Name: "tap0", Ifindex: got.Ifindex, MTU: 1450, MAC: testMAC, Up: true}
				if diff := cmp.Diff(want, got); diff != "" || got.Ifindex == 0 {
					t.Errorf("Attr, ifindex %d:\n%s", got.Ifindex, diff)
				}
				link, err := netlink.LinkByName("tap0")
				must(t, err)
				if n := link.Attrs().TxQLen; n != DefaultTxQueueLen {
					t.Errorf("txqueuelen %d, want %d", n, DefaultTxQueueLen)
				}
				if got := addresses(t, "tap0"); got != "198.51.100.1/24" {
					t.Errorf("addresses %q", got)
				}
				for i := range queues {
					flags, err := unix.FcntlInt(uintptr(d.Queue(i).FD()), unix.F_GETFL, 0)
					if err != nil || flags&unix.O_NONBLOCK == 0 {
						t.Errorf("queue %d is not non-blocking: %#x %v", i, flags, err)
					}
					flags, err = unix.FcntlInt(uintptr(d.Queue(i).FD()), unix.F_GETFD, 0)
					if err != nil || flags&unix.FD_CLOEXEC == 0 {
						t.Errorf("queue %d survives exec: %#x %v", i, flags, err)
					}
				}
				must(t, d.Close())
				if exists("tap0") {
					t.Error("device is still there after Close")
				}
				must(t, d.Close())
				if _, err := d.Attr(); !errors.Is(err, ErrGone) {
					t.Errorf("Attr after Close: %v, want ErrGone", err)
				}
			})
		}
	}
}

func addresses(tb testing.TB, name string) string {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	list, err := netlink.AddrList(link, netlink.FAMILY_V4)
	must(tb, err)
	var all []string
	for _, a := range list {
		all = append(all, a.IPNet.String())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestSetters(t *testing.T) {
	newNetNS(t)
	d := mustOpen(t, Options{Name: "tap0"})
	must(t, d.SetMTU(9000))
	must(t, d.SetMAC(testMAC))
	must(t, d.setUp(false))
	a, err := d.Attr()
	must(t, err)
	if a.MTU != 9000 || a.MAC.String() != testMAC.String() || a.Up {
		t.Errorf("after the setters: %+v", a)
	}
	p := func(s ...string) (all []netip.Prefix) {
		for _, one := range s {
			all = append(all, netip.MustParsePrefix(one))
		}
		return all
	}
	first := p("198.51.100.1/24", "198.51.100.2/24")
	must(t, d.SetAddresses(nil, first))
	must(t, d.SetAddresses(nil, first)) // there already
	must(t, d.SetAddresses(first, p("198.51.100.2/24", "203.0.113.1/24")))
	if got := addresses(t, "tap0"); got != "198.51.100.2/24 203.0.113.1/24" {
		t.Errorf("addresses %q", got)
	}
	// IPv6 is disabled here; the address added before the impossible one goes.
	if err = d.SetAddresses(nil, p("192.0.2.1/24", "2001:db8::1/64")); err == nil {
		t.Error("IPv6 address was taken with IPv6 disabled")
	}
	if got := addresses(t, "tap0"); got != "198.51.100.2/24 203.0.113.1/24" {
		t.Errorf("addresses %q after a refused change (%v)", got, err)
	}
	if err := d.SetMAC(net.HardwareAddr{1, 0, 0, 0, 0, 0}); !errors.Is(err, ErrOption) {
		t.Errorf("group MAC: %v, want ErrOption", err)
	}
	if err := d.SetMTU(10); err == nil || !strings.Contains(err.Error(), `"tap0": mtu 10`) {
		t.Errorf("SetMTU(10): %v", err)
	}
}

func TestLadder(t *testing.T) {
	newNetNS(t)
	first := mustOpen(t, Options{Name: "tap0", Offload: true})
	all, whole := Caps{VnetHdr: true, TSO4: true, TSO6: true, ECN: true, USO: true}, ""
	if strings.Contains(first.Caps().Reason, "needs Linux 6.2") {
		all.USO, whole = false, "UDP segmentation"
	}
	must(t, first.Close())
	for _, tc := range []struct {
		name   string
		refuse Refuse
		queues int
		want   Caps
		reason string
	}{
		{"all there", Refuse{}, 1, all, whole},
		{"no USO", Refuse{USO: true}, 1, Caps{VnetHdr: true, TSO4: true, TSO6: true, ECN: true}, "UDP segmentation"},
		{"no ECN", Refuse{ECN: true, USO: true}, 1, Caps{VnetHdr: true, TSO4: true, TSO6: true}, "ECN"},
		{"no TSO", Refuse{TSO: true, ECN: true, USO: true}, 1, Caps{VnetHdr: true}, "no segmentation offload"},
		{"superframes are EINVAL", Refuse{GSOWrite: true}, 1, Caps{VnetHdr: true}, "EINVAL"},
		{"no checksum", Refuse{Checksum: true}, 1, Caps{}, "no checksum offload"},
		{"no header", Refuse{VnetHdr: true}, 1, Caps{}, "no virtio-net header: queue 0: TUNSETIFF"},
		{"no header, two queues", Refuse{VnetHdr: true}, 2, Caps{MultiQueue: true}, "no virtio-net header"},
		{"one queue only", Refuse{MultiQueue: true}, 2, all, "IFF_MULTI_QUEUE refused"},
		{"nothing", Refuse{MultiQueue: true, VnetHdr: true}, 2, Caps{}, "IFF_MULTI_QUEUE refused"},
		{"no USO, two queues", Refuse{USO: true}, 2,
			Caps{VnetHdr: true, TSO4: true, TSO6: true, ECN: true, MultiQueue: true}, "UDP segmentation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			newNetNS(t)
			d := mustOpen(t, Options{Name: "tap0", Offload: true, Queues: tc.queues, Refuse: tc.refuse})
			got := d.Caps()
			if (tc.reason == "") != (got.Reason == "") || !strings.Contains(got.Reason, tc.reason) {
				t.Errorf("reason %q, want %q", got.Reason, tc.reason)
			}
			got.Reason = ""
			if got != tc.want {
				t.Errorf("caps %+v, want %+v", got, tc.want)
			}
			want := tc.queues
			if tc.refuse.MultiQueue {
				want = 1
			}
			if d.Queues() != want {
				t.Errorf("%d queues, want %d", d.Queues(), want)
			}
			if names := interfaces(t); len(names) != 1 {
				t.Errorf("interfaces %v, want tap0 alone", names)
			}
			exchange(t, d) // whatever the rung, frames pass
		})
	}
}

func TestNothingRemainsOfAFailure(t *testing.T) {
	newNetNS(t)
	ns, _ := namedNetNS(t)
	v6 := []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}
	for _, o := range []Options{
		{Name: "tap0", MTU: 10},
		{Name: "tap0", MTU: 1 << 20, Offload: true},
		{Name: "tap0", Addresses: v6, Queues: 2, Offload: true}, // IPv6 is disabled here
		{Name: "tap0", NetNS: ns, MTU: 10, Offload: true},
		{Name: "tap0", NetNS: "no-such-namespace"},
	} {
		if d, err := Open(o); err == nil {
			d.Close()
			t.Errorf("Open(%+v) worked", o)
		} else if !strings.Contains(err.Error(), `tap: open "tap0": `) {
			t.Errorf("error without its device: %v", err)
		}
		if names := interfaces(t); len(names) != 0 {
			t.Errorf("Open(%+v) left %v behind", o, names)
		}
	}
	fd, err := device.OpenNetNS(ns)
	must(t, err)
	defer unix.Close(fd)
	must(t, device.Within(fd, func() error {
		if names := interfaces(t); len(names) != 0 {
			t.Errorf("left %v behind in the other namespace", names)
		}
		return nil
	}))
}

func TestNameTaken(t *testing.T) {
	newNetNS(t)
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "left"}, PeerName: "right"}))
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN}))
	for name, want := range map[string]string{"left": `kind "veth"`, "lo": "kind", "tun0": "layer 3"} {
		_, err := Open(Options{Name: name, Offload: true})
		if !errors.Is(err, ErrNotTAP) || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s): %v; want ErrNotTAP and %q", name, err, want)
		}
		if cerr := Check(Options{Name: name}); cerr == nil || cerr.Error() != err.Error() {
			t.Errorf("Check(%s): %v; want what Open says: %v", name, cerr, err)
		}
	}
	const me = "it is a port of this vtepd already"
	for name, o := range map[string]Options{
		"one queue": {Name: "tap1"}, "queues": {Name: "tap2", Queues: 2}, "offload": {Name: "tap3", Offload: true, Queues: 2},
	} {
		mustOpen(t, o)
		for _, offload := range []bool{true, false} {
			o.Offload = offload
			if _, err := Open(o); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), me) {
				t.Errorf("%s: second Open: %v; want ErrBusy and %q", name, err, me)
			}
			if err := Check(o); !errors.Is(err, ErrBusy) {
				t.Errorf("%s: Check: %v; want ErrBusy", name, err)
			}
		}
	}
	// Somebody's persistent device with a queue in use.
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap4"}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_MULTI_QUEUE_DEFAULTS}))
	mustOpen(t, Options{Name: "tap4", Queues: 2})
	if _, err := Open(Options{Name: "tap4", Queues: 2}); !errors.Is(err, ErrBusy) {
		t.Errorf("second Open of a persistent device: %v; want ErrBusy", err)
	}
	if err := Check(Options{Name: "tap5"}); err != nil {
		t.Errorf("Check of a free name: %v", err)
	}
	if _, err := netlink.LinkByName("tap5"); err == nil {
		t.Error("Check made the device")
	}
}

// A child that is about to become its program holds what its parent has closed, for a moment.
func TestNameOfAClosedDevice(t *testing.T) {
	newNetNS(t)
	d := mustOpen(t, Options{Name: "tap0"})
	child, err := unix.FcntlInt(uintptr(d.Queue(0).FD()), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	must(t, d.Close())
	if err := Check(Options{Name: "tap0"}); !errors.Is(err, ErrBusy) {
		t.Errorf("Check: %v; want ErrBusy", err)
	}
	must(t, unix.Close(child))
	d = mustOpen(t, Options{Name: "tap0"})

	// On a busy machine the moment is long, and the kernel closes what the child had a little later.
	slow, err := unix.FcntlInt(uintptr(d.Queue(0).FD()), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	syscall.ForkLock.Lock()
	time.AfterFunc(3*device.ForkTime, func() {
		syscall.ForkLock.Unlock()
		unix.Close(slow)
	})
	must(t, d.Close())
	mustOpen(t, Options{Name: "tap0"})
}

// A name under /run/netns and an absolute path must both lead to a network namespace.
// TestFormOfAClosedDevice: a device whose virtio-net header did not work out is not taken for a plain one while a process that is being started still has a queue of
// it: the kernel would go on looking for the header, and refuse every frame.
func TestFormOfAClosedDevice(t *testing.T) {
	newNetNS(t)
	held, err := openTun()
	if err != nil {
		t.Fatal(err)
	}
	if err := attach(held, "tap0", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR|unix.IFF_MULTI_QUEUE, Refuse{}); err != nil {
		unix.Close(held)
		t.Fatal(err)
	}
	d := &Device{name: "tap0", claim: -1}
	err = d.attachPlain("tap0", &Options{Name: "tap0", Queues: 2}, true, false)
	if !errors.Is(err, ErrBusy) || len(d.queues) != 0 {
		t.Errorf("beside the former: %v, %d queues", err, len(d.queues))
	}
	d.closeQueues()
	unix.Close(held)
	if err := d.attachPlain("tap0", &Options{Name: "tap0", Queues: 2}, true, false); err != nil || len(d.queues) != 2 {
		t.Errorf("when that is gone: %v, %d queues", err, len(d.queues))
	}
	d.closeQueues()
}

func TestNoNamespace(t *testing.T) {
	newNetNS(t)
	for path, want := range map[string]string{
		"/proc/self/ns/uts": "not a network namespace", "/etc/passwd": "not a network namespace", "/dev/null": "not a network namespace",
		"/nonexistent": "no such network namespace", "vtepd-nonexistent": "no such network namespace",
	} {
		o := Options{Name: "tap0", NetNS: path}
		_, err := Open(o)
		for what, err := range map[string]error{"Open": err, "Check": Check(o)} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s in %s: %v; want %q", what, path, err, want)
			}
		}
	}
}

func TestOtherNamespace(t *testing.T) {
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%v", offload), func(t *testing.T) {
			newNetNS(t)
			ns, remove := namedNetNS(t)
			// The name is taken here, and free there.
			must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth1"}))
			d := mustOpen(t, Options{Name: "eth0", NetNS: ns, Queues: 2, Offload: offload, MTU: 1400, MAC: testMAC})
			a, err := d.Attr()
			must(t, err)
			if a.NetNS != ns || a.Name != "eth0" || a.MTU != 1400 || !a.Up {
				t.Errorf("Attr %+v, want it up in %s", a, ns)
			}
			if names := interfaces(t); len(names) != 2 {
				t.Errorf("interfaces here: %v, want eth0 and eth1", names)
			}
			must(t, d.SetMTU(1300))
			if a, err = d.Attr(); err != nil || a.MTU != 1300 {
				t.Errorf("after SetMTU: %+v %v", a, err)
			}
			fd, err := device.OpenNetNS(ns)
			must(t, err)
			must(t, device.Within(fd, func() error { exchange(t, d); return nil }))

			// Somebody renames it, and moves it back here: it is found.
			h, err := netlink.NewHandleAt(netns.NsHandle(fd))
			must(t, err)
			link, err := h.LinkByName("eth0")
			must(t, err)
			must(t, h.LinkSetDown(link))
			must(t, h.LinkSetName(link, "moved0"))
			if a, err = d.Attr(); err != nil || a.Name != "moved0" || a.NetNS != ns {
				t.Errorf("after a rename: %+v %v", a, err)
			}
			here, err := netns.Get()
			must(t, err)
			must(t, h.LinkSetNsFd(link, int(here)))
			if a, err = d.Attr(); err != nil || a.Name != "moved0" || a.NetNS != "" {
				t.Errorf("after a move: %+v %v", a, err)
			}
			link, err = netlink.LinkByName("moved0")
			must(t, err)
			must(t, netlink.LinkSetNsFd(link, fd))
			here.Close()
			h.Close()
			unix.Close(fd)

			// The namespace goes, and the device with it. A descriptor that kept
			// the namespace alive would show here.
			remove()
			// The kernel takes namespaces apart one after another, all tests' on the machine (cleanup_net).
			for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if _, err = d.Attr(); errors.Is(err, ErrGone) {
					break
				}
			}
			if !errors.Is(err, ErrGone) {
				t.Fatalf("Attr after the namespace was deleted: %v, want ErrGone", err)
			}
			if _, _, err := d.Queue(0).Read(make([]byte, BufferSize)); err != unix.EBADFD {
				t.Errorf("Read: %v, want EBADFD", err)
			}
			must(t, d.Close())
		})
	}
}

func TestGone(t *testing.T) {
	newNetNS(t)
	d := mustOpen(t, Options{Name: "tap0", Offload: true, Queues: 2})
	link, err := netlink.LinkByName("tap0")
	must(t, err)
	must(t, netlink.LinkDel(link))
	if _, err := d.Attr(); !errors.Is(err, ErrGone) {
		t.Errorf("Attr: %v, want ErrGone", err)
	}
	if err := d.SetMTU(1400); !errors.Is(err, ErrGone) {
		t.Errorf("SetMTU: %v, want ErrGone", err)
	}
	if _, _, err := d.Queue(1).Read(make([]byte, BufferSize)); err != unix.EBADFD {
		t.Errorf("Read: %v, want EBADFD", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close of a deleted device: %v", err)
	}
}

// A persistent device that goes while it is given back has gone, at whatever moment that is.
func TestGoesWhileGivenBack(t *testing.T) {
	newNetNS(t)
	h, err := netlink.NewHandle()
	must(t, err)
	defer h.Close()
	for i := range 100 {
		tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap0", MTU: 1300}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI}
		must(t, netlink.LinkAdd(tun))
		for _, fd := range tun.Fds {
			fd.Close()
		}
		d, err := Open(Options{Name: "tap0", MTU: 1450, MAC: testMAC, Offload: true, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}})
		must(t, err)
		gone := make(chan error, 1)
		time.AfterFunc(time.Duration(i)*20*time.Microsecond, func() { gone <- h.LinkDel(tun) })
		if err := d.Close(); err != nil {
			t.Errorf("deleted %d us after the start of Close: %v", i*20, err)
		}
		must(t, <-gone)
	}
}

func TestTakeOver(t *testing.T) {
	for _, offload := range []bool{true, false} {
		for _, multi := range []bool{true, false} {
			for _, up := range []bool{true, false} {
				for _, elsewhere := range []bool{true, false} {
					name := fmt.Sprintf("offload=%v/multi=%v/up=%v/netns=%v", offload, multi, up, elsewhere)
					t.Run(name, func(t *testing.T) { takeOverOne(t, offload, multi, up, elsewhere) })
				}
			}
		}
	}
}

func takeOverOne(t *testing.T, offload, multi, up, elsewhere bool) {
	newNetNS(t)
	o := Options{
		Name: "tap0", Queues: 2, Offload: offload, MTU: 1450, MAC: testMAC, TxQueueLen: 2000,
		Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("203.0.113.1/24")},
	}
	ns := -1
	if elsewhere {
		o.NetNS, _ = namedNetNS(t)
		fd, err := device.OpenNetNS(o.NetNS)
		must(t, err)
		defer unix.Close(fd)
		ns = fd
	}
	mac := net.HardwareAddr{2, 0, 0x5e, 0, 0x53, 0x99}
	look := func() (s string) {
		must(t, device.Within(ns, func() error {
			link, err := netlink.LinkByName("tap0")
			must(t, err)
			a := link.Attrs()
			s = fmt.Sprint(a.MTU, a.HardwareAddr, a.Flags&net.FlagUp, a.TxQLen, addresses(t, "tap0"),
				link.(*netlink.Tuntap).NonPersist, link.(*netlink.Tuntap).Queues)
			return nil
		}))
		return s
	}
	must(t, device.Within(ns, func() error {
		tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap0"}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI}
		if multi {
			tun.Flags = netlink.TUNTAP_MULTI_QUEUE_DEFAULTS
		}
		must(t, netlink.LinkAdd(tun))
		for _, fd := range tun.Fds {
			fd.Close()
		}
		link, err := netlink.LinkByName("tap0")
		must(t, err)
		must(t, netlink.LinkSetMTU(link, 1300))
		must(t, netlink.LinkSetHardwareAddr(link, mac))
		must(t, netlink.LinkSetTxQLen(link, 777))
		addr, err := netlink.ParseAddr("203.0.113.1/24") // one of those asked for
		must(t, err)
		must(t, netlink.AddrAdd(link, addr))
		if up {
			must(t, netlink.LinkSetUp(link))
		}
		return nil
	}))
	before := look()

	// A change that fails in the middle leaves it as it was, too.
	bad := o
	bad.MTU, bad.Addresses = 0, append(bad.Addresses[:1:1], netip.MustParsePrefix("2001:db8::1/64"))
	if _, err := Open(bad); err == nil {
		t.Fatal("Open with an impossible address worked")
	}
	if after := look(); after != before {
		t.Errorf("after a failed Open: %s\nbefore: %s", after, before)
	}

	d := mustOpen(t, o)
	wantQueues := 1
	if multi {
		wantQueues = 2
	}
	if d.Queues() != wantQueues || d.Caps().VnetHdr != offload || d.Caps().MultiQueue != multi {
		t.Errorf("%d queues, caps %+v", d.Queues(), d.Caps())
	}
	if !multi && !strings.Contains(d.Caps().Reason, "without multi_queue") {
		t.Errorf("reason %q", d.Caps().Reason)
	}
	a, err := d.Attr()
	must(t, err)
	if a.Away != elsewhere || a.MTU != 1450 || a.MAC.String() != testMAC.String() || !a.Up || a.NetNS != o.NetNS {
		t.Errorf("taken over: %+v", a)
	}
	must(t, device.Within(ns, func() error { exchange(t, d); return nil }))
	// Addresses that come and go at run time are no more the owner's than those asked for at first.
	must(t, d.SetAddresses(o.Addresses, []netip.Prefix{netip.MustParsePrefix("198.51.100.2/24"), netip.MustParsePrefix("192.0.2.9/24")}))
	must(t, d.Close())
	if after := look(); after != before {
		t.Errorf("given back: %s\nfound:      %s", after, before)
	}
	// It can be used once more, the other way.
	o.Offload = !offload
	d = mustOpen(t, o)
	must(t, device.Within(ns, func() error { exchange(t, d); return nil }))
}

// TestTakeOverRestoresIPv6: the kernel forgets IPv6 addresses when the interface
// goes down, or when its MTU falls below 1280.
func TestTakeOverRestoresIPv6(t *testing.T) {
	newNetNS(t)
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("0"), 0))
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("0"), 0))
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap0"}, Mode: netlink.TUNTAP_MODE_TAP}))
	link, err := netlink.LinkByName("tap0")
	must(t, err)
	addr, err := netlink.ParseAddr("2001:db8::1/64")
	must(t, err)
	must(t, netlink.AddrAdd(link, addr))
	list := func() (all []string) {
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
		must(t, err)
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				all = append(all, a.IPNet.String())
			}
		}
		return all
	}
	before := list()
	mac := net.HardwareAddr{2, 0, 0x5e, 0, 0x53, 0x98}
	d := mustOpen(t, Options{Name: "tap0", MTU: 1000, Offload: true, MAC: mac})
	if during := list(); len(during) != 0 {
		t.Errorf("the kernel kept %v with an MTU of 1000: this test shows nothing", during)
	}
	must(t, d.Close())
	if diff := cmp.Diff(before, list()); diff != "" || len(before) != 1 {
		t.Errorf("addresses before and after:\n%s", diff)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	must(t, err)
	for _, a := range addrs {
		if a.IP.Equal(net.ParseIP("fe80::5eff:fe00:5398")) {
			t.Errorf("an address of the port's MAC stays: %v", a)
		}
	}
}

func TestCloseGivesAllBack(t *testing.T) {
	newNetNS(t)
	ns, _ := namedNetNS(t)
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(all)
	}
	cycle := func() {
		for _, offload := range []bool{true, false} {
			d := mustOpen(t, Options{Name: "tap0", NetNS: ns, Queues: 3, Offload: offload})
			_, err := d.Attr()
			must(t, err)
			must(t, d.SetMTU(1400))
			if _, err := Open(Options{Name: "tap0", NetNS: ns, Queues: 3, Offload: offload}); err == nil {
				t.Error("opened twice")
			}
			if _, err := Open(Options{Name: "tap1", NetNS: ns, Queues: 3, Offload: offload, MTU: 1}); err == nil {
				t.Error("opened with an MTU of 1")
			}
			must(t, d.Close())
		}
	}
	cycle()
	before := count()
	for range 5 {
		cycle()
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// TestAttrBesideClose is for -race, and for descriptors that were given away.
func TestAttrBesideClose(t *testing.T) {
	newNetNS(t)
	for range 10 {
		d := mustOpen(t, Options{Name: "tap0", Offload: true})
		var asking sync.WaitGroup
		for range 3 {
			asking.Go(func() {
				for {
					if _, err := d.Attr(); err != nil {
						if !errors.Is(err, ErrGone) {
							t.Errorf("Attr: %v, want ErrGone", err)
						}
						return
					}
				}
			})
		}
		must(t, d.Close())
		asking.Wait()
	}
}

// An interface that is renamed while it is asked for is not gone: whoever believes that it is removes it.
func TestAttrBesideRename(t *testing.T) {
	newNetNS(t)
	d := mustOpen(t, Options{Name: "tap0"})
	if err := d.setUp(false); err != nil { // before Linux 6.2 only what is down can be renamed
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("tap0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := h.LinkSetName(link, []string{"tap1", "tap0"}[i%2]); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 1000 {
		if _, err := d.Attr(); errors.Is(err, ErrGone) {
			t.Errorf("Attr: %v", err)
			break
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if a, err := d.Attr(); err != nil || !strings.HasPrefix(a.Name, "tap") {
		t.Errorf("Attr when all is quiet: %+v, %v", a, err)
	}
}

func TestHolderLine(t *testing.T) {
	for in, want := range map[string]string{
		"pos:\t0\nflags:\t0100002\nmnt_id:\t23\niff:\ttap0\n": "tap0",
		"pos:\t0\nflags:\t0100002\n":                          "",
		"iff:\t\n":                                            "",
		"xiff:\ttap0\n":                                       "",
		"":                                                    "",
	} {
		if got := interfaceIn(strings.NewReader(in)); got != want {
			t.Errorf("interfaceIn(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzInterfaceIn(f *testing.F) {
	f.Add("pos:\t0\niff:\ttap0\n")
	f.Add("iff:\t")
	f.Fuzz(func(t *testing.T, s string) {
		if name := interfaceIn(strings.NewReader(s)); name != "" && !strings.Contains(s, "iff:\t"+name) {
			t.Errorf("%q is not in %q", name, s)
		}
	})
}

func (d *Device) setUp(up bool) error {
	return d.change("state", func(h *netlink.Handle, link netlink.Link) error {
		if up {
			return h.LinkSetUp(link)
		}
		return h.LinkSetDown(link)
	})
}

// No packet socket of another vtepd takes a TAP that is a port.
func TestClaim(t *testing.T) {
	newNetNS(t)
	d, err := Open(Options{Name: "tap0"})
	must(t, err)
	a, err := d.Attr()
	must(t, err)
	if fd, err := device.Claim(a.Ifindex); !errors.Is(err, ErrBusy) {
		unix.Close(fd)
		t.Errorf("claim of a port: %v", err)
	}
	must(t, d.Close())
	fd, err := device.Claim(a.Ifindex)
	must(t, err)
	unix.Close(fd)
}

// TestNetNSByItsName: of several names of a namespace that one is told which was asked for, as long as it is one.
func TestNetNSByItsName(t *testing.T) {
	newNetNS(t)
	name, remove := namedNetNS(t)
	defer remove()
	first := filepath.Join(device.NetNSDir, "a-"+name)
	must(t, os.Symlink(filepath.Join(device.NetNSDir, name), first))
	defer os.Remove(first)
	d := mustOpen(t, Options{Name: "tap0", NetNS: name})
	told := func() string {
		t.Helper()
		a, err := d.Attr()
		must(t, err)
		return a.NetNS
	}
	if got := told(); got != name {
		t.Errorf("asked for %s, told %s", name, got)
	}
	other, removeOther := namedNetNS(t)
	defer removeOther()
	at, err := device.OpenNetNS(name)
	must(t, err)
	defer unix.Close(at)
	to, err := device.OpenNetNS(other)
	must(t, err)
	defer unix.Close(to)
	must(t, device.Within(at, func() error {
		link, err := netlink.LinkByName("tap0")
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(link, to)
	}))
	if got := told(); got != other {
		t.Errorf("moved to %s, told %s", other, got)
	}
}
