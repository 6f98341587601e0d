package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vtepd/ctl/api"
	"vtepd/ctl/client"
	"vtepd/ctl/ctltest"
	"vtepd/dataplane"
)

// syncBuffer may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// shortDir is a directory whose paths fit into a socket address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vtepd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// patience is how long a test waits for what must come before it calls it missing; the machine may be busy.
const patience = 30 * time.Second

// run is a vtepd over a switch that moves no frame.
type run struct {
	*Process
	out, err *syncBuffer
	sw       *ctltest.Switch
	code     chan int
}

func launch(t *testing.T, newErr error, args ...string) *run {
	t.Helper()
	return launchOver(t, func(sw *ctltest.Switch) (dataPlane, error) { return sw, newErr }, args...)
}

// launchOver is launch with another data plane over the switch.
func launchOver(t *testing.T, over func(*ctltest.Switch) (dataPlane, error), args ...string) *run {
	t.Helper()
	r := &run{out: &syncBuffer{}, err: &syncBuffer{}, code: make(chan int, 1)}
	var mu sync.Mutex
	r.Process = &Process{
		Stdout: r.out, Stderr: r.err, reloads: make(chan os.Signal, 1), stops: make(chan os.Signal, 2), exit: func(code int) { r.code <- code },
		beat: 20 * time.Millisecond,
		newSwitch: func(c dataplane.Config) (dataPlane, error) {
			mu.Lock()
			defer mu.Unlock()
			r.sw = ctltest.New(c)
			return over(r.sw)
		},
	}
	go func() { r.code <- r.Run(args) }()
	return r
}

func (r *run) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(patience):
		t.Fatalf("vtepd does not end: %s", r.err)
		return 0
	}
}

func (r *run) logged(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if strings.Contains(r.err.String(), text) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%q was not logged:\n%s", text, r.err)
}

const file = `local: 192.0.2.1
vnis: [{vni: 42, peers: [192.0.2.2]}]
ports:
- {name: tap0, vni: 42}
`

func TestLifecycle(t *testing.T) {
	dir := shortDir(t)
	path, socket := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "run", "s")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	r := launch(t, nil, "--config", path, "--socket", socket, "--log-format", "json")
	r.logged(t, `"msg":"started"`)
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: mode %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(socket)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("directory: mode %v, %v", info.Mode(), err)
	}
	c := client.New(socket)
	defer c.Close()
	ctx := context.Background()
	if err := c.AddPeer(ctx, api.PeerSpec{Peer: "192.0.2.9", VNI: 42}); err != nil {
		t.Fatal(err)
	}

	write(file + "- {name: tap1, vni: 42}\n")
	r.reloads <- syscall.SIGHUP
	r.logged(t, `"result":"1 port added"`)
	write("workers: 5\n" + file)
	r.reloads <- syscall.SIGHUP
	r.logged(t, path+`:1:10: workers changed from 0 to 5, which a running vtepd cannot follow: restart vtepd, or change it back`)
	write("wrokers: 5\n" + file)
	r.reloads <- syscall.SIGHUP
	r.logged(t, `unknown key \"wrokers\"`)
	ports, err := c.Ports(ctx, false)
	if err != nil || len(ports) != 2 {
		t.Errorf("ports %v, %v", ports, err)
	}
	if v, err := c.VNI(ctx, 42, false); err != nil || len(v.Peers) != 2 {
		t.Errorf("VNI 42: %+v, %v: the peer added at run time should have stayed", v, err)
	}

	write(file)
	second := launch(t, nil, "--config", path, "--socket", socket)
	if code := second.wait(t); code != ExitBad {
		t.Errorf("a second vtepd on the socket: exit %d", code)
	}
	want := fmt.Sprintf("vtepd: control socket %s: in use by another vtepd, pid %d: stop it, or give this one a socket of its own\n", socket, os.Getpid())
	if got := second.err.String(); got != want {
		t.Errorf("second vtepd: %s, want %s", got, want)
	}

	// A stream that nobody ends must not hold up the stop.
	ended := make(chan error, 1)
	go func() { ended <- c.Events(ctx, nil, func(api.Event) error { return nil }) }()
	for r.sw.Subscribers() == 0 {
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	r.stops <- syscall.SIGTERM
	if code := r.wait(t); code != ExitClean {
		t.Errorf("exit %d: %s", code, r.err)
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("the stop took %s", d)
	}
	if err := <-ended; err == nil {
		t.Error("the event stream did not tell that vtepd stopped")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := r.sw.DelPort("tap0"); !errors.Is(err, dataplane.ErrClosed) {
		t.Errorf("the switch was not closed: %v", err)
	}
}

// TestSocketOption: where the command line names the socket, no file has a say in it: neither one that names the same, nor another one.
func TestSocketOption(t *testing.T) {
	dir := shortDir(t)
	path, socket := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "s")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	r := launch(t, nil, "--config", path, "--socket", socket)
	r.logged(t, "started")
	c := client.New(socket)
	defer c.Close()
	for i, word := range []string{socket, "/x", socket} {
		text := fmt.Sprintf("socket: %s\n%s- {name: tap%d, vni: 42}\n", word, file, i+1)
		if _, err := c.Apply(context.Background(), api.ApplySpec{Text: text}); err != nil {
			t.Errorf("apply with socket %s: %v", word, err)
		}
		if err := os.WriteFile(path, []byte(text+"- {name: new, vni: 42}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.reloads <- syscall.SIGHUP
		for end := time.Now().Add(patience); strings.Count(r.err.String(), "msg=reloaded") <= i; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("reload with socket %s: %s", word, r.err)
			}
		}
	}
	r.stops <- syscall.SIGTERM
	if code := r.wait(t); code != ExitClean {
		t.Errorf("exit %d: %s", code, r.err)
	}
}

// slowSwitch does not end before it may.
type slowSwitch struct {
	*ctltest.Switch
	may chan struct{}
}

func (s slowSwitch) Close() error {
	<-s.may
	return s.Switch.Close()
}

// TestStopAgain: signals that come together ask for one stop; one that comes later forces the end of a stop that takes too long.
func TestStopAgain(t *testing.T) {
	dir := shortDir(t)
	conf := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(conf, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	may := make(chan struct{})
	r := launchOver(t, func(sw *ctltest.Switch) (dataPlane, error) { return slowSwitch{sw, may}, nil }, "--config", conf, "--socket", filepath.Join(dir, "s"))
	r.logged(t, "msg=started")
	r.stops <- syscall.SIGTERM
	r.stops <- syscall.SIGTERM
	r.logged(t, "msg=stopping ")
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
	close(may)
	r.wait(t)
}

// TestBad: what is wrong is said in one line, with exit code 1, and nothing is left behind.
func TestBad(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "s")
	conf := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(conf, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	quick := "--local 192.0.2.1 --vni 42 --tap tap0 --socket " + socket
	for args, want := range map[string]string{
		"":          "nothing to do: give --config FILE, or --local IP to start without a file (see vtepd --help)",
		"--confg x": `unknown flag: --confg (did you mean "--config"?): see vtepd --help`,
		"run":       `"run" is no option: see vtepd --help`,
		"--check":   "--check needs a file to verify: add --config FILE",
		"--config " + conf + " --local 192.0.2.1":                                    "--local is for a start without a file: write it into " + conf,
		"--config " + dir + "/none":                                                  dir + "/none: no such file or directory: name a readable file with --config",
		"--vni 42":                                                                   "the underlay address is missing: give --local IP or --interface IF",
		"--local 192.0.2.1 --local 192.0.2.2":                                        "--local: 192.0.2.1 and 192.0.2.2 are both IPv4: there is room for one of each family",
		"--local 192.0.2.1 --interface lo":                                           "--local and --interface exclude each other: keep one",
		"--local 192.0.2.1,2001:db8::1":                                              `--local: "192.0.2.1,2001:db8::1" is a list: give the option once for each, as in --local 192.0.2.1 --local 2001:db8::1`,
		"--local 192.0.2.1 --vni 1 --peer 192.0.2.2,192.0.2.3,192.0.2.4":             `--peer: "192.0.2.2,192.0.2.3,192.0.2.4" is a list: give the option once for each, as in --peer 192.0.2.2 --peer 192.0.2.3`,
		"--local 192.0.2.1 --vni 1 --tap a --address 198.51.100.1/24,2001:db8::1/64": `--address: "198.51.100.1/24,2001:db8::1/64" is a list: give the option once for each, as in --address 198.51.100.1/24 --address 2001:db8::1/64`,
		"--local 192.0.2.1 --peer 192.0.2.2":                                         "--peer needs the VNI that it is in: add --vni N",
		"--local 192.0.2.1 --tap tap0":                                               "--tap needs the VNI that it is in: add --vni N",
		"--local 192.0.2.1 --vni 1 --mtu 1400":                                       "--mtu, --netns and --address are for a TAP: add --tap NAME",
		"--local 192.0.2.1 --vni 0":                                                  "--vni: 0 is out of range: a VNI is a number from 1 to 16777215",
		"--local 192.0.2.1 --vni 1 --tap a --tap a":                                  "--tap a is given twice: leave one away",
		"--local 192.0.2.1 --vni 1 --tap a --address 10.0.0.1":                       `--address: "10.0.0.1" has no prefix length: write 10.0.0.1/32, or the length of its subnet`,
		"--local 192.0.2.1 --vni 1 --tap a --tap b --address 198.51.100.1/24":        "--address cannot tell which of 2 TAPs it is for: use a file, or vtepctl port set NAME address IP/LEN",
		"--local 192.0.2.1 --vni 1 --peer 2001:db8::1":                               "peer 2001:db8::1 is IPv6, but local 192.0.2.1 is IPv4: add an address of that family to local",
		"--local 192.0.2.1 --vni 42 --vni 43":                                        `invalid argument "43" for "--vni" flag: given twice: see vtepd --help`,
		"--local 192.0.2.1 --vni=":                                                   "--vni is empty: write a value, or leave the option away",
		"--local= --vni 42":                                                          "--local is empty: write a value, or leave the option away",
		"--local 192.0.2.1 --vni 1 --peer=":                                          "--peer is empty: write a value, or leave the option away",
		"--local 127.0.0.1":                                                          "127.0.0.1 is a loopback address, which no other host reaches: write an address of this host",
		"--local 192.0.2.1 --offload on":                                             `--offload: "on" is not one of off, auto`,
		"--local 192.0.2.1 --fastpath yes":                                           `--fastpath: "yes" is not one of off, auto, on (did you mean "on"?)`,
		"--local 192.0.2.1 --ageing 300":                                             `--ageing: "300" has no unit: write 300s for seconds`,
		"--local 192.0.2.1 --peer-policy any":                                        `--peer-policy: "any" is not one of strict, learn`,
		"--local 192.0.2.1 --socket s":                                               `--socket: "s" is not an absolute path, such as /run/vtepd/vtepd.sock`,
		"--local 192.0.2.1 --log-level loud":                                         `--log-level: "loud" is not one of debug, info, warn, error`,
		"--interface no-such-if --socket " + socket:                                  "interface no-such-if does not exist: see `ip link`, or set local",
		"--local 192.0.2.1 --socket " + conf + "/s":                                  "control socket " + conf + "/s: not a directory: choose another place with socket",
		"--local 192.0.2.1 --socket " + conf:                                         "control socket " + conf + ": there is something else of that name, and it is not a socket: remove it, or choose another place with socket",
	} {
		r := launch(t, nil, strings.Fields(args)...)
		if code := r.wait(t); code != ExitBad {
			t.Errorf("%s: exit %d", args, code)
		}
		if got := r.err.String(); got != "vtepd: "+want+"\n" {
			t.Errorf("%s\ngot  %swant vtepd: %s", args, got, want)
		}
	}
	r := launch(t, errors.New("underlay: the port\nis taken"), strings.Fields(quick)...)
	if code := r.wait(t); code != ExitBad || r.err.String() != "vtepd: underlay: the port is taken\n" {
		t.Errorf("exit %d: %s", code, r.err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// portless is a switch whose host refuses every device.
type portless struct{ *ctltest.Switch }

func (portless) AwaitPort(dataplane.PortConfig) error { return errors.New("port tap0: tap: not today") }

// TestDeviceRefused: what the host refuses at the start is told with its place in the file, as on a reload.
func TestDeviceRefused(t *testing.T) {
	dir := shortDir(t)
	conf := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(conf, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	over := func(sw *ctltest.Switch) (dataPlane, error) { return portless{sw}, nil }
	for args, want := range map[string]string{
		"--config " + conf:                      conf + ":4:10: port tap0: tap: not today",
		"--local 192.0.2.1 --vni 42 --tap tap0": "port tap0: tap: not today",
	} {
		r := launchOver(t, over, strings.Fields(args+" --socket "+dir+"/s")...)
		if code := r.wait(t); code != ExitBad || r.err.String() != "vtepd: "+want+"\n" {
			t.Errorf("%s: exit %d\ngot  %swant vtepd: %s", args, code, r.err, want)
		}
	}
}

func TestCheckVersionHelp(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(conf, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--config " + conf + " --check": conf + ": ok\n",
		"--version":                     "vtepd dev\n",
		"--help":                        helpText,
		"-h":                            helpText,
	} {
		r := launch(t, nil, strings.Fields(args)...)
		if code := r.wait(t); code != ExitClean || r.out.String() != want {
			t.Errorf("%s: exit %d: %s%s", args, code, r.out, r.err)
		}
	}
}

// TestHelpNamesEveryFlag keeps the help text complete.
func TestHelpNamesEveryFlag(t *testing.T) {
	for _, name := range append([]string{"config", "check", "socket", "log-level", "log-format", "version", "help"}, quickNames...) {
		if !strings.Contains(helpText, " --"+name) {
			t.Errorf("--%s is not in the help text", name)
		}
	}
}

// TestQuickStart declares as it goes.
func TestQuickStart(t *testing.T) {
	s, err := parseFlags(strings.Fields("--local 2001:db8::1 --vni 42 --peer 2001:db8::2 --peer [2001:db8::3]:4790 --tap a --tap b --mtu 1400 --netns blue --dstport 8472 " +
		"--ageing 0 --peer-policy learn --workers 3 --offload off --fastpath off"))
	if err != nil {
		t.Fatal(err)
	}
	m := s.quick
	if c := m.SwitchConfig(); c.Local.String() != "2001:db8::1" || c.DstPort != 8472 || c.Workers != 3 || c.Offload {
		t.Errorf("switch: %+v", c)
	}
	v := m.VNIConfig(42)
	if fmt.Sprint(v.Peers) != "[[2001:db8::2]:8472 [2001:db8::3]:4790]" || v.Ageing != 0 || v.Policy != dataplane.Learn {
		t.Errorf("VNI: %+v", v)
	}
	for _, name := range []string{"a", "b"} {
		if p := m.PortConfig(name); p.Untagged != 42 || p.MTU != 1400 || p.NetNS != "blue" {
			t.Errorf("port: %+v", p)
		}
	}
}

// TestTwoLocals: --local twice is one address of each family.
func TestTwoLocals(t *testing.T) {
	s, err := parseFlags(strings.Fields("--local 192.0.2.1 --local 2001:db8::1 --vni 42 --peer 192.0.2.2 --peer 2001:db8::3 --tap a"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.quick.Global.LocalsText(); got != "192.0.2.1 and 2001:db8::1" {
		t.Errorf("local %s", got)
	}
}

// claimNow is claim for who does not look at the log, and does not stop.
func claimNow(socket string) (*controlSocket, error) {
	return claim(context.Background(), socket, slog.New(slog.DiscardHandler))
}

// TestStaleSocket: a socket that nobody serves is replaced; one that another program serves is not.
func TestStaleSocket(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claimNow(socket); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by another program, pid %d", os.Getpid())) {
		t.Errorf("a socket in use: %v", err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Stat(socket); err != nil {
		t.Fatal(err)
	}
	s, err := claimNow(socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is there before anything serves it")
	}
	if err := s.bind(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(socket)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestLockRace: of many that want the socket at once, one at a time has it.
func TestLockRace(t *testing.T) {
	socket := filepath.Join(shortDir(t), "a", "b", "s")
	var holders, got int32
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				s, err := claimNow(socket)
				if err != nil {
					continue
				}
				mu.Lock()
				holders++
				got++
				if holders > 1 {
					t.Error("two hold the socket")
				}
				mu.Unlock()
				if err := s.bind(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				holders--
				mu.Unlock()
				s.Close()
			}
		})
	}
	wg.Wait()
	if got == 0 {
		t.Error("nobody ever got the socket")
	}
}
