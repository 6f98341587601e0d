package dataplane

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// calmSlice is the slice of processor time, in nanoseconds, that a worker asks for while there are requests and responses only: the kernel's scheduler gives
	// who asks for short slices the processor sooner, and at once when it wakes up (EEVDF, custom slices since Linux 6.12). 100 us is the least that it takes.
	calmSlice = 100_000
	// calmBatches is how many batches in a row must be without bulk, anywhere in the switch, before a worker asks for it. In bulk, threads that interrupt
	// one another leave each less to do at a time.
	calmBatches = 64
)

// bulk counts the batches of all workers that were bulk. It has a cache line of its own.
type bulk struct {
	_       [64]byte
	batches atomic.Uint64
	_       [56]byte
}

// pace asks the scheduler for short slices in calm, and for usual ones in bulk. It belongs to one worker and its thread.
type pace struct {
	all   *bulk
	seen  uint64 // of all.batches
	calm  int    // batches since
	short bool
	attr  unix.SchedAttr // of the thread; its policy and nice value stay as they were
	set   func(*unix.SchedAttr) error
}

// begin reads what the calling thread has. A thread with a slice of its own, or of a real-time class, keeps what it has.
func (p *pace) begin(all *bulk) {
	p.all = all
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL && attr.Policy != unix.SCHED_BATCH {
		return
	}
	p.attr = *attr
	p.set = func(a *unix.SchedAttr) error { return unix.SchedSetAttr(0, a, 0) }
}

// note is told of every batch how large batches are of late, in copies.
func (p *pace) note(load int) {
	if p.set == nil {
		return
	}
	if load > busyPollLoad {
		p.all.batches.Add(1)
	}
	if n := p.all.batches.Load(); n != p.seen {
		p.seen, p.calm = n, 0
	} else if p.calm < calmBatches {
		p.calm++
	}
	if want := p.calm == calmBatches; want != p.short {
		p.change(want)
	}
}

func (p *pace) change(short bool) {
	p.short = short
	p.attr.Runtime = 0 // the scheduler's default
	if short {
		p.attr.Runtime = calmSlice
	}
	if p.set(&p.attr) != nil {
		p.set = nil // not allowed here: the usual slices are good, too
	}
}
