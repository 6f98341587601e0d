package daemon

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager stands in for systemd.
type manager struct {
	*net.UnixConn
}

func newManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(shortDir(t), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{c}
}

// next waits for a message that begins with want, and passes over those of the watchdog.
func (m manager) next(t *testing.T, want string) string {
	t.Helper()
	b := make([]byte, 4096)
	if err := m.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := m.Read(b)
		if err != nil {
			t.Fatalf("%s did not come: %v", want, err)
		}
		got := string(b[:n])
		if got == "WATCHDOG=1" && want != got {
			continue
		}
		if !strings.HasPrefix(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		return got
	}
}

// quiet makes sure that no message comes.
func (m manager) quiet(t *testing.T, d time.Duration) {
	t.Helper()
	b := make([]byte, 4096)
	if err := m.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Read(b); err == nil {
		t.Errorf("got %q", b[:n])
	}
}

// onceOnly waits for a message about what has been done, and makes sure that it does not come with every beat. It may come twice, when a beat falls into what
// was done.
func (m manager) onceOnly(t *testing.T, want string, beat time.Duration) {
	t.Helper()
	m.next(t, want)
	b := make([]byte, 4096)
	if err := m.SetReadDeadline(time.Now().Add(5 * beat)); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Read(b); err != nil {
		return
	} else if got := string(b[:n]); got != want {
		t.Errorf("got %q, want %q or nothing", got, want)
	}
	m.quiet(t, 5*beat)
}

// TestNotify holds what the service manager is told, in order.
func TestNotify(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	dir := shortDir(t)
	conf := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(conf, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	r := launch(t, nil, "--config", conf, "--socket", filepath.Join(dir, "s"))
	m.next(t, "READY=1")
	m.next(t, "WATCHDOG=1")
	r.reloads <- syscall.SIGHUP
	m.next(t, "RELOADING=1\nMONOTONIC_USEC=")
	m.next(t, "READY=1")
	r.stops <- os.Interrupt
	m.next(t, "STOPPING=1")
	m.next(t, "EXTEND_TIMEOUT_USEC=")
	if code := r.wait(t); code != ExitClean {
		t.Errorf("exit %d", code)
	}
}

// TestNotifyProgress: the service manager is asked for more time while a start or a reload goes on, and not while it is stuck.
func TestNotifyProgress(t *testing.T) {
	m := newManager(t)
	r, asked, may, dir := startLong(t)
	<-asked
	m.onceOnly(t, "EXTEND_TIMEOUT_USEC=60000000", r.beat)
	may <- struct{}{}
	<-asked
	m.onceOnly(t, "EXTEND_TIMEOUT_USEC=60000000", r.beat)
	// At the end ports may be done between two beats, and READY=1 comes after the last.
	for i := range 8 {
		may <- struct{}{}
		if i < 7 {
			<-asked
		}
	}
	for m.next(t, "") != "READY=1" {
	}

	// A reload that waits for its file is no progress.
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	conf := filepath.Join(dir, "c.yaml")
	os.Remove(conf)
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", pipe.Fd()), conf); err != nil {
		t.Fatal(err)
	}
	r.reloads <- syscall.SIGHUP
	m.next(t, "RELOADING=1")
	m.quiet(t, 5*r.beat)
	w.Close()
	m.next(t, "READY=1")
	m.quiet(t, 5*r.beat)
	r.stops <- syscall.SIGTERM
	m.next(t, "STOPPING=1")
	m.next(t, "EXTEND_TIMEOUT_USEC=60900000")
	if code := r.wait(t); code != ExitClean {
		t.Errorf("exit %d", code)
	}
}
