package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runBatch runs a batch from a file and returns what came of it, the file's name left out.
func (l *lab) runBatch(t testing.TB, lines string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(name, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(l.run("batch", name), name, "b")
}

// A batch does what its commands do one after the other.
func TestBatch(t *testing.T) {
	const lines = `# a tenant
vni add 50 peer 192.0.2.5 gbp on
vlan add 50 vni 50          # its name
vtepctl port add tap50 access 50
	fdb add 02:00:00:00:50:01 vni 50 port tap50
f ad 02:00:00:00:50:02 vni 50 dst 192.0.2.5 sticky

fdb append 00:00:00:00:00:00 vni 50 dst 192.0.2.6
fdb del 02:00:00:00:00:09 vni 42
fdb add 02:00:00:00:00:09 vni 42 dst 192.0.2.3
fdb replace 02:00:00:00:00:0b vni 42 port tap10
fdb add 02:00:00:00:00:77 vni 42 port tap10
fdb del 02:00:00:00:00:77 vni 42
peer del 192.0.2.2 vni 42
vni set 42 ageing 60s
port set tap1 mtu 1300
port del tap2
vlan del 22
`
	one, all := newLab(t), newLab(t)
	for _, line := range strings.Split(lines, "\n") {
		if words := batchWords(line); len(words) > 0 {
			if got := one.run(words...); got != "exit: 0\n" {
				t.Fatalf("%s: %s", line, got)
			}
		}
	}
	if got := all.runBatch(t, lines); got != "exit: 0\n" {
		t.Fatal(got)
	}
	for _, look := range []string{"-j vni show", "-j port show", "-j fdb show static", "-j vlan show", "-j peer show"} {
		words := strings.Fields(look)
		if a, b := one.run(words...), all.run(words...); a != b {
			t.Errorf("%s:\none by one: %s\nbatch:      %s", look, a, b)
		}
	}
}

// A batch with a mistake changes nothing and names its line.
func TestBatchRefused(t *testing.T) {
	const good = "vni add 50\nfdb add 02:00:00:00:50:01 vni 50 dst 192.0.2.5\n"
	for _, c := range []struct{ lines, want string }{
		{"", "exit: 0"},
		{"# nothing\n\n", "exit: 0"},
		{good + "fdb add 02:00:00:00:50:02 vni 51 dst 192.0.2.5\n", "stderr: vtepctl: b:3: VNI 51 does not exist: make it with vni add\nexit: 1"},
		{good + "\n# and\nfdb add 02:00:00:00:50:01 vni 50 dst 192.0.2.6\n",
			"stderr: vtepctl: b:5: 02:00:00:00:50:01 is in VNI 50 already, static at 192.0.2.5: use fdb replace\nexit: 1"},
		{"fdb add 02:00:00:00:00:01 vni 42 dst 192.0.2.6\n" + good, "stderr: vtepctl: b:1: 02:00:00:00:00:01 is in VNI 42 already, dynamic at tap10: use fdb replace\nexit: 1"},
		{good + "vni add 50\n", "stderr: vtepctl: b:3: VNI 50 exists already: change it with vni set\nexit: 1"},
		{good + "port add tap9 access 99\nvlan add 99 vni 50\n",
			"stderr: vtepctl: b:3: port tap9 names undeclared VLAN 99: declare it under vlans, or with vtepctl vlan add\nexit: 1"},
		{good + "fdb add 02:00:00:00:50:03 vni 50 dst 192.0.2.7 dynamic\n",
			"stderr: vtepctl: b:3: a dynamic entry is no part of a batch, because it may leave the table before the batch is done: make it static or sticky\nexit: 1"},
		{good + "fdb del 02:00:00:00:00:01 vni 42\n",
			"stderr: vtepctl: b:3: 02:00:00:00:00:01 in VNI 42 is dynamic, and a dynamic entry is no part of a batch: delete it with a command of its own\nexit: 1"},
		{good + "fdb del 02:00:00:00:00:99 vni 42\n", "stderr: vtepctl: b:3: 02:00:00:00:00:99 is not in VNI 42: see fdb show vni 42\nexit: 1"},
		{good + "fdb del 02:00:00:00:00:09 vni 42 dst 192.0.2.3\n", "stderr: vtepctl: b:3: 02:00:00:00:00:09 in VNI 42 is at 192.0.2.2, not at 192.0.2.3\nexit: 1"},
		{good + "fdb flush\n", "stderr: vtepctl: b:3: fdb flush is no part of a batch: it takes commands that add, set, replace and delete VNIs, VLANs, peers, ports and entries\nexit: 2"},
		{good + "vni\n", "stderr: vtepctl: b:3: vni is no part of a batch: it takes commands that add, set, replace and delete VNIs, VLANs, peers, ports and entries\nexit: 2"},
		{good + "status\n", "stderr: vtepctl: b:3: status is no part of a batch: it takes commands that add, set, replace and delete VNIs, VLANs, peers, ports and entries\nexit: 2"},
		{good + "batch b\n", "stderr: vtepctl: b:3: batch b is no part of a batch: it takes commands that add, set, replace and delete VNIs, VLANs, peers, ports and entries\nexit: 2"},
		{good + "help vni add\n", "stderr: vtepctl: b:3: help vni is no part of a batch: it takes commands that add, set, replace and delete VNIs, VLANs, peers, ports and entries\nexit: 2"},
		{good + "-j vni show\n", `stderr: vtepctl: b:3: "-j" is not an object`},
		{good + "port set tap0 vni 050\n", `stderr: vtepctl: b:3: port set: vni: "050" begins with a zero, which some programs read as octal: write 50, or 40 where that is meant`},
		{good + "vni add fifty\n", `stderr: vtepctl: b:3: vni add: "fifty" is not`},
		{good + strings.Repeat("x", maxBatchLine+1), "stderr: vtepctl: b: a line has more than 1048576 bytes: it is no command\nexit: 1"},
	} {
		l := newLab(t)
		before := l.sw.State()
		l.sw.Ops()
		got := strings.TrimSpace(l.runBatch(t, c.lines))
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%.200q:\ngot  %s\nwant %s", c.lines, got, c.want)
		}
		if ops := l.sw.Ops(); len(ops) > 0 || l.sw.State() != before {
			t.Errorf("%.200q changed something: %v", c.lines, ops)
		}
		if out := l.run("vni", "show", "50"); !strings.Contains(out, "does not exist") {
			t.Errorf("%.200q: VNI 50 is there: %s", c.lines, out)
		}
	}
	l := newLab(t)
	if got := l.run("batch", "/does/not/exist"); got != "stderr: vtepctl: open /does/not/exist: no such file or directory\nexit: 1\n" {
		t.Error(got)
	}
}

// What the switch itself refuses in the middle of a batch is undone, and blamed on the line that asked for it.
func TestBatchUndone(t *testing.T) {
	l := newLab(t)
	before := l.sw.State()
	l.sw.Fail(func(op string) error {
		if strings.Contains(op, "02:00:00:00:50:02") {
			return fmt.Errorf("the switch is out of patience")
		}
		return nil
	})
	got := l.runBatch(t, "vni add 50\n\nfdb add 02:00:00:00:50:01 vni 50 dst 192.0.2.5\nfdb add 02:00:00:00:50:02 vni 50 dst 192.0.2.5\nport add tap50 vni 50\n")
	if want := "stderr: vtepctl: b:4: the switch is out of patience\nexit: 1\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if after := l.sw.State(); after != before {
		t.Errorf("not undone:\n%s", after)
	}
}

// Ten thousand entries from standard input take seconds at most, and so do ten thousand commands.
func TestBatchOfMany(t *testing.T) {
	l := newLab(t)
	var in bytes.Buffer
	const n = 10_000
	for i := range n {
		fmt.Fprintf(&in, "fdb add 02:00:01:00:%02x:%02x vni 42 dst 192.0.2.%d\n", i>>8, i&0xff, 2+i%200)
	}
	var out bytes.Buffer
	app := &App{Stdin: &in, Stdout: &out, Stderr: &out, Getenv: func(string) string { return l.socket }}
	began := time.Now()
	if code := app.Run(context.Background(), []string{"batch", "-"}); code != ExitDone {
		t.Fatalf("exit %d: %s", code, out.String())
	}
	took := time.Since(began)
	t.Logf("%d entries in %s", n, took)
	if took > 30*time.Second {
		t.Errorf("%d entries took %s", n, took)
	}
	if got := strings.Count(l.run("-j", "fdb", "show", "static"), `"mac":"02:00:01:00:`); got != n {
		t.Errorf("%d entries, want %d", got, n)
	}
}

// TestBatchByteOrderMark: a file from an editor that begins text with a byte order mark is read as one without, a comment in the first line included.
func TestBatchByteOrderMark(t *testing.T) {
	for _, lines := range []string{"vni add 50\r\nvni add 51\r\n", "# a tenant\nvni add 50\n"} {
		if got := newLab(t).runBatch(t, "\ufeff"+lines); got != "exit: 0\n" {
			t.Errorf("%q: %s", lines, got)
		}
	}
	if got := newLab(t).runBatch(t, "vni add 50\n\ufeffvni add 51\n"); !strings.Contains(got, "b:2: ") {
		t.Errorf("in the second line: %s", got)
	}
}
