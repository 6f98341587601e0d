package netdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/encap"
)

// tagged puts tags into a frame, outermost first: pairs of TPID and TCI.
func tagged(frame []byte, tags ...uint16) []byte {
	b := append([]byte(nil), frame[:12]...)
	for _, t := range tags {
		b = binary.BigEndian.AppendUint16(b, t)
	}
	return append(b, frame[12:]...)
}

// Tags that the kernel takes off are where they were on the wire, and offsets of the offload reckon with them.
func TestTags(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	superframe, off := tcp(false, 30000, 1400)
	for _, c := range []struct {
		name string
		tags []uint16
	}{
		{"802.1Q", []uint16{0x8100, 0x600a}},
		{"priority", []uint16{0x8100, 0xe000}},
		{"802.1ad", []uint16{0x88a8, 100}},
		{"two", []uint16{0x88a8, 100, 0x8100, 10}},
	} {
		frame := tagged(plain(80), c.tags...)
		s.workload.Inject("eth0", frame)
		f := s.next(d, isTest)
		if diff := cmp.Diff(frame, f.Buf[f.Start:]); diff != "" || f.Start < Headroom {
			t.Errorf("%s: start %d\n%s", c.name, f.Start, diff)
		}
		long := tagged(superframe, c.tags...)
		shifted := off.Shift(2 * len(c.tags))
		s.workload.InjectSuperframe("eth0", header(shifted), long)
		f = s.next(d, isTest)
		shifted.HdrLen, f.Off.HdrLen = 0, 0
		if !bytes.Equal(long, f.Buf[f.Start:]) || f.Off != shifted {
			t.Errorf("%s: superframe of %d bytes came as %d, offload %+v, want %+v", c.name, len(long), len(f.Buf)-f.Start, f.Off, shifted)
		}
		// And out again.
		sniff := s.workload.Sniff("eth0")
		if !d.Handle(0).Add(shifted, [][]byte{long}, 0) || !d.Handle(0).Add(encap.Offload{}, [][]byte{frame}, 1) {
			t.Fatal("no room")
		}
		d.Handle(0).Flush(func(tag uint32, err error) { t.Errorf("%s: frame %d: %v", c.name, tag, err) })
		for _, want := range [][]byte{long, frame} {
			if f, ok := sniff.Next(lab.Patience); !ok || !bytes.Equal(f.Data, want) {
				t.Errorf("%s: sent %d bytes, came %v, %d bytes", c.name, len(want), ok, len(f.Data))
			}
		}
		sniff.Close()
	}
}

// udp is a frame of a flow, with its number in it.
func udp(flow, number uint16) []byte {
	b := make([]byte, 14+20+8+len(marker)+4)
	copy(b, []byte{2, 0, 0, 0, 0, 8, 2, 0, 0, 0, 0, 9, 8, 0})
	h := b[14:]
	h[0], h[8], h[9] = 0x45, 64, encap.ProtoUDP
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)))
	copy(h[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(h[10:], encap.Checksum(h[:20], 0))
	binary.BigEndian.PutUint16(h[20:], 1000+flow)
	binary.BigEndian.PutUint16(h[22:], 2000)
	binary.BigEndian.PutUint16(h[24:], uint16(len(h)-20))
	copy(h[28:], marker)
	binary.BigEndian.PutUint16(h[28+len(marker):], flow)
	binary.BigEndian.PutUint16(h[30+len(marker):], number)
	return b
}

// A flow is read from one queue, in order; many flows use all queues.
func TestFanout(t *testing.T) {
	const flows, each, queues = 64, 40, 4
	s := newStage(t)
	d := s.open(func(o *Options) { o.Queues = queues })
	if d.Queues() != queues {
		t.Fatalf("%d queues: %+v", d.Queues(), d.Caps())
	}
	var frames [][]byte
	for n := range uint16(each) {
		for flow := range uint16(flows) {
			frames = append(frames, udp(flow, n))
		}
	}
	s.workload.Inject("eth0", frames...)
	at := make(map[uint16]int)
	next := make(map[uint16]uint16)
	used := make(map[int]bool)
	got := 0
	for end := time.Now().Add(lab.Patience); got < len(frames) && time.Now().Before(end); {
		for q := range queues {
			list, _, _ := s.r.Recv(d.Handle(q), MaxFrames)
			for _, f := range list {
				if !isTest(f) {
					continue
				}
				b := f.Buf[f.Start+14+28+len(marker):]
				flow, number := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
				if was, ok := at[flow]; ok && was != q {
					t.Fatalf("flow %d on queue %d and on %d", flow, was, q)
				}
				if number != next[flow] {
					t.Fatalf("flow %d: frame %d where %d was due", flow, number, next[flow])
				}
				at[flow], next[flow], used[q] = q, number+1, true
				got++
			}
		}
	}
	if got != len(frames) || len(used) != queues {
		t.Errorf("%d of %d frames, on %d of %d queues; kernel drops %d", got, len(frames), len(used), queues, d.Drops())
	}
}

// What the host sends on the interface, and what we send, does not come back, whatever the kernel has against it.
func TestOwnFramesIgnored(t *testing.T) {
	for _, c := range []struct {
		queues int
		refuse Refuse
		reason string
	}{
		{1, Refuse{}, ""},
		{3, Refuse{}, ""}, // Linux 6.1 takes the flag against them in silence and shows them all the same
		{1, Refuse{IgnoreOutgoing: true}, "PACKET_IGNORE_OUTGOING"},
		{3, Refuse{IgnoreOutgoing: true}, "PACKET_IGNORE_OUTGOING"},
		{3, Refuse{IgnoreOutgoing: true, Fanout: true}, "PACKET_IGNORE_OUTGOING"},
	} {
		t.Run(fmt.Sprintf("%d queues, %+v", c.queues, c.refuse), func(t *testing.T) {
			s := newStage(t)
			d := s.open(func(o *Options) { o.Queues, o.Refuse = c.queues, c.refuse })
			if r := d.Caps().Reason; !strings.Contains(r, c.reason) || since66(d.sockets[0]) && (r == "") != (c.reason == "") {
				t.Errorf("reason %q", r)
			}
			s.host.Inject("port0", plain(100))
			q := d.Handle(d.Queues() - 1)
			if !q.Add(encap.Offload{}, [][]byte{plain(100)}, 0) {
				t.Fatal("no room")
			}
			q.Flush(func(_ uint32, err error) { t.Error(err) })
			s.workload.Inject("eth0", plain(60))
			// What came before the frame from outside is there by now.
			if f := s.next(d, isTest); len(f.Buf)-f.Start != 60 {
				t.Errorf("an own frame of %d bytes came back", len(f.Buf)-f.Start)
			}
		})
	}
}

// Every rung that the kernel may refuse leaves a device that works, and one reason.
func TestLadder(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		reason string
		vnet   bool
		uso    bool
		queues int
	}{
		{"all", nil, "", true, true, 3},
		{"no offload wanted", func(o *Options) { o.Offload = false }, "switched off by configuration", false, false, 3},
		{"no vnet header", func(o *Options) { o.Refuse.VnetHdr = true }, "no virtio-net header: setsockopt PACKET_VNET_HDR: protocol not available", false, false, 3},
		{"no USO", func(o *Options) { o.Refuse.USO = true }, "no UDP segmentation offload", true, false, 3},
		{"no fanout", func(o *Options) { o.Refuse.Fanout = true }, "one queue only: setsockopt PACKET_FANOUT: protocol not available", true, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			d := s.open(func(o *Options) {
				o.Queues = 3
				if c.change != nil {
					c.change(o)
				}
			})
			got := d.Caps()
			old := !since66(d.sockets[0])
			if got.VnetHdr != c.vnet || got.TSO4 != c.vnet || got.USO != (c.uso && !old) || got.MultiQueue != (c.queues > 1) || d.Queues() != c.queues {
				t.Errorf("%d queues, %+v", d.Queues(), got)
			}
			if !strings.Contains(got.Reason, c.reason) || !old && (c.reason == "") != (got.Reason == "") {
				t.Errorf("reason %q", got.Reason)
			}
			// A queue for every worker in any case.
			for i := range 3 {
				q := d.Handle(i)
				sniff := s.workload.Sniff("eth0")
				if !q.Add(encap.Offload{}, [][]byte{plain(60 + i)}, 0) {
					t.Fatal("no room")
				}
				q.Flush(func(_ uint32, err error) { t.Error(err) })
				if f, ok := sniff.Next(lab.Patience); !ok || len(f.Data) != 60+i {
					t.Errorf("worker %d: came %v, %d bytes", i, ok, len(f.Data))
				}
				sniff.Close()
			}
			// A superframe is whole and says how to cut it; without header to the interface's MTU.
			frame, off := tcp(false, 20000, 1400)
			s.workload.InjectSuperframe("eth0", header(off), frame)
			f := s.next(d, isTest)
			if !c.vnet {
				off.GSOSize = 1500 - 40
			}
			off.HdrLen, f.Off.HdrLen = 0, 0
			if !bytes.Equal(f.Buf[f.Start:], frame) || f.Off != off {
				t.Errorf("%d bytes, offload %+v, want %d, %+v", len(f.Buf)-f.Start, f.Off, len(frame), off)
			}
		})
	}
}

// A full queue drops, and the drops are counted.
func TestOverflow(t *testing.T) {
	s := newStage(t)
	d := s.open(func(o *Options) { o.Buffer = 20000 })
	var frames [][]byte
	for range 500 {
		frames = append(frames, plain(1000))
	}
	s.workload.Inject("eth0", frames...)
	got := 0
	for end := time.Now().Add(lab.Patience); uint64(got)+d.Drops() < 500 && time.Now().Before(end); {
		list, _, _ := s.r.Recv(d.Handle(0), MaxFrames)
		for _, f := range list {
			if isTest(f) {
				got++
			}
		}
	}
	if d.Drops() == 0 || uint64(got)+d.Drops() < 500 {
		t.Errorf("of 500 frames %d came and %d were dropped", got, d.Drops())
	}
	drops := d.Drops()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d.Drops() != drops {
		t.Errorf("%d drops before it was closed, %d after", drops, d.Drops())
	}
}

// Frames leave in the order they were added, borrowed parts and all, however many there are; a header may be changed once it was added.
func TestOrderOut(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	sniff := s.workload.Sniff("eth0")
	q := d.Handle(0)
	var want [][]byte
	var parts [][]byte
	sent := 0
	for i := range 150 {
		frame := plain(60 + 9*i)
		frame[len(frame)-1] = byte(i)
		want = append(want, bytes.Clone(frame))
		parts = append(parts[:0], frame)
		if i%2 == 1 {
			parts = append(parts[:0], frame[:20], frame[20:40], frame[40:])
		}
		if !q.Add(encap.Offload{}, parts, uint32(i)) {
			if q.Pending() != maxPending {
				t.Fatalf("full at %d", q.Pending())
			}
			q.Flush(func(tag uint32, err error) { t.Errorf("frame %d: %v", tag, err) })
			if !q.Add(encap.Offload{}, parts, uint32(i)) {
				t.Fatal("no room after a flush")
			}
		}
		copy(frame[:50], bytes.Repeat([]byte{0xee}, 50)) // as who finishes a checksum
		sent++
	}
	q.Flush(func(tag uint32, err error) { t.Errorf("frame %d: %v", tag, err) })
	for i := range want {
		f, ok := sniff.Next(lab.Patience)
		if !ok || !bytes.Equal(f.Data, want[i]) {
			t.Fatalf("frame %d: came %v, %d bytes, want %d", i, ok, len(f.Data), len(want[i]))
		}
	}
	if q.Add(encap.Offload{}, make([][]byte, maxIovecs), 0) || q.Pending() != 0 {
		t.Error("a frame of too many parts was taken")
	}
}

// A failed frame in the midst keeps none of the others back.
func TestFailureInTheMidst(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	sniff := s.workload.Sniff("eth0")
	q := d.Handle(0)
	for i, n := range []int{100, 3000, 200, 4000, 5000, 300} {
		if !q.Add(encap.Offload{}, [][]byte{plain(n)}, uint32(i)) {
			t.Fatal("no room")
		}
	}
	var failed []uint32
	q.Flush(func(tag uint32, err error) {
		failed = append(failed, tag)
		if !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("frame %d: %v", tag, err)
		}
	})
	if diff := cmp.Diff([]uint32{1, 3, 4}, failed); diff != "" {
		t.Error(diff)
	}
	for _, n := range []int{100, 200, 300} {
		if f, ok := sniff.Next(lab.Patience); !ok || len(f.Data) != n {
			t.Errorf("came %v, %d bytes, want %d", ok, len(f.Data), n)
		}
	}
}

// Reading and writing allocate nothing.
func TestNoAllocation(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	q := d.Handle(0)
	frame, off := tcp(false, 20000, 1400)
	parts := [][]byte{frame[:66], frame[66:9000], frame[9000:]}
	refused := func(tag uint32, err error) { t.Errorf("frame %d: %v", tag, err) }
	if n := testing.AllocsPerRun(100, func() {
		for i := range 8 {
			q.Add(off, parts, uint32(i))
		}
		q.Flush(refused)
	}); n != 0 {
		t.Errorf("%v allocations a batch written", n)
	}
	var frames [][]byte
	for range 2000 {
		frames = append(frames, tagged(plain(100), 0x8100, 10))
	}
	s.workload.Inject("eth0", frames...)
	read := 0
	if n := testing.AllocsPerRun(100, func() {
		list, _, _ := s.r.Recv(q, 16)
		read += len(list)
	}); n != 0 || read < 1000 {
		t.Errorf("%v allocations a batch read, %d frames in all", n, read)
	}
}
