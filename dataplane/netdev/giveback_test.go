package netdev

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/dataplane/device"
)

// changing is what an interface shows that nobody set: counters of time and of traffic.
var changing = regexp.MustCompile(`valid_lft \S+ preferred_lft \S+|prog/\S+.*|tentative `)

// picture is everything that can be seen of port0: flags, promiscuity, MTU, addresses, features, hooks.
func (s *stage) picture() string {
	s.t.Helper()
	var all strings.Builder
	for _, command := range []string{"ip -d address show port0", "ip -6 route show dev port0", "ip route show dev port0", "tc qdisc show dev port0",
		"tc filter show dev port0 ingress", "ethtool -k port0"} {
		words := strings.Fields(command)
		out, err := s.host.Command(words[0], words[1:]...)
		if err != nil && words[0] != "tc" {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&all, "# %s\n%s", command, changing.ReplaceAllString(out, ""))
	}
	return all.String()
}

// withIPv6 lets the kernel speak IPv6 on port0, which the lab forbids, and waits until its address is there.
func (s *stage) withIPv6() {
	s.t.Helper()
	if err := s.host.Sysctl("net/ipv6/conf/port0/disable_ipv6", "0"); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(lab.Patience); !strings.Contains(s.host.Must("ip", "-6", "address", "show", "dev", "port0", "-tentative"), "fe80"); {
		if time.Now().After(end) {
			s.t.Fatal("no link-local address")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestGivenBackAsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		before []string // done to port0 first
		change func(*Options)
		using  func(t *testing.T, d *Device)
	}{
		{name: "up"},
		{name: "down", before: []string{"ip link set port0 down"}},
		{name: "addresses", before: []string{"ip address add 192.0.2.1/24 dev port0", "ip address add 2001:db8::1/64 dev port0 nodad"}},
		{name: "addresses, down", before: []string{"ip address add 192.0.2.1/24 dev port0", "ip address add 192.0.2.3/24 dev port0", "ip link set port0 down"}},
		// Neither is the kernel's own.
		{name: "link-local addresses, small MTU", before: []string{"ip address add fe80::77/64 dev port0 nodad", "ip address add 169.254.1.1/16 dev port0"},
			change: func(o *Options) { o.MTU = 1000 }},
		{name: "mtu and mac", before: []string{"ip address add 2001:db8::1/64 dev port0 nodad"},
			change: func(o *Options) { o.MTU, o.MAC = 1000, net.HardwareAddr{2, 0, 0, 0, 0, 5} }},
		{name: "changed while held", using: func(t *testing.T, d *Device) {
			if err := errors.Join(d.SetMTU(1300), d.SetMAC(net.HardwareAddr{2, 0, 0, 0, 0, 6}), d.SetSink(false), d.SetSink(true)); err != nil {
				t.Error(err)
			}
		}},
		{name: "no sink", using: func(t *testing.T, d *Device) {
			if err := d.SetSink(false); err != nil {
				t.Error(err)
			}
		}},
		{name: "promiscuous already", before: []string{"ip link set port0 promisc on"}},
		{name: "no tcx", change: func(o *Options) { o.Refuse.TCX = true }},
		{name: "no tcx, clsact there", before: []string{"tc qdisc add dev port0 clsact"}, change: func(o *Options) { o.Refuse.TCX = true }},
		{name: "no tcx, filter there", before: []string{"tc qdisc add dev port0 clsact", "tc filter add dev port0 ingress protocol all pref 7 u32 match u8 0 0 classid 1:1"},
			change: func(o *Options) { o.Refuse.TCX = true }},
		{name: "no tcx, ingress qdisc there", before: []string{"tc qdisc add dev port0 ingress"}, change: func(o *Options) { o.Refuse.TCX = true }},
		{name: "several queues", change: func(o *Options) { o.Queues = 4 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.withIPv6()
			for _, command := range c.before {
				words := strings.Fields(command)
				s.host.Must(words[0], words[1:]...)
			}
			before := s.picture()
			d := s.open(c.change)
			if a, err := d.Attr(); err != nil || !a.Up {
				t.Errorf("held: %+v, %v", a, err)
			}
			if !strings.Contains(s.host.Must("ip", "-d", "link", "show", "port0"), "promiscuity 1") && c.name != "promiscuous already" {
				t.Error("not promiscuous while held")
			}
			if c.using != nil {
				c.using(t, d)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			var after string
			for end := time.Now().Add(lab.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				if after = s.picture(); after == before { // what comes up is not there at once: link-local addresses, routes
					break
				}
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("-found +given back:\n%s", diff)
			}
		})
	}
}

// While the interface is held, the host does not answer there: neither ARP nor ping, in either address family.
func TestHostIsShutOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		refuse Refuse
		reason string
	}{
		{"tcx", Refuse{}, ""},
		{"cls_bpf", Refuse{TCX: true}, "outlives a crash"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.withIPv6()
			s.host.Must("ip", "address", "add", "198.51.100.200/24", "dev", "port0")
			s.host.Must("ip", "address", "add", "2001:db8:1::200/64", "dev", "port0", "nodad")
			answers := func() (list []string) {
				for _, to := range []string{"198.51.100.200", "2001:db8:1::200"} {
					s.workload.Must("ip", "neigh", "flush", "dev", "eth0")
					if _, err := s.workload.Command("ping", "-n", "-q", "-c", "1", "-W", "1", to); err == nil {
						list = append(list, to)
					}
				}
				return list
			}
			for end := time.Now().Add(lab.Patience); len(answers()) < 2; {
				if time.Now().After(end) {
					t.Fatal("the host does not answer before it is shut out: the test shows nothing")
				}
			}
			d := s.open(func(o *Options) { o.Refuse = c.refuse })
			if c.reason == "" && strings.Contains(d.Caps().Reason, "tcx not supported") {
				t.Skip("the kernel has no tcx (Linux 6.6)")
			}
			if !d.Caps().Sink || !strings.Contains(d.Caps().Reason, c.reason) || (c.reason == "") != (d.Caps().Reason == "") {
				t.Errorf("caps %+v", d.Caps())
			}
			if got := answers(); got != nil {
				t.Errorf("the host answers at %v", got)
			}
			if err := d.SetSink(false); err != nil || d.Shut() {
				t.Errorf("sink off: %v, shut %v", err, d.Shut())
			}
			if got := answers(); len(got) != 2 {
				t.Errorf("without sink the host answers at %v", got)
			}
			if err := d.SetSink(true); err != nil || !d.Shut() {
				t.Errorf("sink on: %v, shut %v", err, d.Shut())
			}
			if got := answers(); got != nil {
				t.Errorf("with sink again the host answers at %v", got)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if got := answers(); len(got) != 2 {
				t.Errorf("given back, the host answers at %v", got)
			}
		})
	}
}

// A filter that a process left which did not end well is taken up, and removed in the end.
func TestLeftOverFilter(t *testing.T) {
	s := newStage(t)
	before := s.picture()
	s.do(func() error {
		link, err := net.InterfaceByName("port0")
		if err != nil {
			return err
		}
		left, _, err := newSink(link.Index, Refuse{TCX: true})
		if err != nil {
			return err
		}
		return left.program.Close() // as a process does that dies
	})
	if !strings.Contains(s.host.Must("tc", "filter", "show", "dev", "port0", "ingress"), sinkName) {
		t.Fatal("no filter is left: the test shows nothing")
	}
	d := s.open(func(o *Options) { o.Refuse.TCX = true })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, s.picture()); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestWithoutSink(t *testing.T) {
	s := newStage(t)
	d := s.open(func(o *Options) { o.Refuse = Refuse{TCX: true, ClsBPF: true} })
	if c := d.Caps(); c.Sink || !strings.Contains(c.Reason, "the host's own stack sees what arrives too") {
		t.Errorf("caps %+v", c)
	}
}

func TestRefusedInterfaces(t *testing.T) {
	s := newStage(t)
	s.host.Must("ip", "link", "add", "br0", "type", "bridge")
	s.host.Must("ip", "link", "set", "port0", "master", "br0")
	s.host.Must("ip", "tuntap", "add", "dev", "tun0", "mode", "tun")
	if err := mayTake(nil, &netlink.Vrf{LinkAttrs: netlink.LinkAttrs{Name: "blue", EncapType: "ether"}}); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "is a VRF") {
		t.Errorf("a VRF: %v", err) // not every kernel can make one
	}
	for _, c := range []struct {
		o    Options
		want error
		text string
	}{
		{Options{Name: "lo"}, ErrUnfit, "loopback"},
		{Options{Name: "port0"}, ErrUnfit, `belongs to the bridge "br0": ` + "`ip link set port0 nomaster` first"},
		{Options{Name: "tun0"}, ErrUnfit, "no Ethernet"},
		{Options{Name: "nosuch"}, ErrMissing, "taken as soon as there is one"},
		{Options{Name: "a/b"}, ErrOption, "may not contain"},
		{Options{Name: "br0", Queues: 257}, ErrOption, "257 queues"},
		{Options{Name: "br0", MTU: -1}, ErrOption, "mtu"},
		{Options{Name: "br0", MAC: net.HardwareAddr{1, 0, 0, 0, 0, 1}}, ErrOption, "group address"},
	} {
		s.do(func() error {
			d, err := Open(c.o)
			if err == nil {
				d.Close()
			}
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("%+v: %v", c.o, err)
			}
			if checked := Check(c.o); (checked == nil) != (c.want == ErrMissing) {
				t.Errorf("%+v: check says %v", c.o, checked)
			}
			return nil
		})
	}
}

// TestWarning: what may be a port and serves one badly is told of.
func TestWarning(t *testing.T) {
	s := newStage(t)
	s.host.Must("ip", "link", "add", "br0", "type", "bridge")
	for _, mode := range []string{"bridge", "passthru"} {
		t.Run(mode, func(t *testing.T) {
			if out, err := s.host.Command("ip", "link", "add", "link", "port0", "name", "m0", "type", "macvlan", "mode", mode); err != nil {
				t.Skipf("no macvlan here: %v: %s", err, out)
			}
			defer s.host.Must("ip", "link", "del", "m0")
			s.do(func() error {
				d, err := Open(Options{Name: "m0"})
				if err != nil {
					return err
				}
				defer d.Close()
				warns := func(want string) {
					t.Helper()
					if a, err := d.Attr(); err != nil || (a.Warning == "") != (want == "") || !strings.Contains(a.Warning, want) {
						t.Errorf("%q, error %v, want %q", a.Warning, err, want)
					}
				}
				ofMode := map[string]string{"bridge": "hears unicast frames to its own MAC alone"}[mode]
				warns(ofMode)
				if mode == "bridge" {
					s.host.Must("ip", "link", "set", "m0", "master", "br0")
					warns("`ip link set m0 nomaster`")
					s.host.Must("ip", "link", "set", "m0", "nomaster")
					warns(ofMode)
				}
				return nil
			})
		})
	}
}

func TestTakenTwice(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	again := func() (err error) {
		s.do(func() error {
			var second *Device
			if second, err = Open(Options{Name: "port0"}); err == nil {
				err = second.Close()
			}
			return nil
		})
		return err
	}
	if err := again(); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "a port of this vtepd already") {
		t.Errorf("second: %v", err)
	}
	// The first one has not noticed.
	s.workload.Inject("eth0", plain(60))
	s.next(d, isTest)
	// A child that has been forked and not yet replaced has a copy of the claim, for a moment.
	// On a busy machine that is a long one.
	for _, moment := range []time.Duration{device.ForkTime / 5, 3 * device.ForkTime} {
		copied, err := unix.FcntlInt(uintptr(d.claim), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		syscall.ForkLock.Lock()
		time.AfterFunc(moment, func() {
			unix.Close(copied)
			syscall.ForkLock.Unlock()
		})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := again(); err != nil {
			t.Errorf("after the first was closed: %v", err)
		}
		d = s.open(nil)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// Another process, played by one that sits on the name.
	holder := s.holdClaim()
	if err := again(); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", holder)) {
		t.Errorf("held by pid %d: %v", holder, err)
	}
}

// holdClaim has another process listen on the name of port0's claim.
func (s *stage) holdClaim() (pid int) {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := s.host.Start("env", fmt.Sprintf("%s=%d", claimEnv, s.host.Index("port0")), exe)
	if err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(lab.Patience); !strings.Contains(p.Output(), "claimed"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the other process claims nothing: %s", p.Output())
		}
	}
	return p.PID()
}

// claimEnv makes the test binary a process that claims an interface and waits.
const claimEnv = "VTEPD_TEST_CLAIM"

func TestMain(m *testing.M) {
	if text := os.Getenv(claimEnv); text != "" {
		var ifindex int
		fmt.Sscan(text, &ifindex)
		_, err := device.Claim(ifindex)
		fmt.Println("claimed", err)
		time.Sleep(time.Minute)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// An interface that goes while it is taken, or given back, is one to wait for, at whatever moment that is.
func TestGoesWhileTaken(t *testing.T) {
	s := newStage(t)
	s.do(func() error {
		var taken, awaited int
		for i := 0; i < 2000 && (taken < 20 || awaited < 50); i++ {
			pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "brief0"}, PeerName: "brief1"}
			if err := s.host.Netlink().LinkAdd(pair); err != nil {
				return err
			}
			gone := make(chan error, 1)
			time.AfterFunc(time.Duration(i%100)*50*time.Microsecond, func() { gone <- s.host.Netlink().LinkDel(pair) })
			d, err := Open(Options{Name: "brief0", MTU: 1400, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}})
			switch {
			case err == nil:
				taken++
				if err := d.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			case errors.Is(err, ErrMissing):
				awaited++
			default:
				t.Errorf("after %d us: %v", i%100*50, err)
			}
			if err := <-gone; err != nil {
				return err
			}
		}
		t.Logf("%d taken, %d awaited", taken, awaited)
		return nil
	})
}

// The interface goes down, up, gets another name, leaves the namespace and comes back.
func TestComesAndGoes(t *testing.T) {
	s := newStage(t)
	// Else the workload's kernel sends MLD reports in between (RFC 3810), which are no test's frames.
	if err := s.workload.Sysctl("net/ipv6/conf/eth0/disable_ipv6", "1"); err != nil {
		t.Fatal(err)
	}
	d := s.open(func(o *Options) { o.Queues = 2 })
	arrives := func(when string) {
		t.Helper()
		s.workload.Inject("eth0", plain(60))
		s.next(d, isTest)
		t.Log(when)
	}
	arrives("at first")
	s.host.Must("ip", "link", "set", "port0", "down")
	if a, err := d.Attr(); err != nil || a.Up {
		t.Errorf("down: %+v, %v", a, err)
	}
	if frames, lost, drained := s.r.Recv(d.Handle(0), 8); len(frames) != 0 || lost != 0 || !drained {
		t.Errorf("down: %d frames, %d lost, drained %v", len(frames), lost, drained)
	}
	s.host.Must("ip", "link", "set", "port0", "up")
	arrives("up again")
	s.host.Rename("port0", "other0")
	if a, err := d.Attr(); err != nil || a.Name != "other0" || !a.Up {
		t.Errorf("renamed: %+v, %v", a, err)
	}
	arrives("renamed")
	s.host.Must("ip", "link", "set", "other0", "mtu", "1400")
	if a, err := d.Attr(); err != nil || a.MTU != 1400 {
		t.Errorf("mtu: %+v, %v", a, err)
	}
	s.host.Must("ip", "link", "set", "other0", "netns", s.workload.Name())
	if _, err := d.Attr(); !errors.Is(err, device.ErrGone) {
		t.Errorf("moved away: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s.workload.Must("ip", "link", "set", "other0", "netns", s.host.Name())
	s.host.Rename("other0", "port0")
	d = s.open(nil)
	arrives("back")
	s.host.Must("ip", "link", "del", "port0")
	if _, err := d.Attr(); !errors.Is(err, device.ErrGone) {
		t.Errorf("deleted: %v", err)
	}
	for _, err := range []error{d.SetMTU(1400), d.SetMAC(net.HardwareAddr{2, 0, 0, 0, 0, 1})} {
		if !errors.Is(err, device.ErrGone) {
			t.Errorf("change of a deleted interface: %v", err)
		}
	}
	if err := d.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Neither use nor failure leaves a descriptor behind.
func TestDescriptors(t *testing.T) {
	s := newStage(t)
	use := func() {
		s.do(func() error {
			for _, r := range []Refuse{{}, {TCX: true}, {Fanout: true}, {VnetHdr: true}, {TCX: true, ClsBPF: true}} {
				d, err := Open(Options{Name: "port0", Offload: true, Queues: 3, Refuse: r})
				if err != nil {
					return err
				}
				if _, err := Open(Options{Name: "port0"}); !errors.Is(err, ErrBusy) {
					t.Errorf("second: %v", err)
				}
				_, _ = d.Attr()
				_ = d.SetSink(false)
				_ = d.SetSink(true)
				if err := d.Close(); err != nil {
					return err
				}
				if _, err := Open(Options{Name: "port0", MTU: 1 << 20}); err == nil {
					t.Error("an MTU that cannot be was taken")
				}
				v, err := OpenVeth(VethOptions{Options: Options{Name: "veth0", Offload: true, Queues: 2, Refuse: r}, NetNS: s.workload.Name(), IfName: "inner"})
				if err != nil {
					return err
				}
				_, _ = v.Attr()
				if err := v.Close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	use() // what is opened once for the process
	before := descriptors(t)
	use()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestFoundAfterTheOther: an interface that another one has just given back is found as that left it, and not as it was when the name was looked up.
func TestFoundAfterTheOther(t *testing.T) {
	s := newStage(t)
	untouched := s.picture()
	first := s.open(func(o *Options) { o.MTU, o.MAC = 1300, net.HardwareAddr{2, 0, 0, 0, 0, 9} })
	// The second waits for the claim, as long as it may be a child of this process that has it.
	time.AfterFunc(device.ForkTime/4, func() {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	})
	second := s.open(func(o *Options) { o.MTU = 1400 })
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(untouched, s.picture()); diff != "" {
		t.Errorf("given back otherwise than found:\n%s", diff)
	}
}

// TestGivenBackWithoutDescriptors: an interface is given back, and let go, also when the process may open nothing more.
func TestGivenBackWithoutDescriptors(t *testing.T) {
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d queues", queues), func(t *testing.T) {
			s := newStage(t)
			untouched := s.picture()
			d := s.open(func(o *Options) { o.MTU, o.Queues = 1400, queues })
			var err error
			s.do(func() error {
				defer takeDescriptors(t)()
				err = d.Close()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(untouched, s.picture()); diff != "" {
				t.Errorf("given back otherwise than found:\n%s", diff)
			}
			s.open(nil)
		})
	}
}

// TestLetGoWithoutDescriptors: an interface that cannot be given back, for its namespace cannot be entered, is not held on to.
func TestLetGoWithoutDescriptors(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	giveBack := takeDescriptors(t)
	err := d.Close()
	giveBack()
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("close: %v", err)
	}
	if err := s.open(nil).Close(); err != nil {
		t.Error(err)
	}
}

// takeDescriptors leaves the process none, until what it gives is called.
func takeDescriptors(t *testing.T) (giveBack func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(descriptors(t))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var taken []int // whatever was free below
	for fd, err := unix.Dup(0); err == nil; fd, err = unix.Dup(0) {
		taken = append(taken, fd)
	}
	return func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
}
