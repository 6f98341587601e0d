package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMissingPrivileges takes from vtepd what only the fast path needs: it forwards all the same, and says once in its log, and in its status, what is missing; with
// fastpath: on it refuses to start. Locked memory is not among what is needed: the kernel accounts maps to the control group (Linux 5.11).
func TestMissingPrivileges(t *testing.T) {
	for _, program := range []string{"setpriv", "prlimit"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s (Debian: util-linux)", program)
		}
	}
	for _, c := range []struct {
		name string
		with []string // what vtepd is started by
		says string   // empty: the fast path is on
	}{
		{"CAP_BPF", []string{"setpriv", "--bounding-set", "-bpf,-sys_admin"}, "this process lacks CAP_BPF"},
		{"CAP_PERFMON", []string{"setpriv", "--bounding-set", "-perfmon,-sys_admin"}, "this process lacks CAP_PERFMON"},
		{"both", []string{"setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"}, "this process lacks CAP_BPF and CAP_PERFMON"},
		{"locked memory", []string{"prlimit", "--memlock=0:0", "setpriv", "--bounding-set", "-sys_resource"}, ""},
		{"descriptors", []string{"prlimit", "--nofile=44:44"}, "64 descriptors for programs and maps: too many open files: this process may have 44 descriptors: raise LimitNOFILE="},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, ha, hb, _ := pair(t)
			config := "workers: 1\n" + overlay(ha.Underlay4(), hb.Underlay4(), ha.OverlayPrefixes())
			a := prepare(t, l, ha, "fastpath: on\n"+config)
			launch := func() {
				t.Helper()
				var err error
				if a.Process, err = ha.Start(c.with[0], append(append(append([]string{}, c.with[1:]...), vtepdPath), a.args()...)...); err != nil {
					t.Fatal(err)
				}
				a.endWithTest(t)
			}
			if c.says != "" {
				launch()
				err := a.Wait()
				if out := a.Output(); err == nil || !strings.Contains(out, c.says) || !strings.Contains(out, "fastpath: auto") {
					t.Errorf("with fastpath: on: %v: %s", err, out)
				}
				a.write(t, "fastpath: auto\n"+config)
			}
			launch()
			a.awaitStart(t)
			b := start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
			reach(t, ha, b.host.Overlay4())
			status := a.tell(t, "status")
			if c.says == "" {
				if !strings.Contains(status, "tcx on eth0") {
					t.Errorf("status says nothing of the fast path at work:\n%s", status)
				}
			} else if !strings.Contains(status, c.says) {
				t.Errorf("status does not say %q:\n%s", c.says, status)
			}
			a.stop(t, syscall.SIGTERM)
			want := 1
			if c.says == "" {
				want = 0
			}
			if out := a.Output(); strings.Count(out, "fast path off") != want || strings.Count(out, "level=WARN") != want || !strings.Contains(out, c.says) {
				t.Errorf("want %d warnings with %q: %s", want, c.says, out)
			}
		})
	}
}

// TestMissingCapabilities: without what ports or the underlay ask for vtepd does not start, and its one line names what is missing and where to give it.
func TestMissingCapabilities(t *testing.T) {
	for _, program := range []string{"setpriv", "prlimit"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s (Debian: util-linux)", program)
		}
	}
	l, ha, hb, _ := pair(t)
	head := "local: " + ha.Underlay4().String() + "\nfastpath: off\nvnis:\n- {vni: 42}\n"
	port := func(words string) string { return head + "ports:\n- {name: p0, vni: 42, " + words + "}\n" }
	process, err := hb.Start("sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file string
		with       []string // what vtepd is started by
		says       string
	}{
		{"TAP", port("type: tap"), []string{"setpriv", "--bounding-set", "-net_admin"}, "lacks CAP_NET_ADMIN: start it as root, or add that to AmbientCapabilities="},
		{"veth", port("type: veth, ifname: p1"), []string{"setpriv", "--bounding-set", "-net_raw"}, "lacks CAP_NET_RAW: start it as root"},
		{"namespace", port("type: veth, netns: " + hb.Name() + ", ifname: p1"), []string{"setpriv", "--bounding-set", "-sys_admin"}, "lacks CAP_SYS_ADMIN: start it as root"},
		{"namespace of a process", port(fmt.Sprintf("type: veth, netns: /proc/%d/ns/net, ifname: p1", process.PID())), []string{"setpriv", "--bounding-set", "-sys_ptrace"},
			"permission denied: the way through another process asks for CAP_SYS_PTRACE: give the namespace a name with `ip netns attach NAME PID`, and write that"},
		{"low port", head + "listen: [80]\n", []string{"setpriv", "--bounding-set", "-net_bind_service"}, "lacks CAP_NET_BIND_SERVICE: start it as root"},
		{"descriptors", head, []string{"prlimit", "--nofile=12:12"}, "may have 12 descriptors: raise LimitNOFILE="},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := prepare(t, l, ha, c.file)
			var err error
			if d.Process, err = ha.Start(c.with[0], append(append(append([]string{}, c.with[1:]...), vtepdPath), d.args()...)...); err != nil {
				t.Fatal(err)
			}
			d.endWithTest(t)
			err = d.Wait()
			if out := d.Output(); err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v: %s, want %q", err, out, c.says)
			}
		})
	}
}

// TestGroupWithoutDescriptors: a vtepd that may open what a command takes and nothing more names its limit, and does not say that its address is on no
// interface.
func TestGroupWithoutDescriptors(t *testing.T) {
	l, ha, _, _ := pair(t)
	d := start(t, l, ha, "local: "+ha.Underlay4().String()+"\nfastpath: off\nvnis:\n- {vni: 42}\n")
	ha.Must("ip", "address", "flush", "dev", "eth0")
	if got := d.ask(t, "vni", "set", "42", "group", "239.1.1.1"); got.code != 1 || !strings.HasSuffix(got.stderr, "there is none to join on: name one with group-interface\n") {
		t.Errorf("without the address: %+v", got)
	}
	ha.Must("ip", "address", "add", ha.Underlay4().String()+"/24", "dev", "eth0")
	var status struct{ PID int }
	if err := json.Unmarshal([]byte(d.tell(t, "-j", "status")), &status); err != nil {
		t.Fatal(err)
	}
	free := 0
	for {
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", status.PID, free)); err != nil {
			break
		}
		free++
	}
	limit := unix.Rlimit{Cur: uint64(free) + 1, Max: 1024}
	if err := unix.Prlimit(status.PID, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	got := d.ask(t, "vni", "set", "42", "group", "239.1.1.1")
	if got.code != 1 || !strings.Contains(got.stderr, fmt.Sprintf("too many open files: this process may have %d descriptors: raise LimitNOFILE=", limit.Cur)) ||
		strings.Contains(got.stderr, "no interface has") {
		t.Errorf("%+v", got)
	}
	if got := d.tell(t, "status"); strings.Contains(got, "on no interface") {
		t.Errorf("status: %s", got)
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(status.PID, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	d.tell(t, "vni", "set", "42", "group", "239.1.1.1")
}
