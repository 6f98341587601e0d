package dataplane

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What stands in the place of a port index in an epoll event of another source.
const (
	// eventWake is the eventfd.
	eventWake = -1
	// firstSocket and above are the sockets of the underlay: the worker's own first, then those of groups.
	firstSocket = MaxPorts
	// maxOwnSockets bounds a worker's own.
	maxOwnSockets = families * MaxListen
	// firstGroup is the socket of the group in slot 0.
	firstGroup = firstSocket + maxOwnSockets
	// maxSources bounds what one worker reads.
	maxSources = firstGroup + MaxGroups
)

// maxEvents is how many sources one epoll_wait reports at most.
const maxEvents = 64

// poller is a worker's epoll set (epoll(7)). Most sources are registered edge-triggered: the worker remembers what is ready and reads it until
// the kernel says EAGAIN, so that a busy source costs no epoll_wait a batch. Packet sockets are level-triggered: a message that the kernel cannot give
// ends recvmmsg(2) as if there were no more, and the rest would wait for the next frame.
type poller struct {
	fd     int
	wakeFD int // eventfd(2) that ends a blocking wait
	events [maxEvents]unix.EpollEvent
	credit int // busy polls that may still be in vain
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &poller{fd: fd, wakeFD: wake}
	if err := p.add(wake, eventWake, 0); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add registers a source, edge-triggered; index and serial come back in its events.
func (p *poller) add(fd int, index int32, serial uint32) error {
	return p.register(fd, unix.EPOLLIN|unix.EPOLLET, index, serial)
}

// addLevel is add for a source that is reported as long as there is something to read.
func (p *poller) addLevel(fd int, index int32, serial uint32) error {
	return p.register(fd, unix.EPOLLIN, index, serial)
}

func (p *poller) register(fd int, what uint32, index int32, serial uint32) error {
	e := unix.EpollEvent{Events: what, Fd: index, Pad: int32(serial)}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl add fd %d: %w", fd, err)
	}
	return nil
}

// remove takes a source out; one that is not there is none.
func (p *poller) remove(fd int) {
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
}

// briefWait is how long, in milliseconds, a worker sleeps at most without telling the Go scheduler. Traffic that pauses for less finds
// the worker with its processor still in hand: handing it over and back, and the watchdog thread that this sets in motion (sysmon, every 20 us), cost
// 15 us of a 90 us round trip. The scheduler is not held up: when it wants the processor for the garbage collector, or after 10 ms
// in any case, its preemption signal ends the call (EINTR). The bound is for a runtime that was told not to send such signals, and so long because a
// timer that ends before the kernel's next tick (4 ms) costs a virtual machine an exit each time.
const briefWait = 50

// busyPoll is how long a worker that ran out of frames looks for more before it sleeps. To start an idle processor takes tens of microseconds on a
// virtual machine, and an answer is often there sooner.
const busyPoll = 200 * time.Microsecond

// busyPollCredit is how many busy polls in a row may be in vain before the worker gives them up, until traffic comes close together again.
const busyPollCredit = 8

// wait returns the events there are. With block it waits until there is one, at first busily if told so; without, it only looks.
func (p *poller) wait(block, busily bool) []unix.EpollEvent {
	if !block {
		return p.look(0)
	}
	if busily && p.credit > 0 {
		if events := p.pollBusily(); events != nil {
			p.credit = busyPollCredit
			return events
		}
		p.credit--
	}
	start := time.Now()
	events := p.look(briefWait)
	if events == nil {
		n, err := unix.EpollWait(p.fd, p.events[:], -1)
		if err != nil {
			return nil // EINTR: the caller's loop comes again
		}
		events = p.events[:n]
	}
	if p.credit == 0 && time.Since(start) < busyPoll {
		p.credit = busyPollCredit
	}
	return events
}

// pollBusily looks again and again, and lets every other thread that wants the processor go first.
func (p *poller) pollBusily() []unix.EpollEvent {
	for start := time.Now(); time.Since(start) < busyPoll; {
		if events := p.look(0); events != nil {
			return events
		}
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
	return nil
}

// look calls epoll_wait with a timeout in milliseconds and keeps the processor meanwhile.
func (p *poller) look(timeout uintptr) []unix.EpollEvent {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), maxEvents, timeout, 0, 0)
	if errno != 0 || n == 0 {
		return nil
	}
	return p.events[:n]
}

func (p *poller) wake() {
	one := [8]byte{0: 1, 7: 1}          // an eventfd adds 64 bits in host order; these are not zero in either
	_, _ = unix.Write(p.wakeFD, one[:]) // EAGAIN: it is awake already
}

func (p *poller) close() {
	unix.Close(p.wakeFD)
	unix.Close(p.fd)
}
