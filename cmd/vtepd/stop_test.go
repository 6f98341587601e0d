package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// TestStopLeavesNothing looks at links, addresses, files and processes before a start and after a stop.
//
//	blue {tap1} ── vtepd on a {eth0} ══ {eth0} b
func TestStopLeavesNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			l, h, other, _ := pair(t)
			blue := l.Host("blue")
			config := overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes(), fmt.Sprintf("- {name: tap1, type: tap, vni: 42, netns: %s}\n", blue.Name()))
			d := prepare(t, l, h, config)
			awaitCarrier(t, h, "eth0")
			before := traces(t, d, blue)
			d.run(t)
			up := traces(t, d, blue)
			for _, made := range []string{"vtep0", "tap1", "vtepd.sock"} {
				if !strings.Contains(up, made) {
					t.Fatalf("running vtepd without %s: %s", made, up)
				}
			}
			// A reader of events and traffic under way must not hold the stop up.
			monitor, err := h.Start(vtepctlPath, "--socket", d.socket, "monitor")
			if err != nil {
				t.Fatal(err)
			}
			pinging, err := h.Start("ping", "-i", "0.01", other.Overlay4().String())
			if err != nil {
				t.Fatal(err)
			}
			defer pinging.Signal(syscall.SIGKILL)
			ports := 1
			soon(t, "the monitor tells of a port", func() bool {
				ports++
				d.tell(t, "port", "add", fmt.Sprintf("tap%d", ports), "vni", "42")
				return strings.Contains(monitor.Output(), "tap")
			})
			d.stop(t, sig)
			if d := cmp.Diff(before, traces(t, d, blue)); d != "" {
				t.Errorf("left behind (-before +after):\n%s", d)
			}
			if err := monitor.Wait(); err == nil || !strings.Contains(monitor.Output(), "has stopped") {
				t.Errorf("vtepctl monitor ended with %v: %s", err, monitor.Output())
			}
		})
	}
}

// TestStopTwiceAtOnce: timeout(1) sends SIGTERM to vtepd, and another to the group that it is in. That is one stop, and an orderly one.
//
//	blue {eth0} ══ {web0} vtepd on a {eth0} ══ {eth0} b
func TestStopTwiceAtOnce(t *testing.T) {
	l, h, other, _ := pair(t)
	blue := l.Host("blue")
	config := overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes(), fmt.Sprintf("- {name: web0, type: veth, vni: 42, netns: %s}\n", blue.Name()))
	d := prepare(t, l, h, config)
	awaitCarrier(t, h, "eth0")
	before := traces(t, d, blue)
	d.run(t)
	// Who listens holds the stop up for a tenth of a second: the second signal comes while it is under way.
	if _, err := h.Start(vtepctlPath, "--socket", d.socket, "monitor"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	if err := d.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	soon(t, "vtepd says that it stops", func() bool { return strings.Contains(d.Output(), "msg=stopping") })
	_ = d.Signal(syscall.SIGTERM) // on a machine that is too busy it comes too late, and says nothing
	select {
	case <-d.Done():
	case <-time.After(startTimeout):
		t.Fatal("vtepd does not end")
	}
	if err := d.Wait(); err != nil {
		t.Errorf("vtepd ended with %v", err)
	}
	if d := cmp.Diff(before, traces(t, d, blue)); d != "" {
		t.Errorf("left behind (-before +after):\n%s", d)
	}
}

// awaitCarrier waits until the kernel has told that a link is up and given it its link-local address: on a busy machine that takes a while.
func awaitCarrier(t *testing.T, h *lab.Host, name string) {
	t.Helper()
	var out string
	for end := time.Now().Add(lab.Patience); time.Now().Before(end); {
		out = h.Must("ip", "-brief", "address", "show", "dev", name)
		fields := strings.Fields(out)
		if len(fields) > 1 && fields[1] == "UP" && (strings.Contains(out, "fe80:") || !strings.Contains(out, ":")) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("link %s does not come up: %s", name, out)
}

// traces is what a vtepd may leave: links with their addresses in its namespace and in that of its port, files, and processes with its command line.
func traces(t *testing.T, d *daemon, port *lab.Host) string {
	t.Helper()
	var b strings.Builder
	for _, h := range []*lab.Host{d.host, port} {
		fmt.Fprintf(&b, "links %v\n", links(t, h))
		// Routes and neighbours go with the links; addresses of links that stay must not change.
		b.WriteString(h.Must("ip", "-brief", "address", "show"))
		b.WriteString(h.Must("ip", "-4", "route", "show", "table", "all"))
	}
	files, err := os.ReadDir(filepath.Dir(d.socket))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		fmt.Fprintf(&b, "file %s\n", f.Name())
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(line), vtepdPath+"\x00") && strings.Contains(string(line), d.socket) {
			fmt.Fprintf(&b, "process %s\n", path)
		}
	}
	return b.String()
}

// TestKillThenStart: after SIGKILL the kernel takes the devices away, and the socket file that stays is replaced.
func TestKillThenStart(t *testing.T) {
	a, b := overlayPair(t)
	reach(t, a.host, b.host.Overlay4())
	if err := a.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.Done()
	if _, err := os.Stat(a.socket); err != nil {
		t.Fatalf("the killed vtepd took its socket away: %v: this test proves nothing", err)
	}
	if got := a.ask(t, "status"); got.code != 3 {
		t.Errorf("vtepctl to a killed vtepd: exit code %d, %s", got.code, got.stderr)
	}
	a.run(t)
	reach(t, a.host, b.host.Overlay4())
	a.stop(t, syscall.SIGTERM)
	if _, err := os.Stat(a.socket); !os.IsNotExist(err) {
		t.Errorf("socket after the stop: %v", err)
	}
}

// TestKillThenStartAtOnce: who starts vtepd again right after a kill need not know that the kernel takes its time to close what the killed one had.
//
//	blue {e0 to e19} ══ {p0 to p19} vtepd on a
func TestKillThenStartAtOnce(t *testing.T) {
	l, h, other, _ := pair(t)
	blue := l.Host("blue")
	config := overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes())
	for i := range 20 {
		config += fmt.Sprintf("- {name: p%d, type: veth, vni: 42, netns: %s, ifname: e%d}\n", i, blue.Name(), i)
	}
	d := start(t, l, h, config)
	for range 3 {
		killed := d.Process
		if err := d.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		d.run(t)
		<-killed.Done()
		if got := len(d.list(t, "port", "show")); got != 21 {
			t.Errorf("%d ports, want 21", got)
		}
	}
	d.stop(t, syscall.SIGTERM)
}

// TestSecondIsRefused starts a second vtepd on what the first one holds, one thing at a time.
func TestSecondIsRefused(t *testing.T) {
	l, h, _, _ := pair(t)
	first := start(t, l, h, overlay(h.Underlay4(), h.Overlay4(), h.OverlayPrefixes()))
	dir, err := l.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name              string
		socket, port, tap string
		says              string
	}{
		{"socket", first.socket, "4790", "tap1", "socket"},
		{"UDP port", dir + "/a.sock", "4789", "tap1", "4789"},
		{"TAP", dir + "/b.sock", "4790", "vtep0", "vtep0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := links(t, h)
			got := execute(t, h, vtepdPath, "--local", h.Underlay4().String(), "--vni", "42", "--tap", c.tap, "--dstport", c.port, "--socket", c.socket)
			if got.code != 1 || !strings.Contains(got.stderr, fmt.Sprintf("pid %d", first.PID())) || !strings.Contains(got.stderr, c.says) {
				t.Errorf("exit code %d, %s; want 1 and pid %d, which holds the %s", got.code, got.stderr, first.PID(), c.name)
			}
			if d := cmp.Diff(before, links(t, h)); d != "" {
				t.Errorf("links (-before +after):\n%s", d)
			}
		})
	}
	first.tell(t, "status")
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("refused starts left %v", left)
	}
}

// TestKernelHoldsThePort: a vxlan device of the kernel has no process to name.
func TestKernelHoldsThePort(t *testing.T) {
	l, h, other, _ := pair(t)
	h.VXLAN(lab.VXLANOptions{VNI: 42, Local: h.Underlay4(), Peers: nil})
	dir, err := l.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	got := execute(t, h, vtepdPath, "--local", h.Underlay4().String(), "--vni", "42", "--peer", other.Underlay4().String(), "--socket", dir+"/vtepd.sock")
	if got.code != 1 || !strings.Contains(got.stderr, "vxlan device") || !strings.Contains(got.stderr, "4789") {
		t.Errorf("exit code %d, %s; want 1 and the kernel's vxlan device", got.code, got.stderr)
	}
}

// TestNobodyReadsTheLog: who was given the log may go, as a terminal or a log program that dies; vtepd switches on, and stops in order.
func TestNobodyReadsTheLog(t *testing.T) {
	l, ha, hb, _ := pair(t)
	d := prepare(t, l, ha, overlay(ha.Underlay4(), hb.Underlay4(), ha.OverlayPrefixes()))
	fifo := d.file + ".log"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := unix.Open(fifo, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d.Process, err = ha.Start("sh", append([]string{"-c", `exec "$@" 2>` + fifo, "sh", vtepdPath}, d.args()...)...); err != nil {
		t.Fatal(err)
	}
	d.endWithTest(t)
	d.awaitStart(t)
	unix.Close(reader)
	for _, name := range []string{"tap1", "tap2"} { // each is a line of the log
		d.tell(t, "port", "add", name, "vni", "42")
	}
	d.stop(t, syscall.SIGTERM)
}
