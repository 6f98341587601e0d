package underlay

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAwaitRoom: a full buffer is waited for once in a Flush, and not again for a while after it had no room at the end of the wait.
func TestAwaitRoom(t *testing.T) {
	for _, c := range []struct {
		name string
		full bool // at the end of the wait
	}{{"there is some at once", false}, {"there is none", true}} {
		t.Run(c.name, func(t *testing.T) {
			tx, w := newWire(t, 1, func(wireMessage) unix.Errno { return unix.EAGAIN })
			var pipe [2]int
			if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(pipe[0]); unix.Close(pipe[1]) })
			for c.full {
				if _, err := unix.Write(pipe[1], make([]byte, 4096)); err != nil {
					break
				}
			}
			tx.s.checked.fds[0] = pipe[1]
			calls := func() int {
				t.Helper()
				w.calls = 0
				lost := failures{}
				tx.Queue(testDest, Class{}, 0, numbered(0, 100), nil, 0)
				tx.Queue(testDest, Class{}, 0, numbered(1, 200), nil, 1)
				tx.Flush(lost.add)
				if len(lost) != 2 || lost[0] != unix.EAGAIN || lost[1] != unix.EAGAIN {
					t.Fatalf("reported: %v", lost)
				}
				return w.calls
			}
			if n := calls(); n != 2 {
				t.Errorf("the first time: %d calls, want one before the wait and one after", n)
			}
			if set := !tx.waitedInVain.IsZero(); set != c.full {
				t.Fatalf("waited in vain: %v, want %v", set, c.full)
			}
			if c.full {
				tx.waitedInVain = time.Now().Add(time.Hour) // however long the test takes
				if n := calls(); n != 1 {
					t.Errorf("soon after: %d calls, want one and no wait", n)
				}
				tx.waitedInVain = time.Now().Add(-sendRefrain)
			}
			if n := calls(); n != 2 {
				t.Errorf("later: %d calls, want two again", n)
			}
		})
	}
}
