package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// events turns the ring buffer into a channel.
type events struct {
	reader *ringbuf.Reader
	out    chan LearnEvent
	done   chan struct{}
}

// eventQueue is how many events wait for the reader of the channel; more are dropped, and come again with the next frame.
const eventQueue = 1024

// learnEventLen is the size of struct learn_event in maps.h, bytes.
const learnEventLen = 16

func openEvents(m *ebpf.Map) (*events, error) {
	r, err := ringbuf.NewReader(m)
	if err != nil {
		return nil, fmt.Errorf("ring buffer: %w", err)
	}
	e := &events{reader: r, out: make(chan LearnEvent, eventQueue), done: make(chan struct{})}
	go e.run()
	return e, nil
}

func (e *events) run() {
	defer close(e.done)
	defer close(e.out)
	var rec ringbuf.Record
	for {
		if err := e.reader.ReadInto(&rec); err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			continue
		}
		b := rec.RawSample
		if len(b) < learnEventLen {
			continue
		}
		place := binary.NativeEndian.Uint32(b[4:])
		ev := LearnEvent{VNI: binary.NativeEndian.Uint32(b), MAC: [6]byte(b[8:14]), ToPeer: place&placePeer != 0, Index: place &^ placePeer}
		select {
		case e.out <- ev:
		default:
		}
	}
}

func (e *events) close() error {
	err := e.reader.Close()
	<-e.done
	return err
}

// Events tells of sources that the programs do not know. The channel is closed by Close and Abandon; events are dropped while it is full.
func (f *FastPath) Events() <-chan LearnEvent { return f.events.out }
