package dataplane

import (
	"net/netip"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"vtepd/dataplane/netdev"
	"vtepd/dataplane/tap"
	"vtepd/dataplane/underlay"
	"vtepd/encap"
	"vtepd/fdb"
)

// Sizes of a worker's batch.
const (
	// tapSlot is the room a TAP read needs, in bytes, rounded up to cache lines.
	tapSlot = (tap.BufferSize + arenaAlign - 1) &^ (arenaAlign - 1)
	// arenaSize holds what one batch reads from a TAP: four superframes, which a core's second-level cache keeps until they have been sent.
	arenaSize = 4 * tapSlot
	// arenaAlign keeps frames on cache lines of their own, in bytes.
	arenaAlign = 64
	// tapBatch bounds the frames of one TAP batch, so that other sources get their turn.
	tapBatch = 64
	// batchWork bounds what one batch makes a worker do, in copies handed to egress, so that a source whose frames are multiplied (a broadcast to
	// a thousand peers, a flood to hundreds of ports) takes its turn like any other. 1024 are about a millisecond.
	batchWork = 1024
	// busyPollLoad is the batch, in copies, up to which a worker polls busily before it sleeps: requests and responses, not bulk, whose sender and
	// receiver have better use for the processor.
	busyPollLoad = 16
	// headerArena holds the headers of the segments in flight, in bytes: 1024 of the usual 74 and to spare.
	headerArena = 128 << 10
	// maxFates bounds the frames of a batch; a longer one is settled in parts.
	maxFates = 1024
	// coalesceSlots bounds the frames and superframes that wait for the end of a batch to be written to TAPs.
	coalesceSlots = 256
)

// States of worker.inside that are no generation.
const (
	outside  = 0
	entering = 1
)

// worker is one thread of the switch. Only its own goroutine uses it, but for the fields that say otherwise.
//
// The layout is meant: what does not change comes first, then what every frame writes, and inside, which control polls, has a cache
// line of its own at the end.
type worker struct {
	s      *Switch
	id     int
	poll   *poller
	rx     []*underlay.Receiver            // its own sockets
	tx     [families]*underlay.Transmitter // nil where there is no address of the family
	join   *encap.Coalescer
	arena  []byte
	header []byte
	failed func(tag uint32, err error) // notSent, kept as a value so that passing it does not allocate

	snap    *snapshot // of the present batch
	now     fdb.Tick  // of the present batch
	hearing *hearing  // of the present batch; nil without a fast path
	tape    *tape     // nil while nobody captures

	ready  []source
	queued [maxSources]bool // indices in ready
	stop   bool

	frame      frame
	train      train
	cutter     encap.Cutter
	work       int // copies of the present batch
	load       int // copies of a batch, the largest of late, fading
	pace       pace
	arrival    uint16 // UDP port of the socket of the present batch
	rxLimit    int    // messages to ask the underlay for next
	headerUsed int
	fates      []fate
	sent       []sent
	parts      [][]byte
	one        [1]*peer
	packets    *netdev.Receiver
	posting    posting

	packetLimit int // frames to ask a packet socket for next

	tagged  [encap.PushedLen]byte
	segment [encap.MaxHeaderLen]byte
	seen    recent

	portRx, peerRx, vniRx tally
	portTx, peerTx, vniTx tally

	drops     ledger
	totals    totals
	answers   answerCounters
	strangers strangers

	_      [64]byte
	inside atomic.Uint64 // generation of the snapshot in use, or outside, or entering; read by control
	batch  atomic.Uint64 // counts batches; read by control
	_      [48]byte
}

// source is something a worker reads.
type source struct {
	index  int32 // of the port, or from firstSocket on
	serial uint32
}

// recent remembers the last answers of the batch: frames come in runs of one flow. It is forgotten at the end of the batch, so that
// no answer outlives a change by more than that.
type recent struct {
	learnVNI   uint32
	learnMAC   fdb.MAC
	learnPlace fdb.Dest

	lookVNI   uint32
	lookMAC   fdb.MAC
	lookPlace fdb.Dest
	lookFound bool

	domain *domain

	sourceDomain *domain
	source       netip.AddrPort
	peer         *peer
	refused      Reason // why the source may not send, or ReasonNone
}

// totals are a worker's share of Totals.
type totals struct {
	received, forwarded, dropped atomic.Uint64
}

func newWorker(s *Switch, id int) (*worker, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	packets, err := netdev.NewReceiver()
	if err != nil {
		poll.close()
		return nil, err
	}
	w := &worker{
		s:      s,
		id:     id,
		poll:   poll,
		join:   encap.NewCoalescer(coalesceSlots),
		arena:  make([]byte, arenaSize),
		header: make([]byte, headerArena),
		ready:  make([]source, 0, maxSources),
		fates:  make([]fate, 0, maxFates),
		sent:   make([]sent, 0, families*underlay.MaxDatagrams),
		parts:  make([][]byte, 0, 256),

		packets:     packets,
		packetLimit: netdev.MaxFrames,
	}
	for family, u := range s.sockets {
		if u != nil {
			w.rx = append(w.rx, u.ReceiversOf(id)...)
			w.tx[family] = u.NewTransmitter()
		}
	}
	w.failed = w.notSent
	w.posting = newPosting(w)
	w.rxLimit = underlay.MaxMessages
	w.portTx.dir, w.peerTx.dir, w.vniTx.dir = tx, tx, tx
	if s.listening {
		if err := w.listen(); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// listen makes the worker read its sockets. Any goroutine may call it, once.
func (w *worker) listen() error {
	for i, r := range w.rx {
		if err := w.poll.add(r.FD(), int32(firstSocket+i), 0); err != nil {
			return err
		}
	}
	return nil
}

// watch makes the worker read its socket of a group. Any goroutine may call it.
func (w *worker) watch(fd int, index, serial uint32) error {
	return w.poll.add(fd, int32(index), serial)
}

// watchPort makes the worker read its queue of a port. Any goroutine may call it.
func (w *worker) watchPort(l *link, index uint32) error {
	if l.packets != nil {
		return w.poll.addLevel(l.fd(w.id), int32(index), l.serial)
	}
	return w.poll.add(l.fd(w.id), int32(index), l.serial)
}

// unwatch makes the worker forget the queues of a link. Any goroutine may call it.
func (w *worker) unwatch(l *link) {
	for i := range l.dev.Queues() {
		w.poll.remove(l.fd(i))
	}
}

func (w *worker) wake() { w.poll.wake() }

func (w *worker) close() {
	w.poll.close()
	w.packets.Close()
}

// run is the worker: it serves what is ready, one batch each in turn, and sleeps when nothing is.
func (w *worker) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w.pace.begin(&w.s.bulk)
	for !w.stop {
		w.pace.note(w.load)
		w.note(w.poll.wait(len(w.ready) == 0, w.load <= busyPollLoad))
		again := w.ready[:0]
		for _, src := range w.ready {
			if w.serve(src) {
				again = append(again, src)
			} else {
				w.queued[src.index] = false
			}
		}
		w.ready = again
	}
}

// note adds what epoll reported to what is ready.
func (w *worker) note(events []unix.EpollEvent) {
	for i := range events {
		e := &events[i]
		switch e.Fd {
		case eventWake:
			w.stop = true
		default:
			if w.queued[e.Fd] {
				w.renew(e.Fd, uint32(e.Pad))
			} else {
				w.queued[e.Fd] = true
				w.ready = append(w.ready, source{e.Fd, uint32(e.Pad)})
			}
		}
	}
}

// renew replaces the serial of an index that is ready already: its device or socket was made anew. A former socket of a group may report behind the one in its place,
// which reports once only.
func (w *worker) renew(index int32, serial uint32) {
	for i := range w.ready {
		if r := &w.ready[i]; r.index == index && int32(serial-r.serial) > 0 {
			r.serial = serial
		}
	}
}

// serve reads one batch from a source and carries it to its end. It says whether there may be more.
func (w *worker) serve(src source) (more bool) {
	// The order matters to Switch.settle: first say that a batch begins, then take the snapshot.
	w.inside.Store(entering)
	w.snap = w.s.current.Load()
	w.inside.Store(w.snap.generation)
	w.hearing = w.s.fast.hearing.Load()
	w.now = w.s.now()
	if set := w.s.captures.active.Load(); set != nil || w.tape != nil {
		w.beginTape(set)
	}
	w.work = 0
	if src.index >= firstSocket {
		if r := w.receiver(src); r != nil {
			more = w.serveUnderlay(r)
		}
	} else if p := w.snap.port(uint32(src.index)); p != nil && p.link != nil && p.link.serial == src.serial {
		if p.link.packets != nil {
			more = w.servePackets(p)
		} else {
			more = w.serveTAP(p)
		}
	}
	w.flush()
	w.load = max(w.work, w.load-(w.load+7)/8)
	w.seen = recent{}
	w.train = train{}
	w.hearing = nil
	w.batch.Add(1)
	w.inside.Store(outside)
	return more
}

// serveTAP reads frames from the worker's queue of a port until it is empty or the batch is full.
func (w *worker) serveTAP(p *port) (more bool) {
	q := p.link.queues[w.id]
	used := 0
	for range tapBatch {
		if used+tapSlot > len(w.arena) {
			return true
		}
		slot := w.arena[used : used+tapSlot]
		n, off, err := q.Read(slot)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case tap.ErrTooShort:
			w.oversized(p)
			continue
		default:
			// EAGAIN: empty. Anything else means that the device is gone or going, which watchLinks sees to.
			return false
		}
		end := tap.Headroom + n
		w.fromPort(p, slot[:end], tap.Headroom, off)
		used += (end + arenaAlign - 1) &^ (arenaAlign - 1)
		if w.work >= batchWork {
			break
		}
	}
	return true
}

// receiver finds the socket behind a source; nil when it is gone.
func (w *worker) receiver(src source) *underlay.Receiver {
	if src.index < firstGroup {
		return w.rx[src.index-firstSocket]
	}
	if m := w.snap.membership(src.index - firstGroup); m != nil && m.serial == src.serial {
		return m.receiver
	}
	return nil
}

// serveUnderlay reads datagrams from a socket. What has been read must be carried to its end, so the number asked for follows from the
// work that the last ones made.
func (w *worker) serveUnderlay(r *underlay.Receiver) (more bool) {
	limit := w.rxLimit
	w.arrival = r.Port()
	messages, err := r.Recv(limit)
	if err != nil {
		return false
	}
	for i := range messages {
		w.fromUnderlay(&messages[i])
	}
	if w.work > batchWork {
		w.rxLimit = max(1, len(messages)/2)
	} else if len(messages) == limit {
		w.rxLimit = min(underlay.MaxMessages, 2*limit)
	}
	return len(messages) == limit
}
