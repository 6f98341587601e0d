package tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/encap"
)

// stack is a packet socket on the interface: it plays the host behind the TAP,
// and sees offload headers as the stack does.
//
//	Queue ── Device ── tap0 ── stack
type stack struct {
	tb testing.TB
	fd int
}

const testEtherType = 0x88b5 // local experimental, IEEE 802

// patience is how long a test waits for what must come before it calls it missing; the machine may be busy.
const patience = 30 * time.Second

func newStack(tb testing.TB, name string, vnet bool) *stack {
	tb.Helper()
	proto := networkOrder(unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto))
	must(tb, err)
	s := &stack{tb, fd}
	tb.Cleanup(s.close)
	link, err := netlink.LinkByName(name)
	must(tb, err)
	if vnet {
		must(tb, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	}
	must(tb, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	must(tb, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: link.Attrs().Index}))
	must(tb, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}))
	return s
}

// close is also at the end of the test; an open socket keeps its namespace.
func (s *stack) close() {
	unix.Close(s.fd)
	s.fd = -1
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (s *stack) send(b []byte) {
	s.tb.Helper()
	_, err := unix.Write(s.fd, b)
	must(s.tb, err)
}

func (s *stack) receive() []byte {
	s.tb.Helper()
	b := make([]byte, 70000)
	n, err := unix.Read(s.fd, b)
	must(s.tb, err)
	return b[:n]
}

// testFrame is a frame of n bytes that no protocol of the host wants.
func testFrame(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*5)
	}
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, testEtherType >> 8, testEtherType & 0xff})
	return b
}

// readWait reads from whichever queue has a frame.
func readWait(tb testing.TB, d *Device, buf []byte) (int, encap.Offload, error) {
	tb.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		for i := range d.Queues() {
			n, off, err := d.Queue(i).Read(buf)
			if err != unix.EAGAIN {
				return n, off, err
			}
		}
		time.Sleep(time.Millisecond)
	}
	tb.Fatalf("no frame within %s", patience)
	return 0, encap.Offload{}, nil
}

// exchange holds that frames pass both ways, in the interface's namespace.
func exchange(t *testing.T, d *Device) {
	t.Helper()
	a, err := d.Attr()
	must(t, err)
	s := newStack(t, a.Name, false)
	defer s.close()
	for i := range d.Queues() {
		for _, n := range []int{60, 600, 14 + a.MTU} {
			want := testFrame(n, byte(i))
			must(t, d.Queue(i).Write(encap.Offload{}, [][]byte{want[:14], want[14:20], want[20:]}))
			if got := s.receive(); !bytes.Equal(got, want) {
				t.Errorf("queue %d wrote %d bytes, the stack got %d:\n%s", i, n, len(got), cmp.Diff(want, got))
			}
		}
	}
	buf := make([]byte, BufferSize)
	for _, n := range []int{60, 600, 14 + a.MTU} {
		want := testFrame(n, 9)
		s.send(want)
		n, off, err := readWait(t, d, buf)
		must(t, err)
		if got := buf[Headroom : Headroom+n]; !bytes.Equal(got, want) || off != (encap.Offload{}) {
			t.Errorf("the stack sent %d bytes, the queue got %d, offload %+v", len(want), n, off)
		}
	}
	for i := range d.Queues() {
		if _, _, err := d.Queue(i).Read(buf); err != unix.EAGAIN {
			t.Errorf("queue %d has more: %v", i, err)
		}
	}
}

// superframe is TCP over IPv4, checksum unfinished, with payload bytes to be cut
// into segments of size.
func superframe(payload, size int) (encap.Offload, []byte) {
	b := make([]byte, 14+20+32+payload)
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45})
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
	copy(b[20:], []byte{0x40, 0, 64, unix.IPPROTO_TCP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2})
	tcp := b[34:]
	copy(tcp, []byte{0, 9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10, 1, 0})
	for i := range payload {
		b[66+i] = byte(i * 3)
	}
	return encap.Offload{
		Flags: encap.FlagNeedsCsum, GSOType: encap.GSOTCPv4, GSOSize: uint16(size), CsumStart: 34, CsumOffset: 16,
	}, b
}

func TestSuperframeToTheStack(t *testing.T) {
	newNetNS(t)
	d := mustOpen(t, Options{Name: "tap0", Offload: true})
	s := newStack(t, "tap0", true)
	off, frame := superframe(40*1398, 1398)
	parts := [][]byte{frame[:66]}
	for rest := frame[66:]; len(rest) > 0; rest = rest[1398:] {
		parts = append(parts, rest[:1398])
	}
	off.HdrLen = 9999 // never trusted
	must(t, d.Queue(0).Write(off, parts))
	got := s.receive()
	var seen encap.Offload
	seen.Decode(got)
	want := off
	want.HdrLen = 66
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("offload as the stack has it:\n%s", diff)
	}
	if !bytes.Equal(got[encap.OffloadLen:], frame) {
		t.Errorf("frame of %d bytes arrived changed (%d)", len(frame), len(got)-encap.OffloadLen)
	}
}

func TestSuperframeFromTheStack(t *testing.T) {
	newNetNS(t)
	d := mustOpen(t, Options{Name: "tap0", Offload: true})
	s := newStack(t, "tap0", true)
	off, frame := superframe(60000, 1398)
	off.HdrLen = 66
	var header [encap.OffloadLen]byte
	off.Encode(header[:])
	s.send(append(header[:], frame...))
	buf := make([]byte, BufferSize)
	n, seen, err := readWait(t, d, buf)
	must(t, err)
	if seen.GSOType != off.GSOType || seen.GSOSize != off.GSOSize || seen.CsumStart != 34 || seen.CsumOffset != 16 {
		t.Errorf("offload %+v, want %+v", seen, off)
	}
	if !bytes.Equal(buf[Headroom:Headroom+n], frame) {
		t.Errorf("frame of %d bytes arrived changed (%d)", len(frame), n)
	}
}

// TestSuperframeIsCutForAPlainDevice: without offload the kernel does the work,
// and no read ever sees an unfinished frame.
func TestSuperframeIsCutForAPlainDevice(t *testing.T) {
	newNetNS(t)
	d := mustOpen(t, Options{Name: "tap0"})
	s := newStack(t, "tap0", true)
	off, frame := superframe(10*1000, 1000)
	off.HdrLen = 66
	var header [encap.OffloadLen]byte
	off.Encode(header[:])
	s.send(append(header[:], frame...))
	buf := make([]byte, BufferSize)
	for i := range 10 {
		n, seen, err := readWait(t, d, buf)
		must(t, err)
		if n != 66+1000 || seen != (encap.Offload{}) {
			t.Errorf("segment %d: %d bytes, offload %+v", i, n, seen)
		}
	}
}

func TestWriteRefusals(t *testing.T) {
	newNetNS(t)
	plain := mustOpen(t, Options{Name: "tap0"}).Queue(0)
	vnetDevice := mustOpen(t, Options{Name: "tap1", Offload: true})
	vnet := vnetDevice.Queue(0)
	frame := testFrame(60, 0)
	if err := plain.Write(encap.Offload{Flags: encap.FlagNeedsCsum}, [][]byte{frame}); err != ErrOffload {
		t.Errorf("unfinished frame on a plain device: %v, want ErrOffload", err)
	}
	if err := plain.Write(encap.Offload{GSOType: encap.GSOTCPv4}, [][]byte{frame}); err != ErrOffload {
		t.Errorf("superframe on a plain device: %v, want ErrOffload", err)
	}
	if err := vnet.Write(encap.Offload{}, make([][]byte, MaxParts+1)); err != ErrParts {
		t.Errorf("too many parts: %v, want ErrParts", err)
	}
	if err := vnet.Write(encap.Offload{}, [][]byte{frame[:10]}); err != unix.EINVAL {
		t.Errorf("frame of 10 bytes: %v, want EINVAL", err)
	}
	if err := vnet.Write(encap.Offload{}, nil); err != unix.EINVAL {
		t.Errorf("empty frame: %v, want EINVAL", err)
	}
	bad, b := superframe(2000, 1000)
	bad.CsumStart = 60000
	if err := vnet.Write(bad, [][]byte{b}); err != unix.EINVAL {
		t.Errorf("checksum outside the frame: %v, want EINVAL", err)
	}
	parts := make([][]byte, MaxParts)
	for i := range parts {
		parts[i] = frame[:1]
	}
	parts[0] = frame[:14]
	if err := vnet.Write(encap.Offload{}, parts); err != nil {
		t.Errorf("%d parts: %v", MaxParts, err)
	}
	must(t, vnetDevice.setUp(false))
	if err := vnet.Write(encap.Offload{}, [][]byte{frame}); err != unix.EIO {
		t.Errorf("interface down: %v, want EIO", err)
	}
}

func TestLongFrames(t *testing.T) {
	for _, offload := range []bool{true, false} {
		newNetNS(t)
		d := mustOpen(t, Options{Name: "tap0", Offload: offload, MTU: 65000})
		exchange(t, d)
	}
}

func TestShortBuffer(t *testing.T) {
	newNetNS(t)
	for _, offload := range []bool{true, false} {
		d := mustOpen(t, Options{Name: "tap0", Offload: offload})
		s := newStack(t, "tap0", false)
		s.send(testFrame(600, 1))
		if _, _, err := readWait(t, d, make([]byte, Headroom+300)); !errors.Is(err, ErrTooShort) {
			t.Errorf("offload=%v: 600 bytes into 300: %v, want ErrTooShort", offload, err)
		}
		must(t, d.Close())
	}
}

// TestProbeLeaksNothing looks for the frame of probeSuperframe on the interface,
// from before it is set up.
func TestProbeLeaksNothing(t *testing.T) {
	newNetNS(t)
	d := &Device{name: "tap0"}
	fd, err := openTun()
	must(t, err)
	d.queues = append(d.queues, newQueue(fd, true))
	defer d.closeQueues()
	must(t, attach(fd, "tap0", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR, Refuse{}))
	mask, _, err := climbDown(fd, Refuse{})
	must(t, err)
	if mask != ladder[0].mask {
		t.Skipf("this kernel gives %#x only", mask)
	}
	s := newStack(t, "tap0", false)
	must(t, probeSuperframe(fd, Refuse{}))
	must(t, unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	// A packet socket on an interface that is down reports that first.
	b := make([]byte, 1000)
	for {
		n, err := unix.Read(s.fd, b)
		if err == unix.EAGAIN {
			break
		}
		if err == nil {
			t.Fatalf("the stack saw the probe, %d bytes", n)
		}
	}
	link, err := netlink.LinkByName("tap0")
	must(t, err)
	if st := link.Attrs().Statistics; st.RxPackets != 0 || st.RxDropped != 1 {
		t.Errorf("rx %d dropped %d, want 0 and 1: does the kernel still look at the header before the state?", st.RxPackets, st.RxDropped)
	}
}

func TestZeroAllocations(t *testing.T) {
	newNetNS(t)
	d := mustOpen(t, Options{Name: "tap0", Offload: true})
	q, s := d.Queue(0), newStack(t, "tap0", false)
	frame := testFrame(600, 0)
	off, super := superframe(3000, 1000)
	parts := [][]byte{frame[:14], frame[14:]}
	superParts := [][]byte{super[:66], super[66:]}
	buf := make([]byte, BufferSize)
	n := testing.AllocsPerRun(100, func() {
		if q.Write(encap.Offload{}, parts) != nil || q.Write(off, superParts) != nil {
			t.Error("write failed")
		}
		if _, err := unix.Write(s.fd, frame); err != nil {
			t.Error(err)
		}
		got := false
		for {
			_, _, err := q.Read(buf)
			if err == unix.EAGAIN {
				break
			}
			got = true
		}
		if !got {
			t.Error("nothing read")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
