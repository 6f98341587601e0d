package xdp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// sign is the process's sign of life where the programs cannot look for its sockets: a socket that nothing is ever sent to, which the kernel takes out of the
// map alive when the process ends, however that happens. The zero value is none.
type sign struct {
	socket int
	given  bool
}

func (f *FastPath) giveSign() error {
	if !f.options.VRF {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sign of life: %w", err)
	}
	if err := f.objects.Alive.Put(uint32(0), uint32(fd)); err != nil {
		unix.Close(fd)
		return fmt.Errorf("sign of life: %w", err)
	}
	f.sign = sign{fd, true}
	return nil
}

func (s *sign) close() error {
	if !s.given {
		return nil
	}
	s.given = false
	return unix.Close(s.socket)
}
