package xdp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// waiter waits for a ring buffer to have something to read. The kernel wakes it when the first record comes after everything was read, and not for
// those that follow.
type waiter struct {
	ring int // the map's descriptor
	stop int // eventfd
}

func newWaiter(ring int) (*waiter, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("ring buffer: eventfd: %w", err)
	}
	return &waiter{ring, stop}, nil
}

func (w *waiter) wait() bool {
	for {
		fds := [...]unix.PollFd{{Fd: int32(w.ring), Events: unix.POLLIN}, {Fd: int32(w.stop), Events: unix.POLLIN}}
		_, err := unix.Poll(fds[:], -1)
		switch {
		case err == unix.EINTR:
		case err != nil || fds[1].Revents != 0 || fds[0].Revents&^unix.POLLIN != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}

func (w *waiter) end() { _, _ = unix.Write(w.stop, []byte{1, 0, 0, 0, 0, 0, 0, 1}) } // cannot fail before 2^64-1 of them

func (w *waiter) close() { unix.Close(w.stop) }
