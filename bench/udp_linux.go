package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vtepd/bench/lab"

	"golang.org/x/sys/unix"
)

const (
	// loadPayload is the UDP payload of the small-packet load in bytes.
	loadPayload = 64
	// loadFlows is the number of flows of the mixed load.
	loadFlows = 64
	// receiveTimeout lets a receiver look whether it shall end.
	receiveTimeout = 50 * time.Millisecond
	// socketBuffer is the receive buffer of a load's receiver in bytes, so that a receiver that waits for the processor does not count as loss.
	socketBuffer = 8 << 20
	// drainTime is how long after the last send packets may still arrive.
	drainTime = 100 * time.Millisecond
)

// mixedPayloads are UDP payloads in bytes after the simple internet mix (7 small : 4 medium : 1 large), which fit an inner MTU of 1430.
var mixedPayloads = []int{36, 36, 548, 36, 548, 36, 36, 548, 36, 36, 548, 1400}

var errLoad = errors.New("UDP load")

// Load is what a full-rate UDP load came to.
type Load struct{ SentPPS, ReceivedPPS float64 }

// socket opens a blocking UDP socket on a host, bound to from (its port may be 0) and connected to to when that is valid.
func socket(h *lab.Host, from, to netip.AddrPort) (fd int, err error) {
	err = h.Do(func() (err error) {
		family := unix.AF_INET
		if from.Addr().Is6() {
			family = unix.AF_INET6
		}
		fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, err
	}
	timeout := unix.NsecToTimeval(int64(receiveTimeout))
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer),
		unix.Bind(fd, sockaddr(from)))
	if err == nil && to.IsValid() {
		err = unix.Connect(fd, sockaddr(to))
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("udp socket %v to %v: %w", from, to, err)
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// boundPort is the local port of a socket.
func boundPort(fd int) (uint16, error) {
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port), err
	case *unix.SockaddrInet6:
		return uint16(sa.Port), err
	default:
		return 0, err
	}
}

// retryable are errors of a send at full rate that only say that this datagram did not leave.
func retryable(err error) bool {
	return err == unix.EAGAIN || err == unix.ENOBUFS || err == unix.EINTR || err == unix.ECONNREFUSED
}

// UDPLoad sends datagrams from one site to the other as fast as it can for d, and counts what arrives: one flow of 64-byte payloads by sendmmsg, or
// 64 flows of mixed sizes, each datagram by a call of its own, in turn.
func UDPLoad(from, to Site, d time.Duration, mixed bool) (Load, error) {
	sink, err := socket(to.Host, netip.AddrPortFrom(to.Addr, 0), netip.AddrPort{})
	if err != nil {
		return Load{}, err
	}
	defer unix.Close(sink)
	port, err := boundPort(sink)
	if err != nil {
		return Load{}, err
	}
	flows := 1
	if mixed {
		flows = loadFlows
	}
	sources := make([]int, 0, flows)
	for range flows {
		fd, err := socket(from.Host, netip.AddrPortFrom(from.Addr, 0), netip.AddrPortFrom(to.Addr, port))
		if err != nil {
			return Load{}, err
		}
		defer unix.Close(fd)
		sources = append(sources, fd)
	}
	var received atomic.Int64
	var over atomic.Bool
	var receiver sync.WaitGroup
	receiver.Go(func() {
		b := newBatch(2048)
		for !over.Load() {
			if n, err := b.receive(sink); err == nil {
				received.Add(int64(n))
			}
		}
	})
	start := time.Now()
	var sent int64
	if mixed {
		sent, err = sendMixed(sources, start.Add(d))
	} else {
		sent, err = sendSmall(sources[0], start.Add(d))
	}
	took := time.Since(start)
	time.Sleep(drainTime)
	over.Store(true)
	receiver.Wait()
	if err == nil && received.Load() == 0 {
		err = fmt.Errorf("%w: none of %d datagrams arrived", errLoad, sent)
	}
	return Load{SentPPS: float64(sent) / took.Seconds(), ReceivedPPS: float64(received.Load()) / took.Seconds()}, err
}

func sendSmall(fd int, end time.Time) (sent int64, err error) {
	for b := newBatch(loadPayload); time.Now().Before(end); {
		n, err := b.send(fd)
		if err != nil && !retryable(err) {
			return sent, fmt.Errorf("sendmmsg: %w", err)
		}
		sent += int64(n)
	}
	return sent, nil
}

func sendMixed(fds []int, end time.Time) (sent int64, err error) {
	payload := make([]byte, slices.Max(mixedPayloads))
	for size := 0; time.Now().Before(end); {
		for _, fd := range fds {
			_, err := unix.Write(fd, payload[:mixedPayloads[size]])
			if err == nil {
				sent++
			} else if !retryable(err) {
				return sent, fmt.Errorf("write: %w", err)
			}
			size = (size + 1) % len(mixedPayloads)
		}
	}
	return sent, nil
}
