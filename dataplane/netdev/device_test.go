package netdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/dataplane/device"
	"vtepd/encap"
)

// stage is a host with an interface to take, and a workload at the other end of it.
//
//	 host                                workload
//	┌──────────────────────┐            ┌───────────────────────┐
//	│ Device ── port0 ─────┼─── veth ───┼── eth0 198.51.100.N   │
//	└──────────────────────┘            └───────────────────────┘
type stage struct {
	t              *testing.T
	lab            *lab.Lab
	host, workload *lab.Host
	r              *Receiver
}

func newStage(t *testing.T) *stage {
	t.Helper()
	l := lab.New(t)
	s := &stage{t: t, lab: l, host: l.Host("host")}
	s.workload = l.Workload(s.host, "work", "port0", 1500)
	r, err := NewReceiver()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	s.r = r
	return s
}

// do runs f in the host's namespace.
func (s *stage) do(f func() error) {
	s.t.Helper()
	if err := s.host.Do(f); err != nil {
		s.t.Fatal(err)
	}
}

// open takes port0, or what the options name.
func (s *stage) open(change func(*Options)) *Device {
	s.t.Helper()
	o := Options{Name: "port0", Offload: true}
	if change != nil {
		change(&o)
	}
	var d *Device
	s.do(func() (err error) { d, err = Open(o); return err })
	s.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			s.t.Errorf("close: %v", err)
		}
	})
	return d
}

// next reads queues until a frame matches.
func (s *stage) next(d *Device, match func(f Frame) bool) Frame {
	s.t.Helper()
	for end := time.Now().Add(lab.Patience); time.Now().Before(end); {
		for i := range d.Queues() {
			frames, _, _ := s.r.Recv(d.Handle(i), MaxFrames)
			for _, f := range frames {
				if match(f) {
					return f
				}
			}
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatal("the frame did not come")
	return Frame{}
}

// isTest tells the frames of these tests from the kernel's own.
func isTest(f Frame) bool {
	b := f.Buf[f.Start:]
	return len(b) > 14 && bytes.Contains(b, []byte("vtepd test"))
}

const marker = "vtepd test"

// plain is a frame of an EtherType for experiments (IEEE 802 0x88b5).
func plain(n int) []byte {
	b := make([]byte, max(n, 14+len(marker)))
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x88, 0xb5})
	copy(b[14:], marker)
	return b
}

// tcp is a TCP frame with unfinished checksum, and what says so.
func tcp(v6 bool, payload, mss int) ([]byte, encap.Offload) {
	ip := 20
	if v6 {
		ip = 40
	}
	total := 14 + ip + 20 + payload
	b := make([]byte, total)
	copy(b, []byte{2, 0, 0, 0, 0, 8, 2, 0, 0, 0, 0, 9})
	off := encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: uint16(14 + ip), CsumOffset: 16}
	h := b[14:]
	if v6 {
		binary.BigEndian.PutUint16(b[12:], encap.EtherTypeIPv6)
		h[0], h[6], h[7] = 0x60, encap.ProtoTCP, 64
		binary.BigEndian.PutUint16(h[4:], uint16(20+payload))
		a, c := netip.MustParseAddr("2001:db8::1").As16(), netip.MustParseAddr("2001:db8::2").As16()
		copy(h[8:], a[:])
		copy(h[24:], c[:])
	} else {
		binary.BigEndian.PutUint16(b[12:], encap.EtherTypeIPv4)
		h[0], h[6], h[8], h[9] = 0x45, 0x40, 64, encap.ProtoTCP
		binary.BigEndian.PutUint16(h[2:], uint16(20+20+payload))
		copy(h[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
		binary.BigEndian.PutUint16(h[10:], encap.Checksum(h[:20], 0))
	}
	l4 := h[ip:]
	copy(l4, []byte{0, 9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0})
	copy(l4[20:], marker)
	if v6 {
		binary.BigEndian.PutUint16(l4[16:], encap.PseudoIPv6(h, encap.ProtoTCP, uint32(20+payload)))
	} else {
		binary.BigEndian.PutUint16(l4[16:], encap.PseudoIPv4(h, encap.ProtoTCP, uint16(20+payload)))
	}
	if payload > mss {
		off.GSOSize = uint16(mss)
		off.GSOType = encap.GSOTCPv4
		if v6 {
			off.GSOType = encap.GSOTCPv6
		}
		off.HdrLen = uint16(14 + ip + 20)
	}
	return b, off
}

func header(off encap.Offload) (h [encap.OffloadLen]byte) {
	off.Encode(h[:])
	return h
}

func TestSuperframesIn(t *testing.T) {
	s := newStage(t)
	d := s.open(func(o *Options) { o.Queues = 2 })
	c := d.Caps()
	old := strings.Contains(c.Reason, "Linux 6.6, stands for it")
	if !c.VnetHdr || !c.TSO4 || !c.TSO6 || c.USO == old || !c.MultiQueue || c.Reason != "" && !old {
		t.Errorf("caps %+v", c)
	}
	for _, v6 := range []bool{false, true} {
		frame, off := tcp(v6, 40000, 1400)
		s.workload.InjectSuperframe("eth0", header(off), frame)
		f := s.next(d, isTest)
		if !bytes.Equal(f.Buf[f.Start:], frame) {
			t.Errorf("v6 %v: frame of %d bytes came as %d others", v6, len(frame), len(f.Buf)-f.Start)
		}
		off.HdrLen, f.Off.HdrLen = 0, 0
		if f.Off != off {
			t.Errorf("v6 %v: offload %+v, want %+v", v6, f.Off, off)
		}
		if f.Start < encap.VXLANLen {
			t.Errorf("%d bytes in front", f.Start)
		}
	}
	s.workload.Inject("eth0", plain(60))
	if f := s.next(d, isTest); !bytes.Equal(f.Buf[f.Start:], plain(60)) || f.Off != (encap.Offload{}) {
		t.Errorf("plain frame came as % x, %+v", f.Buf[f.Start:], f.Off)
	}
}

func TestSuperframesOut(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	sniff := s.workload.Sniff("eth0")
	q := d.Handle(0)
	for _, v6 := range []bool{false, true} {
		frame, off := tcp(v6, 40000, 1400)
		if !q.Add(off, [][]byte{frame[:100], frame[100:20000], frame[20000:]}, 7) {
			t.Fatal("no room")
		}
		q.Flush(func(tag uint32, err error) { t.Errorf("frame %d: %v", tag, err) })
		f, ok := sniff.Until(lab.Patience, func(b []byte) bool { return bytes.Contains(b, []byte(marker)) })
		if !ok || !bytes.Equal(f.Data, frame) || !f.ChecksumUnfinished {
			t.Errorf("v6 %v: came %v, %d bytes, want %d; unfinished %v", v6, ok, len(f.Data), len(frame), f.ChecksumUnfinished)
		}
	}
}

func TestErrorsOut(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	q := d.Handle(0)
	send := func(off encap.Offload, frame []byte) (got error) {
		if !q.Add(off, [][]byte{frame}, 3) {
			t.Fatal("no room")
		}
		q.Flush(func(tag uint32, err error) {
			if tag != 3 {
				t.Errorf("tag %d", tag)
			}
			got = err
		})
		return got
	}
	bad := encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 60000, CsumOffset: 16}
	if err := send(bad, plain(100)); err != unix.EINVAL {
		t.Errorf("header beyond the frame: %v", err)
	}
	if err := send(encap.Offload{}, plain(1519)); err != unix.EMSGSIZE {
		t.Errorf("oversize: %v", err)
	}
	if err := send(encap.Offload{}, plain(1514)); err != nil {
		t.Errorf("full size: %v", err)
	}
	s.workload.Must("ip", "link", "set", "eth0", "down")
	t.Logf("peer down: %v", send(encap.Offload{}, plain(60)))
	s.host.Must("ip", "link", "set", "port0", "down")
	if err := send(encap.Offload{}, plain(60)); err != unix.ENETDOWN {
		t.Errorf("down: %v", err)
	}
	s.host.Must("ip", "link", "del", "port0")
	t.Logf("gone: %v", send(encap.Offload{}, plain(60)))
	if _, err := d.Attr(); !errors.Is(err, device.ErrGone) {
		t.Errorf("attr of a deleted interface: %v", err)
	}
}

// TestWhole: superframes pass whole to the other end of a veth in another namespace, while its features let them, and to nothing else.
func TestWhole(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	wants := func(when string, d *Device, want bool) {
		t.Helper()
		if a, err := d.Attr(); err != nil || a.Whole != want {
			t.Errorf("%s: %v, %v, want %v", when, a.Whole, err, want)
		}
	}
	wants("a veth to another namespace", d, true)
	end := lab.End{Host: s.host, Name: "port0"}
	for _, name := range whole {
		end.Features(map[string]bool{name: false})
		wants("without "+name, d, false)
		end.Features(map[string]bool{name: true})
		wants("with "+name, d, true)
	}
	s.workload.Must("ip", "link", "set", "eth0", "netns", s.host.Name(), "name", "far0")
	wants("moved to the namespace of the port", d, false)
	s.host.Must("ip", "link", "set", "far0", "netns", s.workload.Name())
	wants("moved away again", d, true)

	s.host.Must("ip", "link", "add", "here0", "type", "veth", "peer", "name", "there0")
	s.host.Must("ip", "link", "add", "br0", "type", "bridge")
	for _, name := range []string{"here0", "br0"} {
		wants(name, s.open(func(o *Options) { o.Name = name }), false)
	}
}
