package underlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// datagramIn is a datagram as it came in, copied out of the Receiver.
type datagramIn struct {
	data   []byte
	source netip.AddrPort
	tos    uint8
	joined bool
}

// split takes a message apart.
func split(m Message) (all []datagramIn) {
	size := m.DatagramSize
	if size == 0 {
		size = max(1, len(m.Data))
	}
	rest := m.Data
	for {
		n := min(size, len(rest))
		all = append(all, datagramIn{bytes.Clone(rest[:n]), m.Source, m.TOS, m.DatagramSize != 0})
		if rest = rest[n:]; len(rest) == 0 {
			return all
		}
	}
}

// poll is poll(2), and says how many descriptors have something within a time. The Go runtime interrupts its own threads.
func poll(tb testing.TB, fds []unix.PollFd, within time.Duration) int {
	tb.Helper()
	for end := time.Now().Add(within); ; {
		n, err := unix.Poll(fds, int(max(time.Until(end), 0).Milliseconds()))
		if err != unix.EINTR {
			must(tb, err)
			return n
		}
	}
}

// readable says whether a receiver has something within a time.
func readable(tb testing.TB, r *Receiver, within time.Duration) bool {
	tb.Helper()
	return poll(tb, []unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}, within) > 0
}

// collect receives until n datagrams are there, or nothing comes for as long as is waited for anything.
func collect(tb testing.TB, r *Receiver, n int) (all []datagramIn) {
	tb.Helper()
	for len(all) < n {
		if !readable(tb, r, patience) {
			tb.Fatalf("%d of %d datagrams arrived", len(all), n)
		}
		messages, err := r.Recv(MaxMessages)
		must(tb, err)
		for _, m := range messages {
			if m.Truncated {
				tb.Errorf("truncated message of %d bytes", len(m.Data))
			}
			all = append(all, split(m)...)
		}
	}
	return all
}

// nothingMore fails when the receiver has anything waiting.
func nothingMore(tb testing.TB, r *Receiver) {
	tb.Helper()
	if messages, err := r.Recv(1); err != nil || len(messages) != 0 {
		tb.Errorf("unexpected: %d messages, err %v", len(messages), err)
	}
}

func payload(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*7)
	}
	return b
}

func TestRunsAndShapes(t *testing.T) {
	type shape struct {
		name     string
		sizes    []int
		class    Class
		messages int // with GSO
	}
	shapes := []shape{
		{"one", []int{100}, Class{}, 1},
		{"empty payload", []int{8}, Class{}, 1},
		{"equal", []int{500, 500, 500, 500}, Class{}, 1},
		{"short tail ends the run", []int{500, 500, 20, 500, 500}, Class{}, 2},
		{"longer starts a new run", []int{20, 500, 500}, Class{}, 2},
		{"all different", []int{100, 200, 300}, Class{}, 3},
		{"falling", []int{300, 200, 100}, Class{}, 2},
		{"tos", []int{500, 500, 500}, Class{TOS: 0xb9}, 1},
		{"ttl", []int{500, 500, 500}, Class{TTL: 9}, 1},
		{"tos and ttl, single", []int{77}, Class{TOS: 1, TTL: 3}, 1},
		{"no checksum", []int{500, 500, 500}, Class{NoChecksum: true, TOS: 2}, 3},
	}
	for _, v6 := range []bool{false, true} {
		for _, gso := range []bool{true, false} {
			for _, gro := range []bool{true, false} {
				t.Run(familyName(v6)+"/"+modeName(gso, gro), func(t *testing.T) {
					l := newLab(t)
					a, b := l.pair(v6, func(c *Config) {
						c.Refuse = Refuse{GSO: !gso, GRO: !gro}
						c.ZeroChecksum6, c.FlowLabels = true, true
					})
					tx, to := a.NewTransmitter(), NewDest(b.Local())
					for _, sh := range shapes {
						before := a.Counters()
						var want [][]byte
						for i, n := range sh.sizes {
							p := payload(n, byte(i))
							if !tx.Queue(to, sh.class, 7, p[:8], p[8:], uint32(i)) {
								t.Fatalf("%s: Queue refused datagram %d", sh.name, i)
							}
							want = append(want, p)
						}
						tx.Flush(func(tag uint32, err error) { t.Errorf("%s: datagram %d: %v", sh.name, tag, err) })
						var got [][]byte
						for _, d := range collect(t, b.Receiver(0), len(want)) {
							got = append(got, d.data)
							if d.tos != sh.class.TOS {
								t.Errorf("%s: TOS %#x, want %#x", sh.name, d.tos, sh.class.TOS)
							}
							if d.source.Addr() != a.cfg.Local || d.source.Port() < FirstSource {
								t.Errorf("%s: from %v", sh.name, d.source)
							}
						}
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("%s: content or order:\n%s", sh.name, diff)
						}
						messages := sh.messages
						if !gso {
							messages = len(sh.sizes)
						}
						if n := a.Counters().Messages - before.Messages; n != uint64(messages) {
							t.Errorf("%s: %d messages, want %d", sh.name, n, messages)
						}
						if n := a.Counters().SendCalls - before.SendCalls; n != 1 {
							t.Errorf("%s: %d system calls, want 1", sh.name, n)
						}
					}
					nothingMore(t, b.Receiver(0))
				})
			}
		}
	}
}

// TestTTL looks at the header field itself, which a receive socket of this
// package does not report.
func TestTTL(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(familyName(v6), func(t *testing.T) {
			l := newLab(t)
			a, b := l.pair(v6, nil)
			r := b.Receiver(0)
			level, recv, kind := unix.SOL_IP, unix.IP_RECVTTL, unix.IP_TTL
			if v6 {
				level, recv, kind = unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, unix.IPV6_HOPLIMIT
			}
			must(t, unix.SetsockoptInt(r.FD(), level, recv, 1))
			tx, to := a.NewTransmitter(), NewDest(b.Local())
			for _, ttl := range []uint8{0, 1, 200} {
				tx.Queue(to, Class{TTL: ttl}, 1, []byte("12345678"), nil, 0)
				tx.Flush(nil)
				buf, oob := make([]byte, 100), make([]byte, 256)
				if !readable(t, r, patience) {
					t.Fatalf("TTL %d: nothing arrived within %s", ttl, patience)
				}
				_, n, _, _, err := unix.Recvmsg(r.FD(), buf, oob, unix.MSG_DONTWAIT)
				must(t, err)
				want := ttl
				if want == 0 {
					want = 64
				}
				found := false
				messages, err := unix.ParseSocketControlMessage(oob[:n])
				must(t, err)
				for _, m := range messages {
					if int(m.Header.Level) == level && int(m.Header.Type) == kind {
						found = true
						if got := binary.NativeEndian.Uint32(m.Data); got != uint32(want) {
							t.Errorf("TTL %d, want %d", got, want)
						}
					}
				}
				if !found {
					t.Error("no TTL reported")
				}
			}
		})
	}
}

// TestGROJoins holds the receive side to what its documentation promises: runs
// arrive joined when both ends can, and are split right.
func TestGROJoins(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, nil)
	tx, to := a.NewTransmitter(), NewDest(b.Local())
	for i := range 40 {
		p := payload(1000, byte(i))
		tx.Queue(to, Class{}, 3, p[:8], p[8:], 0)
	}
	tail := payload(10, 99)
	tx.Queue(to, Class{}, 3, tail, nil, 0)
	tx.Flush(func(_ uint32, err error) { t.Error(err) })
	if !readable(t, b.Receiver(0), patience) {
		t.Fatalf("nothing arrived within %s", patience)
	}
	messages, err := b.Receiver(0).Recv(MaxMessages)
	must(t, err)
	if len(messages) != 1 || messages[0].DatagramSize != 1000 || len(messages[0].Data) != 40010 {
		t.Fatalf("%d messages, first %d bytes in segments of %d; want one of 40010 in 1000",
			len(messages), len(messages[0].Data), messages[0].DatagramSize)
	}
	if parts := split(messages[0]); len(parts) != 41 || !bytes.Equal(parts[40].data, tail) {
		t.Errorf("%d parts, last %v", len(parts), parts[len(parts)-1].data)
	}
}

func TestFlowKeepsItsSocket(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, nil)
	to := NewDest(b.Local())
	port := map[uint32]uint16{}
	used := map[uint16]bool{}
	for range 2 { // two workers
		tx := a.NewTransmitter()
		for hash := range uint32(200) {
			tx.Queue(to, Class{}, hash, binary.NativeEndian.AppendUint32(nil, hash), nil, hash)
		}
		tx.Flush(func(tag uint32, err error) { t.Errorf("%d: %v", tag, err) })
		for _, d := range collect(t, b.Receiver(0), 200) {
			hash := binary.NativeEndian.Uint32(d.data)
			used[d.source.Port()] = true
			if was, ok := port[hash]; ok && was != d.source.Port() {
				t.Errorf("hash %d left from port %d, then %d", hash, was, d.source.Port())
			}
			port[hash] = d.source.Port()
			if foretold := a.SourcePort(Class{}, hash); foretold != d.source.Port() {
				t.Errorf("hash %d left from port %d, and %d was foretold", hash, d.source.Port(), foretold)
			}
		}
	}
	if len(used) != DefaultSourcePorts {
		t.Errorf("200 flows used %d of %d ports", len(used), DefaultSourcePorts)
	}
}

func TestBatchBounds(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, func(c *Config) { c.SourcePorts = 1 })
	tx := a.NewTransmitter()
	to := NewDest(b.Local())
	n := 0
	for ; tx.Queue(to, Class{}, 0, []byte{1, 2, 3, 4, 5, 6, 7, 8}, nil, 0); n++ {
	}
	if n != MaxDatagrams || tx.Len() != n {
		t.Errorf("batch took %d datagrams, want %d", n, MaxDatagrams)
	}
	tx.Flush(func(_ uint32, err error) { t.Error(err) })
	collect(t, b.Receiver(0), n)

	dests := make([]*Dest, MaxLanes+1)
	for i := range dests {
		dests[i] = NewDest(b.Local())
	}
	for round := range 3 {
		for i, d := range dests {
			ok := tx.Queue(d, Class{}, 0, []byte{byte(round), byte(i)}, nil, uint32(i))
			if ok != (i < MaxLanes) {
				t.Fatalf("round %d: lane %d accepted: %v", round, i, ok)
			}
		}
		// A known lane still takes datagrams.
		if !tx.Queue(dests[0], Class{}, 0, []byte{byte(round), 255}, nil, 0) {
			t.Error("full lane table refused a lane it has")
		}
		tx.Flush(func(tag uint32, err error) { t.Errorf("%d: %v", tag, err) })
		if got := collect(t, b.Receiver(0), MaxLanes+1); got[0].data[0] != byte(round) {
			t.Errorf("round %d received data of round %d", round, got[0].data[0])
		}
	}
	nothingMore(t, b.Receiver(0))
}

// TestEveryDatagramIsAccountedFor sends random datagrams over random lanes, some
// to nowhere and some too large, and holds that each arrives unchanged and in
// the order of its lane, or is reported, and never both.
func TestEveryDatagramIsAccountedFor(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, offload := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/offload=%v", familyName(v6), offload), func(t *testing.T) {
				accountForAll(t, v6, offload)
			})
		}
	}
}

func accountForAll(t *testing.T, v6, offload bool) {
	l := newLab(t)
	a, b := l.pair(v6, func(c *Config) {
		c.Offload = offload
		c.ZeroChecksum6 = true
		c.ReceiveBuffer = 64 << 20 // nothing may be lost behind the wire
	})
	rng := rand.New(rand.NewPCG(1, 2))
	good, noRoute := NewDest(b.Local()), NewDest(netip.MustParseAddrPort("203.0.113.1:4789"))
	if v6 {
		noRoute = NewDest(netip.MustParseAddrPort("[2001:db8:9::1]:4789"))
	}
	closed := NewDest(netip.AddrPortFrom(b.Local().Addr(), 9)) // answers ICMP
	classes := []Class{{}, {TOS: 0xb8}, {TOS: 1, TTL: 3}, {NoChecksum: true}}
	sizes := []int{12, 12, 64, 700, 1400, 1400, 1400, 1450, 1473, 3000, 60000}

	const total = 10_000
	type origin struct {
		want    []byte
		refused error
		toB     bool
		lane    string
	}
	all := make([]origin, total)
	tx := a.NewTransmitter()
	failed := func(tag uint32, err error) {
		if all[tag].refused != nil {
			t.Errorf("datagram %d reported twice: %v, %v", tag, all[tag].refused, err)
		}
		all[tag].refused = err
	}
	arrived := map[uint32]int{}
	lanes := map[string]uint32{}
	receive := func() {
		for {
			messages, err := b.Receiver(0).Recv(MaxMessages)
			must(t, err)
			for _, m := range messages {
				for _, d := range split(m) {
					id := binary.BigEndian.Uint32(d.data)
					arrived[id]++
					if !bytes.Equal(d.data, all[id].want) {
						t.Fatalf("datagram %d: %d bytes arrived changed, %d sent", id, len(d.data), len(all[id].want))
					}
					lane := fmt.Sprint(all[id].lane, d.source.Port())
					if last, ok := lanes[lane]; ok && last > id {
						t.Errorf("lane %s: %d after %d", lane, id, last)
					}
					lanes[lane] = id
				}
			}
			if len(messages) < MaxMessages {
				return
			}
		}
	}
	for id := 0; id < total; {
		to, class := good, classes[rng.IntN(len(classes))]
		switch rng.IntN(12) {
		case 0:
			to = noRoute
		case 1:
			to = closed
		}
		n := sizes[rng.IntN(len(sizes))]
		hash := rng.Uint32N(40)
		for range 1 + rng.IntN(60) {
			if id == total {
				break
			}
			if rng.IntN(20) == 0 {
				n = sizes[rng.IntN(len(sizes))]
			}
			p := payload(n, byte(id))
			binary.BigEndian.PutUint32(p, uint32(id))
			all[id] = origin{want: p, toB: to == good, lane: fmt.Sprint(class)}
			if v6 { // flows of one socket may have labels of their own, and so lanes
				all[id].lane += fmt.Sprint(" ", hash)
			}
			cut := rng.IntN(n + 1)
			if !tx.Queue(to, class, hash, p[:cut], bytes.Clone(p[cut:]), uint32(id)) {
				tx.Flush(failed)
				receive()
				continue
			}
			id++
		}
	}
	tx.Flush(failed)
	due := 0
	for id := range all {
		if o := &all[id]; o.toB && o.refused == nil {
			due++
		}
	}
	for receive(); len(arrived) < due && readable(t, b.Receiver(0), patience); {
		receive()
	}
	nothingMore(t, b.Receiver(0))

	var sent, lost int
	for id := range all {
		o := &all[id]
		got := arrived[uint32(id)]
		switch {
		case got > 1:
			t.Errorf("datagram %d arrived %d times", id, got)
		case got == 1 && o.refused != nil:
			t.Errorf("datagram %d arrived and was reported: %v", id, o.refused)
		case got == 0 && o.refused == nil && o.toB:
			t.Errorf("datagram %d of %d bytes, lane %s: neither arrived nor reported", id, len(o.want), o.lane)
		case o.refused != nil && o.toB && len(o.want) <= 1452:
			t.Errorf("datagram %d of %d bytes was refused: %v", id, len(o.want), o.refused)
		case o.toB && o.refused == nil && len(o.want) > 1472:
			t.Errorf("datagram %d of %d bytes passed an MTU of 1500", id, len(o.want))
		}
		if o.refused != nil {
			lost++
		} else {
			sent++
		}
	}
	c := a.Counters()
	if c.Datagrams != uint64(sent) || c.Unsent != uint64(lost) {
		t.Errorf("counters: %d sent %d unsent, want %d and %d", c.Datagrams, c.Unsent, sent, lost)
	}
	t.Logf("%d sent, %d reported: %+v; receiver drops %d", sent, lost, c, b.Receiver(0).KernelDrops())
}

func TestZeroAllocations(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, nil)
	tx, r, to := a.NewTransmitter(), b.Receiver(0), NewDest(b.Local())
	nowhere := NewDest(netip.MustParseAddrPort("203.0.113.1:4789"))
	p := payload(1450, 1)
	reported := 0
	failed := func(uint32, error) { reported++ }
	n := testing.AllocsPerRun(200, func() {
		for i := range 60 {
			tx.Queue(to, Class{TOS: uint8(i & 1)}, uint32(i/20), p[:8], p[8:1000+i], 0)
		}
		tx.Queue(nowhere, Class{}, 0, p[:8], nil, 0)
		tx.Flush(failed)
		for {
			messages, err := r.Recv(MaxMessages)
			if err != nil || len(messages) < MaxMessages {
				break
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
	if reported == 0 {
		t.Error("the failing datagram was not reported")
	}
}
