package main_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestVtepctlExitCodes holds the four codes that scripts rely on against a running vtepd.
func TestVtepctlExitCodes(t *testing.T) {
	l, h, _, _ := pair(t)
	d := start(t, l, h, overlay(h.Underlay4(), h.Overlay4(), h.OverlayPrefixes()))
	nobody := filepath.Join(filepath.Dir(d.socket), "nobody.sock")
	for _, c := range []struct {
		args []string
		code int
		says string // on stdout with code 0, otherwise on stderr
	}{
		{[]string{"status"}, 0, h.Underlay4().String()},
		{[]string{"f", "s"}, 0, "00:00:00:00:00:00"},
		{[]string{"fdb", "add", "02:00:00:00:00:09", "vni", "42", "port", "vtep0"}, 0, ""},
		{[]string{"fdb", "add", "02:00:00:00:00:09", "vni", "42", "port", "vtep0"}, 1, "02:00:00:00:00:09"},
		{[]string{"fdb", "get", "02:00:00:00:00:0a", "vni", "42"}, 1, "02:00:00:00:00:0a"},
		{[]string{"vni", "del", "42"}, 1, "vtep0"},
		{[]string{"port", "show", "vtep9"}, 1, "vtep9"},
		{[]string{"fdb", "show", "vni", "abc"}, 2, `"abc" is not a VNI`},
		{[]string{"fdb", "show", "vni"}, 2, "usage: vtepctl fdb show"},
		{[]string{"foo"}, 2, `"foo" is not an object`},
		{nil, 2, "usage: vtepctl"},
		{[]string{"--socket", nobody, "status"}, 3, "no vtepd at " + nobody},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			got := d.ask(t, c.args...)
			said, silent := got.stderr, got.stdout
			if c.code == 0 {
				said, silent = got.stdout, got.stderr
			}
			if got.code != c.code || !strings.Contains(said, c.says) || silent != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and %q", got.code, got.stdout, got.stderr, c.code, c.says)
			}
		})
	}
}

// TestVtepctlTimeout: with --timeout a command ends in time beside a vtepd that does not answer, and what it said of the change is so.
func TestVtepctlTimeout(t *testing.T) {
	l, h, _, _ := pair(t)
	d := start(t, l, h, overlay(h.Underlay4(), h.Overlay4(), h.OverlayPrefixes()))
	d.tell(t, "--timeout", "1m", "vni", "show")
	if err := d.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	got := d.ask(t, "--timeout", "1s", "vni", "add", "43")
	if err := d.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if want := "vtepctl: 1s are over (--timeout) before vtepd answered: it goes on, and does or refuses what was asked: show says which\n"; got.code != 1 || got.stderr != want {
		t.Errorf("exit code %d, %q, want 1 and %q", got.code, got.stderr, want)
	}
	soon(t, "the change is made", func() bool { return d.ask(t, "vni", "show", "43").code == 0 })
	if got := d.ask(t, "--timeout", "5", "status"); got.code != 2 || !strings.Contains(got.stderr, `--timeout: "5" has no unit: write 5s for seconds`) {
		t.Errorf("without a unit: exit code %d, %q", got.code, got.stderr)
	}
}
