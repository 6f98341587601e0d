package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"vtepd/bench/lab"
	"vtepd/dataplane/device"
)

// openVeth makes a pair between the host and the workload.
//
//	Device ── web0 (host) ══ inner (workload)
func (s *stage) openVeth(change func(*VethOptions)) (*Device, error) {
	s.t.Helper()
	o := VethOptions{Options: Options{Name: "web0", Offload: true}, NetNS: s.workload.Name(), IfName: "inner"}
	if change != nil {
		change(&o)
	}
	var d *Device
	var err error
	s.do(func() error { d, err = OpenVeth(o); return nil })
	if err == nil {
		s.t.Cleanup(func() {
			if err := d.Close(); err != nil {
				s.t.Errorf("close: %v", err)
			}
		})
	}
	return d, err
}

// shows wants an interface to be there, or not, and gives what ip says of it.
func shows(t *testing.T, h *lab.Host, ifname string, want bool) string {
	t.Helper()
	out, err := h.Command("ip", "-d", "address", "show", "dev", ifname)
	if (err == nil) != want {
		t.Errorf("%s: interface %s: there %v, want %v", h.Name(), ifname, err == nil, want)
	}
	return out
}

func TestVeth(t *testing.T) {
	s := newStage(t)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	d, err := s.openVeth(func(o *VethOptions) {
		o.MTU, o.MAC, o.Queues = 1450, mac, 2
		o.Addresses = []netip.Prefix{netip.MustParsePrefix("198.51.100.77/24")}
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Attr()
	if err != nil || a.Name != "web0" || a.Peer != "inner" || a.NetNS != s.workload.Name() || a.MAC.String() != mac.String() || a.MTU != 1450 || !a.Up {
		t.Errorf("%+v, %v", a, err)
	}
	if a.Ifindex != s.host.Index("web0") {
		t.Errorf("ifindex %d, the host end has %d", a.Ifindex, s.host.Index("web0"))
	}
	s.host.Must("ip", "link", "add", "br0", "type", "bridge")
	for _, c := range [][2]string{{"br0", "it was put into the bridge \"br0\", which hears nothing of it yet sends there: `ip link set web0 nomaster`"}, {"", ""}} {
		if master := c[0]; master != "" {
			s.host.Must("ip", "link", "set", "web0", "master", master)
		} else {
			s.host.Must("ip", "link", "set", "web0", "nomaster")
		}
		if a, err := d.Attr(); err != nil || a.Warning != c[1] {
			t.Errorf("warning %q, %v, want %q", a.Warning, err, c[1])
		}
	}
	inner := shows(t, s.workload, "inner", true)
	for _, word := range []string{"mtu 1450", mac.String(), "198.51.100.77/24", "UP"} {
		if !strings.Contains(inner, word) {
			t.Errorf("the workload's end lacks %q: %s", word, inner)
		}
	}
	if host := shows(t, s.host, "web0", true); !strings.Contains(host, "mtu 1450") || strings.Contains(host, "inet") || !strings.Contains(host, pairAlias) {
		t.Errorf("the host end: %s", host)
	}
	features := s.workload.Must("ethtool", "-k", "inner")
	for _, f := range []string{"tx-udp_tnl-segmentation: off", "tx-gre-segmentation: off", "tx-tcp-segmentation: on", "tx-udp-segmentation: on"} {
		if !strings.Contains(features, f) {
			t.Errorf("features lack %q", f)
		}
	}
	s.workload.Inject("inner", plain(70))
	s.next(d, isTest)

	for _, mtu := range []int{1200, 1450, 9000} { // the lesser of both ends is what passes
		s.workload.Must("ip", "link", "set", "inner", "mtu", fmt.Sprint(mtu))
		if a, err := d.Attr(); err != nil || a.MTU != min(mtu, 1450) {
			t.Errorf("with %d at the workload's end: %d, %v", mtu, a.MTU, err)
		}
	}

	prefixes := func(list ...string) (all []netip.Prefix) {
		for _, p := range list {
			all = append(all, netip.MustParsePrefix(p))
		}
		return all
	}
	if err := errors.Join(d.SetMTU(1300), d.SetMAC(net.HardwareAddr{2, 0, 0, 0, 0, 8}),
		d.SetAddresses(prefixes("198.51.100.77/24"), prefixes("198.51.100.78/24", "2001:db8::5/64"))); err != nil {
		t.Error(err)
	}
	inner = shows(t, s.workload, "inner", true)
	for _, word := range []string{"mtu 1300", "02:00:00:00:00:08", "198.51.100.78/24"} {
		if !strings.Contains(inner, word) {
			t.Errorf("changed, the workload's end lacks %q: %s", word, inner)
		}
	}
	s.workload.Must("ip", "link", "set", "inner", "down")
	if a, err := d.Attr(); err != nil || a.Up {
		t.Errorf("the workload's end is down: %+v, %v", a, err)
	}
	s.workload.Must("ip", "link", "set", "inner", "up")
	s.workload.Rename("inner", "moved")
	if a, err := d.Attr(); err != nil || !a.Up || a.Peer != "moved" {
		t.Errorf("up and renamed: %+v, %v", a, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	shows(t, s.host, "web0", false)
	shows(t, s.workload, "moved", false)
}

func TestVethNames(t *testing.T) {
	s := newStage(t)
	s.workload.Rename("eth0", "eth1") // port0's other end
	d, err := s.openVeth(func(o *VethOptions) { o.IfName = "" })
	if err != nil {
		t.Fatal(err)
	}
	shows(t, s.workload, "eth0", true)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if d, err = s.openVeth(func(o *VethOptions) { o.NetNS, o.IfName = "", "other" }); err != nil {
		t.Fatal(err)
	}
	shows(t, s.host, "other", true)
	if a, err := d.Attr(); err != nil || a.Peer != "other" || a.NetNS != "" || !a.Up {
		t.Errorf("%+v, %v", a, err)
	}
	if d, err = s.openVeth(func(o *VethOptions) { o.Name, o.NetNS, o.IfName = "web1", s.workload.Path(), "inner1" }); err != nil {
		t.Fatal(err)
	}
	if a, err := d.Attr(); err != nil || a.NetNS != s.workload.Name() {
		t.Errorf("namespace by path: %+v, %v", a, err)
	}
}

// What cannot be had leaves nothing behind.
func TestVethRefused(t *testing.T) {
	s := newStage(t)
	s.host.Must("ip", "link", "add", "foreign", "type", "veth", "peer", "name", "foreign1")
	for _, c := range []struct {
		name   string
		change func(*VethOptions)
		want   error
		text   string
	}{
		{"no name for the other end", func(o *VethOptions) { o.NetNS, o.IfName = "", "" }, ErrOption, "ifname is required without netns"},
		{"one name for both ends", func(o *VethOptions) { o.NetNS, o.IfName = "", "web0" }, ErrOption, "both ends"},
		{"no such namespace", func(o *VethOptions) { o.NetNS = "nosuch" }, nil, "ip netns add nosuch"},
		{"a path that is none", func(o *VethOptions) { o.NetNS = "a/b" }, ErrOption, "neither a name nor an absolute path"},
		{"name taken by another kind", func(o *VethOptions) { o.Name = "lo" }, ErrUnfit, "vtepd did not make it"},
		{"name taken by a foreign pair", func(o *VethOptions) { o.Name = "foreign" }, ErrUnfit, "give the port type netdev"},
		{"other end's name taken", func(o *VethOptions) { o.IfName = "eth0" }, ErrUnfit, "choose another ifname"},
		{"bad name", func(o *VethOptions) { o.IfName = "a b" }, ErrOption, "ifname"},
		{"bad address", func(o *VethOptions) { o.Addresses = make([]netip.Prefix, 1) }, ErrOption, "address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			_, err := s.openVeth(c.change)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) || !strings.HasPrefix(fmt.Sprint(err), "veth: ") {
				t.Errorf("%v", err)
			}
			o := VethOptions{Options: Options{Name: "web0"}, NetNS: s.workload.Name(), IfName: "inner"}
			c.change(&o)
			s.do(func() error {
				if CheckVeth(o) == nil {
					t.Error("the check has nothing against it")
				}
				return nil
			})
			shows(t, s.host, "web0", false)
			shows(t, s.workload, "inner", false)
		})
	}
	for name, change := range map[string]func(*VethOptions){
		"IPv6 on an MTU too small for it": func(o *VethOptions) {
			o.MTU, o.Addresses = 1000, []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}
		},
		"an MTU that cannot be": func(o *VethOptions) { o.MTU = 1 << 20 },
	} {
		if _, err := s.openVeth(change); err == nil {
			t.Errorf("%s was taken", name)
		}
		shows(t, s.host, "web0", false)
		shows(t, s.workload, "inner", false)
	}
}

// A pair that a vtepd has is not touched by another.
func TestVethOfAnother(t *testing.T) {
	s := newStage(t)
	d, err := s.openVeth(func(o *VethOptions) {
		o.Instance, o.MTU, o.MAC = "/run/one.sock", 1450, net.HardwareAddr{2, 0, 0, 0, 0, 7}
	})
	if err != nil {
		t.Fatal(err)
	}
	look := func() string {
		return s.host.Must("ip", "-o", "-d", "link", "show", "web0") + s.workload.Must("ip", "-o", "link", "show", "inner") + s.workload.Must("ip", "-o", "-4", "address", "show", "inner")
	}
	before := look()
	for deadline := time.Now().Add(lab.Patience); strings.Count(before, "state UP") < 2 && time.Now().Before(deadline); before = look() {
		time.Sleep(time.Millisecond)
	}
	for _, c := range []struct {
		name, instance, ifname string
		want                   error
		text                   string
	}{
		{"another instance", "/run/other.sock", "inner", ErrUnfit, "the vtepd at /run/one.sock made it"},
		{"another instance and ifname", "/run/other.sock", "outer", ErrUnfit, "the vtepd at /run/one.sock made it"},
		{"no instance", "", "inner", ErrUnfit, "the vtepd at /run/one.sock made it"},
		{"the same instance", "/run/one.sock", "inner", ErrBusy, "a port of this vtepd already"},
	} {
		_, err := s.openVeth(func(o *VethOptions) {
			o.Instance, o.IfName, o.MTU, o.MAC = c.instance, c.ifname, 1300, net.HardwareAddr{2, 0, 0, 0, 0x66, 0x66}
			o.Addresses = []netip.Prefix{netip.MustParsePrefix("198.51.100.99/24")}
		})
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
		if now := look(); now != before {
			t.Fatalf("%s: was\n%sand is\n%s", c.name, before, now)
		}
	}
	// Its other end was moved away: who has the pair decides all the same.
	s.workload.Must("ip", "link", "set", "inner", "netns", s.host.Name())
	if _, err := s.openVeth(func(o *VethOptions) { o.Instance = "/run/one.sock" }); !errors.Is(err, ErrBusy) {
		t.Errorf("with its other end elsewhere: %v", err)
	}
	shows(t, s.host, "web0", true)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// crash does what the end of a process that is killed does: the descriptors go, the pair stays.
func crash(t *testing.T, d *Device) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if err := d.letGo(); err != nil {
		t.Fatal(err)
	}
}

// A pair that a crash left is taken up: the workload notices nothing. One whose other end is elsewhere, or has another name, is made anew.
func TestVethAfterCrash(t *testing.T) {
	s := newStage(t)
	o := func(o *VethOptions) {
		o.MTU, o.MAC = 1450, net.HardwareAddr{2, 0, 0, 0, 0, 7}
		o.Addresses = []netip.Prefix{netip.MustParsePrefix("198.51.100.77/24")}
	}
	d, err := s.openVeth(o)
	if err != nil {
		t.Fatal(err)
	}
	crash(t, d)
	s.workload.Must("ip", "address", "add", "198.51.100.99/24", "dev", "inner")
	s.workload.Must("ip", "neighbour", "add", "198.51.100.1", "lladdr", "02:00:00:00:00:01", "dev", "inner", "nud", "reachable")
	index := s.workload.Index("inner")
	if d, err = s.openVeth(o); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	if got := s.workload.Index("inner"); got != index {
		t.Errorf("the workload's end is another: %d, was %d", got, index)
	}
	if inner := shows(t, s.workload, "inner", true); !strings.Contains(inner, "198.51.100.99/24") || !strings.Contains(inner, "198.51.100.77/24") {
		t.Errorf("addresses: %s", inner)
	}
	if known := s.workload.Must("ip", "neighbour", "show", "dev", "inner"); !strings.Contains(known, "02:00:00:00:00:01") {
		t.Errorf("the workload has forgotten its neighbours: %q", known)
	}
	s.workload.Inject("inner", plain(70))
	s.next(d, isTest)

	crash(t, d)
	s.workload.Rename("inner", "fresh")
	if d, err = s.openVeth(o); err != nil {
		t.Fatalf("renamed while nobody was there: %v", err)
	}
	if a, err := d.Attr(); err != nil || a.Peer != "inner" {
		t.Errorf("%+v, %v", a, err)
	}
	shows(t, s.workload, "fresh", false)
	crash(t, d)
	s.workload.Must("ip", "link", "set", "inner", "netns", s.host.Name())
	if d, err = s.openVeth(o); err != nil {
		t.Fatalf("moved away while nobody was there: %v", err)
	}
	shows(t, s.host, "inner", false)
	shows(t, s.workload, "inner", true)

	// Another pair took its place, with the same name and the same indexes at both ends. It is not ours to touch.
	crash(t, d)
	web0, inner := strconv.Itoa(s.host.Index("web0")), strconv.Itoa(s.workload.Index("inner"))
	s.workload.Must("ip", "link", "set", "inner", "netns", s.host.Name())
	third := s.lab.Host("third")
	s.workload.Must("ip", "link", "add", "inner", "index", inner, "type", "veth", "peer", "index", web0, "name", "far", "netns", third.Name())
	if _, err := s.openVeth(o); !errors.Is(err, ErrUnfit) {
		t.Errorf("in the place of another pair: %v", err)
	}
	if got := shows(t, s.workload, "inner", true); strings.Contains(got, "198.51.100.77") {
		t.Errorf("another pair was changed: %s", got)
	}
	third.Must("ip", "link", "delete", "far")
	if d, err = s.openVeth(o); err != nil {
		t.Fatalf("when the other pair is gone: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	shows(t, s.host, "web0", false)
}

// The namespace goes, and the pair with it.
func TestVethNamespaceGoes(t *testing.T) {
	s := newStage(t)
	d, err := s.openVeth(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.workload.Must("ip", "link", "del", "inner")
	if _, err := d.Attr(); !errors.Is(err, device.ErrGone) || !strings.HasPrefix(err.Error(), `veth: "web0": `) {
		t.Errorf("deleted at the workload's end: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A pair that goes while the port is closed has gone, at whatever moment that is: a namespace takes its ends along some time after it was deleted.
func TestVethGoesWhileClosed(t *testing.T) {
	s := newStage(t)
	for i := range 100 {
		d, err := s.openVeth(nil)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := s.workload.Netlink().LinkByName("inner")
		if err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		time.AfterFunc(time.Duration(i)*20*time.Microsecond, func() {
			_ = s.workload.Netlink().LinkDel(inner) // whoever is first
			close(gone)
		})
		if err := d.Close(); err != nil {
			t.Errorf("deleted %d us after the start of Close: %v", i*20, err)
		}
		<-gone
		shows(t, s.host, "web0", false)
	}
}

// A workload's end that is away cannot have another MTU, and then the host's end has none either.
func TestVethEndAway(t *testing.T) {
	s := newStage(t)
	d, err := s.openVeth(func(o *VethOptions) { o.MTU = 1450 })
	if err != nil {
		t.Fatal(err)
	}
	s.workload.Must("ip", "link", "set", "inner", "netns", s.host.Name(), "name", "astray")
	if err := d.SetMTU(1300); !errors.Is(err, ErrUnfit) {
		t.Errorf("mtu with an end that is away: %v", err)
	}
	for _, ifname := range []string{"web0", "astray"} {
		if got := shows(t, s.host, ifname, true); !strings.Contains(got, "mtu 1450") {
			t.Errorf("%s after a refused change: %s", ifname, got)
		}
	}
}

// A host's end that was moved away goes with the port, too, and only that one.
func TestVethHostEndAway(t *testing.T) {
	s := newStage(t)
	for _, change := range []func(d *Device){
		func(*Device) {},
		func(d *Device) {
			if err := d.SetMAC(net.HardwareAddr{2, 0, 0, 0, 0, 8}); err != nil {
				t.Error(err)
			}
		},
	} {
		d, err := s.openVeth(nil)
		if err != nil {
			t.Fatal(err)
		}
		change(d)
		s.host.Must("ip", "link", "set", "web0", "netns", s.workload.Name(), "name", "astray")
		if _, err := d.Attr(); !errors.Is(err, device.ErrGone) {
			t.Errorf("with its host end away: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		shows(t, s.workload, "inner", false)
		shows(t, s.workload, "astray", false)
	}

	// Another interface of that number stays, and so does one that has the MAC, too, in another namespace that has the name now.
	d, err := s.openVeth(nil)
	if err != nil {
		t.Fatal(err)
	}
	index := s.workload.Index("inner")
	s.host.Must("ip", "link", "del", "web0")
	s.workload.Must("ip", "link", "add", "inner", "index", strconv.Itoa(index), "type", "veth", "peer", "name", "other")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	shows(t, s.workload, "inner", true)
	s.workload.Must("ip", "link", "del", "inner")

	name, mac := "vtepd-again-"+strings.TrimPrefix(s.host.Name(), "vtepd-lab-"), net.HardwareAddr{2, 0, 0, 0, 0, 8}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	run("netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	if d, err = s.openVeth(func(o *VethOptions) { o.NetNS, o.MAC = name, mac }); err != nil {
		t.Fatal(err)
	}
	index = d.pair.index
	holder, err := os.Open("/run/netns/" + name) // as a process in it would
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	s.host.Must("ip", "link", "set", "web0", "netns", s.workload.Name(), "name", "astray")
	run("netns", "del", name)
	run("netns", "add", name)
	run("-n", name, "link", "add", "other", "index", "900", "type", "veth", "peer", "index", strconv.Itoa(index), "address", mac.String(), "name", "mine")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	run("-n", name, "link", "show", "mine")
}

// Both ends may be in one namespace, with and without its name, and a second process takes up either.
func TestVethInOwnNamespace(t *testing.T) {
	s := newStage(t)
	for _, netns := range []string{"", s.host.Name(), "/run/netns/" + s.host.Name()} {
		with := func(o *VethOptions) {
			o.NetNS, o.Instance = netns, "one"
			o.Addresses = []netip.Prefix{netip.MustParsePrefix("198.51.100.77/24")}
		}
		if _, err := s.openVeth(func(o *VethOptions) { with(o); o.IfName = "web0" }); !errors.Is(err, ErrOption) {
			t.Errorf("%q, both ends of one name: %v", netns, err)
		}
		d, err := s.openVeth(with)
		if err != nil {
			t.Fatalf("%q: %v", netns, err)
		}
		a, err := d.Attr()
		if err != nil || a.Peer != "inner" || a.PeerIndex != s.host.Index("inner") || a.MAC == nil || a.NetNSKey != "" {
			t.Errorf("%q: %+v, %v", netns, a, err)
		}
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
		old, other := netip.MustParsePrefix("198.51.100.77/24"), netip.MustParsePrefix("198.51.100.78/24")
		if err := errors.Join(d.SetMTU(1300), d.SetMAC(mac), d.SetAddresses([]netip.Prefix{old}, []netip.Prefix{other})); err != nil {
			t.Errorf("%q: change: %v", netns, err)
		}
		inner := shows(t, s.host, "inner", true)
		for _, word := range []string{"mtu 1300", mac.String(), other.String()} {
			if !strings.Contains(inner, word) {
				t.Errorf("%q: the workload's end lacks %q: %s", netns, word, inner)
			}
		}
		index := s.host.Index("inner")
		crash(t, d)
		if d, err = s.openVeth(with); err != nil {
			t.Fatalf("%q, again: %v", netns, err)
		}
		if got := s.host.Index("inner"); got != index {
			t.Errorf("%q: the pair was made anew", netns)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		shows(t, s.host, "web0", false)
	}
}

// A filter program decides what the queues get, in all of them, and is replaced at once.
func TestSetFilter(t *testing.T) {
	s := newStage(t)
	d := s.open(func(o *Options) { o.Queues = 3 })
	program := func(keep int32) int {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, keep), asm.Return()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p.FD()
	}
	count := func(want int) (n int) {
		for flow := range uint16(32) {
			s.workload.Inject("eth0", udp(flow, 0))
		}
		for end := time.Now().Add(lab.Patience); ; {
			time.Sleep(30 * time.Millisecond) // for what should not come, too
			for i := range d.Queues() {
				frames, _, _ := s.r.Recv(d.Handle(i), MaxFrames)
				for _, f := range frames {
					if isTest(f) {
						n++
					}
				}
			}
			if n >= want || time.Now().After(end) {
				return n
			}
		}
	}
	for _, c := range []struct {
		fd, want int
	}{{-1, 32}, {program(0), 0}, {program(1 << 18), 32}, {program(0), 0}, {-1, 32}, {-1, 32}} {
		if err := d.SetFilter(c.fd); err != nil {
			t.Fatal(err)
		}
		if got := count(c.want); got != c.want {
			t.Errorf("filter %d: %d of 32 frames, want %d", c.fd, got, c.want)
		}
	}
	if err := d.SetFilter(0); err == nil {
		t.Error("a descriptor that is no program was taken")
	}
}

// TestRemoveLeft: a pair goes when a former process of the same instance left it and no port is for it as it is, and only then.
func TestRemoveLeft(t *testing.T) {
	s := newStage(t)
	const mine = "/run/mine.sock"
	d, err := s.openVeth(func(o *VethOptions) { o.Instance = mine })
	if err != nil {
		t.Fatal(err)
	}
	s.host.Must("ip", "link", "add", "foreign0", "type", "veth", "peer", "name", "foreign1")
	s.host.Must("ip", "link", "add", "plain0", "type", "veth", "peer", "name", "plain1")
	s.host.Must("ip", "link", "set", "plain0", "alias", "made by vtepd")
	removes := func(what, instance string, wanted *VethOptions, want ...string) {
		t.Helper()
		var all []VethOptions
		if wanted != nil {
			all = []VethOptions{{Options: Options{Name: "other"}, IfName: "elsewhere"}, *wanted}
		}
		s.do(func() error {
			got, err := RemoveLeft(instance, all, nil)
			if !slices.Equal(got, want) {
				t.Errorf("%s: removed %q, want %q", what, got, want)
			}
			return err
		})
	}
	leave := func() { crash(t, d) }
	removes("held by a process", mine, nil)
	leave()
	removes("no instance", "", nil)
	removes("another instance", "/run/mine.soc", nil)
	port := VethOptions{Options: Options{Name: "web0"}, NetNS: s.workload.Name(), IfName: "inner"}
	removes("wanted", mine, &port)
	port.NetNS = s.workload.Path()
	removes("wanted, by path", mine, &port)
	for what, change := range map[string]func(*VethOptions){
		"another name":               func(o *VethOptions) { o.Name = "web1" },
		"another namespace":          func(o *VethOptions) { o.NetNS = "" },
		"no such namespace":          func(o *VethOptions) { o.NetNS = "nosuch" },
		"another ifname":             func(o *VethOptions) { o.IfName = "outer" },
		"another ifname, by default": func(o *VethOptions) { o.IfName = "" },
	} {
		other := VethOptions{Options: Options{Name: "web0"}, NetNS: s.workload.Name(), IfName: "inner"}
		change(&other)
		removes(what, mine, &other, "web0")
		shows(t, s.host, "web0", false)
		shows(t, s.workload, "inner", false)
		if d, err = s.openVeth(func(o *VethOptions) { o.Instance = mine }); err != nil {
			t.Fatal(err)
		}
		leave()
	}
	removes("no port", mine, nil, "web0")
	shows(t, s.host, "foreign0", true)
	shows(t, s.host, "plain0", true)
}
