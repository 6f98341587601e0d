package xdp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareDescriptors is how many a process must have left to open before anything is asked of the kernel. Programs and maps take some 40.
const spareDescriptors = 64

// needDescriptors refuses to begin with too few. Package ebpf takes whatever its questions are answered with, be it EMFILE, for a kernel that lacks what they
// are about, and remembers that for the life of the process (cilium/ebpf 0.22: haveTCX, haveNoPreallocMaps).
func needDescriptors() error {
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for range spareDescriptors {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("%d descriptors for programs and maps: %w", spareDescriptors, err)
		}
		fds = append(fds, fd)
	}
	return nil
}
