package bench

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is the messages a system call of the load generator and its receiver carries.
const batchSize = 64

// mmsghdr is struct mmsghdr (bits/socket.h).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// batch is a vector of messages for sendmmsg(2) and recvmmsg(2), each one plain datagram: no segmentation offload, no control messages.
type batch struct {
	headers [batchSize]mmsghdr
	vectors [batchSize]unix.Iovec
	buffer  []byte // batchSize slots of equal size
}

// newBatch makes a vector of datagrams of size bytes each.
func newBatch(size int) *batch {
	b := &batch{buffer: make([]byte, batchSize*size)}
	for i := range b.headers {
		b.vectors[i].Base = &b.buffer[i*size]
		b.vectors[i].SetLen(size)
		b.headers[i].hdr.Iov = &b.vectors[i]
		b.headers[i].hdr.SetIovlen(1)
	}
	return b
}

// slot is the i-th datagram.
func (b *batch) slot(i int) []byte {
	size := len(b.buffer) / batchSize
	return b.buffer[i*size : (i+1)*size]
}

// send sends the vector over a connected socket and returns how many datagrams the kernel took.
func (b *batch) send(fd int) (n int, err error) { return b.call(unix.SYS_SENDMMSG, fd, 0) }

// receive waits for one datagram at least and returns how many came.
func (b *batch) receive(fd int) (n int, err error) {
	return b.call(unix.SYS_RECVMMSG, fd, unix.MSG_WAITFORONE)
}

func (b *batch) call(number uintptr, fd int, flags int) (int, error) {
	n, _, errno := unix.Syscall6(number, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), batchSize, uintptr(flags), 0, 0)
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
