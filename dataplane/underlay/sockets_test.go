package underlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestConfigRefusals(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    Config
		want string
	}{
		{"no local", Config{}, "need one address of this host"},
		{"unspecified", Config{Local: ip("0.0.0.0")}, "need one address of this host"},
		{"multicast", Config{Local: ip("239.1.1.1")}, "cannot be a source"},
		{"link-local without zone", Config{Local: ip("fe80::1")}, "fe80::1%eth0"},
		{"link-local in nowhere", Config{Local: ip("fe80::1%nowhere0")}, `zone "nowhere0"`},
		{"pool too large", Config{Local: ip("192.0.2.1"), SourcePorts: 5000}, "1 to 1024"},
		{"negative receivers", Config{Local: ip("192.0.2.1"), Receivers: -1}, "must not be negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Open(tc.c)
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: %v; want ErrConfig and %q", err, tc.want)
			}
		})
	}
}

func TestCaps(t *testing.T) {
	for _, tc := range []struct {
		name     string
		c        Config
		gso, gro bool
		reason   string
	}{
		{"all", Config{Offload: true}, true, true, ""},
		{"off", Config{}, false, false, "switched off"},
		{"gso refused", Config{Offload: true, Refuse: Refuse{GSO: true}}, false, true, "UDP_SEGMENT: refused"},
		{"gro refused", Config{Offload: true, Refuse: Refuse{GRO: true}}, true, false, "UDP_GRO: refused"},
		{"both refused", Config{Offload: true, Refuse: Refuse{true, true}}, false, false, "; UDP_GRO"},
	} {
		for _, local := range []string{addrA4, addrA6} {
			t.Run(tc.name+"/"+local, func(t *testing.T) {
				// A subtest runs on a thread of its own, outside the lab.
				newLab(t)
				tc.c.Local = ip(local)
				got := mustOpen(t, tc.c).Caps()
				if got.GSO != tc.gso || got.GRO != tc.gro {
					t.Errorf("GSO %v GRO %v, want %v %v (reason %q)", got.GSO, got.GRO, tc.gso, tc.gro, got.Reason)
				}
				if (tc.reason == "") != (got.Reason == "") || !strings.Contains(got.Reason, tc.reason) {
					t.Errorf("reason %q, want %q", got.Reason, tc.reason)
				}
				if got.GSO != (got.MaxSegments > 1) {
					t.Errorf("MaxSegments %d with GSO %v", got.MaxSegments, got.GSO)
				}
				if got.ReceiveBuffer != DefaultReceiveBuffer {
					t.Errorf("receive buffer %d as root, want %d", got.ReceiveBuffer, DefaultReceiveBuffer)
				}
			})
		}
	}
}

func TestSourcePortsAreSpread(t *testing.T) {
	newLab(t)
	s := mustOpen(t, Config{Local: ip(addrA4), SourcePorts: 8})
	ports := s.SourcePorts()
	if len(ports) != 8 {
		t.Fatalf("%d ports, want 8", len(ports))
	}
	for i, p := range ports {
		low := FirstSource + 2048*i
		if int(p) < low || int(p) >= low+2048 {
			t.Errorf("port %d is %d, want it in %d..%d", i, p, low, low+2047)
		}
	}
}

func TestPortInUse(t *testing.T) {
	t.Run("second vtepd", func(t *testing.T) {
		newLab(t)
		mustOpen(t, Config{Local: ip(addrA4), Receivers: 4})
		_, err := Open(Config{Local: ip(addrA4), Receivers: 4})
		wantHolder(t, err, fmt.Sprintf("held by pid %d (", os.Getpid()))
	})
	t.Run("wildcard of the other family", func(t *testing.T) {
		newLab(t)
		c, err := net.ListenUDP("udp", &net.UDPAddr{Port: DefaultPort})
		must(t, err)
		defer c.Close()
		_, err = Open(Config{Local: ip(addrA4)})
		wantHolder(t, err, fmt.Sprintf("held by pid %d (", os.Getpid()))
	})
	t.Run("kernel vxlan device", func(t *testing.T) {
		newLab(t)
		vx := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vx0"}, VxlanId: 42, Port: DefaultPort, SrcAddr: net.ParseIP(addrA4)}
		must(t, netlink.LinkAdd(vx))
		bringUp(t, "vx0")
		_, err := Open(Config{Local: ip(addrA4)})
		wantHolder(t, err, "held by the kernel, most likely a vxlan device")
	})
	t.Run("kernel vxlan device comes second", func(t *testing.T) {
		newLab(t)
		mustOpen(t, Config{Local: ip(addrA4)})
		vx := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vx0"}, VxlanId: 42, Port: DefaultPort, SrcAddr: net.ParseIP(addrA4)}
		must(t, netlink.LinkAdd(vx))
		link, err := netlink.LinkByName("vx0")
		must(t, err)
		if err := netlink.LinkSetUp(link); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("vxlan device up beside vtepd: %v, want EADDRINUSE", err)
		}
	})
}

func wantHolder(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, ErrPortInUse) || !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), want) {
		t.Errorf("Open: %v\nwant ErrPortInUse and %q", err, want)
	}
}

func TestAddressNotHere(t *testing.T) {
	newLab(t)
	for _, a := range []string{"203.0.113.9", "2001:db8:9::9"} {
		_, err := Open(Config{Local: ip(a)})
		if !errors.Is(err, ErrNoAddress) || !strings.Contains(err.Error(), "ip address add "+a) {
			t.Errorf("Open on %s: %v; want ErrNoAddress with the command", a, err)
		}
	}
}

func TestLinkLocal(t *testing.T) {
	l := newLab(t)
	// The kernel's own link-local addresses go through duplicate detection, and
	// cannot be bound until it is over: add some without.
	add := func(name, a string) {
		link, err := netlink.LinkByName(name)
		must(t, err)
		addr, err := netlink.ParseAddr(a)
		must(t, err)
		addr.Flags = unix.IFA_F_NODAD
		must(t, netlink.AddrAdd(link, addr))
	}
	add("left", "fe80::a/64")
	a := mustOpen(t, Config{Local: ip("fe80::a%left"), Offload: true})
	var b *Sockets
	var to *Dest
	l.inB(func() {
		add("right", "fe80::b/64")
		b = mustOpen(t, Config{Local: ip("fe80::b%right"), Offload: true})
	})
	to = NewDest(netip.AddrPortFrom(ip("fe80::b%left"), DefaultPort))
	tx := a.NewTransmitter()
	// The kernel makes the route of a new address in its own time.
	var got []datagramIn
	for end := time.Now().Add(patience); time.Now().Before(end); {
		tx.Queue(to, Class{}, 1, []byte("link"), []byte("-local"), 0)
		tx.Flush(func(_ uint32, err error) { t.Errorf("not sent: %v", err) })
		messages, err := b.Receiver(0).Recv(1)
		must(t, err)
		if len(messages) > 0 {
			got = split(messages[0])
			break
		}
		time.Sleep(time.Millisecond)
	}
	if len(got) == 0 {
		t.Fatalf("nothing arrived within %s", patience)
	}
	if string(got[0].data) != "link-local" || got[0].source.Addr() != ip("fe80::a") {
		t.Errorf("received %q from %v", got[0].data, got[0].source)
	}
}

func TestReceiveBufferIsAsked(t *testing.T) {
	newLab(t)
	if got := mustOpen(t, Config{Local: ip(addrA4), ReceiveBuffer: 1 << 20}).Caps().ReceiveBuffer; got != 1<<20 {
		t.Errorf("receive buffer %d, want %d", got, 1<<20)
	}
}

// TestZeroChecksum6 takes the kernel as the witness: it drops IPv6 datagrams
// without a checksum unless told otherwise.
func TestZeroChecksum6(t *testing.T) {
	for _, accept := range []bool{true, false} {
		newLab(t).zeroChecksum6(accept)
	}
}

func (l *lab) zeroChecksum6(accept bool) {
	a, b := l.pair(true, func(c *Config) { c.ZeroChecksum6 = accept; c.Port = 4790 })
	defer a.Close()
	defer b.Close()
	tx, to := a.NewTransmitter(), NewDest(b.Local())
	tx.Queue(to, Class{NoChecksum: true}, 0, []byte("without"), nil, 0)
	tx.Flush(func(_ uint32, err error) { l.tb.Error(err) })
	tx.Queue(to, Class{}, 0, []byte("with"), nil, 0)
	tx.Flush(func(_ uint32, err error) { l.tb.Error(err) })
	want := []string{"without", "with"}
	if !accept {
		want = want[1:]
	}
	for i, d := range collect(l.tb, b.Receiver(0), len(want)) {
		if string(d.data) != want[i] {
			l.tb.Errorf("accept=%v: datagram %d is %q, want %q", accept, i, d.data, want[i])
		}
	}
	nothingMore(l.tb, b.Receiver(0))
}
