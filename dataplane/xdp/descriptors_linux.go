package xdp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareDescriptors is how many a process must have left to open before anything is asked of the kernel. Programs and maps take some 40.
const spareDescriptors = 64

// needDescriptors refuses to begin with too few. Package ebpf takes whatever its questions are answered with, be it EMFILE, for a kernel that lacks what they
// are about, and remembers that for the life of the process (cilium/ebpf 0.22: haveTCX, haveNoPreallocMaps).
//
// The numbers that are free are counted: to open them all would leave none, for a moment, to whoever else in this process opens something.
func needDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("the limit of descriptors: %w", err)
	}
	for fd, free := uint64(0), 0; free < spareDescriptors; fd++ {
		if fd == limit.Cur {
			return fmt.Errorf("%d descriptors for programs and maps: %w", spareDescriptors, unix.EMFILE)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == unix.EBADF {
			free++
		}
	}
	return nil
}
