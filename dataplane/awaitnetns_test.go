package dataplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// newLoneNode starts a switch with VNI 42 and no peer.
func newLoneNode(t testing.TB) *node {
	t.Helper()
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	n := startNode(t, h, nil)
	n.vni(42)
	return n
}

// TestNamespaceLookedFor: a namespace that has been away for long is looked for as often as one that has just gone.
//
//	{p0} ── switch on a {eth0} ══ {eth0} b
func TestNamespaceLookedFor(t *testing.T) {
	t.Parallel()
	n := newLoneNode(t)
	n.do(func() error {
		return n.AwaitPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, NetNS: "vtepd-none"})
	})
	for range 8 {
		n.mu.Lock()
		r := n.ports["p0"]
		r.retry = time.Time{}
		n.refreshPort(r)
		wait, state := r.wait, r.state
		n.mu.Unlock()
		if wait != retryFirst || state != PortMissing {
			t.Fatalf("%s, looked for again after %v, want %v", state, wait, retryFirst)
		}
	}
}

// A workload whose namespace lives on without its name is not where netns says, which is told until the port has come to who has the name now.
//
//	{p0, v0's other end} ── switch on a {eth0} ══ {eth0} b
func TestNamespaceLeftBehind(t *testing.T) {
	t.Parallel()
	n := newLoneNode(t)
	name := fmt.Sprintf("vtepd-left-%d-%x", os.Getpid(), rand.Uint32())
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	run("netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	n.do(func() error {
		return errors.Join(n.AddPort(PortConfig{Name: "p0", Type: PortTAP, Untagged: 42, NetNS: name}),
			n.AddPort(PortConfig{Name: "v0", Type: PortVeth, Untagged: 42, NetNS: name, IfName: "eth0"}))
	})
	warned := func(what string, want bool) {
		t.Helper()
		for _, port := range []string{"p0", "v0"} {
			eventually(t, port+": "+what, func() bool {
				n.do(func() error { n.refreshPorts(nil); return nil })
				i := n.portInfo(port)
				return i.State == PortUp && strings.Contains(i.Warning, "a process keeps a former one of that name") == want && (i.NetNS == name) != want
			})
		}
	}
	warned("where it belongs", false)
	holder, err := os.Open("/run/netns/" + name) // as a process in it would
	if err != nil {
		t.Fatal(err)
	}
	run("netns", "del", name)
	warned("the name is gone", true)
	run("netns", "add", name)
	warned("the name is another one's", true)
	holder.Close()
	warned("the former one is gone", false)
}

// A port follows the namespace of its workload to another name: it says where its end is, which goes on carrying frames, and settles there when it is told the name.
//
//	{p0, v0's other end} ── switch on a {eth0} ══ {eth0} b
func TestNamespaceRenamed(t *testing.T) {
	t.Parallel()
	n := newLoneNode(t)
	before := fmt.Sprintf("vtepd-before-%d-%x", os.Getpid(), rand.Uint32())
	after := strings.Replace(before, "before", "after", 1)
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	run("ip", "netns", "add", before)
	t.Cleanup(func() {
		for _, name := range []string{before, after} {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	})
	ports := []PortConfig{{Name: "p0", Type: PortTAP, Untagged: 42, NetNS: before}, {Name: "v0", Type: PortVeth, Untagged: 42, NetNS: before, IfName: "eth0"}}
	n.do(func() error { return errors.Join(n.AddPort(ports[0]), n.AddPort(ports[1])) })

	run("touch", "/run/netns/"+after)
	run("mount", "--bind", "/run/netns/"+before, "/run/netns/"+after)
	run("ip", "netns", "del", before)
	n.do(func() error { n.refreshPorts(nil); return nil })
	for _, c := range ports {
		i := n.portInfo(c.Name)
		want := fmt.Sprintf("in the network namespace %s, not in %s: `vtepctl port set %s netns %s`", after, before, c.Name, after)
		if i.State != PortUp || i.NetNS != after || i.MAC == nil || !strings.Contains(i.Warning, want) {
			t.Errorf("%s under another name: %s in %q with address %v, warns %q, want %q in it", c.Name, i.State, i.NetNS, i.MAC, i.Warning, want)
		}
	}
	for _, c := range ports {
		moved := c
		moved.NetNS = after
		n.do(func() error { return errors.Join(n.CheckPort(moved, c.Name), n.DelPort(c.Name), n.AddPort(moved)) })
		if i := n.portInfo(c.Name); i.State != PortUp || i.NetNS != after || i.Warning != "" {
			t.Errorf("%s, told of the name: %s in %q, warns %q", c.Name, i.State, i.NetNS, i.Warning)
		}
	}
}
