package underlay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// wire is a kernel that does what a test wants: it takes messages as
// sendmmsg(2) does, until verdict says no.
type wire struct {
	tb       testing.TB
	verdict  func(m wireMessage) unix.Errno // 0: take it
	calls    int
	messages []wireMessage
}

type wireMessage struct {
	dest      *byte
	datagrams [][]byte
	segment   int // UDP_SEGMENT, 0: none
	control   []byte
}

func (w *wire) sendmmsg(_ int, messages []mmsghdr) (int, unix.Errno) {
	w.calls++
	if len(messages) == 0 || len(messages) > maxMessages {
		w.tb.Fatalf("%d messages in a call", len(messages))
	}
	for i := range messages {
		m := w.read(&messages[i].hdr)
		if errno := w.verdict(m); errno != 0 {
			if i > 0 {
				return i, 0
			}
			return 0, errno
		}
		w.messages = append(w.messages, m)
	}
	return len(messages), 0
}

// read takes a message apart as the kernel would, and refuses what it refuses.
func (w *wire) read(h *unix.Msghdr) (m wireMessage) {
	m.dest = h.Name
	if h.Control != nil {
		m.control = bytes.Clone(unsafe.Slice(h.Control, int(h.Controllen)))
		for b := m.control; len(b) >= cmsgHeader; {
			c := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
			if c.Level == unix.SOL_UDP && c.Type == unix.UDP_SEGMENT {
				m.segment = int(binary.NativeEndian.Uint16(b[cmsgHeader:]))
			}
			b = b[min(len(b), int(c.Len+uint64(cmsgWord)-1)&^(cmsgWord-1)):]
		}
	}
	if h.Iovlen > 1024 {
		w.tb.Fatalf("%d iovecs in a message", h.Iovlen)
	}
	var data []byte
	for _, v := range unsafe.Slice(h.Iov, int(h.Iovlen)) {
		if v.Len == 0 {
			w.tb.Fatal("empty iovec")
		}
		data = append(data, unsafe.Slice(v.Base, int(v.Len))...)
	}
	if m.segment == 0 {
		m.datagrams = [][]byte{data}
		return m
	}
	if len(data) > maxPayload4 || len(data) <= m.segment {
		w.tb.Fatalf("run of %d bytes in segments of %d", len(data), m.segment)
	}
	m.datagrams = slices.Collect(slices.Chunk(data, m.segment))
	return m
}

func (w *wire) datagrams() (all [][]byte) {
	for _, m := range w.messages {
		all = append(all, m.datagrams...)
	}
	return all
}

// newWire is a Transmitter without sockets, in front of a wire.
func newWire(tb testing.TB, sockets int, verdict func(wireMessage) unix.Errno) (*Transmitter, *wire) {
	s := &Sockets{checked: &pool{fds: make([]int, sockets)}, degraded: make(chan Degradation, 8)}
	for i := range s.checked.fds {
		s.checked.fds[i] = -1
	}
	s.unchecked.Store(s.checked)
	s.gso.Store(true)
	s.maxSegments.Store(segmentsNew)
	t := s.NewTransmitter()
	w := &wire{tb: tb, verdict: verdict}
	t.sendmmsg = w.sendmmsg
	return t, w
}

var testDest = NewDest(netip.MustParseAddrPort("192.0.2.2:4789"))

// numbered is a datagram of n bytes that begins with its number.
func numbered(id uint32, n int) []byte {
	b := make([]byte, max(n, 4))
	binary.BigEndian.PutUint32(b, id)
	return b
}

func numberOf(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// failures collects what Flush reports.
type failures map[uint32]error

func (f failures) add(tag uint32, err error) { f[tag] = err }

// TestAway: nothing leaves from an address that the host has given up, every datagram of a batch is reported, and the next one leaves again.
func TestAway(t *testing.T) {
	tx, w := newWire(t, 8, func(wireMessage) unix.Errno { return 0 })
	for _, away := range []bool{false, true, false} {
		tx.s.SetAway(away)
		w.messages = nil
		failed := make(failures)
		for i := range uint32(100) {
			tx.Queue(testDest, Class{NoChecksum: i%2 == 0}, i/4, numbered(i, 8), nil, i)
		}
		tx.Flush(failed.add)
		sent, refused := 100, 0
		if away {
			sent, refused = 0, 100
		}
		if len(w.datagrams()) != sent || len(failed) != refused || tx.Len() != 0 {
			t.Errorf("away %v: %d sent, %d refused, %d left", away, len(w.datagrams()), len(failed), tx.Len())
		}
		for tag, err := range failed {
			if err != unix.EADDRNOTAVAIL {
				t.Fatalf("datagram %d: %v", tag, err)
			}
		}
	}
}

// TestLanes: datagrams go into a lane as Queue puts them there, and lanes that nothing was put into do no harm, wherever they stand.
func TestLanes(t *testing.T) {
	for _, sockets := range []int{1, 8} {
		tx, w := newWire(t, sockets, func(wireMessage) unix.Errno { return 0 })
		for filled := range 32 { // which of five lanes get datagrams, as bits
			w.messages = nil
			want := 0
			for i := range 5 {
				class := Class{TOS: uint8(i + 1)}
				l := tx.Lane(testDest, class, uint32(i))
				if l == nil || tx.Lane(testDest, class, uint32(i)) != l {
					t.Fatalf("lane %d: %p", i, l)
				}
				if filled>>i&1 == 0 {
					continue
				}
				if !tx.Add(l, numbered(uint32(i), 8), nil, 0) || !tx.Queue(testDest, class, uint32(i), numbered(uint32(i), 8), nil, 0) {
					t.Fatal("no room")
				}
				want += 2
			}
			tx.Flush(nil)
			if got := len(w.datagrams()); got != want || len(w.messages) != want/2 {
				t.Errorf("lanes %05b: %d datagrams in %d messages, want %d in %d", filled, got, len(w.messages), want, want/2)
			}
			if tx.Len() != 0 || tx.laneCount != 0 || len(tx.order) != 0 {
				t.Fatalf("lanes %05b: something is left", filled)
			}
		}
		for range MaxDatagrams {
			tx.Queue(testDest, Class{}, 0, numbered(0, 8), nil, 0)
		}
		if tx.Lane(testDest, Class{}, 0) != nil || tx.Lane(testDest, Class{TOS: 1}, 0) != nil {
			t.Error("a lane in a batch that is full")
		}
	}
}

func TestErrorPolicy(t *testing.T) {
	// once gives an errno to the first message that match wants, a number of
	// times.
	times := func(n int, errno unix.Errno, match func(wireMessage) bool) func(wireMessage) unix.Errno {
		return func(m wireMessage) unix.Errno {
			if n > 0 && match(m) {
				n--
				return errno
			}
			return 0
		}
	}
	has := func(id uint32) func(wireMessage) bool {
		return func(m wireMessage) bool {
			return slices.ContainsFunc(m.datagrams, func(b []byte) bool { return numberOf(b) == id })
		}
	}
	isRun := func(m wireMessage) bool { return m.segment > 0 }
	larger := func(n int) func(wireMessage) bool {
		return func(m wireMessage) bool { return len(m.datagrams[0]) > n }
	}
	const always = 1 << 30
	equal := []int{100, 100, 100}

	for _, tc := range []struct {
		name    string
		sizes   []int
		verdict func(wireMessage) unix.Errno
		lost    failures
		calls   int
		gso     bool // still on afterwards
	}{
		{"all well", equal, times(0, 0, nil), failures{}, 1, true},
		{"interrupted", equal, times(3, unix.EINTR, isRun), failures{}, 4, true},
		{"buffer full for a moment", equal, times(1, unix.EAGAIN, isRun), failures{}, 2, true},
		{"buffer stays full", []int{100, 200}, times(always, unix.EAGAIN, has(1)),
			failures{1: unix.EAGAIN}, 3, true},
		{"device queue full for a moment", equal, times(2, unix.ENOBUFS, isRun), failures{}, 3, true},
		{"device queue stays full", []int{100, 200, 300}, times(always, unix.ENOBUFS, has(1)),
			failures{1: unix.ENOBUFS}, 5, true},
		{"stale ICMP", []int{100, 200}, times(1, unix.ECONNREFUSED, has(0)), failures{}, 2, true},
		{"stale ICMP in mid-call", []int{100, 200}, times(1, unix.ECONNREFUSED, has(1)), failures{}, 2, true},
		{"stale ICMP, too big", equal, times(2, unix.EMSGSIZE, isRun), failures{}, 3, true},
		{"no route", []int{100, 200, 300}, times(always, unix.ENETUNREACH, has(1)),
			failures{1: unix.ENETUNREACH}, 6, true},
		{"no route for a whole lane", []int{100, 200, 300}, times(always, unix.ENETUNREACH, larger(0)),
			failures{0: unix.ENETUNREACH, 1: unix.ENETUNREACH, 2: unix.ENETUNREACH}, 4 + 2 + 2, true},
		{"forbidden", []int{100, 200}, times(always, unix.EPERM, has(0)), failures{0: unix.EPERM}, 2, true},
		{"a run too big", equal, times(always, unix.EMSGSIZE, larger(50)),
			failures{0: unix.EMSGSIZE, 1: unix.EMSGSIZE, 2: unix.EMSGSIZE}, 4, true},
		{"a run too big save its last", []int{100, 100, 40}, times(always, unix.EMSGSIZE, larger(50)),
			failures{0: unix.EMSGSIZE, 1: unix.EMSGSIZE}, 5, true},
		{"a run refused", equal, times(always, unix.EINVAL, isRun), failures{}, 2, true},
		{"one of a refused run is bad itself", equal,
			func(m wireMessage) unix.Errno {
				if m.segment > 0 || has(1)(m) {
					return unix.EINVAL
				}
				return 0
			}, failures{1: unix.EINVAL}, 4, true},
		{"only the refused run is singled", []int{100, 100, 300, 300}, times(1, unix.EINVAL, isRun), failures{}, 2, true},
		{"no segmentation on the way", []int{100, 100, 300, 300}, times(always, unix.EIO, isRun), failures{}, 2, false},
		{"a single EIO is no matter of GSO", []int{100, 200}, times(1, unix.EIO, has(0)),
			failures{0: unix.EIO}, 2, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tx, w := newWire(t, 1, tc.verdict)
			var want [][]byte
			for i, n := range tc.sizes {
				b := numbered(uint32(i), n)
				if tc.lost[uint32(i)] == nil {
					want = append(want, b)
				}
				tx.Queue(testDest, Class{}, 0, b[:2], b[2:], uint32(i))
			}
			lost := failures{}
			tx.Flush(lost.add)
			if diff := cmp.Diff(tc.lost, lost, cmp.Comparer(func(a, b error) bool { return a == b })); diff != "" {
				t.Errorf("reported:\n%s", diff)
			}
			if diff := cmp.Diff(want, w.datagrams()); diff != "" {
				t.Errorf("sent:\n%s", diff)
			}
			if w.calls != tc.calls {
				t.Errorf("%d system calls, want %d", w.calls, tc.calls)
			}
			if tx.s.gso.Load() != tc.gso {
				t.Errorf("GSO %v afterwards, want %v", !tc.gso, tc.gso)
			}
			if c := tx.s.Counters(); c.Datagrams != uint64(len(want)) || c.Unsent != uint64(len(lost)) || c.SendCalls != uint64(w.calls) {
				t.Errorf("counters %+v", c)
			}
			select {
			case d := <-tx.s.Degraded():
				if tc.gso || d.What != "gso" || d.Errno != unix.EIO || tx.s.Caps().Reason != d.Reason || tx.s.Caps().MaxSegments != 1 {
					t.Errorf("degradation %+v, caps %+v", d, tx.s.Caps())
				}
			default:
				if !tc.gso {
					t.Error("GSO was switched off without an event")
				}
			}
		})
	}
}

// TestSegmentLimitIsLearnt: a kernel that takes 64 where 128 were supposed.
func TestSegmentLimitIsLearnt(t *testing.T) {
	tx, w := newWire(t, 1, func(m wireMessage) unix.Errno {
		if len(m.datagrams) > 64 {
			return unix.EINVAL
		}
		return 0
	})
	for round := range 2 {
		for i := range uint32(200) {
			tx.Queue(testDest, Class{}, 0, numbered(i, 60), nil, i)
		}
		w.messages, w.calls = nil, 0
		tx.Flush(func(tag uint32, err error) { t.Errorf("%d: %v", tag, err) })
		if len(w.messages) != 4 || w.calls != 2-round || len(w.datagrams()) != 200 {
			t.Errorf("round %d: %d datagrams in %d messages by %d calls, want 200 in 4 by %d",
				round, len(w.datagrams()), len(w.messages), w.calls, 2-round)
		}
	}
	if d := <-tx.s.Degraded(); d.What != "gso-segments" {
		t.Errorf("degradation %+v", d)
	}
	if c := tx.s.Caps(); !c.GSO || c.MaxSegments != 64 {
		t.Errorf("caps %+v", c)
	}
}

// TestNeighboursShareAnIovec: what lies side by side goes as one piece.
func TestNeighboursShareAnIovec(t *testing.T) {
	tx, w := newWire(t, 1, func(wireMessage) unix.Errno { return 0 })
	arena := make([]byte, 10*100)
	for i := range 10 {
		b := arena[100*i:][:100]
		binary.BigEndian.PutUint32(b, uint32(i))
		tx.Queue(testDest, Class{}, 0, b[:8], b[8:], 0)
	}
	cur := cursor{}
	if n := tx.assemble(&cur); n != 1 || tx.out.headers[0].hdr.Iovlen != 1 {
		t.Errorf("%d messages, first of %d iovecs; want one of one", n, tx.out.headers[0].hdr.Iovlen)
	}
	tx.Flush(nil)
	for i, b := range w.datagrams() {
		if numberOf(b) != uint32(i) || len(b) != 100 {
			t.Errorf("datagram %d has number %d, %d bytes", i, numberOf(b), len(b))
		}
	}
}

// FuzzFlush drives a batch of any shape over a kernel of any mood. Each datagram
// must come out once, whole and in the order of its lane, or be reported once.
//
// Bytes are taken in pairs: first the shape of a datagram, until one with the
// top bits set, then a verdict on each message in turn.
func FuzzFlush(f *testing.F) {
	f.Add([]byte{0x00, 0x10, 0x00, 0x10, 0xff, 0, 0, 0})
	f.Add([]byte{0x01, 0x40, 0x01, 0x40, 0x01, 0x20, 0xff, 0, 5, 0, 5, 0, 0, 0})
	f.Add([]byte{0x00, 0x40, 0x00, 0x40, 0x00, 0x40, 0xff, 0, 6, 0, 7, 0, 7, 0, 7, 0, 3, 0})
	f.Add(bytes.Repeat([]byte{0x1a, 0xff}, 200))
	f.Add([]byte{0x1f, 0xff, 0x1f, 0xff, 0xff, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 9, 0})
	moods := []unix.Errno{0, 0, 0, unix.EINTR, unix.EMSGSIZE, unix.EINVAL, unix.EIO, unix.ENOBUFS,
		unix.ECONNREFUSED, unix.EPERM}
	dests := []*Dest{testDest, NewDest(netip.MustParseAddrPort("192.0.2.3:4789")),
		NewDest(netip.MustParseAddrPort("[2001:db8::3]:4789"))}
	f.Fuzz(func(t *testing.T, in []byte) {
		next := func() (a, b byte) {
			if len(in) < 2 {
				return 0xff, 0
			}
			a, b = in[0], in[1]
			in = in[2:]
			return a, b
		}
		interrupted := 0
		tx, w := newWire(t, 3, func(wireMessage) unix.Errno {
			if len(in) < 2 {
				return 0
			}
			a, _ := next()
			errno := moods[int(a)%len(moods)]
			if errno == unix.EINTR {
				if interrupted++; interrupted > 20 {
					return 0
				}
			}
			return errno
		})
		type sent struct {
			bytes []byte
			lane  string
		}
		var all []sent
		for {
			a, b := next()
			if a >= 0xe0 {
				break
			}
			id := uint32(len(all))
			n := 4 + int(a&0x1f)*256 + int(b) // up to 8 KiB
			d := numbered(id, n)
			dest := dests[int(a>>5)%3]
			class := Class{TOS: a >> 6, NoChecksum: a&0x20 != 0 && b&1 != 0}
			hash := uint32(b >> 6)
			cut := int(b) % n
			if !tx.Queue(dest, class, hash, d[:cut], bytes.Clone(d[cut:]), id) {
				break
			}
			all = append(all, sent{d, string([]byte{a & 0xe0, class.TOS, b & 1, byte(hash)})})
		}
		seen := make([]int, len(all))
		tx.Flush(func(tag uint32, err error) {
			seen[tag]++
			if err == nil {
				t.Error("reported without an error")
			}
		})
		last := map[string]uint32{}
		for _, m := range w.messages {
			if len(m.datagrams) > segmentsNew {
				t.Errorf("%d segments", len(m.datagrams))
			}
			for _, d := range m.datagrams {
				id := numberOf(d)
				if int(id) >= len(all) || !bytes.Equal(d, all[id].bytes) {
					t.Fatalf("datagram %d of %d bytes is not what was queued", id, len(d))
				}
				seen[id]++
				if before, ok := last[all[id].lane]; ok && before > id {
					t.Errorf("%d left after %d in its lane", id, before)
				}
				last[all[id].lane] = id
			}
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("datagram %d was sent or reported %d times", id, n)
			}
		}
		if tx.Len() != 0 {
			t.Errorf("%d datagrams left in the batch", tx.Len())
		}
	})
}
