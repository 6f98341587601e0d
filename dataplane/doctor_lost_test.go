package dataplane

import (
	"context"
	"testing"
)

// Answers that are lost, both of a size, do not make a path look narrower than it is: whichever size it is of those that are asked for on the way to the true one.
func TestProbesAreLost(t *testing.T) {
	const most = 9000
	for _, fits := range []int{probeSmall, 576, 1404, 4500, 8999, most} {
		for lost := 1; ; lost++ { // the lost-th size that fits
			asked, last, gone := 0, 0, 0
			send := func(_ context.Context, size int) bool {
				if size > fits {
					return false
				}
				if size != last {
					last = size
					asked++
				}
				if asked == lost && size > probeSmall && gone < probeTries {
					gone++
					return false
				}
				return true
			}
			if got := new(examination).largest(context.Background(), send, most); got != fits {
				t.Errorf("%d bytes fit, and answers to size %d of those that do are lost: %d", fits, lost, got)
			}
			if asked < lost {
				break
			}
		}
	}
	// With nothing but losses it ends all the same.
	sent := 0
	new(examination).largest(context.Background(), func(_ context.Context, size int) bool { sent++; return size == probeSmall || sent%5 == 0 }, most)
	if sent > (probeDoubts+1)*probeTries*16 {
		t.Errorf("%d probes", sent)
	}
}
