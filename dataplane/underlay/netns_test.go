package underlay

import (
	"errors"
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

// patience is how long a test waits for what must come before it calls it missing. A machine that runs other tests beside it may keep the kernel's own
// threads from running for seconds.
const patience = 30 * time.Second

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
	here, err := net.InterfaceByName("left")
	must(tb, err)
	var there *net.Interface
	l.inB(func() {
		configure(tb, "right", addrB4+"/24", addrB6+"/64")
		there, err = net.InterfaceByName("right")
		must(tb, err)
		knows(tb, "right", here.HardwareAddr, addrA4, addrA6, "fe80::a")
	})
	knows(tb, "left", there.HardwareAddr, addrB4, addrB6, "fe80::b")
	l.awaitIPv6()
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

// awaitIPv6 waits until a datagram gets through and back: the kernel takes its time to
// tell IPv6 that a new link is up, and has no route over it before.
func (l *lab) awaitIPv6() {
	l.tb.Helper()
	var b *net.UDPConn
	deadline := time.Now().Add(patience)
	for {
		var err error
		l.inB(func() { b, err = net.ListenUDP("udp6", &net.UDPAddr{IP: net.ParseIP(addrB6)}) })
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			l.tb.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	defer b.Close()
	echo := func(limit time.Duration) bool {
		a, err := net.DialUDP("udp6", nil, b.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return false
		}
		defer a.Close()
		soon := time.Now().Add(limit)
		must(l.tb, errors.Join(a.SetReadDeadline(soon), b.SetReadDeadline(soon)))
		one := make([]byte, 1)
		_, _ = a.Write(one)
		for {
			_, from, err := b.ReadFrom(one)
			if err != nil {
				return false
			}
			if from.String() == a.LocalAddr().String() { // else it is a former one's that came too late
				_, _ = b.WriteTo(one, from)
				break
			}
		}
		n, _ := a.Read(one)
		return n == 1
	}
	for limit := 5 * time.Millisecond; time.Now().Before(deadline); limit = min(2*limit, 500*time.Millisecond) {
		if echo(limit) {
			return
		}
	}
	l.tb.Fatalf("no IPv6 datagram within %s", patience)
}

// knows tells an interface the MAC of addresses, so that no test waits a second
// for a neighbour solicitation that came before the other end was ready.
func knows(tb testing.TB, name string, mac net.HardwareAddr, addrs ...string) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	for _, a := range addrs {
		must(tb, netlink.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(a), HardwareAddr: mac,
		}))
	}
}

func bringUp(tb testing.TB, name string) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	must(tb, netlink.LinkSetUp(link))
}

// writeSysctl writes a knob of the present namespace.
func writeSysctl(tb testing.TB, name, value string) {
	tb.Helper()
	must(tb, os.WriteFile("/proc/sys/"+name, []byte(value), 0))
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
