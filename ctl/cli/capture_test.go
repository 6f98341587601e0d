package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	"vtepd/ctl/ctltest"
)

// capture runs vtepctl capture with words, and returns what it said and its exit code.
func (l *lab) capture(ctx context.Context, stdout *bytes.Buffer, words ...string) (stderr string, code int) {
	var e bytes.Buffer
	app := &App{Stdout: stdout, Stderr: &e, Getenv: func(string) string { return l.socket }}
	code = app.Run(ctx, append([]string{"capture"}, words...))
	return e.String(), code
}

// countFrames reads a capture to its end.
func countFrames(t *testing.T, data []byte) (n int) {
	t.Helper()
	r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, _, err := r.ReadPacketData()
		if err != nil {
			return n
		}
		if !bytes.Equal(frame, ctltest.CaptureFrame) {
			t.Errorf("frame % x", frame)
		}
		n++
	}
}

func TestCapture(t *testing.T) {
	l := newLab(t)
	var stdout bytes.Buffer
	said, code := l.capture(context.Background(), &stdout, "count", "2", "port", "tap10", "drops")
	if code != ExitDone || said != "2 frames captured, 3 lost\n" || countFrames(t, stdout.Bytes()) != 2 {
		t.Errorf("exit code %d, said %q, %d bytes", code, said, stdout.Len())
	}
	if ops := strings.Join(l.sw.Ops(), "\n"); !strings.Contains(ops, "capture {Port:tap10 Peer:invalid AddrPort VNI:0 Dir:0 Drops:true Snaplen:0 Count:2}") {
		t.Errorf("asked for: %s", ops)
	}
}

func TestCaptureToFile(t *testing.T) {
	l := newLab(t)
	path := filepath.Join(t.TempDir(), "x.pcapng")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if _, code := l.capture(context.Background(), &stdout, "port", "nope", "write", path); code != ExitRefused {
		t.Errorf("exit code %d of what is refused", code)
	}
	if data, _ := os.ReadFile(path); string(data) != "precious" {
		t.Error("what was refused has emptied the file")
	}
	os.Remove(path)
	said, code := l.capture(context.Background(), &stdout, "write", path, "count", "1")
	data, err := os.ReadFile(path)
	if err != nil || code != ExitDone || said != "1 frame captured, 3 lost\n" || stdout.Len() > 0 || countFrames(t, data) != 1 {
		t.Errorf("exit code %d, said %q, %v, %d bytes to stdout", code, said, err, stdout.Len())
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != captureMode {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	said, code = l.capture(context.Background(), &stdout, "write", filepath.Join(path, "below"), "count", "1")
	if code != ExitRefused || !strings.Contains(said, "not a directory") {
		t.Errorf("exit code %d, said %q", code, said)
	}
	if _, code = l.capture(context.Background(), &stdout, "write", "-", "count", "1"); code != ExitDone || countFrames(t, stdout.Bytes()) != 1 {
		t.Errorf("write -: exit code %d, %d bytes", code, stdout.Len())
	}
}

// TestCaptureInterrupted: what was captured up to then is there, whole, and that is no failure.
func TestCaptureInterrupted(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(context.Background())
	path := filepath.Join(t.TempDir(), "x.pcapng")
	go func() {
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if st, err := os.Stat(path); err == nil && st.Size() > 0 {
				break
			}
		}
		cancel()
	}()
	said, code := l.capture(ctx, &bytes.Buffer{}, "write", path)
	data, err := os.ReadFile(path)
	if code != ExitDone || said != "1 frame captured, 3 lost\n" || err != nil || countFrames(t, data) != 1 {
		t.Errorf("exit code %d, said %q, %v", code, said, err)
	}
}

// TestCaptureReaderGone: a capture ends with whoever reads it, though there is nothing more to write.
func TestCaptureReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	l := newLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() {
		_, _ = r.Read(make([]byte, 1<<12))
		r.Close()
	}()
	var stderr bytes.Buffer
	app := &App{Stdout: w, Stderr: &stderr, Getenv: func(string) string { return l.socket }}
	if code := app.Run(ctx, []string{"capture"}); code != ExitDone || ctx.Err() != nil || stderr.String() != "1 frame captured, 3 lost\n" {
		t.Errorf("exit code %d, said %q, %v", code, stderr.String(), ctx.Err())
	}
}

// TestCaptureToTerminal: no terminal is filled with what it cannot show, unless that is asked for.
func TestCaptureToTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer terminal.Close()
	l := newLab(t)
	var stderr bytes.Buffer
	app := &App{Stdout: terminal, Stderr: &stderr, Getenv: func(string) string { return l.socket }}
	if code := app.Run(context.Background(), []string{"capture"}); code != ExitUsage || !strings.Contains(stderr.String(), "vtepctl capture | tcpdump -nr -") {
		t.Errorf("exit code %d, said %q", code, stderr.String())
	}
	if ops := l.sw.Ops(); strings.Contains(strings.Join(ops, " "), "capture") {
		t.Error("a capture began all the same")
	}
}
