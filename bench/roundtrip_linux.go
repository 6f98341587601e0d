package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
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

// EchoCommand is the first argument of a program that shall call Echo with its second one.
const EchoCommand = "echo"

// Echo answers datagrams at an address until its process is killed, and first prints which port it has.
func Echo(address string) error {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	fmt.Println(conn.LocalAddr())
	buf := make([]byte, 2048)
	for {
		n, peer, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		_, _ = conn.WriteTo(buf[:n], peer) // a lost answer is counted by who waits for it
	}
}

// EventRoundTrips is RoundTrips with both ends as most services are written: sockets that never block, whose owner sleeps in epoll_wait until the kernel says
// that there is something to read. Package net works so. The far end is a process of its own, this program with EchoCommand: inside one process a
// scheduler that is awake already would serve both ends.
func EventRoundTrips(from, to Site, d time.Duration) (micros []float64, lost int, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	echo, err := to.Host.Start(self, EchoCommand, to.Addr.String())
	if err != nil {
		return nil, 0, err
	}
	defer echo.Stop()
	for end := time.Now().Add(startTimeout); !strings.HasSuffix(echo.Output(), "\n"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return nil, 0, fmt.Errorf("echo does not start: %s", echo.Output())
		}
	}
	far, err := netip.ParseAddrPort(strings.TrimSpace(echo.Output()))
	if err != nil {
		return nil, 0, fmt.Errorf("echo: %w", err)
	}
	var asker *net.UDPConn
	err = from.Host.Do(func() (err error) {
		asker, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(far))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	defer asker.Close()
	request, answer := make([]byte, loadPayload), make([]byte, 2048)
	for start := time.Now(); time.Since(start) < d; {
		request[0]++
		sent := time.Now()
		if err := asker.SetReadDeadline(sent.Add(receiveTimeout)); err != nil {
			return nil, 0, err
		}
		if _, err := asker.Write(request); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return nil, 0, fmt.Errorf("request: %w", err)
		}
		for {
			n, err := asker.Read(answer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				lost++
				break
			}
			if err == nil && n == loadPayload && answer[0] == request[0] {
				micros = append(micros, float64(time.Since(sent).Nanoseconds())/1e3)
				break
			}
		}
	}
	slices.Sort(micros)
	return micros, lost, nil
}
