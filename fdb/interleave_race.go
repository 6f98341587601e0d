//go:build race

package fdb

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
)

// interleaving makes interleave yield. Tests set it.
var interleaving atomic.Bool

// interleave stands between two loads or stores whose order lookup.go argues
// about. The windows are nanoseconds wide, and without it a test would hardly
// ever get another goroutine into one. Outside race builds it is nothing.
func interleave() {
	if interleaving.Load() && rand.Uint32()%4 == 0 {
		runtime.Gosched()
	}
}
