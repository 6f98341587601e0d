package dataplane

import "sync/atomic"

// counters is one worker's share of the counters of one port, peer or VNI. Only that worker adds to it, at most once a run of
// frames; readers sum over the workers. It fills one cache line of 64 bytes, so that two workers never write the same line.
type counters struct {
	rxPackets, rxBytes   atomic.Uint64
	txPackets, txBytes   atomic.Uint64
	rxDropped, txDropped atomic.Uint64
	answers              answerBudget // of a VNI; not for readers
	_                    [8]byte
}

// counterSet holds one counters a worker, and one for what the fast path carries.
type counterSet []counters

func newCounterSet(workers int) counterSet { return make(counterSet, workers+1) }

// fast is the share of the fast path, which one goroutine adds to.
func (s counterSet) fast() *counters { return &s[len(s)-1] }

func (s counterSet) sum() Counters {
	var c Counters
	for i := range s {
		c.RxPackets += s[i].rxPackets.Load()
		c.RxBytes += s[i].rxBytes.Load()
		c.TxPackets += s[i].txPackets.Load()
		c.TxBytes += s[i].txBytes.Load()
		c.RxDropped += s[i].rxDropped.Load()
		c.TxDropped += s[i].txDropped.Load()
	}
	return c
}

// direction selects which half of counters a tally writes.
type direction uint8

const (
	rx direction = iota
	tx
)

// tally gathers additions to one counters while frames of a run go the same way, so that a run costs two atomic additions and not two
// a frame.
type tally struct {
	to             *counters
	packets, bytes uint64
	dir            direction
}

func (t *tally) add(c *counters, packets, bytes uint64) {
	if t.to != c {
		t.flush()
		t.to = c
	}
	t.packets += packets
	t.bytes += bytes
}

func (t *tally) flush() {
	if t.packets != 0 {
		if t.dir == rx {
			t.to.rxPackets.Add(t.packets)
			t.to.rxBytes.Add(t.bytes)
		} else {
			t.to.txPackets.Add(t.packets)
			t.to.txBytes.Add(t.bytes)
		}
	}
	t.to, t.packets, t.bytes = nil, 0, 0
}
