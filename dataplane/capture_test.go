package dataplane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/pcapgo"

	"vtepd/dataplane/pcapng"
	"vtepd/dataplane/underlay"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// taking is a capture that goes on into memory.
type taking struct {
	s     *scene
	end   func()
	ended chan error

	mu   sync.Mutex
	hold sync.Mutex // whoever has it keeps the writer waiting
	data []byte
}

func (k *taking) Write(p []byte) (int, error) {
	k.hold.Lock()
	defer k.hold.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.data = append(k.data, p...)
	return len(p), nil
}

func (k *taking) Flush() error { return nil }

func (k *taking) bytes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.data)
}

// take begins a capture, and waits until it has.
func (s *scene) take(f CaptureFilter) *taking {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	k := &taking{s: s, ended: make(chan error, 1)}
	k.end = func() {
		cancel()
		if err := <-k.ended; err != nil {
			s.t.Errorf("capture: %v", err)
		}
		k.ended <- nil
	}
	s.t.Cleanup(k.end)
	go func() { k.ended <- s.Capture(ctx, f, k) }()
	eventually(s.t, "the capture begins", func() bool { return len(k.bytes()) > 0 })
	return k
}

// taken is one captured frame.
type taken struct {
	Where, Comment string
	Out            bool
	Length         int
	Frame          []byte
}

func (f taken) String() string {
	arrow := "->"
	if f.Out {
		arrow = "<-"
	}
	return fmt.Sprintf("%s %s sw (%s)", f.Where, arrow, f.Comment)
}

// frames are what was captured so far, when everything that was sent has been.
func (k *taking) frames() []taken {
	k.s.t.Helper()
	k.s.rest()
	data := k.bytes()
	for still := 0; still < 10; time.Sleep(3 * time.Millisecond) {
		if now := k.bytes(); len(now) != len(data) {
			data, still = now, 0
		} else {
			still++
		}
	}
	list, _ := readCapture(k.s.t, data)
	return list
}

// readCapture reads a capture, and holds what it finds against what another reader does. lost is by interface.
func readCapture(t testing.TB, data []byte) (list []taken, lost map[string]uint64) {
	t.Helper()
	lost = make(map[string]uint64)
	var names []string
	for s := pcapng.NewScanner(bytes.NewReader(data)); ; {
		b, err := s.Next()
		if err != nil {
			break
		}
		switch b.Type() {
		case pcapng.TypeInterface:
			names = append(names, optionOf(b[16:len(b)-4], 2))
		case pcapng.TypePacket:
			size := int(binary.LittleEndian.Uint32(b[20:]))
			options := b[28+(size+3)&^3 : len(b)-4]
			list = append(list, taken{
				Where: names[binary.LittleEndian.Uint32(b[8:])], Comment: optionOf(options, 1), Out: optionOf(options, 2) == "\x02\x00\x00\x00",
				Length: int(binary.LittleEndian.Uint32(b[24:])), Frame: bytes.Clone(b[28:][:size]),
			})
		default:
			if st, ok := b.Statistics(); ok {
				lost[names[st.Interface]] = st.Dropped
			}
		}
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		frame, ci, err := r.ReadPacketData()
		if err != nil {
			if i != len(list) {
				t.Errorf("gopacket reads %d frames of %d: %v", i, len(list), err)
			}
			return list, lost
		}
		if !bytes.Equal(frame, list[i].Frame) || ci.Length != list[i].Length || time.Since(ci.Timestamp).Abs() > time.Hour {
			t.Errorf("gopacket reads frame %d as %d bytes, %+v; %+v", i, len(frame), ci, list[i])
		}
	}
}

// optionOf is the first option of a code, "" when there is none.
func optionOf(b []byte, code uint16) string {
	for len(b) >= 4 {
		n := int(binary.LittleEndian.Uint16(b[2:]))
		if binary.LittleEndian.Uint16(b) == code {
			return string(b[4:][:n])
		}
		b = b[4+(n+3)&^3:]
	}
	return ""
}

// summary is what was captured, sorted.
func summary(list []taken) []string {
	var lines []string
	for _, f := range list {
		lines = append(lines, f.String())
	}
	slices.Sort(lines)
	return lines
}

// Frames of one flow that come from a peer in one message are seen one by one, and one superframe leaves: nothing rides past a capture.
func TestCaptureOfTrains(t *testing.T) {
	s := newScene(t, 1, func(c *Config) { c.Workers = 1 })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	s.pinned(42, "p0", station(1))
	w := s.parked()
	c := newCapture(CaptureFilter{}, 1)
	if err := s.captures.add(c); err != nil {
		t.Fatal(err)
	}
	w.beginTape(s.captures.active.Load())
	var batch []wagon
	for i := range 20 {
		batch = append(batch, wagon{datagram: datagramOf(42, encaptest.Packet{SrcMAC: station(4), DstMAC: station(1), Proto: encap.ProtoTCP, Flags: encap.TCPAck, ID: uint16(i),
			Seq: uint32(i * 1000), Payload: encaptest.Payload(1000, uint64(i))}.Frame())})
	}
	if followed := w.drive(s, [][]wagon{batch}, true); followed != 0 {
		t.Errorf("%d frames followed another while captured", followed)
	}
	b := c.buffers[0].exchange(&captureRecords{most: c.most})
	in, out := 0, 0
	for i := range b.records {
		if r := &b.records[i]; r.out {
			out++
			if r.packets != 20 {
				t.Errorf("%d segments left in one", r.packets)
			}
		} else {
			in++
		}
	}
	if in != 20 || out != 1 {
		t.Errorf("%d frames came in, %d left", in, out)
	}
	s.captures.remove(c)
	w.beginTape(s.captures.active.Load())
	if followed := w.drive(s, [][]wagon{batch}, true); followed == 0 {
		t.Error("no frame follows another after the capture")
	}
}

// What did not leave after all is not shown as having left, and what was sent in answer is.
func TestCaptureOfFailures(t *testing.T) {
	s := newScene(t, 1, func(c *Config) { c.FastPath = FastPathOff })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 9000})
	s.pinned(42, "p0", station(1))
	s.pinned(42, "", station(4))
	r0 := s.remotes[0].addr.String()
	s.awaitPath(s.remotes[0].addr, 1500)
	k := s.take(CaptureFilter{})
	big := encaptest.Packet{SrcMAC: station(1), DstMAC: station(4), Proto: encap.ProtoUDP, Payload: encaptest.Payload(2000, 1)}.Frame()
	s.Inject("p0", big)
	got := summary(k.frames())
	k.end()
	if diff := cmp.Diff([]string{"p0 -> sw (vni 42, dropped: too_big)", "p0 <- sw (vni 42)"}, got); diff != "" {
		t.Errorf("too big for the path (-want +got):\n%s", diff)
	}
	s.Must("ip", "route", "add", "blackhole", r0+"/32", "table", "77")
	s.Must("ip", "rule", "add", "to", r0+"/32", "lookup", "77", "priority", "1")
	eventually(t, "the switch knows that there is no route", func() bool { return s.Peers()[0].NoRoute != "" })
	k = s.take(CaptureFilter{})
	s.Inject("p0", times(3, frameOf(station(1), station(4)))...)
	got = summary(k.frames())
	k.end()
	want := []string{"p0 -> sw (vni 42, dropped: no_route)", "p0 -> sw (vni 42, dropped: no_route)", "p0 -> sw (vni 42, dropped: no_route)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("no route (-want +got):\n%s", diff)
	}
}

func TestCaptureCount(t *testing.T) {
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	k := s.take(CaptureFilter{Port: "p0", Count: 5})
	s.Inject("p0", times(20, frameOf(station(1), broadcast))...)
	select {
	case err := <-k.ended:
		k.ended <- err
	case <-time.After(10 * time.Second):
		t.Fatal("the capture does not end")
	}
	if list, lost := readCapture(t, k.bytes()); len(list) != 5 || lost["p0"] != 0 {
		t.Errorf("%d frames, lost %v", len(list), lost)
	}
	if s.captures.active.Load() != nil {
		t.Error("it goes on")
	}
}

func TestCaptureRefused(t *testing.T) {
	s := newScene(t, 1, nil)
	peer := peerAt(s.remotes[0].addr)
	for _, f := range []CaptureFilter{
		{Drops: true, Dir: CaptureOut}, {Drops: true, Port: "p0", Peer: peer}, {Dir: CaptureIn, Port: "p0", Peer: peer}, {Snaplen: -1}, {Snaplen: MaxSnaplen + 1},
	} {
		if err := s.Capture(context.Background(), f, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	var all []*taking
	for range MaxCaptures {
		all = append(all, s.take(CaptureFilter{}))
	}
	if err := s.Capture(context.Background(), CaptureFilter{}, nil); !errors.Is(err, ErrBusyNow) {
		t.Errorf("one too many: %v", err)
	}
	all[3].end()
	all[3] = s.take(CaptureFilter{Drops: true})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for i, k := range all {
		if err := <-k.ended; err != nil {
			t.Errorf("capture %d when the switch is closed: %v", i, err)
		}
		k.ended <- nil
	}
	if err := s.Capture(context.Background(), CaptureFilter{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after the switch is closed: %v", err)
	}
}

// A reader that does not read loses frames and is told how many, to the last one, while traffic goes on and other readers lose none.
func TestCaptureSlowReader(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.FastPath = FastPathOff })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	for _, name := range []string{"p0", "p1"} { // which nobody listens to: a sniffer has less room than this sends
		s.do(func() error { return s.AddPort(s.ofKind(PortConfig{Name: name, Untagged: 42})) })
	}
	s.pinned(42, "p1", station(2))
	slow, quick := s.take(CaptureFilter{Port: "p0"}), s.take(CaptureFilter{Port: "p0", Snaplen: 14})
	slow.hold.Lock()
	release := sync.OnceFunc(slow.hold.Unlock)
	t.Cleanup(release)
	frame := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoUDP, Payload: encaptest.Payload(1400, 1)}.Frame()
	sent := 0
	for size := 0; size < 3*captureBuffer; size += 200 * len(frame) {
		s.Inject("p0", times(200, frame)...)
		sent += 200
		s.rest()
	}
	if got := len(quick.frames()); got != sent {
		t.Errorf("the quick reader got %d of %d frames", got, sent)
	}
	for _, p := range s.PortStats() {
		if p.Port == "p1" && p.TxPackets != uint64(sent) {
			t.Errorf("%d of %d frames passed", p.TxPackets, sent)
		}
	}
	release()
	var list []taken
	var lost map[string]uint64
	eventually(t, "the slow reader is told of everything", func() bool {
		list, lost = readCapture(t, slow.bytes())
		return len(list)+int(lost["p0"]) >= sent
	})
	if len(list)+int(lost["p0"]) != sent || lost["p0"] == 0 || len(list) < captureBuffer/2/len(frame)/len(s.workers) {
		t.Errorf("%d frames and %d lost of %d", len(list), lost["p0"], sent)
	}
}

// Captures leave nothing: no goroutine, no memory, no tape, and frames cost no allocation again.
func TestCapturesLeaveNothing(t *testing.T) {
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	round := func() {
		k := s.take(CaptureFilter{})
		s.Inject("p0", times(50, frameOf(station(1), broadcast))...)
		s.rest()
		k.end()
		s.Inject("p0", times(50, frameOf(station(1), broadcast))...) // after which no worker has a tape any more
		s.forget()
	}
	for range 3 {
		round()
	}
	before := readResources(t)
	for range 20 {
		round()
	}
	wantNoGrowth(t, before, 2<<20)
}

// BenchmarkCapture is what 44 datagrams one by one cost as in BenchmarkFromWire, with a capture of all of them, or of none, and what it gathers handed over.
func BenchmarkCapture(b *testing.B) {
	for _, c := range []struct {
		name string
		f    CaptureFilter
	}{{"all", CaptureFilter{}}, {"snaplen 100", CaptureFilter{Snaplen: 100}}, {"another port", CaptureFilter{Port: "p9"}}} {
		b.Run(c.name, func(b *testing.B) {
			const segments, size = 44, 1398
			s, w := benchScene(b, 1, 1)
			from := netip.AddrPortFrom(s.remotes[0].addr, 50000)
			var messages []underlay.Message
			for i := range segments {
				p := encaptest.Packet{SrcMAC: station(2), DstMAC: station(1), SrcPort: 1000, ID: uint16(i), Proto: encap.ProtoTCP, Flags: encap.TCPAck, TCPOptions: encaptest.Timestamps(1, 2),
					Seq: uint32(i * size), Payload: encaptest.Payload(size, uint64(i))}
				messages = append(messages, underlay.Message{Data: datagramOf(42, p.Frame()), Source: from})
			}
			capture := newCapture(c.f, 1)
			if err := s.captures.add(capture); err != nil {
				b.Fatal(err)
			}
			w.beginTape(s.captures.active.Load())
			spare := &captureRecords{most: capture.most}
			b.ReportAllocs()
			for b.Loop() {
				for i := range messages {
					w.fromUnderlay(&messages[i])
				}
				w.settleTape()
				spare = capture.buffers[0].exchange(spare)
				spare.reset()
				w.forget()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/segments, "ns/datagram")
		})
	}
}
