package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
)

// MaxCaptures bounds the captures at a time: each has what it names pass user space, costs every worker a copy of what it selects, and holds captureBuffer twice.
const MaxCaptures = 8

// MaxSnaplen is as much as any frame has, superframes included, in bytes: tcpdump's default.
const MaxSnaplen = 262144

// CaptureDir selects frames by whether they entered the switch or left it.
type CaptureDir uint8

const (
	// CaptureBoth takes both.
	CaptureBoth CaptureDir = iota
	// CaptureIn takes what came from ports and peers.
	CaptureIn
	// CaptureOut takes what left to them.
	CaptureOut
)

// CaptureFilter says which frames are captured: those of which everything holds that is not zero.
type CaptureFilter struct {
	// Port names a port, there or to come, Peer a peer; port 0 of it is any. With both it is the frames that go from one to the other, where they leave.
	Port string
	Peer netip.AddrPort
	VNI  uint32
	Dir  CaptureDir
	// Drops: only frames that were dropped, which are seen where they entered.
	Drops bool
	// Snaplen is how many bytes of a frame are kept; 0 is all.
	Snaplen int
	// Count ends the capture after so many frames; 0 never does.
	Count uint64
}

// Check refuses what no frame could ever pass, with ErrInvalid.
func (f *CaptureFilter) Check() error {
	switch both := f.Port != "" && f.Peer.Addr().IsValid(); {
	case f.Drops && f.Dir == CaptureOut:
		return invalidError{errors.New("dir out: a frame that was dropped did not leave: leave dir or drops away")}
	case f.Drops && both:
		return invalidError{errors.New("drops: a frame that was dropped came from one place and went to none: name the port or the peer")}
	case f.Dir == CaptureIn && both:
		return invalidError{errors.New("dir in: frames between a port and a peer are seen where they leave: leave dir away")}
	case f.Snaplen < 0 || f.Snaplen > MaxSnaplen:
		return fmt.Errorf("snaplen %d: must be 0..%d: %w", f.Snaplen, MaxSnaplen, ErrInvalid)
	}
	return nil
}

// CaptureWriter takes a capture. Flush hands on what was written.
type CaptureWriter interface {
	io.Writer
	Flush() error
}

// capture is one capture that goes on. Workers fill buffers, of which each has its own, and the one that writes empties them.
type capture struct {
	filter  CaptureFilter
	snaplen int
	most    int           // bytes that may wait in a buffer
	buffers []captureSlot // by worker
	wake    chan struct{} // there is something in a buffer
	ended   chan struct{} // closed when the switch is
}

// captureSet are the captures that go on, immutable once published; nil where there is none.
type captureSet struct {
	list []*capture
}

// captures are those of a switch.
type captures struct {
	active atomic.Pointer[captureSet] // nobody capturing costs a worker one load a batch

	mu     sync.Mutex
	closed bool
}

// Capture writes the frames that a filter selects to w, as pcapng, until ctx ends, w fails, as many as it asks for are written, or the switch is closed; none of
// these is an error. The first write comes when everything that the filter names passes user space. An error says why nothing was captured, and then
// nothing was written: ErrInvalid, ErrBusyNow or ErrClosed.
//
// A writer that is too slow loses frames and is told how many, for each interface, by statistics blocks. The switch never waits for it.
func (s *Switch) Capture(ctx context.Context, f CaptureFilter, w CaptureWriter) error {
	if err := f.Check(); err != nil {
		return err
	}
	c := newCapture(f, len(s.workers))
	if err := s.captures.add(c); err != nil {
		return err
	}
	defer func() {
		s.captures.remove(c)
		c.release()
		s.fast.catchUp()
	}()
	s.fast.catchUp()
	log := f.log(s.log)
	log.Info("capture begins")
	stream := newCaptureStream(c, w, s.config.DstPort)
	stream.run(ctx)
	log.Info("capture ended", "frames", stream.frames, "lost", stream.lost())
	return nil
}

// log names what is captured.
func (f *CaptureFilter) log(log *slog.Logger) *slog.Logger {
	if f.Port != "" {
		log = log.With("port", f.Port)
	}
	if f.Peer.Addr().IsValid() {
		log = log.With("peer", f.Peer.Addr())
	}
	if f.VNI != 0 {
		log = log.With("vni", f.VNI)
	}
	if f.Drops {
		log = log.With("drops", true)
	}
	return log
}

func newCapture(f CaptureFilter, workers int) *capture {
	c := &capture{
		filter:  f,
		snaplen: f.Snaplen,
		most:    max(captureBuffer/workers, captureBufferLeast),
		buffers: make([]captureSlot, workers),
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
	if c.snaplen == 0 {
		c.snaplen = MaxSnaplen
	}
	for i := range c.buffers {
		c.buffers[i].Store(&captureRecords{most: c.most})
	}
	return c
}

// release gives up the buffers: a worker without anything to serve remembers the captures of its last batch. What one has in hand goes with its next batch.
func (c *capture) release() {
	for i := range c.buffers {
		c.buffers[i].take()
	}
}

func (cs *captures) add(c *capture) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return ErrClosed
	}
	var next captureSet
	if old := cs.active.Load(); old != nil {
		next.list = append(next.list, old.list...)
	}
	if len(next.list) == MaxCaptures {
		return fmt.Errorf("%d captures go on already: end one, or %w", MaxCaptures, ErrBusyNow)
	}
	next.list = append(next.list, c)
	cs.active.Store(&next)
	return nil
}

func (cs *captures) remove(c *capture) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	old := cs.active.Load()
	if old == nil {
		return
	}
	next := &captureSet{}
	for _, other := range old.list {
		if other != c {
			next.list = append(next.list, other)
		}
	}
	if len(next.list) == 0 {
		next = nil
	}
	cs.active.Store(next)
}

// close ends all captures.
func (cs *captures) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	if set := cs.active.Swap(nil); set != nil {
		for _, c := range set.list {
			close(c.ended)
		}
	}
}
