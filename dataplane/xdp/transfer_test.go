package xdp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// transfer carries bytes over TCP from one station to another and wants the same bytes to arrive.
func transfer(from, to *station, addr netip.Addr, size int) error {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(data)
	var l net.Listener
	err := to.host.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(addr.String(), "0"))
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	type result struct {
		sum [sha256.Size]byte
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- result{err: err}
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(lab.Patience))
		var all bytes.Buffer
		_, err = io.Copy(&all, c)
		done <- result{sha256.Sum256(all.Bytes()), all.Len(), err}
	}()
	err = from.host.Do(func() error {
		c, err := net.DialTimeout("tcp", l.Addr().String(), lab.Patience)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(lab.Patience))
		_, err = c.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	got := <-done
	if got.err != nil {
		return got.err
	}
	if got.n != size || got.sum != sha256.Sum256(data) {
		return fmt.Errorf("%d bytes arrived of %d, or others", got.n, size)
	}
	return nil
}

// datagrams sends UDP superframes (UDP_SEGMENT) and wants every datagram to arrive as it was, at a socket that takes superframes or
// one that does not.
func datagrams(from, to *station, addr netip.Addr, rounds, count, size int, gro bool) error {
	var in *net.UDPConn
	err := to.host.Do(func() (err error) {
		in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err != nil {
		return err
	}
	defer in.Close()
	// net.core.rmem_max may be less than what waits here, as it is on most kernels of today.
	if err := setSocket(in, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20); err != nil {
		return err
	}
	if gro {
		if err := setSocket(in, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
			return err
		}
	}
	if err := superframes(from, in.LocalAddr().(*net.UDPAddr), rounds, count, size); err != nil {
		return err
	}
	want := rounds * count * size
	buf := make([]byte, 65536)
	for got := 0; got < want; {
		in.SetReadDeadline(time.Now().Add(lab.Patience))
		n, err := in.Read(buf)
		if err != nil {
			return fmt.Errorf("%d bytes arrived of %d: %w", got, want, err)
		}
		if n%size != 0 || (!gro && n != size) {
			return fmt.Errorf("datagram of %d bytes, sent as %d", n, size)
		}
		for k := 0; k < n; k += size {
			if d := buf[k : k+size]; !bytes.Equal(d, bytes.Repeat([]byte{byte(got / size)}, size)) {
				return fmt.Errorf("datagram %d holds other bytes", got/size)
			}
			got += size
		}
	}
	return nil
}

// superframes sends count datagrams of size bytes as one (UDP_SEGMENT), rounds times. All bytes of a datagram are its number.
func superframes(from *station, to *net.UDPAddr, rounds, count, size int) error {
	return from.host.Do(func() error {
		out, err := net.DialUDP("udp", nil, to)
		if err != nil {
			return err
		}
		defer out.Close()
		if err := setSocket(out, unix.SOL_UDP, unix.UDP_SEGMENT, size); err != nil {
			return err
		}
		for i := range rounds {
			var b []byte
			for j := range count {
				b = append(b, bytes.Repeat([]byte{byte(i*count + j)}, size)...)
			}
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
}

func setSocket(c *net.UDPConn, level, option, value int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = unix.SetsockoptInt(int(fd), level, option, value) })
	if err != nil {
		return err
	}
	return inner
}
