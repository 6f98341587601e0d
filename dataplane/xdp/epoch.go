package xdp

import (
	"errors"
	"fmt"
	"sync"
)

// epoch counts the changes of the maps. Programs keep what they decided for one frame and use it for the next ones of the same way, which spares them most of
// their questions, but only while the epoch is the same.
type epoch struct {
	mu sync.Mutex
	n  uint32
}

// changed tells the programs that maps are not what they were, after a change that ended with err, and joins its own error to that.
func (f *FastPath) changed(err error) error {
	e := &f.epoch
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.n++; e.n == 0 {
		e.n = 1 // 0 is what empty memory says
	}
	if put := f.objects.Epochs.Put(uint32(0), e.n); put != nil {
		return errors.Join(err, fmt.Errorf("epoch: %w", put))
	}
	return err
}
