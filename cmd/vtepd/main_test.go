package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// The binaries under test, built by TestMain as `make build` does.
var vtepdPath, vtepctlPath string

const (
	// startTimeout bounds a start or a stop.
	startTimeout = lab.Patience
	// soonTimeout bounds the wait for what a running vtepd shall do at once; the machine may be busy.
	soonTimeout = lab.Patience
)

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vtepd-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", "vtepd/cmd/vtepd", "vtepd/cmd/vtepctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	vtepdPath, vtepctlPath = filepath.Join(dir, "vtepd"), filepath.Join(dir, "vtepctl")
	return m.Run()
}

// answer is what a program came to.
type answer struct {
	code           int
	stdout, stderr string
}

// execute runs a program on the host, or where the test runs when host is nil, to its end.
func execute(t *testing.T, h *lab.Host, program string, args ...string) answer {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var err error
	if h == nil {
		err = cmd.Run()
	} else {
		var p *lab.Process
		if p, err = h.StartCmd(cmd); err == nil {
			select {
			case <-p.Done():
				err = p.Wait()
			case <-time.After(startTimeout):
				_ = p.Signal(syscall.SIGKILL)
				t.Fatalf("%s %s does not end: %s%s", filepath.Base(program), strings.Join(args, " "), stdout.String(), stderr.String())
			}
		}
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", program, err)
	}
	return answer{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// daemon is a vtepd on a host.
type daemon struct {
	*lab.Process
	host         *lab.Host
	socket, file string // paths; file is "" for one without a file
}

// start starts a vtepd on the host with a configuration, and waits until it listens. The path of its control socket is given on the command line, so that
// the lines of the file are those of config.
func start(t *testing.T, l *lab.Lab, h *lab.Host, config string, env ...string) *daemon {
	t.Helper()
	d := prepare(t, l, h, config)
	d.run(t, env...)
	return d
}

// prepare makes the files of a vtepd without starting it.
func prepare(t *testing.T, l *lab.Lab, h *lab.Host, config string) *daemon {
	t.Helper()
	dir, err := l.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{host: h, socket: filepath.Join(dir, "vtepd.sock"), file: filepath.Join(dir, "vtepd.yaml")}
	d.write(t, config)
	return d
}

func (d *daemon) write(t *testing.T, config string) {
	t.Helper()
	if err := os.WriteFile(d.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// args are those of every start.
func (d *daemon) args() []string {
	return []string{"--config", d.file, "--socket", d.socket, "--log-level", "debug"}
}

func (d *daemon) run(t *testing.T, env ...string) {
	t.Helper()
	cmd := exec.Command(vtepdPath, d.args()...)
	cmd.Env = append(os.Environ(), env...)
	var err error
	if d.Process, err = d.host.StartCmd(cmd); err != nil {
		t.Fatal(err)
	}
	d.endWithTest(t)
	d.awaitStart(t)
}

// endWithTest stops the vtepd before the lab would kill it: ended in time it takes its programs away itself, which is what is to be tested.
func (d *daemon) endWithTest(t *testing.T) {
	t.Helper()
	p := d.Process
	t.Cleanup(func() {
		select {
		case <-p.Done():
		default:
			_ = p.Stop()
		}
		if t.Failed() {
			t.Logf("vtepd on %s said:\n%s", d.host.Name(), p.Output())
		}
	})
}

// awaitStart waits until the control API answers: devices are there then.
func (d *daemon) awaitStart(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(startTimeout); ; time.Sleep(5 * time.Millisecond) {
		select {
		case <-d.Done():
			t.Fatalf("vtepd ended at once: %v: %s", d.Wait(), d.Output())
		default:
		}
		if a := d.ask(t, "status"); a.code == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("vtepd does not listen after %v: %s", startTimeout, d.Output())
		}
	}
}

// ask runs vtepctl.
func (d *daemon) ask(t *testing.T, args ...string) answer {
	t.Helper()
	return execute(t, nil, vtepctlPath, append([]string{"--socket", d.socket}, args...)...)
}

// tell runs a vtepctl that has to succeed, and returns what it printed.
func (d *daemon) tell(t *testing.T, args ...string) string {
	t.Helper()
	a := d.ask(t, args...)
	if a.code != 0 || a.stderr != "" {
		t.Fatalf("vtepctl %s: exit code %d, stderr %q", strings.Join(args, " "), a.code, a.stderr)
	}
	return a.stdout
}

// list runs vtepctl for an array of JSON objects.
func (d *daemon) list(t *testing.T, args ...string) (objects []map[string]any) {
	t.Helper()
	out := d.tell(t, append([]string{"-j"}, args...)...)
	if err := json.Unmarshal([]byte(out), &objects); err != nil {
		t.Fatalf("vtepctl -j %s: %v in %q", strings.Join(args, " "), err, out)
	}
	return objects
}

// portState is what vtepctl says of a port; "" when there is none.
func (d *daemon) portState(t *testing.T, name string) string {
	t.Helper()
	for _, p := range d.list(t, "port", "show") {
		if p["port"] == name {
			return fmt.Sprint(p["state"])
		}
	}
	return ""
}

// stop asks vtepd to end, and fails the test when that is not clean.
func (d *daemon) stop(t *testing.T, how syscall.Signal) {
	t.Helper()
	if err := d.Signal(how); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Done():
	case <-time.After(startTimeout):
		t.Fatalf("vtepd does not end within %v of %v: %s", startTimeout, how, d.Output())
	}
	if err := d.Wait(); err != nil {
		t.Errorf("vtepd ended after %v with %v: %s", how, err, d.Output())
	}
}

// soon waits until a condition holds, and fails the test when it never does.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(soonTimeout); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", soonTimeout, what)
		}
	}
}

// pair makes two hosts with a link between them.
//
//	a {eth0 192.0.2.1, 2001:db8::1} ══ {eth0 192.0.2.2, 2001:db8::2} b
func pair(t *testing.T) (l *lab.Lab, a, b *lab.Host, link *lab.Link) {
	t.Helper()
	l = lab.New(t)
	a, b = l.Host("a"), l.Host("b")
	return l, a, b, l.Link(a, b, lab.LinkOptions{})
}

// overlay is the file of a vtepd with VNI 42, one peer, and one TAP with the host's overlay addresses.
func overlay(local, peer netip.Addr, addresses []netip.Prefix, more ...string) string {
	return fmt.Sprintf("local: \"%v\"\nvnis:\n- {vni: 42, peers: [\"%v\"]}\nports:\n- {name: vtep0, type: tap, vni: 42, addresses: [\"%v\", \"%v\"]}\n%s",
		local, peer, addresses[0], addresses[1], strings.Join(more, "\n"))
}

// overlayPair starts a vtepd on each of two new hosts.
//
//	{vtep0 198.51.100.1} vtepd on a {eth0} ══ {eth0} vtepd on b {vtep0 198.51.100.2}
func overlayPair(t *testing.T, more ...string) (a, b *daemon) {
	t.Helper()
	l, ha, hb, _ := pair(t)
	a = start(t, l, ha, overlay(ha.Underlay4(), hb.Underlay4(), ha.OverlayPrefixes(), more...))
	b = start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes(), more...))
	return a, b
}

// ping sends one echo request and says whether an answer came.
func ping(t *testing.T, from *lab.Host, to netip.Addr) bool {
	t.Helper()
	_, err := from.Command("ping", "-c", "1", "-W", "1", to.String())
	return err == nil
}

// reach waits until an echo request is answered.
func reach(t *testing.T, from *lab.Host, to netip.Addr) {
	t.Helper()
	soon(t, fmt.Sprintf("answer from %v to %s", to, from.Name()), func() bool { return ping(t, from, to) })
}

// links are the names of the interfaces on a host, but for the fallback devices that tunnel modules, where such are loaded, put into every namespace.
func links(t *testing.T, h *lab.Host) []string {
	t.Helper()
	list, err := h.Netlink().LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, link := range list {
		switch link.Type() {
		case "ipip", "sit", "gre", "gretap", "erspan", "vti", "ip6tnl", "ip6gre", "ip6gretap", "ip6erspan", "vti6":
		default:
			names = append(names, link.Attrs().Name)
		}
	}
	return names
}
