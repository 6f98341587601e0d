package xdp

import (
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
)

// TestPinsUnlocked: whoever gives up a pin directory has given it up, whatever processes are being started meanwhile.
func TestPinsUnlocked(t *testing.T) {
	t.Parallel()
	dir := pinDir(t)
	var over atomic.Bool
	var starts sync.WaitGroup
	for range 4 {
		starts.Go(func() {
			for !over.Load() {
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3000 {
		p, err := openPins(dir)
		if err != nil {
			t.Errorf("time %d: %v", i, err)
			break
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}
	over.Store(true)
	starts.Wait()
}
