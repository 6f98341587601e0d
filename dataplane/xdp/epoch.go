package xdp

import (
	"errors"
	"fmt"
	"sync"
)

// epoch counts the changes of the maps. Programs keep what they decided for one frame and use it for the next ones of the same way, which spares them most of
// their questions, but only while the epoch is the same, and not while it is 0.
type epoch struct {
	mu       sync.Mutex
	n        uint32
	changing int // how many changes are under way
}

// next is the epoch after one more change.
func (e *epoch) next() uint32 {
	if e.changing > 0 {
		return 0
	}
	if e.n++; e.n == 0 {
		e.n = 1
	}
	return e.n
}

// changed tells the programs that entries are not what they were, after a change that ended with err, and joins its own error to that.
func (f *FastPath) changed(err error) error {
	e := &f.epoch
	e.mu.Lock()
	defer e.mu.Unlock()
	if put := f.objects.Epochs.Put(uint32(0), e.next()); put != nil {
		return errors.Join(err, fmt.Errorf("epoch: %w", put))
	}
	return err
}

// change changes a port, a peer, a VNI or a source. Nothing is kept meanwhile: the kernel may use the memory of an element again before a program that found it
// has read it to the end, and what it took for another's must not outlive the frame in hand. (Entries are left out. What could be taken for
// theirs is a place, and that is asked whether it has the VNI.)
func (f *FastPath) change(do func() error) error {
	e := &f.epoch
	e.mu.Lock()
	e.changing++
	err := f.objects.Epochs.Put(uint32(0), uint32(0))
	e.mu.Unlock()
	if err == nil {
		err = do()
	} else {
		err = fmt.Errorf("epoch: %w", err)
	}
	e.mu.Lock()
	e.changing--
	e.mu.Unlock()
	return f.changed(err)
}
