package underlay

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// lab is two hosts as namespaces, joined by a veth pair. The test's thread
// stands in A and may visit B.
//
//	 namespace A                         namespace B
//	+-----------------------+           +-----------------------+
//	| 192.0.2.1/24          |           | 192.0.2.2/24          |
//	| 2001:db8::1/64   left +-----------+ right  2001:db8::2/64 |
//	+-----------------------+           +-----------------------+
//
// The namespaces have no name, so they end with the test whatever happens.
type lab struct {
	tb   testing.TB
	a, b netns.NsHandle
}

const (
	addrA4, addrB4 = "192.0.2.1", "192.0.2.2"
	addrA6, addrB6 = "2001:db8::1", "2001:db8::2"
)

func newLab(tb testing.TB) *lab {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root: makes network namespaces")
	}
	runtime.LockOSThread()
	home, err := netns.Get()
	must(tb, err)
	l := &lab{tb: tb}
	tb.Cleanup(func() {
		// A thread that cannot go home stays locked, and dies with the goroutine.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
		l.a.Close()
		l.b.Close()
	})
	l.b, err = netns.New()
	must(tb, err)
	bringUp(tb, "lo")
	l.a, err = netns.New()
	must(tb, err)
	bringUp(tb, "lo")

	// Tests run side by side with others on this host: no fixed MAC.
	mac := net.HardwareAddr{2, byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()), 0, 1}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "left", HardwareAddr: mac},
		PeerName:  "right", PeerNamespace: netlink.NsFd(l.b),
	}
	must(tb, netlink.LinkAdd(veth))
	configure(tb, "left", addrA4+"/24", addrA6+"/64")
	l.inB(func() { configure(tb, "right", addrB4+"/24", addrB6+"/64") })
	awaitCarrier(tb, "left")
	l.inB(func() { awaitCarrier(tb, "right") })
	return l
}

// inB runs f in namespace B.
func (l *lab) inB(f func()) {
	l.tb.Helper()
	must(l.tb, netns.Set(l.b))
	defer func() {
		if err := netns.Set(l.a); err != nil {
			panic(err)
		}
	}()
	f()
}

func configure(tb testing.TB, name string, addrs ...string) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		must(tb, err)
		addr.Flags = unix.IFA_F_NODAD
		must(tb, netlink.AddrAdd(link, addr))
	}
	bringUp(tb, name)
}

// awaitCarrier waits for the kernel's deferred link event, before which IPv6 does
// not answer neighbour solicitations.
func awaitCarrier(tb testing.TB, name string) {
	tb.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(name)
		must(tb, err)
		if link.Attrs().OperState == netlink.OperUp {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s is %v after 5 s", name, link.Attrs().OperState)
		}
	}
}

func bringUp(tb testing.TB, name string) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	must(tb, netlink.LinkSetUp(link))
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// mustOpen opens sockets in the present namespace.
func mustOpen(tb testing.TB, c Config) *Sockets {
	tb.Helper()
	s, err := Open(c)
	must(tb, err)
	tb.Cleanup(s.Close)
	return s
}

// pair opens A and B of one family.
func (l *lab) pair(v6 bool, change func(*Config)) (a, b *Sockets) {
	l.tb.Helper()
	ca, cb := Config{Local: ip(addrA4), Offload: true}, Config{Local: ip(addrB4), Offload: true}
	if v6 {
		ca.Local, cb.Local = ip(addrA6), ip(addrB6)
	}
	if change != nil {
		change(&ca)
		change(&cb)
	}
	a = mustOpen(l.tb, ca)
	l.inB(func() { b = mustOpen(l.tb, cb) })
	return a, b
}

func familyName(v6 bool) string {
	if v6 {
		return "ipv6"
	}
	return "ipv4"
}

func modeName(gso, gro bool) string { return fmt.Sprintf("gso=%v/gro=%v", gso, gro) }
