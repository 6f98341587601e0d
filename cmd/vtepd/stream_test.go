package main_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"vtepd/bench/lab"
)

const (
	// chunk is what a stream reads and writes at a time, in bytes.
	chunk = 256 << 10
	// streamTimeout bounds a transfer of fixed size: one that stands still is a failure, not a test that never ends.
	streamTimeout = 60 * time.Second
)

// connect makes a TCP connection over the overlay and returns both of its ends, closed with the test.
func connect(t *testing.T, from, to *lab.Host, address netip.Addr) (client, server *net.TCPConn) {
	t.Helper()
	var listener *net.TCPListener
	err := to.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(address, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = from.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), soonTimeout)
		defer cancel()
		// Not DialTCP: net's resolver and parallel dialling would leave this thread, and with it the namespace. An address literal does not.
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
		if err == nil {
			client = conn.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.SetDeadline(time.Now().Add(soonTimeout)); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// transfer sends bytes that look random one way and compares the SHA-256 of both ends.
func transfer(from, to *net.TCPConn, size int64, seed byte) error {
	deadline := time.Now().Add(streamTimeout)
	if err := errors.Join(from.SetWriteDeadline(deadline), to.SetReadDeadline(deadline)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	in := sha256.New()
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(from, in)}, io.LimitReader(newNoise(seed), size), make([]byte, chunk))
		sent <- errors.Join(err, from.CloseWrite())
	}()
	out := sha256.New()
	n, err := io.CopyBuffer(out, struct{ io.Reader }{to}, make([]byte, chunk))
	if err = errors.Join(err, <-sent); err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, size, err)
	}
	if n != size || string(in.Sum(nil)) != string(out.Sum(nil)) {
		return fmt.Errorf("%d of %d bytes arrived, SHA-256 %x instead of %x", n, size, out.Sum(nil), in.Sum(nil))
	}
	return nil
}

// noise is a cheap endless stream without repetition within any segment: 64 KiB of random bytes, and a count over the first eight bytes of each turn, so
// that a piece that arrives in the place of another of the same length shows.
type noise struct {
	block [64 << 10]byte
	at    int
	turn  uint64
}

func newNoise(seed byte) *noise {
	n := &noise{}
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(n.block[:]) // never fails
	return n
}

func (n *noise) Read(p []byte) (int, error) {
	total := 0
	for total < len(p) {
		if n.at == 0 {
			n.turn++
			for i := range 8 {
				// Every KiB of the block changes with the turn.
				n.block[i] = byte(n.turn >> (8 * i))
			}
			for i := 8; i < len(n.block); i += 1 << 10 {
				n.block[i]++
			}
		}
		c := copy(p[total:], n.block[n.at:])
		n.at = (n.at + c) % len(n.block)
		total += c
	}
	return total, nil
}

// flow is a TCP stream that runs until it is ended, watched for standstill.
type flow struct {
	client, server *net.TCPConn
	done           chan struct{}
	bytes          int64
	longest        time.Duration // between two reads that brought something
	err            error
}

// startFlow sends over the overlay until end.
func startFlow(t *testing.T, from, to *lab.Host, address netip.Addr) *flow {
	t.Helper()
	f := &flow{done: make(chan struct{})}
	f.client, f.server = connect(t, from, to, address)
	go func() {
		buf := make([]byte, chunk)
		for {
			if _, err := f.client.Write(buf); err != nil {
				f.client.CloseWrite()
				return
			}
		}
	}()
	go func() {
		defer close(f.done)
		buf := make([]byte, chunk)
		for last := time.Now(); ; {
			n, err := f.server.Read(buf)
			now := time.Now()
			f.longest = max(f.longest, now.Sub(last))
			last = now
			f.bytes += int64(n)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					f.err = err
				}
				return
			}
		}
	}()
	return f
}

// end stops the sender, waits until all of it has arrived, and fails the test when the connection broke or stood still for longer than allowed.
func (f *flow) end(t *testing.T, allowed time.Duration) {
	t.Helper()
	// The writer ends by its deadline, and closes in good order: what broke before shows as a reset at the reader.
	if err := f.client.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.done:
	case <-time.After(soonTimeout):
		t.Fatal("the end of the TCP stream does not arrive")
	}
	if f.err != nil || f.longest > allowed || f.bytes == 0 {
		t.Errorf("TCP stream: %d bytes, longest standstill %v (allowed %v), error %v", f.bytes, f.longest, allowed, f.err)
	}
	t.Logf("TCP stream: %d MB, longest standstill %v", f.bytes/1e6, f.longest)
}
