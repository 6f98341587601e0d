package underlay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// errorWatch waits for the error queues of the transmit sockets, which an
// epoll(7) set reports whether asked or not. It is edge-triggered: an entry that
// nobody takes wakes nobody twice.
type errorWatch struct {
	epoll int
	wake  int // eventfd(2): something was set aside, or the end
	ended chan struct{}
}

func newErrorWatch() (*errorWatch, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("underlay: epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET})
		if err != nil {
			unix.Close(wake)
		}
	}
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("underlay: eventfd: %w", err)
	}
	return &errorWatch{epoll: epoll, wake: wake, ended: make(chan struct{})}, nil
}

// add watches the sockets of a pool.
func (w *errorWatch) add(p *pool) error {
	for _, fd := range p.fds {
		err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLERR | unix.EPOLLET})
		if err != nil {
			return fmt.Errorf("underlay: epoll_ctl: %w", err)
		}
	}
	return nil
}

func (w *errorWatch) nudge() {
	one := [8]byte{0: 1, 7: 1}        // an eventfd adds 64 bits in host order; these are not zero in either
	_, _ = unix.Write(w.wake, one[:]) // EAGAIN: it is awake already
}

func (w *errorWatch) close() {
	unix.Close(w.wake)
	unix.Close(w.epoll)
}

// AwaitErrors waits until there is something for DrainErrors, and returns false
// once EndErrors has been called. One goroutine at a time.
func (s *Sockets) AwaitErrors() bool {
	var events [8]unix.EpollEvent
	for {
		n, err := unix.EpollWait(s.errors.epoll, events[:], -1)
		select {
		case <-s.errors.ended:
			return false
		default:
		}
		if n > 0 {
			return true
		}
		if err != nil && err != unix.EINTR {
			return false
		}
	}
}

// EndErrors ends AwaitErrors, now and for good.
func (s *Sockets) EndErrors() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.errors.ended:
		return
	default:
	}
	close(s.errors.ended)
	if !s.closed {
		s.errors.nudge()
	}
}
