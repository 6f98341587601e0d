package cli

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mute is the path of a socket at which requests are read and never answered.
func mute(t *testing.T) string {
	t.Helper()
	// The path of a socket has room for 107 bytes: not under a test's own directory.
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return path
}

// TestTimeout: a script bounds how long a command takes, whatever vtepd does. A second is time enough for a busy machine to get the request over.
func TestTimeout(t *testing.T) {
	socket := mute(t)
	const goesOn = " before vtepd answered: it goes on, and does or refuses what was asked: show says which\n"
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"--timeout 1s status", "vtepctl: 1s are over (--timeout) before vtepd at SOCKET answered\n", ExitRefused},
		{"--timeout=1s vni add 42", "vtepctl: 1s are over (--timeout)" + goesOn, ExitRefused},
		{"--timeout 1s peer del 192.0.2.2", "vtepctl: 1s are over (--timeout)" + goesOn, ExitRefused},
		{"--timeout 1s batch -", "vtepctl: 1s are over (--timeout)" + goesOn, ExitRefused},
		{"--timeout 1s apply -", "vtepctl: 1s are over (--timeout)" + goesOn, ExitRefused},
		{"--timeout 1s apply - dry-run", "vtepctl: 1s are over (--timeout) before vtepd at SOCKET answered\n", ExitRefused},
		{"--timeout 1s doctor mtu peer 192.0.2.2", "vtepctl: 1s are over (--timeout) before vtepd at SOCKET answered\n", ExitRefused},
		{"--timeout 5 status", `vtepctl: --timeout: "5" has no unit: write 5s for seconds` + "\n", ExitUsage},
		{"--timeout -1s status", `vtepctl: --timeout: "-1s" is negative: write 0 to wait for as long as it takes` + "\n", ExitUsage},
		{"--timeout= status", `vtepctl: --timeout: "" is not a duration: expected a number with a unit, such as 300s or 5m` + "\n", ExitUsage},
		{"--timeout soon status", `vtepctl: --timeout: "soon" is not a duration: expected a number with a unit, such as 300s or 5m` + "\n", ExitUsage},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			app := &App{Stdout: &out, Stderr: &errs, Stdin: strings.NewReader("vni add 42\n")}
			began := time.Now()
			code := app.Run(context.Background(), append([]string{"--socket", socket}, strings.Fields(c.args)...))
			said, _, _ := strings.Cut(errs.String(), "usage: ")
			if want := strings.Replace(c.want, "SOCKET", socket, 1); code != c.code || said != want || out.Len() > 0 {
				t.Errorf("exit %d, %q%s\nwant %d, %q", code, said, out.String(), c.code, want)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// TestTimeoutOfMonitor: monitor goes on until it is interrupted; 0 bounds nothing.
func TestTimeoutOfMonitor(t *testing.T) {
	socket := mute(t)
	for _, args := range []string{"--timeout 20ms -j monitor", "--timeout 20ms m", "--timeout 0 vni show", "--timeout 0s vni add 42"} {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		var errs bytes.Buffer
		app := &App{Stdout: io.Discard, Stderr: &errs}
		app.Run(ctx, append([]string{"--socket", socket}, strings.Fields(args)...))
		if ctx.Err() == nil || strings.Contains(errs.String(), "--timeout") {
			t.Errorf("%s: ended by itself: %s", args, &errs)
		}
		cancel()
	}
}

// TestTimeoutOfReading: a command ends in time also while nobody has written all of FILE, and does nothing then, whatever it has read.
func TestTimeoutOfReading(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"batch -", "apply -", "apply - dry-run", "batch " + fifo, "apply " + fifo} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			stdin, to := io.Pipe()
			defer to.Close()
			go io.WriteString(to, "vni add 42\nvni ad") // the rest of which never comes
			var errs bytes.Buffer
			app := &App{Stdout: io.Discard, Stderr: &errs, Stdin: stdin}
			name := strings.Fields(args)[1]
			if name == "-" {
				name = "standard input"
			}
			done := make(chan int, 1)
			go func() {
				done <- app.Run(context.Background(), append([]string{"--timeout", "300ms"}, strings.Fields(args)...))
			}()
			select {
			case code := <-done:
				want := "vtepctl: 300ms are over (--timeout) before all of " + name + " was read: nothing has been asked of vtepd\n"
				if code != ExitRefused || errs.String() != want {
					t.Errorf("exit %d, %q\nwant %d, %q", code, errs.String(), ExitRefused, want)
				}
			case <-time.After(10 * time.Second):
				t.Error("goes on")
			}
		})
	}
}
