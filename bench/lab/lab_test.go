package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// testFrame is an Ethernet frame with the IEEE's experimental EtherType 1 (0x88b5), which no kernel answers.
func testFrame(payload ...byte) []byte {
	frame := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}
	return append(append(frame, payload...), make([]byte, 60-len(frame)-len(payload))...)
}

func TestInjectedFramesAreSniffedAsTheyWere(t *testing.T) {
	l := New(t)
	a, b := l.Host("a"), l.Host("b")
	link := l.Link(a, b, LinkOptions{Addressing: Bare, MTU: 9000})
	tagged := append(append([]byte{}, testFrame()[:12]...), append([]byte{0x81, 0, 0x60, 10}, testFrame(7)[12:]...)...)
	want := [][]byte{testFrame(1), tagged, append(testFrame(2), bytes.Repeat([]byte{0xaa}, 8000)...)}
	s := b.Sniff(link.B.Name)
	a.Inject(link.A.Name, want...)
	var got [][]byte
	for range want {
		f, ok := s.Next(Patience)
		if !ok {
			t.Fatalf("frame %d did not come", len(got))
		}
		got = append(got, f.Data)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("frames (-want +got):\n%s", d)
	}
	if extra := s.Collect(200 * time.Millisecond); len(extra) > 0 {
		t.Errorf("a bare link carried %d frames nobody sent, the first %x", len(extra), extra[0].Data)
	}
	if lost, err := s.Lost(); lost != 0 || err != nil {
		t.Errorf("lost %d frames, error %v", lost, err)
	}
}

func TestSuperframeCrossesTheLinkWhole(t *testing.T) {
	l := New(t)
	a, b := l.Host("a"), l.Host("b")
	link := l.Link(a, b, LinkOptions{Addressing: Bare})
	s := b.Sniff(link.B.Name)
	const payload = 4000
	frame := append(tcp4Header(payload), make([]byte, payload)...)
	var header [vnetHeaderLen]byte
	header[0], header[1] = 1, 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4
	for i, v := range []uint16{54, 1400, 34, 16} {
		binary.NativeEndian.PutUint16(header[2+2*i:], v)
	}
	a.InjectSuperframe(link.A.Name, header, frame)
	f, ok := s.Next(Patience)
	if !ok || len(f.Data) != len(frame) || !f.ChecksumUnfinished {
		t.Errorf("got frame of %d bytes, checksum unfinished %v, want %d bytes, unfinished", len(f.Data), f.ChecksumUnfinished, len(frame))
	}
	link.OffloadsOff()
	a.InjectSuperframe(link.A.Name, header, frame)
	var sizes []int
	for _, f := range s.Collect(300 * time.Millisecond) {
		sizes = append(sizes, len(f.Data))
	}
	if d := cmp.Diff([]int{1454, 1454, 1254}, sizes); d != "" {
		t.Errorf("sizes of the segments on a wire (-want +got):\n%s", d)
	}
}

// tcp4Header is Ethernet, IPv4 and TCP, 54 bytes, with a right IPv4 checksum; the TCP one is for the kernel to fill in.
func tcp4Header(payload int) []byte {
	h := append(testFrame()[:12:12], 0x08, 0x00)
	ip := []byte{0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2}
	binary.BigEndian.PutUint16(ip[2:], uint16(40+payload))
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	tcp := []byte{0x30, 0x39, 0x14, 0x51, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x10, 0, 0, 0, 0, 0}
	return append(append(h, ip...), tcp...)
}

func TestWireCarriesNothingAboveTheMTU(t *testing.T) {
	for _, wire := range []bool{false, true} {
		t.Run(fmt.Sprintf("wire=%v", wire), func(t *testing.T) {
			l := New(t)
			a, b := l.Host("a"), l.Host("b")
			link := l.Link(a, b, LinkOptions{})
			if wire {
				link.OffloadsOff()
			}
			s := b.Sniff(link.B.Name)
			sendTCP(t, a, b, b.Underlay4(), 4<<20)
			frames, largest := s.Collect(200*time.Millisecond), 0
			for _, f := range frames {
				largest = max(largest, len(f.Data))
			}
			if above := largest > defaultMTU+14; above == wire {
				t.Errorf("largest of %d frames is %d bytes", len(frames), largest)
			}
		})
	}
}

// sendTCP carries n bytes from a to b at address to, inside both namespaces.
func sendTCP(t *testing.T, a, b *Host, to netip.Addr, n int64) {
	t.Helper()
	var listener net.Listener
	if err := b.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(to, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	received := make(chan int64, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			received <- -1
			return
		}
		defer conn.Close()
		got, _ := io.Copy(io.Discard, conn)
		received <- got
	}()
	err := a.Do(func() error {
		// One address and no deadline: Dial stays on this thread.
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", listener.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(make([]byte, n))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-received; got != n {
		t.Fatalf("received %d of %d bytes", got, n)
	}
}

// TestSwitchJoinsHostsInBothFamilies sends from two hosts to the third.
//
//	a {eth0} ══╗
//	b {eth0} ══╬══ sw
//	c {eth0} ══╝
func TestSwitchJoinsHostsInBothFamilies(t *testing.T) {
	l := New(t)
	hosts := []*Host{l.Host("a"), l.Host("b"), l.Host("c")}
	l.Switch("sw", LinkOptions{MTU: 1600}, hosts...)
	sendTCP(t, hosts[0], hosts[2], hosts[2].Underlay4(), 1<<16)
	sendTCP(t, hosts[1], hosts[2], hosts[2].Underlay6(), 1<<16)
}

// TestKernelVXLANCarriesTheOverlay joins a host to a workload behind the other one's bridge.
//
//	a {vxlan 198.51.100.1} ── {eth0} ══ {eth0} ── {vxlan} b {br0} ── {port0} ══ {eth0} w
func TestKernelVXLANCarriesTheOverlay(t *testing.T) {
	l := New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, b, LinkOptions{})
	a.Addr(a.VXLAN(VXLANOptions{VNI: 42, Local: a.Underlay6(), Peers: []netip.Addr{b.Underlay6()}}), a.OverlayPrefixes()...)
	port := b.VXLAN(VXLANOptions{VNI: 42, Local: b.Underlay6(), Peers: []netip.Addr{a.Underlay6()}})
	w := l.Workload(b, "w", "port0", 1430)
	b.Bridge("br0", port, "port0")
	sendTCP(t, a, w, w.Overlay4(), 1<<20)
	sendTCP(t, a, w, w.Overlay6(), 1<<20)
}

func TestProcesses(t *testing.T) {
	l := New(t)
	h := l.Host("a")
	out, err := h.Command("sh", "-c", "readlink /proc/self/ns/net; echo mistake >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "mistake") {
		t.Errorf("error %v, want exit status and stderr", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(h.Path(), &st); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("net:[%d]\n", st.Ino); out != want {
		t.Errorf("the command ran in %q, want %q", out, want)
	}
	p, err := h.Start("sh", "-c", "trap 'echo ended; exit 0' TERM; echo up; while :; do sleep 0.05; done")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(Patience); !strings.Contains(p.Output(), "up") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := p.Stop(); err != nil || p.Output() != "up\nended\n" {
		t.Errorf("stopped with %v and output %q", err, p.Output())
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	NeedRoot(t)
	var names []string
	var pids []int
	broken := errors.New("broken")
	err := Run(func(l *Lab) error {
		a, b := l.Host("a"), l.Host("b")
		l.Link(a, b, LinkOptions{})
		names = append(names, a.Path(), b.Path(), filepath.Join(aliveDir, l.Suffix()))
		for _, script := range []string{"sleep 1000", "setsid sleep 1000 & echo $!; sleep 1000"} {
			p, err := a.Start("sh", "-c", script)
			if err != nil {
				return err
			}
			pids = append(pids, p.PID())
			if strings.HasPrefix(script, "setsid") {
				var daemon int
				for end := time.Now().Add(Patience); daemon == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					fmt.Sscan(p.Output(), &daemon)
				}
				pids = append(pids, daemon)
			}
		}
		for _, name := range names {
			if _, err := os.Stat(name); err != nil {
				t.Error(err)
			}
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("Run returned %v", err)
	}
	for _, name := range names {
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
	for _, pid := range pids {
		gone := func() bool { return pid > 0 && unix.Kill(pid, 0) == unix.ESRCH }
		for end := time.Now().Add(Patience); !gone() && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		if !gone() {
			t.Errorf("process %d still runs", pid)
		}
	}
}

func TestBuildFailureEndsRun(t *testing.T) {
	NeedRoot(t)
	var path string
	err := Run(func(l *Lab) error {
		h := l.Host("a")
		path = h.Path()
		h.Up("nosuch0")
		t.Error("went on after a failure")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("error %v, want one that names the interface", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}

func TestDeadLabIsSwept(t *testing.T) {
	NeedRoot(t)
	dead, err := open()
	if err != nil {
		t.Fatal(err)
	}
	h := dead.Host("a")
	daemon, err := h.Start("sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := dead.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	pins := filepath.Join(pinPlace, strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-")+"-vtepd-sock-00000000", "links")
	if err := os.MkdirAll(pins, 0o700); err != nil {
		t.Logf("no pins: %v", err)
	}
	// What the kernel does when the process is killed: the lock goes, all else stays.
	if err := unix.Flock(int(dead.alive.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	New(t)
	for _, path := range []string{h.Path(), dir, filepath.Dir(pins)} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", path, err)
		}
	}
	select {
	case <-daemon.Done():
	case <-time.After(Patience):
		t.Error("its process still runs")
	}
	close(h.calls)
	h.nl.Close()
	h.ns.Close()
	dead.alive.Close()
}

// TestBeforeClose: a process is still there to be asked to end.
func TestBeforeClose(t *testing.T) {
	NeedRoot(t)
	var err error
	if runErr := Run(func(l *Lab) error {
		p, startErr := l.Host("h").Start("sleep", "60")
		l.BeforeClose(func() { err = p.Signal(0) })
		return startErr
	}); runErr != nil || err != nil {
		t.Errorf("run: %v, process: %v", runErr, err)
	}
}
