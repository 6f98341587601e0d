package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vtepd/ctl/ctltest"
	"vtepd/dataplane"
)

// longStart is a switch that takes as long for a port as the test wants.
type longStart struct {
	*ctltest.Switch
	asked chan string
	may   chan struct{}
}

func (s longStart) AwaitPort(c dataplane.PortConfig) error {
	s.asked <- c.Name
	<-s.may
	return s.Switch.AwaitPort(c)
}

func startLong(t *testing.T) (r *run, asked chan string, may chan struct{}, dir string) {
	t.Helper()
	dir = shortDir(t)
	conf := filepath.Join(dir, "c.yaml")
	text := file
	for i := 1; i < 9; i++ {
		text += fmt.Sprintf("- {name: tap%d, vni: 42}\n", i)
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	asked, may = make(chan string), make(chan struct{})
	r = launchOver(t, func(sw *ctltest.Switch) (dataPlane, error) { return longStart{sw, asked, may}, nil }, "--config", conf, "--socket", filepath.Join(dir, "s"))
	return r, asked, may, dir
}

// askToStop sends the signal that asks for the stop, and returns when it is heeded: another one, which is no more than the same stop, is taken only then.
func (r *run) askToStop() {
	r.stops <- syscall.SIGTERM
	r.stops <- syscall.SIGTERM
	for len(r.stops) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestStopDuringStart: a signal ends the start after the port that is being made.
func TestStopDuringStart(t *testing.T) {
	r, asked, may, dir := startLong(t)
	<-asked
	may <- struct{}{}
	<-asked
	r.askToStop()
	may <- struct{}{}
	if code := r.wait(t); code != ExitClean || !strings.Contains(r.err.String(), "msg=stopping reason=terminated") || strings.Contains(r.err.String(), "msg=started") {
		t.Errorf("exit %d: %s", code, r.err)
	}
	if err := r.sw.DelPort("tap0"); err != dataplane.ErrClosed {
		t.Errorf("the switch was not closed: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// TestStopAgainDuringStart: what counts is when the signals came, not when the start has time for them.
func TestStopAgainDuringStart(t *testing.T) {
	r, asked, may, _ := startLong(t)
	<-asked
	r.askToStop()
	time.Sleep(oneStop)
	select {
	case code := <-r.code:
		t.Fatalf("two signals at once: exit %d: %s", code, r.err)
	default:
	}
	r.stops <- os.Interrupt
	if code := r.wait(t); code != ExitInternal || !strings.Contains(r.err.String(), `"second interrupt"`) {
		t.Errorf("a later signal: exit %d: %s", code, r.err)
	}
	may <- struct{}{}
	r.wait(t)
}

// TestStopWhileReading: who reads a file that does not end can be stopped, at the start, on a reload, and where the file is only to be verified.
func TestStopWhileReading(t *testing.T) {
	dir := shortDir(t)
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer w.Close()
	endless := fmt.Sprintf("/proc/self/fd/%d", pipe.Fd())
	conf := filepath.Join(dir, "c.yaml")
	for _, c := range []struct {
		name, args, says string
		code             int
	}{
		{"start", "--config " + endless, "msg=stopping reason=terminated", ExitClean},
		{"check", "--check --config " + endless, "vtepd: " + endless + ": not verified: terminated\n", ExitBad},
		{"reload", "--config " + conf, "msg=stopping reason=terminated", ExitClean},
	} {
		os.Remove(conf)
		if err := os.WriteFile(conf, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		r := launch(t, nil, strings.Fields(c.args+" --socket "+filepath.Join(dir, "s"))...)
		if c.name == "reload" {
			r.logged(t, "msg=started")
			os.Remove(conf)
			if err := os.Symlink(endless, conf); err != nil {
				t.Fatal(err)
			}
			r.reloads <- syscall.SIGHUP
			for len(r.reloads) > 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(20 * time.Millisecond)
		r.stops <- syscall.SIGTERM
		if code := r.wait(t); code != c.code || !strings.Contains(r.err.String(), c.says) || strings.Contains(r.err.String(), "refused") {
			t.Errorf("%s: exit %d: %s", c.name, code, r.err)
		}
	}
}

// heldAtClose is a switch that looks at the control socket's place while it is being closed.
type heldAtClose struct {
	*ctltest.Switch
	look func()
}

func (s heldAtClose) Close() error {
	s.look()
	return s.Switch.Close()
}

// TestPlaceHeldUntilTheEnd: the next vtepd cannot begin while this one takes away what it made, and a socket that is gone says that all of it is.
func TestPlaceHeldUntilTheEnd(t *testing.T) {
	dir := shortDir(t)
	conf, socket := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "s")
	if err := os.WriteFile(conf, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	r := launchOver(t, func(sw *ctltest.Switch) (dataPlane, error) {
		return heldAtClose{sw, func() {
			if _, err := claimNow(socket); err == nil || !strings.Contains(err.Error(), "in use by another vtepd") {
				t.Errorf("another vtepd gets the place of one that stops: %v", err)
			}
			if _, err := os.Lstat(socket); err != nil {
				t.Errorf("while the switch is being closed: %v", err)
			}
			if c, err := net.Dial("unix", socket); err == nil {
				c.Close()
				t.Error("somebody listens for a switch that is being closed")
			}
		}}, nil
	}, "--config", conf, "--socket", socket)
	r.logged(t, "msg=started")
	r.stops <- syscall.SIGTERM
	if code := r.wait(t); code != ExitClean {
		t.Errorf("exit %d: %s", code, r.err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// TestStartFailsAtPorts: a start that fails before the takeover, at its ports or at the control socket, abandons the switch, which then keeps what a former process left; one that is stopped closes it.
func TestStartFailsAtPorts(t *testing.T) {
	dir := shortDir(t)
	conf := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(conf, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	r := launchOver(t, func(sw *ctltest.Switch) (dataPlane, error) {
		sw.Fail(func(op string) error {
			if op == "add port tap0" {
				return errors.New("the host refuses")
			}
			return nil
		})
		return sw, nil
	}, "--config", conf, "--socket", filepath.Join(dir, "s"))
	if code := r.wait(t); code != ExitBad || !strings.Contains(r.err.String(), "the host refuses") || !r.sw.Abandoned() || r.sw.TakenOver() {
		t.Errorf("exit %d, abandoned %v, taken over %v: %s", code, r.sw.Abandoned(), r.sw.TakenOver(), r.err)
	}
	// The place of the socket is free when the start begins, and taken at its end.
	place := filepath.Join(dir, "taken")
	r = launchOver(t, func(sw *ctltest.Switch) (dataPlane, error) { return sw, os.Mkdir(place, 0o700) }, "--config", conf, "--socket", place)
	if code := r.wait(t); code != ExitBad || !strings.Contains(r.err.String(), "control socket "+place+": address already in use") || !r.sw.Abandoned() || r.sw.TakenOver() {
		t.Errorf("no socket: exit %d, abandoned %v, taken over %v: %s", code, r.sw.Abandoned(), r.sw.TakenOver(), r.err)
	}
	r, asked, may, _ := startLong(t)
	<-asked
	r.askToStop()
	may <- struct{}{}
	if code := r.wait(t); code != ExitClean || r.sw.Abandoned() || !r.sw.TakenOver() {
		t.Errorf("stopped: exit %d, abandoned %v, taken over %v: %s", code, r.sw.Abandoned(), r.sw.TakenOver(), r.err)
	}
}
