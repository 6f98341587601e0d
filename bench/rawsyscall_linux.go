package bench

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below wait without telling the Go scheduler, which would make the thread queue up behind whatever else runs in this process when they return. Such a thread holds one
// of the GOMAXPROCS for good, and ends its waits early (EINTR) when the runtime wants it to stop for a moment.

func rawWrite(fd int, b []byte) error {
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	runtime.KeepAlive(b)
	if errno != 0 {
		return errno
	}
	return nil
}

func rawRead(fd int, b []byte) error {
	_, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	runtime.KeepAlive(b)
	if errno != 0 {
		return errno
	}
	return nil
}

func rawSleep(t *unix.Timespec) {
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(t)), 0, 0)
	runtime.KeepAlive(t)
}
