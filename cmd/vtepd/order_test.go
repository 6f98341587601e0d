package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// datagrams are sent over the overlay one by one, so that each that is lost is missed.
type datagrams struct {
	what           string
	sent, received atomic.Uint64
	stop           chan struct{}
	stopped        chan error
	client, server net.Conn
}

// datagramEvery is the time between two of them: a moment in which they are lost is not passed by.
const datagramEvery = 200 * time.Microsecond

func sendDatagrams(t *testing.T, from, to *lab.Host, address netip.Addr) *datagrams {
	t.Helper()
	d := &datagrams{what: from.Name() + " to " + to.Name(), stop: make(chan struct{}), stopped: make(chan error, 1)}
	var server *net.UDPConn
	err := to.Do(func() (err error) {
		if server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0))); err == nil {
			err = receiveBuffer(server, 4<<20)
		}
		return err
	})
	if err == nil {
		err = from.Do(func() (err error) {
			d.client, err = new(net.Dialer).DialContext(context.Background(), "udp", server.LocalAddr().String())
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	d.server = server
	t.Cleanup(func() { d.client.Close(); d.server.Close() })
	go func() {
		for b := make([]byte, 64); ; d.received.Add(1) {
			if _, err := d.server.Read(b); err != nil {
				return
			}
		}
	}()
	go func() {
		for tick := time.NewTicker(datagramEvery); ; {
			select {
			case <-d.stop:
				d.stopped <- nil
				return
			case <-tick.C:
			}
			if _, err := d.client.Write(make([]byte, 32)); err != nil {
				d.stopped <- err
				return
			}
			d.sent.Add(1)
		}
	}()
	return d
}

// receiveBuffer is SetReadBuffer beyond net.core.rmem_max, which on many machines holds what comes in a tenth of a second.
func receiveBuffer(conn *net.UDPConn, bytes int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) })
	return errors.Join(err, controlErr)
}

// end fails the test when one has not arrived.
func (d *datagrams) end(t *testing.T) {
	t.Helper()
	close(d.stop)
	if err := <-d.stopped; err != nil {
		t.Errorf("%s: %v", d.what, err)
	}
	for end := time.Now().Add(soonTimeout); d.received.Load() < d.sent.Load() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if sent, received := d.sent.Load(), d.received.Load(); sent == 0 || received != sent {
		t.Errorf("%s: %d of %d datagrams arrived", d.what, received, sent)
	}
}

// A reload that takes away what two hosts and two ports talk by, and is refused for a port that cannot be made, takes nothing away meanwhile.
//
//	eth0 198.51.100.11 (work) ══ web0 ─┐
//	                                   ├ vtepd ── eth0 ══ eth0 ── vtepd ── vtep0
//	                             vtep0 ┘
func TestRefusedReloadLosesNothing(t *testing.T) {
	t.Parallel()
	l, ha, hb, _ := pair(t)
	work := l.Host("work")
	more := "- {name: web0, type: veth, vni: 42, netns: " + work.Name() + ", addresses: [198.51.100.11/24]}\n"
	plain := overlay(ha.Underlay4(), hb.Underlay4(), ha.OverlayPrefixes(), more)
	a := start(t, l, ha, plain)
	start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	inside := netip.MustParseAddr("198.51.100.11")
	flows := []*datagrams{}
	for _, f := range []struct {
		from, to *lab.Host
		address  netip.Addr
	}{{ha, hb, hb.Overlay4()}, {hb, work, inside}, {work, ha, ha.Overlay4()}} {
		reach(t, f.from, f.address)
		flows = append(flows, sendDatagrams(t, f.from, f.to, f.address))
	}
	bad := strings.NewReplacer(
		`peers: ["`+hb.Underlay4().String()+`"]}`, "peers: [192.0.2.78], max-macs: 1}\n- {vni: 43}",
		"type: veth, vni: 42", "type: veth, vni: 43",
	).Replace(plain) + "- {name: tap6, type: tap, vni: 42}\n- {name: tap7, type: tap, vni: 42, netns: vtepd-no-such}\n"
	for range 20 {
		if line := a.reload(t, bad); !strings.Contains(line, "nothing changed") || !strings.Contains(line, "vtepd-no-such") {
			t.Fatalf("reload of a broken file: %s", line)
		}
	}
	for _, f := range flows {
		f.end(t)
	}
}

// Two workloads swap their namespaces by a reload, and back by a batch. What is refused leaves them the interfaces that they have.
//
//	eth0 198.51.100.11 (red) ══ v0 ─┐
//	                                ├ vtepd ── eth0 ══ eth0 ── vtepd ── vtep0
//	eth0 198.51.100.12 (blue) ══ v1 ┘
func TestSwapNamespaces(t *testing.T) {
	t.Parallel()
	l, ha, hb, _ := pair(t)
	red, blue := l.Host("red"), l.Host("blue")
	file := func(v0, v1 *lab.Host, more string) string {
		return fmt.Sprintf("local: %v\nvnis:\n- {vni: 42, peers: [%v]}\nports:\n"+
			"- {name: v0, type: veth, vni: 42, netns: %s, addresses: [198.51.100.11/24], mac: \"02:00:00:00:00:11\"}\n"+
			"- {name: v1, type: veth, vni: 42, netns: %s, addresses: [198.51.100.12/24], mac: \"02:00:00:00:00:12\"}\n%s",
			ha.Underlay4(), hb.Underlay4(), v0.Name(), v1.Name(), more)
	}
	a := start(t, l, ha, file(red, blue, ""))
	b := start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	batch := func(lines ...string) answer {
		path := filepath.Join(filepath.Dir(a.file), "batch")
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return a.ask(t, "batch", path)
	}
	at := func(v0, v1 *lab.Host) {
		t.Helper()
		for host, mac := range map[*lab.Host]string{v0: "02:00:00:00:00:11", v1: "02:00:00:00:00:12"} {
			if got := host.MAC("eth0").String(); got != mac {
				t.Errorf("eth0 in %s is %s, want %s", host.Name(), got, mac)
			}
			reach(t, host, b.host.Overlay4())
		}
	}
	at(red, blue)

	indices := fmt.Sprint(red.Index("eth0"), blue.Index("eth0"))
	client, server := connect(t, red, b.host, b.host.Overlay4())
	for _, refused := range []struct {
		lines []string
		says  string
	}{
		{[]string{"port set v1 ifname lo"}, "lo"},
		{[]string{"port set v0 netns " + blue.Name()}, "eth0"},
		{[]string{"port set v0 netns " + blue.Name(), "port set v1 netns " + red.Name(), "port add v2 type veth vni 42 netns " + red.Name()}, "eth0"},
		{[]string{"port set v0 ifname net0", "port set v1 ifname lo"}, "lo"},
		{[]string{"port del v0", "port add v3 type veth vni 42 ifname lo", "port add v2 type veth vni 42 netns " + red.Name()}, "lo"},
	} {
		if got := batch(refused.lines...); got.code != 1 || !strings.Contains(got.stderr, refused.says) {
			t.Errorf("%v: %+v", refused.lines, got)
		}
	}
	if now := fmt.Sprint(red.Index("eth0"), blue.Index("eth0")); now != indices {
		t.Errorf("interfaces %s, were %s", now, indices)
	}
	if err := transfer(client, server, 100<<10, 1); err != nil {
		t.Errorf("a connection over the changes that were refused: %v", err)
	}

	if line := a.reload(t, file(blue, red, "")); !strings.Contains(line, "msg=reloaded") {
		t.Fatalf("reload: %s", line)
	}
	at(blue, red)
	if got := batch("port set v0 netns "+red.Name(), "port set v1 netns "+blue.Name()); got.code != 0 {
		t.Fatalf("batch: %+v", got)
	}
	at(red, blue)
	// One takes the place of another that goes, and the name of its host end.
	if got := batch("port del v0", "port del v1", "port add v0x type veth vni 42 netns "+red.Name()+" address 198.51.100.11/24 mac 02:00:00:00:00:11",
		"port add v1x type veth vni 42 ifname v0", "port add v1 type tap vni 42 netns "+blue.Name()); got.code != 0 {
		t.Fatalf("batch: %+v", got)
	}
	reach(t, red, b.host.Overlay4())
	// A netdev port has the other end of a pair, and another one has it under its next name.
	for _, lines := range [][]string{
		{"vni add 43", "port add w5 type netdev vni 42", "port add v5 type veth vni 43 ifname w5"},
		{"port del w5", "port add w6 type netdev vni 42", "port set v5 ifname w6"},
	} {
		if got := batch(lines...); got.code != 0 {
			t.Fatalf("batch: %+v", got)
		}
		name := strings.Fields(lines[1])[2]
		soon(t, name+" is taken", func() bool { return a.portState(t, name) == "up" })
	}
	a.stop(t, syscall.SIGTERM)
}
