package bench

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// RoundTrips sends a request of 64 bytes and waits for its echo, one at a time, for d. The times are sorted, in microseconds. A request without
// answer is sent again after 50 ms and counts as lost.
func RoundTrips(from, to Site, d time.Duration) (micros []float64, lost int, err error) {
	echo, err := socket(to.Host, netip.AddrPortFrom(to.Addr, 0), netip.AddrPort{})
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(echo)
	port, err := boundPort(echo)
	if err != nil {
		return nil, 0, err
	}
	asker, err := socket(from.Host, netip.AddrPortFrom(from.Addr, 0), netip.AddrPortFrom(to.Addr, port))
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(asker)
	var over atomic.Bool
	var echoer sync.WaitGroup
	echoer.Go(func() {
		buf := make([]byte, 2048)
		for !over.Load() {
			if n, peer, err := unix.Recvfrom(echo, buf, 0); err == nil {
				_ = unix.Sendto(echo, buf[:n], 0, peer) // a lost answer is counted by who waits for it
			}
		}
	})
	defer echoer.Wait()
	defer over.Store(true)
	request, answer := make([]byte, loadPayload), make([]byte, 2048)
	for start := time.Now(); time.Since(start) < d; {
		request[0]++
		sent := time.Now()
		if _, err := unix.Write(asker, request); err != nil && !retryable(err) {
			return nil, 0, fmt.Errorf("request: %w", err)
		}
		for {
			n, err := unix.Read(asker, answer)
			if err == unix.EINTR {
				// A receive with a timeout is not begun again by the kernel (signal(7)) when the Go runtime preempts the thread; the answer is still to come.
				continue
			}
			if err != nil {
				lost++
				break
			}
			if n == loadPayload && answer[0] == request[0] {
				micros = append(micros, float64(time.Since(sent).Nanoseconds())/1e3)
				break
			}
		}
	}
	slices.Sort(micros)
	return micros, lost, nil
}
