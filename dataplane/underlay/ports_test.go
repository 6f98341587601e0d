package underlay

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Every port has a socket for each worker, which reads into the same memory as that worker's others.
func TestMorePorts(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(familyName(v6), func(t *testing.T) {
			l := newLab(t)
			a, b := l.pair(v6, func(c *Config) { c.MorePorts, c.Receivers = []uint16{8472, 4790}, 2 })
			tx := a.NewTransmitter()
			for worker := range 2 {
				own := b.ReceiversOf(worker)
				if len(own) != 3 || own[0] != b.Receiver(worker) || own[0].room != own[1].room || own[1].room != own[2].room {
					t.Fatalf("worker %d: %d sockets, of one memory: %t", worker, len(own), own[0].room == own[len(own)-1].room)
				}
			}
			for _, port := range []uint16{DefaultPort, 8472, 4790} {
				to := NewDest(netip.AddrPortFrom(b.Local().Addr(), port))
				p := payload(100, byte(port))
				tx.Queue(to, Class{}, uint32(port), p, nil, 0)
				tx.Flush(func(_ uint32, err error) { t.Error(err) })
				var all []*Receiver
				for worker := range 2 {
					all = append(all, b.ReceiversOf(worker)...)
				}
				var fds []unix.PollFd
				for _, r := range all {
					fds = append(fds, unix.PollFd{Fd: int32(r.FD()), Events: unix.POLLIN})
				}
				if n := poll(t, fds, patience); n != 1 {
					t.Fatalf("port %d: %d sockets have something", port, n)
				}
				i := slices.IndexFunc(fds, func(p unix.PollFd) bool { return p.Revents != 0 })
				m, err := all[i].Recv(MaxMessages)
				must(t, err)
				if len(m) != 1 || string(m[0].Data) != string(p) || all[i].Port() != port {
					t.Errorf("port %d: %d messages on the socket of port %d", port, len(m), all[i].Port())
				}
			}
			if _, err := Open(Config{Local: b.Local().Addr(), MorePorts: make([]uint16, MaxPorts)}); !errors.Is(err, ErrConfig) {
				t.Errorf("too many ports: %v", err)
			}
		})
	}
}

// The pool stays in its range, leaves out what is listened on or taken, and is smaller where there is no room. The sockets without checksum share the
// ports of the others when nothing else is left.
func TestSourceRange(t *testing.T) {
	l := newLab(t)
	taken, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(taken)
	must(t, unix.Bind(taken, &unix.SockaddrInet4{Port: 5003, Addr: ip(addrA4).As4()}))
	for _, c := range []struct {
		first, last uint16
		sockets     int
	}{{40000, 40999, 16}, {5000, 5003, 3}, {4788, 4790, 2}, {6000, 6000, 1}, {1, 65535, 16}} {
		s, err := Open(Config{Local: ip(addrA4), SourceRange: [2]uint16{c.first, c.last}})
		must(t, err)
		must(t, s.OpenNoChecksum())
		twins, ports := s.unchecked.Load().ports, s.SourcePorts()
		s.Close()
		if len(ports) != c.sockets || len(twins) != c.sockets {
			t.Errorf("%d-%d: %d sockets and %d twins, want %d: %v", c.first, c.last, len(ports), len(twins), c.sockets, ports)
		}
		for _, p := range append(slices.Clone(ports), twins...) {
			if p < c.first || p > c.last || p == DefaultPort || p == 5003 {
				t.Errorf("%d-%d: port %d", c.first, c.last, p)
			}
		}
		if slices.Sort(ports); len(slices.Compact(ports)) != c.sockets {
			t.Errorf("%d-%d: ports twice: %v", c.first, c.last, ports)
		}
	}
	for _, bad := range [][2]uint16{{5003, 5003}, {4789, 4789}} {
		if _, err := Open(Config{Local: ip(addrA4), SourceRange: bad}); !errors.Is(err, ErrPortInUse) {
			t.Errorf("range %v: %v, want ErrPortInUse", bad, err)
		}
	}
	for _, bad := range [][2]uint16{{0, 9}, {9, 8}} {
		if _, err := Open(Config{Local: ip(addrA4), SourceRange: bad}); !errors.Is(err, ErrConfig) {
			t.Errorf("range %v: %v, want ErrConfig", bad, err)
		}
	}

	// What leaves by a shared port leaves, with and without checksum.
	a, b := l.pair(false, func(c *Config) { c.SourceRange = [2]uint16{6000, 6000} })
	tx, to := a.NewTransmitter(), NewDest(b.Local())
	for _, noChecksum := range []bool{false, true, false} {
		tx.Queue(to, Class{NoChecksum: noChecksum}, 7, payload(100, 1), nil, 0)
		tx.Flush(func(_ uint32, err error) { t.Error(err) })
		if d := collect(t, b.Receiver(0), 1); d[0].source.Port() != 6000 {
			t.Errorf("from %v, want port 6000", d[0].source)
		}
	}
}
