package main_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// wreck is what a killed vtepd left: two veth ports, and a fast path that carries between one of them and another host.
//
//	red {eth0 198.51.100.11, eth1} ══ {aa0, ac0} vtepd on a {eth0} ══ {eth0} vtepd on b {vtep0 198.51.100.2}
type wreck struct {
	t           *testing.T
	red, ha, hb *lab.Host
	a, b        *daemon
	// kept and gone are the ports.
	kept, gone string
	before     string
}

// newWreck makes one, with the control socket in a directory of its own when that is given.
func newWreck(t *testing.T, socketDir string) *wreck {
	t.Helper()
	l, ha, hb, _ := pair(t)
	w := &wreck{t: t, red: l.Host("red"), ha: ha, hb: hb}
	w.kept, w.gone = w.veth("aa0", "eth0", ", addresses: [198.51.100.11/24]"), w.veth("ac0", "eth1", "")
	w.b = start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	w.a = prepare(t, l, ha, w.config(w.kept, w.gone))
	if socketDir != "" {
		w.a.socket = filepath.Join(socketDir, "s")
	}
	w.a.run(t)
	if !strings.Contains(w.a.Output(), "fastpath=true") || len(w.a.pins(t)) == 0 {
		t.Skip("no fast path that outlives vtepd")
	}
	w.meet()
	w.known(hb, "vtep0", "198.51.100.11", w.red.MAC("eth0").String())
	reach(t, w.red, hb.Overlay4())
	soon(t, "the fast path carries", func() bool {
		ping(t, w.red, hb.Overlay4())
		return !strings.Contains(w.a.tell(t, "status"), "carried 0 frames to peers")
	})
	if err := w.a.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-w.a.Done()
	w.carries("killed")
	// A connection can be opened, too: its MSS is what the way takes.
	client, server := connect(t, w.red, hb, hb.Overlay4())
	client.Close()
	server.Close()
	w.before = w.state()
	return w
}

func (w *wreck) veth(name, ifname, more string) string {
	return fmt.Sprintf("- {name: %s, type: veth, vni: 42, netns: %s, ifname: %s%s}\n", name, w.red.Name(), ifname, more)
}

func (w *wreck) config(ports ...string) string {
	return fmt.Sprintf("local: %v\nvnis:\n- {vni: 42, peers: [%v]}\nports:\n%s", w.ha.Underlay4(), w.hb.Underlay4(), strings.Join(ports, ""))
}

// known tells a host a neighbour: nobody answers ARP while there is no vtepd.
func (w *wreck) known(at *lab.Host, dev, address, mac string) {
	at.Must("ip", "neigh", "replace", address, "lladdr", mac, "dev", dev, "nud", "permanent")
}

// meet is known for the workload: a change of its MAC costs an interface its neighbours.
func (w *wreck) meet() {
	w.known(w.red, "eth0", w.hb.Overlay4().String(), w.hb.MAC("vtep0").String())
}

func (w *wreck) carries(when string) {
	w.t.Helper()
	lost := 0
	for range 3 {
		if !ping(w.t, w.red, w.hb.Overlay4()) {
			lost++
		}
	}
	if lost > 0 {
		w.t.Errorf("%s: %d of 3 pings without an answer", when, lost)
	}
}

func (w *wreck) state() string {
	return fmt.Sprint("aa0 ", w.ha.Index("aa0"), " ", mtuOf(w.t, w.ha, "aa0"), ", ac0 ", w.ha.Index("ac0"), ", eth0 ", w.red.Index("eth0"), " ", mtuOf(w.t, w.red, "eth0"),
		" ", w.red.MAC("eth0"), "\n", w.red.Must("ip", "-4", "-o", "address", "show", "dev", "eth0"), links(w.t, w.ha), links(w.t, w.red))
}

// fails starts vtepd with ports that it cannot have, or on a host that stands in its way, and wants everything left as it was, and that said so many times.
func (w *wreck) fails(what string, says int, ports ...string) {
	w.t.Helper()
	w.a.write(w.t, w.config(ports...))
	w.a.launch(w.t)
	select {
	case <-w.a.Done():
	case <-time.After(startTimeout):
		w.t.Fatalf("%s: vtepd does not end: %s", what, w.a.Output())
	}
	var exit *exec.ExitError
	if err := w.a.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		w.t.Errorf("%s: %v, want exit code 1: %s", what, err, w.a.Output())
	}
	if n := strings.Count(w.a.Output(), "what a killed vtepd left is kept"); n != says {
		w.t.Errorf("%s: %d lines say what is kept, want %d: %s", what, n, says, w.a.Output())
	}
	if got := w.state(); got != w.before {
		w.t.Errorf("%s: left\n%s\nas it was found:\n%s", what, got, w.before)
	}
	w.meet()
	w.carries(what)
}

// ends starts vtepd as it should be, which takes over with the words given, and stops it.
func (w *wreck) ends(words string) {
	w.t.Helper()
	w.a.write(w.t, w.config(w.kept))
	w.a.run(w.t)
	if out := w.a.Output(); !strings.Contains(out, words) {
		w.t.Errorf("%q is not said: %s", words, out)
	}
	w.carries("started again")
	if got := links(w.t, w.ha); strings.Contains(fmt.Sprint(got), "ac0") {
		w.t.Errorf("a pair stays that no port is for: %v", got)
	}
	w.a.stop(w.t, syscall.SIGTERM)
	w.b.stop(w.t, syscall.SIGTERM)
	if pins := w.a.pins(w.t); len(pins) > 0 {
		w.t.Errorf("left behind: %v", pins)
	}
	if left := links(w.t, w.red); len(left) != 1 {
		w.t.Errorf("left behind: %v", left)
	}
}

// TestFailedStartAfterKill: a start that fails at its ports leaves what a killed vtepd left: known traffic goes on, and the next good start takes it over.
func TestFailedStartAfterKill(t *testing.T) {
	w := newWreck(t, "")
	// What a start has changed of it goes back, too.
	changed := strings.ReplaceAll(w.kept, "addresses: [", "mtu: 1300, mac: \"02:00:00:00:00:77\", addresses: [198.51.100.12/24, ")
	for what, ports := range map[string][]string{
		"the loopback interface":  {w.kept, w.gone, w.veth("ab0", "eth7", ""), "- {name: lo, type: netdev, vni: 42}\n"},
		"an ifname that is taken": {w.kept, w.veth("ab0", "eth7", ""), w.veth("zz1", "lo", "")},
		"changed, and a bad TAP":  {changed, w.veth("ab0", "eth7", ""), "- {name: eth0, type: tap, vni: 42}\n"},
	} {
		w.fails(what, 1, ports...)
	}
	w.ends("fast path taken over from a former process")
}

// TestFailedBindAfterKill: so does one that cannot have its UDP port, or its control socket.
func TestFailedBindAfterKill(t *testing.T) {
	dir, err := os.MkdirTemp("", "vtepd-lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	// A filesystem that has room for itself, the lock and one file more.
	if err := unix.Mount("none", dir, "tmpfs", 0, "nr_inodes=3"); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	w := newWreck(t, dir)

	var holder *net.UDPConn
	if err := w.ha.Do(func() (err error) {
		holder, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.ha.Underlay4(), 4789)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.fails("the UDP port is taken", 0, w.kept, w.gone)
	if out := w.a.Output(); !strings.Contains(out, "port is in use") {
		t.Errorf("another failure: %s", out)
	}
	holder.Close()

	os.Remove(w.a.socket) // a start would make room by that
	room := filepath.Join(dir, "file")
	for _, path := range []string{w.a.socket + ".lock", room} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.fails("no room for the control socket", 1, w.kept, w.gone)
	if out := w.a.Output(); !strings.Contains(out, "control socket "+w.a.socket+": no space left on device: make room there") {
		t.Errorf("another failure: %s", out)
	}
	os.Remove(room)
	w.ends("fast path taken over from a former process")
}

// TestFailedStartAfterAnotherLayout: so does one that cannot read what a vtepd of another version knew.
func TestFailedStartAfterAnotherLayout(t *testing.T) {
	w := newWreck(t, "")
	for _, dir := range w.a.pins(t) {
		maps, _ := filepath.Glob(filepath.Join(dir, "maps-*")) // the pattern is right
		for _, m := range maps {
			if err := os.Rename(m, filepath.Join(dir, "maps-99")); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.fails("the loopback interface", 1, w.kept, w.gone, "- {name: lo, type: netdev, vni: 42}\n")
	if out := w.a.Output(); !strings.Contains(out, "former state is not readable") {
		t.Errorf("the state is readable: %s", out)
	}
	w.ends("former state is not readable")
}

func mtuOf(t *testing.T, h *lab.Host, name string) int {
	t.Helper()
	link, err := h.Netlink().LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().MTU
}
