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
)

// launch starts vtepd and does not wait for it.
func (d *daemon) launch(t *testing.T) {
	t.Helper()
	var err error
	if d.Process, err = d.host.Start(vtepdPath, d.args()...); err != nil {
		t.Fatal(err)
	}
	d.endWithTest(t)
}

// pins are the directories that programs of the fast path are pinned in.
func (d *daemon) pins(t *testing.T) []string {
	t.Helper()
	name := strings.NewReplacer("/", "-", ".", "-").Replace(strings.Trim(d.socket, "/"))
	list, err := filepath.Glob("/sys/fs/bpf/vtepd/" + name + "-*")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestStopDuringStart: a signal does not wait until a long start is through, and nothing is left of it: neither what it has made so far, nor what a killed
// vtepd left for it.
//
//	blue {e0 to e39} ══ {p0 to p39} vtepd on a {eth0} ══ {eth0} b
func TestStopDuringStart(t *testing.T) {
	for _, fastpath := range []string{"auto", "off"} {
		for try := 1; !stopDuringStart(t, fastpath); try++ {
			if try == 10 {
				t.Fatalf("fastpath %s: no start was interrupted", fastpath)
			}
		}
	}
}

// stopDuringStart says whether the signal came in time: on a busy machine a start may be through before.
func stopDuringStart(t *testing.T, fastpath string) bool {
	l, h, other, _ := pair(t)
	blue := l.Host("blue")
	var ports []string
	for i := range 40 {
		ports = append(ports, fmt.Sprintf("- {name: p%d, type: veth, vni: 42, netns: %s, ifname: e%d}\n", i, blue.Name(), i))
	}
	config := overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes())
	d := prepare(t, l, h, config+strings.Join(ports[:20], ""))
	awaitCarrier(t, h, "eth0")
	before := traces(t, d, blue)
	d.run(t)
	if pins := d.pins(t); len(pins) == 0 && strings.Contains(d.Output(), "fastpath=true") {
		t.Error("no pins are found: this test proves little")
	}
	if err := d.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-d.Done()
	d.write(t, "fastpath: "+fastpath+"\n"+config+strings.Join(ports[10:], ""))
	d.launch(t)
	for end := time.Now().Add(startTimeout); !strings.Contains(d.Output(), `msg="port added"`) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	d.stop(t, syscall.SIGTERM)
	out := d.Output()
	if strings.Contains(out, "msg=started") {
		return false
	}
	if !strings.Contains(out, `msg="port added"`) || !strings.Contains(out, "msg=stopping reason=terminated") {
		t.Errorf("the start was not interrupted: %s", out)
	}
	// The former vtepd's socket is a file that the next one finds; this one had no socket.
	_ = os.Remove(d.socket)
	if d := cmp.Diff(before, traces(t, d, blue)); d != "" {
		t.Errorf("left behind (-before +after):\n%s", d)
	}
	if pins := d.pins(t); len(pins) > 0 {
		t.Errorf("left behind: %v", pins)
	}
	return true
}

// TestStopDuringReload: a reload that waits for the end of a pipe does not keep vtepd from stopping, and a FIFO is not waited for at all.
func TestStopDuringReload(t *testing.T) {
	l, h, other, _ := pair(t)
	config := overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes())
	d := start(t, l, h, config)
	if err := os.Remove(d.file); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(d.file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	soon(t, "the reload is refused", func() bool { return strings.Contains(d.Output(), d.file+": a FIFO") })
	if got := execute(t, nil, vtepdPath, "--config", d.file, "--check"); got.code != 1 || !strings.Contains(got.stderr, d.file+": a FIFO") {
		t.Errorf("check: %+v", got)
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := os.Remove(d.file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.Fd()), d.file); err != nil {
		t.Fatal(err)
	}
	if err := d.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	d.tell(t, "status")
	d.stop(t, syscall.SIGTERM)
	if out := d.Output(); strings.Count(out, "reload refused") != 1 {
		t.Errorf("the reload that waited ended in another way than by the stop: %s", out)
	}
}
