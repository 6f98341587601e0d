package cli

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/dataplane"
)

// syncBuffer is a buffer that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *syncBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestExpand(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"f s", "fdb show"},
		{"fdb", "fdb"},
		{"f d 02:00:00:00:00:01 vni 4", "fdb del 02:00:00:00:00:01 vni 4"},
		{"fdb ls", "fdb show"},
		{"fdb delete x", "fdb del x"},
		{"vn sh", "vni show"},
		{"m fdb", "monitor fdb"},
		{"help f g", "help fdb get"},
		{"po a -h", "help port add"},
		{"statu", "status"},
		{"dr", "drops"}, {"do", "doctor"},
	} {
		got, err := expand(strings.Fields(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
		} else if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.in, s, c.want)
		}
	}
}

// TestPercent: a word that is not known is quoted as it was written.
func TestPercent(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct{ line, want string }{
		{"%s", `stderr: vtepctl: "%s" is not an object: expected`},
		{"fdb %s", `stderr: vtepctl: fdb: "%s" is not a verb of fdb: expected`},
		{"monitor %s%d", `stderr: vtepctl: monitor: "%s%d" is not something to monitor: expected`},
	} {
		if out := l.run(strings.Fields(c.line)...); !strings.Contains(out, c.want) {
			t.Errorf("%s: want %s in\n%s", c.line, c.want, out)
		}
	}
}

// TestAnyOrder: words with their values come in any order, and the subject may stand between them.
func TestAnyOrder(t *testing.T) {
	v := fdbPut("add")
	want, err := v.parse("fdb add", strings.Fields("02:00:00:00:00:01 vni 42 dst 192.0.2.2 dport 4790 sticky"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"sticky dport 4790 dst 192.0.2.2 vni 42 02:00:00:00:00:01",
		"vni 42 02:00:00:00:00:01 sticky dst 192.0.2.2 dport 4790",
	} {
		got, err := v.parse("fdb add", strings.Fields(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(args{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

func TestComplete(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		line string
		has  []string
		not  []string
	}{
		{"__complete fdb show vni ", []string{"42", "10010"}, []string{"dst"}},
		{"__complete fdb add 02:00:00:00:00:01 vni 42 ", []string{"dst", "port", "static"}, []string{"vni"}},
		{"__complete port show ", []string{"tap1", "tap10"}, nil},
		{"__complete vni add 5 peer 192.0.2.2 ", []string{"peer", "ageing"}, nil},
		{"__complete vni set 42 learning ", []string{"on", "off"}, nil},
		{"__complete monitor ", []string{"fdb", "all"}, nil},
		{"__complete fdb ", []string{"show", "flush"}, nil},
		{"__complete apply ", []string{":0"}, []string{"dry-run"}}, // :0 leaves it to the shell, which knows files
		{"__complete apply FILE ", []string{"dry-run", ":4"}, nil},
		{"__complete batch ", []string{":0"}, nil},
		{"__complete capture count 5 write ", []string{":0"}, []string{"port"}},
		{"__complete capture write x ", []string{"port", ":4"}, []string{"write"}},
	} {
		out := l.run(strings.Split(c.line, " ")...)
		var words []string
		for line := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			words = append(words, word)
		}
		for _, w := range c.has {
			if !slices.Contains(words, w) {
				t.Errorf("%q does not propose %q:\n%s", c.line, w, out)
			}
		}
		for _, w := range c.not {
			if slices.Contains(words, w) {
				t.Errorf("%q proposes %q:\n%s", c.line, w, out)
			}
		}
	}
}

// TestCompleteSocket: names come from the vtepd that the command line is for.
func TestCompleteSocket(t *testing.T) {
	l := newLab(t)
	for _, line := range []string{"__complete --socket SOCKET port show ", "__complete -j --socket=SOCKET port show "} {
		var out, errs bytes.Buffer
		app := &App{Stdout: &out, Stderr: &errs, Getenv: func(string) string { return l.socket + ".other" }}
		app.Run(context.Background(), strings.Split(strings.Replace(line, "SOCKET", l.socket, 1), " "))
		if !strings.Contains(out.String(), "tap10\n") {
			t.Errorf("%s: no names of ports:\n%s%s", line, &out, &errs)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	l := newLab(t)
	for shell, mark := range map[string]string{"bash": "__start_vtepctl", "zsh": "#compdef vtepctl", "fish": "complete -c vtepctl"} {
		if out := l.run("completion", shell); !strings.Contains(out, mark) || !strings.HasSuffix(out, "exit: 0\n") {
			t.Errorf("%s: no completion script: %.200s", shell, out)
		}
	}
}

// TestReasonsExplained: drops show -d has a sentence for every reason there is.
func TestReasonsExplained(t *testing.T) {
	for _, r := range dataplane.Reasons() {
		if explanations[r.String()] == "" {
			t.Errorf("reason %s is not explained", r)
		}
	}
}

// TestOutputLost: output that could not be written is a failure, in text and in JSON.
func TestOutputLost(t *testing.T) {
	l := newLab(t)
	for _, line := range []string{"fdb", "-j fdb", "status", "help"} {
		var stderr bytes.Buffer
		app := &App{Stdout: brokenWriter{}, Stderr: &stderr, Getenv: func(string) string { return l.socket }}
		if code := app.Run(context.Background(), strings.Fields(line)); code != ExitRefused || !strings.Contains(stderr.String(), "the disk is full") {
			t.Errorf("%s: exit %d: %s", line, code, &stderr)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestSpan(t *testing.T) {
	for s, want := range map[int64]string{0: "0s", 59: "59s", 60: "1m", 75: "1m15s", 300: "5m", 3600: "1h", 3661: "1h1m", 86400: "1d", 90000: "1d1h"} {
		if got := span(s); got != want {
			t.Errorf("%d seconds: %s, want %s", s, got, want)
		}
	}
}

// FuzzGrammar: no command line brings vtepctl down, and each ends with one of its exit codes, with a reason when it is not 0.
func FuzzGrammar(f *testing.F) {
	for _, commands := range goldens {
		for line := range strings.Lines(commands) {
			if !strings.Contains(line, "monitor") {
				f.Add(strings.TrimSpace(line))
			}
		}
	}
	f.Add("-jp fdb show \x00")
	f.Fuzz(func(t *testing.T, line string) {
		tokens := strings.Split(line, " ")
		var stdout, stderr bytes.Buffer
		// No switch answers at this socket: what passes the grammar ends with exit code 3.
		app := &App{Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "/nonexistent/socket" }}
		code := app.Run(context.Background(), tokens)
		if code < 0 || code > 3 {
			t.Fatalf("%q: exit code %d", line, code)
		}
		if code != 0 && stderr.Len() == 0 {
			t.Fatalf("%q: exit code %d without a reason", line, code)
		}
		if code == 0 && stdout.Len() == 0 {
			t.Fatalf("%q: exit code 0 and no output without a switch", line)
		}
	})
}
