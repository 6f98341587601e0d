package dataplane

import "sync/atomic"

const (
	// captureBuffer is what may wait to be written of a capture, in bytes: a second of 128 Mb/s. captureBufferLeast is the least share of it that a worker has.
	captureBuffer      = 16 << 20
	captureBufferLeast = 256 << 10
	// recordCost is what a record counts for beside its bytes.
	recordCost = 128
	// maxLosses bounds the places whose losses are told apart between two looks.
	maxLosses = 64
)

// captureRecords are frames of one worker that wait to be written, and how many found no room. Whoever took them from a slot has them alone.
type captureRecords struct {
	most    int // bytes, as add counts them
	records []record
	bytes   []byte
	losses  []loss
	lost    uint64
}

// loss is how many frames of a port or peer were lost; of neither: of any.
type loss struct {
	port *port
	peer *peer
	n    uint64
}

func (b *captureRecords) add(r *record, data []byte) {
	if len(b.bytes)+len(data)+(len(b.records)+1)*recordCost > b.most {
		b.lose(r.port, r.peer, 1)
		return
	}
	n := *r
	n.at, n.size = uint32(len(b.bytes)), uint32(len(data))
	b.bytes = append(b.bytes, data...)
	b.records = append(b.records, n)
}

func (b *captureRecords) lose(p *port, q *peer, n uint64) {
	if n == 0 {
		return
	}
	b.lost += n
	if len(b.losses) == maxLosses-1 {
		p, q = nil, nil
	}
	for i := range b.losses {
		if l := &b.losses[i]; l.port == p && l.peer == q {
			l.n += n
			return
		}
	}
	b.losses = append(b.losses, loss{p, q, n})
}

// total grows with everything that is added.
func (b *captureRecords) total() uint64 { return uint64(len(b.records)) + b.lost }

func (b *captureRecords) data(r *record) []byte { return b.bytes[r.at:][:r.size] }

// reset empties b and keeps its memory.
func (b *captureRecords) reset() {
	clear(b.records) // of pointers
	clear(b.losses)
	b.records, b.bytes, b.losses, b.lost = b.records[:0], b.bytes[:0], b.losses[:0], 0
}

// captureSlot is where a worker's records wait. It is empty while the worker adds to them, for which it waits for nobody: the one that writes exchanges what it
// finds for an empty one in one step, or finds nothing and is woken when the worker is done.
type captureSlot struct{ atomic.Pointer[captureRecords] }

// take takes the records out for the worker, which puts them back; nil: they were given up.
func (s *captureSlot) take() *captureRecords { return s.Swap(nil) }

func (s *captureSlot) put(b *captureRecords) { s.Store(b) }

// exchange takes the records out for the one that writes, and leaves an empty spare in their place; nil: the worker has them.
func (s *captureSlot) exchange(spare *captureRecords) *captureRecords {
	if full := s.Load(); full != nil && s.CompareAndSwap(full, spare) {
		return full
	}
	return nil
}
