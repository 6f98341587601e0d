package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// maxHosts is the last number that still fits the last byte of the /24 prefixes below.
const maxHosts = 254

// Host is one network namespace with loopback up and IPv6 duplicate address detection off, so that addresses work at once.
type Host struct {
	lab    *Lab
	name   string
	number int
	path   string
	nl     *netlink.Handle
	ns     netns.NsHandle
	calls  chan func() // run on the thread that lives in the namespace: see resident

	mu        sync.Mutex
	links     int
	processes []*Process
	outlets   [2]*os.File // see outlet
}

// Host makes a namespace. Its number, which ends its addresses, is the count of namespaces made so far, from 1.
func (l *Lab) Host(name string) *Host {
	l.help()
	l.mu.Lock()
	number := len(l.hosts) + 1
	l.mu.Unlock()
	if number > maxHosts {
		l.fatalf("host %s: a lab holds at most %d hosts", name, maxHosts)
	}
	path, err := pinNew(namePrefix + l.suffix + "-" + name)
	if err != nil {
		l.fatalf("host %s: %w", name, err)
	}
	h := &Host{lab: l, name: name, number: number, path: path, ns: netns.None(), calls: make(chan func())}
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()
	if err := h.settle(); err != nil {
		l.fatalf("host %s: %w", name, err)
	}
	return h
}

func (l *Lab) help() {
	if l.tb != nil {
		l.tb.Helper()
	}
}

// settle starts the resident thread and puts the namespace into its first state.
func (h *Host) settle() error {
	started := make(chan error)
	go h.resident(started)
	if err := <-started; err != nil {
		return err
	}
	var err error
	if h.ns, err = netns.GetFromPath(h.path); err != nil {
		return fmt.Errorf("open %s: %w", h.path, err)
	}
	if h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	for _, key := range []string{"all", "default"} {
		for _, setting := range [][2]string{{"accept_dad", "0"}, {"router_solicitations", "0"}} {
			// A kernel without IPv6 has no such files: IPv4 labs work there.
			if err := h.Sysctl("net/ipv6/conf/"+key+"/"+setting[0], setting[1]); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return h.up("lo")
}

// resident lives on one OS thread inside the namespace. Processes are started from it, because the death signal they get is bound to the life of
// the thread that made them: when this one ends, with the lab or with the whole program, they end too.
func (h *Host) resident(started chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() == os.Getpid() {
		// The runtime parks the main thread instead of ending it, and /proc/self would show the namespace. Hold it until another took the job.
		handed := make(chan error)
		go h.resident(handed)
		started <- <-handed
		runtime.UnlockOSThread()
		return
	}
	err := enter(h.path)
	started <- err
	if err != nil {
		return
	}
	for call := range h.calls {
		call()
	}
}

// onResident calls f on the resident thread and waits.
func (h *Host) onResident(f func()) {
	done := make(chan struct{})
	h.calls <- func() { defer close(done); f() }
	<-done
}

// Do calls f on the calling goroutine with its thread inside the namespace. Sockets that f opens stay in the namespace for life; goroutines that f
// starts do not. Do may be nested in another host's Do.
func (h *Host) Do(f func() error) error {
	return inOtherNamespace(func() error { return enter(h.path) }, f)
}

// Go calls Do on a goroutine of its own. The channel gets f's error and is never closed.
func (h *Host) Go(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- h.Do(f) }()
	return result
}

// Name is the name under /run/netns, as `ip netns exec` takes it.
func (h *Host) Name() string { return filepath.Base(h.path) }

// Path is the file that pins the namespace.
func (h *Host) Path() string { return h.path }

// Netlink is a route netlink handle inside the namespace, closed with the lab.
func (h *Host) Netlink() *netlink.Handle { return h.nl }

// Underlay4 is the host's address on the wire between hosts, 192.0.2.N.
func (h *Host) Underlay4() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(h.number)}) }

// Underlay6 is the host's address on the wire between hosts, 2001:db8::N.
func (h *Host) Underlay6() netip.Addr { return numbered6("2001:db8::", h.number) }

// Overlay4 is the address for the workload on this host, 198.51.100.N. Nothing has it until somebody gives it to an interface.
func (h *Host) Overlay4() netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(h.number)}) }

// Overlay6 is the address for the workload on this host, 2001:db8:1::N.
func (h *Host) Overlay6() netip.Addr { return numbered6("2001:db8:1::", h.number) }

func numbered6(prefix string, number int) netip.Addr {
	a := netip.MustParseAddr(prefix).As16()
	a[15] = byte(number)
	return netip.AddrFrom16(a)
}

// UnderlayPrefixes are Underlay4/24 and Underlay6/64.
func (h *Host) UnderlayPrefixes() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(h.Underlay4(), 24), netip.PrefixFrom(h.Underlay6(), 64)}
}

// OverlayPrefixes are Overlay4/24 and Overlay6/64.
func (h *Host) OverlayPrefixes() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(h.Overlay4(), 24), netip.PrefixFrom(h.Overlay6(), 64)}
}

// Sysctl writes one setting of the namespace; key is a path under /proc/sys, such as net/ipv4/ip_forward.
func (h *Host) Sysctl(key, value string) error {
	return h.Do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0) })
}

// AwaitAddress waits until an address of the host can be used. Without duplicate address detection, too, the kernel makes an IPv6 address so in its own time, and takes
// what comes for it only when it has a route to itself, which is last.
func (h *Host) AwaitAddress(a netip.Addr) {
	h.lab.help()
	for end := time.Now().Add(Patience); ; time.Sleep(5 * time.Millisecond) {
		routes, err := h.nl.RouteGet(a.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(end) {
			h.lab.fatalf("host %s: %v cannot be used: routes %v, %v", h.name, a, routes, err)
		}
	}
}

// Addr gives ifname addresses, which work at once, those of IPv6 nearly so, and sets it up.
func (h *Host) Addr(ifname string, prefixes ...netip.Prefix) {
	h.lab.help()
	if err := h.addr(ifname, prefixes); err != nil {
		h.lab.fatalf("host %s: addresses of %s: %w", h.name, ifname, err)
	}
}

func (h *Host) addr(ifname string, prefixes []netip.Prefix) error {
	link, err := h.nl.LinkByName(ifname)
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := h.nl.AddrAdd(link, a); err != nil {
			return fmt.Errorf("%v: %w", p, err)
		}
	}
	return h.nl.LinkSetUp(link)
}

// MTU sets the interface's MTU in bytes.
func (h *Host) MTU(ifname string, mtu int) {
	h.lab.help()
	link, err := h.nl.LinkByName(ifname)
	if err == nil {
		err = h.nl.LinkSetMTU(link, mtu)
	}
	if err != nil {
		h.lab.fatalf("host %s: MTU of %s to %d: %w", h.name, ifname, mtu, err)
	}
}

// Rename gives a device that is up another name; before Linux 6.2 it has to go down for that.
func (h *Host) Rename(from, to string) {
	h.lab.help()
	if _, err := h.Command("ip", "link", "set", from, "name", to); err == nil {
		return
	}
	h.Must("ip", "link", "set", from, "down")
	h.Must("ip", "link", "set", from, "name", to)
	h.Must("ip", "link", "set", to, "up")
}

// Up sets interfaces up.
func (h *Host) Up(ifnames ...string) {
	h.lab.help()
	for _, name := range ifnames {
		if err := h.up(name); err != nil {
			h.lab.fatalf("host %s: set %s up: %w", h.name, name, err)
		}
	}
}

func (h *Host) up(ifname string) error {
	link, err := h.nl.LinkByName(ifname)
	if err != nil {
		return err
	}
	return h.nl.LinkSetUp(link)
}

// Index is the interface's index inside the namespace.
func (h *Host) Index(ifname string) int {
	h.lab.help()
	return h.attrs(ifname).Index
}

// MAC is the interface's hardware address.
func (h *Host) MAC(ifname string) net.HardwareAddr {
	h.lab.help()
	return h.attrs(ifname).HardwareAddr
}

func (h *Host) attrs(ifname string) *netlink.LinkAttrs {
	h.lab.help()
	link, err := h.nl.LinkByName(ifname)
	if err != nil {
		h.lab.fatalf("host %s: interface %s: %w", h.name, ifname, err)
	}
	return link.Attrs()
}

// nextName is the first free ethN: ends of links are numbered in the order they are made.
func (h *Host) nextName() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links++
	return fmt.Sprintf("eth%d", h.links-1)
}

// quiet keeps the kernel from sending anything of its own accord on ifname: no IPv6, so no neighbour discovery and no multicast reports.
func (h *Host) quiet(ifname string) error {
	err := h.Sysctl("net/ipv6/conf/"+strings.ReplaceAll(ifname, "/", ".")+"/disable_ipv6", "1")
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// killAll ends every process in the namespace, and the resident thread.
func (h *Host) killAll() {
	h.mu.Lock()
	processes := h.processes
	h.mu.Unlock()
	killInside(h.path)
	for _, p := range processes {
		p.kill()
	}
	close(h.calls)
}

// remove takes the name and the handles away, with which the namespace goes.
func (h *Host) remove() error {
	if h.nl != nil {
		h.nl.Close()
	}
	if h.ns.IsOpen() {
		h.ns.Close()
	}
	return unpin(h.path)
}
