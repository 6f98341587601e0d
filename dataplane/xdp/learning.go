package xdp

import (
	"encoding/binary"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// events reads the ring buffer.
type events struct {
	reader *ringbuf.Reader
	waiter *waiter
	record ringbuf.Record
}

// learnEventLen is the size of struct learn_event in maps.h, bytes.
const learnEventLen = 16

func openEvents(m *ebpf.Map) (*events, error) {
	w, err := newWaiter(m.FD())
	if err != nil {
		return nil, err
	}
	r, err := ringbuf.NewReader(m)
	if err != nil {
		w.close()
		return nil, err
	}
	r.SetDeadline(time.Unix(1, 0)) // long ago: reading never waits
	return &events{reader: r, waiter: w}, nil
}

func (e *events) close() error {
	e.waiter.close()
	return e.reader.Close()
}

// EventsWaiting says whether there is an event to be read. It costs two loads, and may be called while others read, but not once Close or
// Abandon was called.
func (f *FastPath) EventsWaiting() bool { return f.events.reader.AvailableBytes() > 0 }

// ReadEvents reads events into list, as many as there are and fit, and says how many those were. It does not wait and does not allocate. One goroutine
// at a time may call it, and none once Close or Abandon was called.
//
// An event is there before its frame has left.
func (f *FastPath) ReadEvents(list []LearnEvent) (n int) {
	e := f.events
	for n < len(list) && e.reader.AvailableBytes() > 0 {
		if e.reader.ReadInto(&e.record) != nil {
			break
		}
		b := e.record.RawSample
		if len(b) < learnEventLen {
			continue
		}
		list[n] = LearnEvent{VNI: binary.NativeEndian.Uint32(b), Serial: binary.NativeEndian.Uint32(b[4:]), MAC: [6]byte(b[8:14])}
		n++
	}
	return n
}

// WaitEvents returns true when there are events to be read, and false when EndEvents was called. It has to return before Close or Abandon is called.
func (f *FastPath) WaitEvents() bool { return f.events.waiter.wait() }

// EndEvents has WaitEvents return false from now on.
func (f *FastPath) EndEvents() { f.events.waiter.end() }
