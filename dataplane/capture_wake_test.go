package dataplane

import "testing"

// The one that writes is woken while a worker has its records, and finds nothing. It is woken again when the worker is done, though that adds nothing more:
// the frame before must not wait until there is another one.
func TestCaptureWakesWhoFoundNothing(t *testing.T) {
	t.Parallel()
	c := newCapture(CaptureFilter{Port: "p0"}, 1)
	w := &worker{tape: &tape{set: &captureSet{list: []*capture{c}}}}
	frame := func(name string) {
		w.tape.records = w.tape.records[:0]
		w.tape.note(record{fate: noFate, packets: 1, out: true, port: &port{config: PortConfig{Name: name}}}, MaxSnaplen, []byte("a frame"))
	}
	frame("p0")
	w.handOver(c)
	<-c.wake
	b := c.buffers[0].take() // the worker's next batch begins
	if c.buffers[0].exchange(&captureRecords{}) != nil {
		t.Fatal("the worker's records were taken from it")
	}
	c.buffers[0].put(b)
	frame("p1")
	w.handOver(c)
	select {
	case <-c.wake:
	default:
		t.Error("nobody is told of the frame that waits")
	}
}

// A worker that serves nothing any more keeps no memory of a capture that has ended, and one that still serves it has nowhere to put what it wants.
func TestCaptureLeavesNoBuffers(t *testing.T) {
	t.Parallel()
	c := newCapture(CaptureFilter{}, 1)
	w := &worker{tape: &tape{set: &captureSet{list: []*capture{c}}}}
	w.tape.note(record{fate: noFate, packets: 1, out: true, port: &port{}}, MaxSnaplen, make([]byte, 1<<20))
	w.handOver(c)
	c.release()
	w.handOver(c)
	if c.buffers[0].Load() != nil {
		t.Error("its buffer is kept")
	}
}
