package netdev

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// claim marks an interface as taken, for as long as the descriptor is open: a listening socket of an abstract name, of which there is one set in
// every network namespace (unix(7)), and which goes with its process however that ends. Packet sockets alone exclude nobody: two processes on one
// interface would both forward every frame.
//
// The name holds the index and not the name of the interface, which may change.
func claim(ifindex int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("claim: %w", err)
	}
	at := &unix.SockaddrUnix{Name: fmt.Sprintf("@vtepd/netdev/%d", ifindex)}
	if err = unix.Bind(fd, at); err == nil {
		if err = unix.Listen(fd, 1); err == nil {
			return fd, nil
		}
	}
	unix.Close(fd)
	if errors.Is(err, unix.EADDRINUSE) {
		return -1, taken(at)
	}
	return -1, fmt.Errorf("claim: %w", err)
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
		return fmt.Errorf("%w: it is a port of this vtepd already", ErrBusy)
	}
	comm := "?"
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", who.Pid)); err == nil {
		comm = strings.TrimSpace(string(b))
	}
	return fmt.Errorf("%w: pid %d (%s) has it as a port: remove it there (`vtepctl port del`) or stop that process", ErrBusy, who.Pid, comm)
}
