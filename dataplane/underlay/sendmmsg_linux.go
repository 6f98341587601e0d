package underlay

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendmmsg gives messages to the kernel: how many it took, or why not even the
// first. It never sleeps, so the scheduler need not know of it.
func sendmmsg(fd int, messages []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(messages))), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// awaitRoom waits until the send buffer has room, sendWait at most, and says
// whether it is worth another try; without a wait it is not. A full error queue
// would end the wait at once, so it is emptied first.
func (t *Transmitter) awaitRoom(fd int) bool {
	if time.Since(t.waitedInVain) < sendRefrain {
		return false
	}
	t.s.setAside(fd)
	// Room is half of the buffer for poll(2), so that there may be some even if
	// it says no; sendmmsg(2) says it better.
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, sendWait); n == 0 && err == nil {
		t.waitedInVain = time.Now()
	}
	return true
}
