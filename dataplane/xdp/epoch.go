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

// change changes maps, and tells the programs so. Nothing is kept meanwhile, and programs ask twice: the kernel may use the memory of an element again before one
// that found it has read it to the end, and what is another's must not decide where a frame goes (disturbed in frame.h).
func (f *FastPath) change(do func() error) error {
	if err := f.setEpoch(1); err != nil {
		return errors.Join(err, f.setEpoch(-1))
	}
	return errors.Join(do(), f.setEpoch(-1))
}

// setEpoch counts changes that begin or end, and says 0 while there are any.
func (f *FastPath) setEpoch(more int) error {
	e := &f.epoch
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changing += more
	var n uint32
	if e.changing == 0 {
		if e.n++; e.n == 0 {
			e.n = 1
		}
		n = e.n
	}
	if err := f.objects.Epochs.Put(uint32(0), n); err != nil {
		return fmt.Errorf("epoch: %w", err)
	}
	return nil
}
