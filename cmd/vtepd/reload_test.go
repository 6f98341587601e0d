package main_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// stall is the longest standstill of a TCP stream that a reload may cause to ports and peers that it does not name. TCP's shortest retransmission timeout
// is 200 ms: a lost window shows.
const stall = time.Second

// reload rewrites the file, sends SIGHUP, and waits for the line that vtepd writes about it.
func (d *daemon) reload(t *testing.T, config string) (line string) {
	t.Helper()
	d.write(t, config)
	before := len(d.Output())
	if err := d.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	soon(t, "a line about the reload", func() bool {
		for l := range strings.Lines(d.Output()[before:]) {
			if strings.HasSuffix(l, "\n") && (strings.Contains(l, "msg=reloaded") || strings.Contains(l, "reload refused")) {
				line = l
				return true
			}
		}
		return false
	})
	return line
}

// TestReloadDoesNotTouchTheRest adds and removes a port and a peer, and reloads broken files, while a TCP stream runs between others.
func TestReloadDoesNotTouchTheRest(t *testing.T) {
	t.Parallel()
	a, b := overlayPair(t)
	reach(t, a.host, b.host.Overlay4())
	plain := overlay(a.host.Underlay4(), b.host.Underlay4(), a.host.OverlayPrefixes())
	more := strings.Replace(plain, "\nports:", "\n- {vni: 43, peers: [192.0.2.77]}\nports:", 1)
	more = strings.Replace(more, `["`+b.host.Underlay4().String()+`"]`, `["`+b.host.Underlay4().String()+`", 192.0.2.78]`, 1) +
		"- {name: tap9, type: tap, vni: 43}\n- {name: tap8, type: tap, vni: 42}\n"
	entry := a.list(t, "fdb", "get", b.host.MAC("vtep0").String(), "vni", "42")

	f := startFlow(t, a.host, b.host, b.host.Overlay4())
	for range 3 {
		if line := a.reload(t, more); !strings.Contains(line, "1 VNI added, 1 VNI changed, 2 ports added") {
			t.Errorf("reload that adds: %s", line)
		}
		if got := a.portState(t, "tap8") + " " + a.portState(t, "tap9"); got != "up up" {
			t.Errorf("ports tap8 and tap9 after the reload: %q", got)
		}
		if got := len(a.list(t, "peer", "show")); got != 3 {
			t.Errorf("%d peers after the reload, want 3", got)
		}
		time.Sleep(100 * time.Millisecond)

		for _, broken := range []struct{ file, where string }{
			{plain + "locl: x\n", a.file + ":6:1: unknown key"},
			{plain + "- {name: tap7, type: tap, vni: 99}\n", a.file + ":6:32: port tap7 names undeclared VNI 99"},
			{strings.Replace(plain, "local:", "dstport: 4790\nlocal:", 1), a.file + ":1:10: dstport changed"},
			// What shows only while it is done: a namespace that is not there, after another port was added.
			{more + "- {name: tap6, type: tap, vni: 42}\n- {name: tap7, type: tap, vni: 42, netns: vtepd-no-such}\n", a.file},
		} {
			if line := a.reload(t, broken.file); !strings.Contains(line, "nothing changed") || !strings.Contains(line, broken.where) {
				t.Errorf("reload of a broken file: %s; want %q", line, broken.where)
			}
			if got := len(a.list(t, "port", "show")); got != 3 {
				t.Errorf("%d ports after a refused reload, want 3", got)
			}
		}

		if line := a.reload(t, plain); !strings.Contains(line, "1 VNI changed, 1 VNI deleted, 2 ports deleted") {
			t.Errorf("reload that removes: %s", line)
		}
		if got := len(a.list(t, "port", "show")); got != 1 {
			t.Errorf("%d ports after the reload, want 1", got)
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.end(t, stall)
	if line := a.reload(t, plain); !strings.Contains(line, "nothing changed") || strings.Contains(line, "refused") {
		t.Errorf("reload of the same file: %s", line)
	}
	after := a.list(t, "fdb", "get", b.host.MAC("vtep0").String(), "vni", "42")
	if entry[0]["dst"] != after[0]["dst"] || after[0]["moves"] != 0.0 {
		t.Errorf("entry of the far end: %v before, %v after", entry, after)
	}
	for _, name := range links(t, a.host) {
		if strings.HasPrefix(name, "tap") {
			t.Errorf("%s is left behind", name)
		}
	}
}

// TestApplyDoesNotTouchTheRest: what came at run time goes, and what another file has comes, while a TCP stream runs between others. A refused file leaves all
// as it was.
func TestApplyDoesNotTouchTheRest(t *testing.T) {
	t.Parallel()
	a, b := overlayPair(t)
	reach(t, a.host, b.host.Overlay4())
	plain := overlay(a.host.Underlay4(), b.host.Underlay4(), a.host.OverlayPrefixes())
	other := strings.Replace(plain, "\nports:", "\n- {vni: 44}\nports:", 1) + "- {name: tap4, type: tap, vni: 44}\n"
	apply := func(config string, words ...string) string {
		t.Helper()
		a.write(t, config)
		return a.tell(t, append([]string{"apply", a.file}, words...)...)
	}
	f := startFlow(t, a.host, b.host, b.host.Overlay4())
	for range 3 {
		for _, command := range []string{"vni add 43 peer 192.0.2.77", "port add tap9 vni 43", "port add tap8 vni 42", "peer add 192.0.2.78 vni 42"} {
			a.tell(t, strings.Fields(command)...)
		}
		gone := "~ vni 42 peers -192.0.2.78\n- vni 43\n- port tap8\n- port tap9\n"
		if got := apply(plain, "dry-run"); got != gone || a.portState(t, "tap9") != "up" {
			t.Errorf("dry run: %s", got)
		}
		a.write(t, other+"- {name: tap7, type: tap, vni: 42, netns: vtepd-no-such}\n")
		if got := a.ask(t, "apply", a.file); got.code != 1 || !strings.Contains(got.stderr, a.file+":") || !strings.Contains(got.stderr, "vtepd-no-such") {
			t.Errorf("a file that the host refuses: %+v", got)
		}
		if got := apply(plain, "dry-run"); got != gone {
			t.Errorf("after a refused file: %s", got)
		}
		if got := apply(other); got != "~ vni 42 peers -192.0.2.78\n- vni 43\n+ vni 44\n+ port tap4 type tap vni 44\n- port tap8\n- port tap9\n" {
			t.Errorf("another file: %s", got)
		}
		if got := a.portState(t, "tap4"); got != "up" {
			t.Errorf("port tap4 is %q", got)
		}
		time.Sleep(100 * time.Millisecond)
		if got := apply(plain); got != "- vni 44\n- port tap4\n" {
			t.Errorf("back: %s", got)
		}
	}
	f.end(t, stall)
	if got := apply(plain); got != "nothing differs\n" {
		t.Errorf("the same file: %s", got)
	}
	for _, name := range links(t, a.host) {
		if strings.HasPrefix(name, "tap") {
			t.Errorf("%s is left behind", name)
		}
	}
}

// TestReloadWithoutFile: there is nothing to read again, and vtepd says so and lives.
func TestReloadWithoutFile(t *testing.T) {
	l, h, _, _ := pair(t)
	dir, err := l.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{host: h, socket: dir + "/vtepd.sock", file: dir + "/unused.yaml"}
	if d.Process, err = h.Start(vtepdPath, "--local", h.Underlay4().String(), "--vni", "42", "--tap", "vtep0", "--socket", d.socket); err != nil {
		t.Fatal(err)
	}
	d.endWithTest(t)
	d.awaitStart(t)
	if line := d.reload(t, ""); !strings.Contains(line, "there is no file") {
		t.Errorf("reload: %s", line)
	}
	d.stop(t, syscall.SIGTERM)
}
