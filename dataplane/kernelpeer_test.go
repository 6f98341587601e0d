package dataplane

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/dataplane/tap"
	"vtepd/dataplane/underlay"
)

// gigabyte makes the transfer tests send 1 GB each way instead of 200 MB: `go test ./dataplane -args -gigabyte`, or VTEPD_TEST_GIGABYTE=1.
var gigabyte = flag.Bool("gigabyte", os.Getenv("VTEPD_TEST_GIGABYTE") != "", "transfer tests send 1 GB each way")

// The kernel's vxlan device is the other end: whatever the underlay, the checksums and the offloads, pings of every size come back byte for byte and
// TCP carries the same data both ways.
//
//	vtep0 198.51.100.1 ── switch ── eth0 ══ eth0 ── vxlan42 198.51.100.2 (kernel)
func TestKernelPeer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		v6       bool
		noCsum   bool
		change   func(*Config)
		header   HeaderPolicy
		transfer int    // MB each way
		without  string // a capability that must be off
		// veth leaves the link as the kernel makes it: its vxlan device then hands over checksums unfinished and superframes uncut.
		veth bool
	}{
		{name: "v4", transfer: 200},
		{name: "v6", v6: true, transfer: 60},
		{name: "v4 without checksums", noCsum: true, header: HeaderPolicy{UDPChecksum: ChecksumOff}, transfer: 40},
		{name: "v6 without checksums", v6: true, noCsum: true, header: HeaderPolicy{UDP6ZeroChecksumTx: true}, transfer: 40,
			change: func(c *Config) { c.UDP6ZeroChecksumRx = true }},
		{name: "plain veth", veth: true, transfer: 100},
		{name: "plain veth v6", v6: true, veth: true, transfer: 40},
		{name: "plain veth, offload off", veth: true, change: func(c *Config) { c.Offload = false }, transfer: 40},
		{name: "plain veth, no checksums", veth: true, noCsum: true, transfer: 40},
		{name: "offload off", change: func(c *Config) { c.Offload = false }, transfer: 40},
		{name: "offload off v6", v6: true, change: func(c *Config) { c.Offload = false }, transfer: 20},
		{name: "no vnet header", change: func(c *Config) { c.refuseTAP.VnetHdr = true }, transfer: 20, without: "tap-vnet-hdr"},
		{name: "no TSO", change: func(c *Config) { c.refuseTAP = tap.Refuse{TSO: true} }, transfer: 20, without: "tap-tso4"},
		{name: "no USO, no ECN", change: func(c *Config) { c.refuseTAP = tap.Refuse{USO: true, ECN: true} }, transfer: 20, without: "tap-uso"},
		{name: "one queue", change: func(c *Config) { c.refuseTAP = tap.Refuse{MultiQueue: true} }, transfer: 20, without: "tap-multi-queue"},
		{name: "no UDP GSO", change: func(c *Config) { c.refuseUnderlay = underlay.Refuse{GSO: true} }, transfer: 20, without: "udp-gso"},
		{name: "no UDP GRO", change: func(c *Config) { c.refuseUnderlay = underlay.Refuse{GRO: true} }, transfer: 20, without: "udp-gro"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lab.New(t)
			ha, hk := l.Host("vtepd"), l.Host("kernel")
			link := l.Link(ha, hk, lab.LinkOptions{})
			if !c.veth {
				link.ChecksumsOff()
			}
			local, remote, mtu := ha.Underlay4(), hk.Underlay4(), 1450
			if c.v6 {
				local, remote, mtu = ha.Underlay6(), hk.Underlay6(), 1430
			}
			a := startNode(t, ha, func(conf *Config) {
				conf.Local = local
				if c.change != nil {
					c.change(conf)
				}
			})
			a.do(func() error {
				return a.SetVNI(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute, Peers: []netip.AddrPort{peerAt(remote)}, Header: c.header})
			})
			if c.header.UDPChecksum == ChecksumOff || c.header.UDP6ZeroChecksumTx {
				a.openUnchecked(remote)
			}
			a.tap("vtep0", 42, func(p *PortConfig) { p.Addresses = ha.OverlayPrefixes() })
			device := hk.VXLAN(lab.VXLANOptions{VNI: 42, Local: remote, Peers: []netip.Addr{local}, MTU: mtu, NoCsum: c.noCsum, ZeroCsum6: c.noCsum && c.v6})
			hk.Addr(device, hk.OverlayPrefixes()...)

			for _, capability := range a.Status().Offload {
				if capability.Name == c.without && (capability.On || capability.Reason == "") {
					t.Errorf("refused, and yet: %+v", capability)
				}
			}
			pinger := newPinger(t, ha, hk.Overlay4())
			step := 23
			if c.transfer >= 60 {
				step = 1
			}
			for size := 0; size <= mtu-28; size += step {
				pinger.ping(size)
			}
			for _, size := range []int{mtu - 29, mtu - 28, mtu - 27, 2000, 2843, 2844, 2845, 8972, 20000, 40001, 65507} {
				pinger.ping(size)
			}
			waitForRoute(t, a, hk.Overlay6())
			waitForAddress(t, a, ha.Overlay6())
			waitForAddress(t, &node{Host: hk, t: t}, hk.Overlay6())
			if err := ha.Pinger(hk.Overlay6()).Echoes(10, 10*time.Millisecond, 1382); err != nil {
				t.Error(err)
			}
			for _, way := range []struct {
				name     string
				from, to *lab.Host
				server   netip.Addr
			}{
				{"to the kernel", ha, hk, hk.Overlay4()},
				{"from the kernel", hk, ha, ha.Overlay4()},
				{"to the kernel, inner IPv6", ha, hk, hk.Overlay6()},
				{"from the kernel, inner IPv6", hk, ha, ha.Overlay6()},
			} {
				mb := c.transfer
				if *gigabyte {
					mb = 1000
				}
				if way.server.Is6() {
					mb = min(mb, 20)
				}
				elapsed := transfer(t, way.from, way.to, way.server, mb<<20)
				t.Logf("%s: %d MB in %s: %.2f Gb/s", way.name, mb, elapsed.Round(time.Millisecond), float64(mb)*8*1.048576/1000/elapsed.Seconds())
			}
			rest(a)
			a.balance()
			for _, d := range a.Drops() {
				switch d.Reason {
				case LinkLocalMulticast, NoDestination:
				case FastPathBusy: // where the tests leave too little of the processors, as the kernel's own devices lose segments; TCP sends them again
				default:
					t.Errorf("dropped: %+v", d)
				}
			}
		})
	}
}

// transfer carries a number of random bytes over TCP and wants the same SHA-256 at both ends.
func transfer(t *testing.T, from, to *lab.Host, server netip.Addr, size int) time.Duration {
	t.Helper()
	// Not the machine's time for making them: one megabyte, another part of it each time.
	block := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(block)
	return transferOf(t, from, to, server, size, block)
}

// transferOf is transfer with bytes of a block, another part of it each time.
func transferOf(t *testing.T, from, to *lab.Host, server netip.Addr, size int, block []byte) time.Duration {
	t.Helper()
	var listener net.Listener
	if err := to.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(server, 0)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var sender net.Conn
	if err := from.Do(func() (err error) {
		sender, err = net.DialTimeout("tcp", listener.Addr().String(), 10*time.Second)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	receiver, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	deadline := time.Now().Add(60 * time.Second)
	_ = sender.SetDeadline(deadline)
	_ = receiver.SetDeadline(deadline)

	begin := time.Now()
	sent := make(chan [sha256.Size]byte, 1)
	go func() {
		defer sender.Close()
		sum := sha256.New()
		rng := rand.New(rand.NewPCG(1, 1))
		for left := size; left > 0; {
			at := rng.IntN(len(block) / 2)
			part := block[at:min(at+left, at+1+rng.IntN(len(block)/2), len(block))]
			if _, err := sender.Write(part); err != nil {
				t.Errorf("send: %v", err)
				break
			}
			sum.Write(part)
			left -= len(part)
		}
		sent <- [sha256.Size]byte(sum.Sum(nil))
	}()
	sum := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{receiver}, make([]byte, 1<<18))
	if err != nil || n != int64(size) {
		t.Fatalf("received %d of %d bytes: %v", n, size, err)
	}
	if want, got := <-sent, [sha256.Size]byte(sum.Sum(nil)); want != got {
		t.Errorf("SHA-256 of what arrived is %x, of what was sent %x", got, want)
	}
	return time.Since(begin)
}

// pinger is a lab's, whose errors end the test.
type pinger struct {
	t *testing.T
	*lab.Pinger
}

func newPinger(t *testing.T, h *lab.Host, to netip.Addr) pinger {
	t.Helper()
	return pinger{t, h.Pinger(to)}
}

// ping wants an answer to a request of size data bytes, in three tries.
func (p pinger) ping(size int) {
	p.t.Helper()
	if _, err := p.Ping(size); err != nil {
		p.t.Fatal(err)
	}
}

// The same between two switches: every rung of either's offload against every rung of the other's, checked by the kernel's TCP at both ends.
//
//	vtep0 ── switch (rung i) ── eth0 ══ eth0 ── switch (rung j) ── vtep0
func TestRungsTogether(t *testing.T) {
	t.Parallel()
	rungs := []struct {
		name   string
		change func(*Config)
	}{
		{"all", func(*Config) {}},
		{"off", func(c *Config) { c.Offload = false }},
		{"no TSO", func(c *Config) { c.refuseTAP.TSO = true }},
		{"no checksum", func(c *Config) { c.refuseTAP.Checksum = true }},
	}
	for i, x := range rungs {
		for _, y := range rungs[i:] {
			t.Run(fmt.Sprintf("%s, %s", x.name, y.name), func(t *testing.T) {
				l := lab.New(t)
				ha, hb := l.Host("a"), l.Host("b")
				l.Link(ha, hb, lab.LinkOptions{})
				a, b := startNode(t, ha, x.change), startNode(t, hb, y.change)
				a.vni(42, hb.Underlay4())
				b.vni(42, ha.Underlay4())
				for _, n := range []*node{a, b} {
					n.tap("vtep0", 42, func(c *PortConfig) { c.Addresses = n.OverlayPrefixes() })
				}
				waitForRoute(t, a, hb.Overlay6())
				waitForRoute(t, b, ha.Overlay6())
				waitForAddress(t, a, ha.Overlay6())
				waitForAddress(t, b, hb.Overlay6())
				// The kernel may be slow to begin with a link where many come and go.
				eventually(t, "an answer", func() bool {
					_, err := ha.Command("ping", "-c1", "-W1", hb.Overlay4().String())
					return err == nil
				})
				transfer(t, ha, hb, hb.Overlay4(), 8<<20)
				transfer(t, hb, ha, ha.Overlay6(), 8<<20)
				rest(a, b)
				a.balance()
				b.balance()
			})
		}
	}
}
