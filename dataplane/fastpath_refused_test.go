package dataplane

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	ebpflink "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
)

// TestFastPathRefused: whatever the kernel or the process's privileges refuse, frames are forwarded; with auto one line of the log and the status say what is
// missing, with on it is an error, and nothing of the programs remains. What only makes the fast path slower is told and used without.
//
//	ping ── p0 ── switch (refused) ── eth0 ══ eth0 ── switch ── p0
func TestFastPathRefused(t *testing.T) {
	needFastPath(t)
	_, nodes, w := refusedPair(t)
	a := nodes[0]
	for _, c := range []struct {
		name   string
		refuse xdp.Refuse
		says   string // the reason does
		pins   string // what is wrong with the pin directory: "", "no bpffs", "read-only", "locked"
		goes   bool   // the fast path is on all the same
	}{
		{name: "CAP_BPF", refuse: xdp.Refuse{Privileges: []string{"CAP_BPF"}}, says: "lacks CAP_BPF"},
		{name: "CAP_NET_ADMIN", refuse: xdp.Refuse{Privileges: []string{"CAP_NET_ADMIN"}}, says: "lacks CAP_NET_ADMIN"},
		{name: "CAP_PERFMON", refuse: xdp.Refuse{Privileges: []string{"CAP_PERFMON"}}, says: "lacks CAP_PERFMON"},
		{name: "bpf", refuse: xdp.Refuse{Capabilities: []string{"bpf"}}, says: "bpf"},
		{name: "tcx", refuse: xdp.Refuse{Capabilities: []string{"tcx"}}, says: "tcx"},
		{name: "btf", refuse: xdp.Refuse{Capabilities: []string{"btf"}}, says: "btf"},
		{name: "redirect-peer", refuse: xdp.Refuse{Capabilities: []string{"redirect-peer"}}, says: "redirect-peer"},
		{name: "redirect-neigh", refuse: xdp.Refuse{Capabilities: []string{"redirect-neigh"}}, says: "redirect-neigh"},
		{name: "hash maps", refuse: xdp.Refuse{Maps: []string{"fdb"}}, says: "fdb"},
		{name: "per-CPU arrays", refuse: xdp.Refuse{Maps: []string{"totals"}}, says: "totals"},
		{name: "ring buffers", refuse: xdp.Refuse{Maps: []string{"events"}}, says: "events"},
		{name: "the verifier, from TAPs", refuse: xdp.Refuse{Programs: []string{"vtepd_tap"}}, says: "vtepd_tap"},
		{name: "the verifier, from devices", refuse: xdp.Refuse{Programs: []string{"vtepd_device"}}, says: "vtepd_device"},
		{name: "the verifier, from the underlay", refuse: xdp.Refuse{Programs: []string{"vtepd_underlay"}}, says: "vtepd_underlay"},
		{name: "the verifier, socket filter", refuse: xdp.Refuse{Programs: []string{"slow_only"}}, says: "slow_only"},
		{name: "xdp", refuse: xdp.Refuse{Capabilities: []string{"xdp"}}, says: "xdp", goes: true},
		{name: "the verifier, XDP", refuse: xdp.Refuse{Programs: []string{"vtepd_bare"}}, says: "vtepd_bare", goes: true},
		{name: "XDP on a device", refuse: xdp.Refuse{Places: []string{"xdp"}}, says: "refused", goes: true},
		{name: "tcx on the underlay", refuse: xdp.Refuse{Places: []string{"underlay"}}, says: "refused", goes: true},
		{name: "tcx on ports", refuse: xdp.Refuse{Places: []string{"port-egress", "port-ingress"}}, says: "refused", goes: true},
		{name: "switch-family", refuse: xdp.Refuse{Capabilities: []string{"switch-family"}}, goes: true},
		{name: "no bpffs", pins: "no bpffs", says: "not on a bpffs", goes: true},
		{name: "a read-only bpffs", pins: "read-only", says: "read-only", goes: true},
		{name: "a pin directory in use", pins: "locked", says: "in use by another process", goes: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := pinPlace(t, c.pins)
			before := openObjects(t)
			var log bytes.Buffer
			conf := Config{
				Local: a.Underlay4(), Workers: 1, Offload: true, FastPath: FastPathOn, PinDir: dir, refusePrograms: c.refuse, fastDecap: xdp.XDPNative,
			}
			n := &node{Host: a, t: t}
			open := func() error {
				return a.Do(func() (err error) {
					n.Switch, err = New(conf)
					return err
				})
			}
			if !c.goes {
				if err := open(); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "fastpath: auto") {
					t.Errorf("on: %v: want %q and how to mend it", err, c.says)
				}
				conf.FastPath = FastPathAuto
			}
			conf.Log = slog.New(slog.NewTextHandler(&log, nil))
			if err := open(); err != nil {
				t.Fatal(err)
			}
			n.vni(42, nodes[1].Underlay4())
			// The neighbours remember the MAC of the case before for longer than this one takes.
			n.tap("p0", 42, func(c *PortConfig) {
				c.Addresses, c.MAC = a.OverlayPrefixes(), net.HardwareAddr{2, 0, 0x5e, 0, 0x53, 1}
			})
			n.do(n.TakeOver)
			eventually(t, "an answer", func() bool {
				_, err := a.Command("ping", "-c1", "-W1", w.Overlay4().String())
				return err == nil
			})
			pings(t, a, w.Overlay4(), 20)
			rest(n)
			n.balance()
			st := n.Status().FastPath
			said := st.Reason + st.PinReason
			for _, at := range st.Attachments {
				said += " " + at.Reason
			}
			for _, p := range n.Ports() {
				said += " " + p.FastPathReason
			}
			if st.Active != c.goes || !strings.Contains(said, c.says) || st.Mode != conf.FastPath {
				t.Errorf("status %+v, want active %v and %q in %q", st, c.goes, c.says, said)
			}
			if !c.goes {
				if err := n.SetFastPath(FastPathOn); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("switched on: %v", err)
				}
				if err := n.SetFastPath(FastPathAuto); err != nil {
					t.Error(err)
				}
				if got := n.Status().FastPath; got.Mode != FastPathAuto || got.Encap+got.Decap+got.Local != 0 {
					t.Errorf("a refused mode was kept, or something carried: %+v", got)
				}
				if got := attachedPrograms(n); len(got) > 0 {
					t.Errorf("programs are attached: %v", got)
				}
				if found, _ := filepath.Glob(filepath.Join(dir, "*")); len(found) > 0 {
					t.Errorf("pins: %v", found)
				}
				if lines := strings.Count(log.String(), "level=WARN"); lines != 1 || !strings.Contains(log.String(), c.says) || !strings.Contains(log.String(), "fast path off") {
					t.Errorf("%d warnings, want one with %q:\n%s", lines, c.says, log.String())
				}
			} else if lines := strings.Count(log.String(), "level=WARN"); lines > 1 {
				t.Errorf("%d warnings:\n%s", lines, log.String())
			}
			if err := n.Switch.Close(); err != nil {
				t.Error(err)
			}
			if after := openObjects(t); after != before {
				t.Errorf("%d BPF objects open afterwards, %d before", after, before)
			}
			if got := attachedPrograms(n); len(got) > 0 {
				t.Errorf("programs are attached at the end: %v", got)
			}
			if _, err := os.Stat(dir); c.pins == "" && err == nil {
				t.Error("the pin directory remains")
			}
		})
	}
}

// refusedPair makes two joined hosts, of which the second has a switch that carries everything in user space, and the addresses of its port.
//
//	a {eth0} ══ {eth0} switch on b {p0 198.51.100.2}
func refusedPair(t *testing.T) (l *lab.Lab, nodes [2]*lab.Host, w *lab.Host) {
	t.Helper()
	l = lab.New(t)
	nodes = [2]*lab.Host{l.Host("a"), l.Host("b")}
	l.Link(nodes[0], nodes[1], lab.LinkOptions{})
	n := startNode(t, nodes[1], func(c *Config) { c.FastPath = FastPathOff })
	n.vni(42, nodes[0].Underlay4())
	n.tap("p0", 42, func(c *PortConfig) { c.Addresses = nodes[1].OverlayPrefixes() })
	return l, nodes, nodes[1]
}

// pinPlace is a pin directory with what is wrong with it.
func pinPlace(t *testing.T, wrong string) string {
	t.Helper()
	dir := t.TempDir()
	if wrong == "no bpffs" {
		return filepath.Join(dir, "instance")
	}
	flags := uintptr(0)
	if wrong == "read-only" {
		flags = unix.MS_RDONLY
	}
	if err := unix.Mount("bpf", dir, "bpf", flags, ""); err != nil {
		t.Skipf("mount a bpffs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount the bpffs: %v", err)
		}
	})
	place := filepath.Join(dir, "run", "instance")
	if wrong == "locked" {
		other, err := xdp.Open(xdp.Options{PinDir: place, Locals: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, Ports: []uint16{4789}, MaxEntries: 16})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := other.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return place
}

// attachedPrograms lists the programs on the interfaces of a node, by tcx and XDP, without those that shut out the host's stack.
func attachedPrograms(n *node) (on []string) {
	n.t.Helper()
	n.do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				r, err := ebpflink.QueryPrograms(ebpflink.QueryOptions{Target: l.Attrs().Index, Attach: at})
				if err != nil {
					return err
				}
				for _, p := range r.Programs {
					if name := programName(n.t, p.ID); name != "vtepd_sink" {
						on = append(on, name+" on "+l.Attrs().Name)
					}
				}
			}
			if x := l.Attrs().Xdp; x != nil && x.Attached {
				on = append(on, "XDP on "+l.Attrs().Name)
			}
		}
		return nil
	})
	return on
}

func programName(t testing.TB, id ebpf.ProgramID) string {
	t.Helper()
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.Name
}

// openObjects counts the BPF programs, maps and links that this process has open.
func openObjects(t *testing.T) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "anon_inode:bpf") {
			n++
		}
	}
	return n
}
