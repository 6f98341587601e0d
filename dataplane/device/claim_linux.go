package device

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errOwn is a claim that this process holds.
var errOwn = fmt.Errorf("%w: it is a port of this vtepd already", ErrBusy)

// ForkTime bounds the time in which a child holds what this process has given up since it forked it, from when AwaitForks returns: the kernel closes the child's
// descriptors a little later. vtepd has no children; a program that uses these packages may.
const ForkTime = 100 * time.Millisecond

// AwaitForks waits until each child that was being forked is replaced by its program: on a busy machine that takes longer than any time one would wait for another's
// device. os/exec holds the lock all the while.
func AwaitForks() {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
}

// Claim marks an interface of the calling thread's namespace as taken, for as long as the descriptor is open: a listening socket of an abstract name, of which there is one set in
// every network namespace (unix(7)), and which goes with its process however that ends. Packet sockets alone exclude nobody: two processes on one
// interface would both forward every frame.
//
// The name holds the index and not the name of the interface, which may change.
//
// A claim that was given up may be held for another moment, by a child of this process that has been forked and not yet replaced by its program.
func Claim(ifindex int) (fd int, err error) { return claim(fmt.Sprintf("@vtepd/netdev/%d", ifindex)) }

// ClaimPassing marks a passing name as in use before there is an interface that has it, whose index nobody knows yet. Whoever renames the interface gives the
// claim up behind that: an interface that still has its passing name, once the name was to be claimed, is nobody's.
func ClaimPassing(name string) (fd int, err error) { return claim("@vtepd/passing/" + name) }

func claim(name string) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("claim: %w", err)
	}
	at := &unix.SockaddrUnix{Name: name}
	var busy error
	for end := time.Now(); ; time.Sleep(ForkTime / 100) {
		if err = unix.Bind(fd, at); !errors.Is(err, unix.EADDRINUSE) {
			break
		}
		if busy == nil {
			if busy = taken(at); errors.Is(busy, errOwn) {
				AwaitForks()
				end = time.Now().Add(ForkTime)
			}
		}
		if !errors.Is(busy, errOwn) || time.Now().After(end) {
			unix.Close(fd)
			return -1, busy
		}
	}
	// Whoever asks whose it is stays in the backlog.
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("claim: %w", err)
	}
	return fd, nil
}

// taken names the process that holds a claim.
func taken(at *unix.SockaddrUnix) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		defer unix.Close(fd)
		err = unix.Connect(fd, at)
	}
	var who *unix.Ucred
	if err == nil {
		who, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: another vtepd has it as a port", ErrBusy)
	case int(who.Pid) == os.Getpid():
		return errOwn
	}
	comm := "?"
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", who.Pid)); err == nil {
		comm = strings.TrimSpace(string(b))
	}
	return fmt.Errorf("%w: pid %d (%s) has it as a port: remove it there (`vtepctl port del`) or stop that process", ErrBusy, who.Pid, comm)
}
