package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestApply: what is printed, what stays undone, and that the second time nothing is left to do.
func TestApply(t *testing.T) {
	l := newLab(t)
	l.run("port", "add", "tap77", "vni", "42")
	next := strings.NewReplacer(
		"ageing: 300s", "ageing: 2h\nfastpath: off",
		"192.0.2.2, \"192.0.2.3:4790\"", "\"192.0.2.3:4790\", 192.0.2.8",
		", mtu: 1400", "",
		"- {name: tap1, access: 20}", "- {name: tap1, access: 20, gbp-id: 7}\n- {name: tap3, vni: 42, addresses: [198.51.100.2/24]}",
		"- {mac: 02:00:00:00:00:09, vni: 42, dst: 192.0.2.2}", "",
	).Replace(testConfig)
	name := filepath.Join(t.TempDir(), "next.yaml")
	if err := os.WriteFile(name, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	want := `~ fastpath auto -> off ageing 5m -> 2h
~ vni 42 peers +192.0.2.8,-192.0.2.2
~ port tap1 gbp-id unset -> 7
~ port tap2 mtu 1400 -> unset
+ port tap3 type tap vni 42 addresses 198.51.100.2/24
- port tap77
- fdb 02:00:00:00:00:09 vni 42
exit: 0
`
	for _, args := range [][]string{{"apply", name, "dry-run"}, {"apply", name}} {
		if got := l.run(args...); got != want {
			t.Errorf("%v: got\n%swant\n%s", args, got, want)
		}
	}
	if got := l.run("apply", name); got != "nothing differs\nexit: 0\n" {
		t.Errorf("again: %s", got)
	}
	if got := l.run("-j", "apply", name); got != "[]\nexit: 0\n" {
		t.Errorf("again, in JSON: %s", got)
	}
	if got := l.run("port", "show", "tap77"); !strings.Contains(got, "does not exist") {
		t.Errorf("what came at run time is there still: %s", got)
	}
	for _, c := range []struct{ text, want string }{
		{strings.Replace(next, "vni: 42, netns", "vni: 77, netns", 1), "vtepctl: standard input:11:22: port tap10 names undeclared VNI 77"},
		{"", "vtepctl: standard input is empty"},
		{strings.Repeat("#", 1<<20+1), "vtepctl: standard input: more than 1048576 bytes"},
	} {
		var out bytes.Buffer
		app := &App{Stdin: strings.NewReader(c.text), Stdout: &out, Stderr: &out, Getenv: func(string) string { return l.socket }}
		if code := app.Run(context.Background(), []string{"apply", "-"}); code != ExitRefused || !strings.HasPrefix(out.String(), c.want) {
			t.Errorf("exit %d: %s, want %s", code, out.String(), c.want)
		}
	}
	if got := l.run("apply", "/does/not/exist"); got != "stderr: vtepctl: open /does/not/exist: no such file or directory\nexit: 1\n" {
		t.Errorf("no file: %s", got)
	}
	if got := l.run("apply", name, "dryrun"); !strings.Contains(got, `did you mean "dry-run"?`) || !strings.HasSuffix(got, "exit: 2\n") {
		t.Errorf("a misspelt word: %s", got)
	}
}

// TestApplySendsFilesAsTheyAre: what JSON would replace is refused as vtepd does it at the start, and what it would lengthen is not.
func TestApplySendsFilesAsTheyAre(t *testing.T) {
	l := newLab(t)
	name := filepath.Join(t.TempDir(), "file.yaml")
	for _, c := range []struct{ text, want string }{
		{testConfig + "# caf\xe9\n", "byte 0xe9 does not belong into a text file: write UTF-8"},
		{testConfig + strings.Repeat("# "+strings.Repeat("<", 90_000)+"\n", 10), "nothing differs\nexit: 0\n"},
	} {
		if err := os.WriteFile(name, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := l.run("apply", name); !strings.Contains(got, c.want) {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	if got := l.run("apply", name, "--dry-run"); !strings.Contains(got, `"--dry-run": write dry-run, without dashes`) {
		t.Error(got)
	}
}
