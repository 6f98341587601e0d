package netdev

import (
	"golang.org/x/sys/unix"

	"vtepd/encap"
)

// A host may be told to make TCP superframes of more than 64 KiB (BIG TCP: gso_max_size, gso_ipv4_max_size, and gro_max_size of a card). Few are, so the room
// for them is made when the first come, which are lost, as segments on the way may be. From then on the queue that brought them is read into slots of their
// size, and what comes in there is divided into superframes that fit an ordinary one.

const (
	// bigFrames is the most that one Recv takes from a queue with such superframes: enough for small frames to cost what they do elsewhere.
	bigFrames = 16
	// bigStride in bytes holds the largest superframe, 524280: GSO_MAX_SIZE (include/linux/netdevice.h, Linux 5.19).
	bigStride = 8 * slotStride
	// maxParts is what the largest is divided into when segments are so large that two do not fit 64 KiB.
	maxParts = 17
)

// bigRoom is the memory for such superframes and for what they are divided into.
type bigRoom struct {
	slots, parts []byte // mmap'ed: only pages that were written to count
	divider      encap.Divider
	used         int // parts
}

// makeRoom maps the room; without it, such superframes go on to be Oversize.
func (r *Receiver) makeRoom() (ok bool) {
	if r.big != nil {
		return true
	}
	const slots, parts = bigFrames * bigStride, bigFrames * maxParts * slotStride
	all, err := unix.Mmap(-1, 0, slots+parts, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return false
	}
	r.big = &bigRoom{slots: all, parts: all[slots:]}
	r.out = make([]Frame, bigFrames*(maxParts+1)) // parts, and what stays as it is
	return true
}

// slot is where message i of a queue goes.
func (r *Receiver) slot(i int, q *Queue) []byte {
	if q.big.Load() {
		return r.big.slots[i*bigStride : (i+1)*bigStride : (i+1)*bigStride]
	}
	at := i * slotStride
	return r.slots[at : at+slotSize : at+slotSize]
}

// isBig says whether a frame is more than its IP header need state the length of.
func (f *Frame) isBig() bool {
	return f.Oversize || f.Off.IsGSO() && len(f.Buf)-f.Start > encap.EthernetLen+65535
}

// divide appends to the kept frames what f is divided into, or f as it is.
func (r *Receiver) divide(f Frame, kept int) int {
	b := r.big
	if f.Oversize || b.divider.Init(f.Buf[f.Start:], f.Off) != nil || b.used+b.divider.Count() > bigFrames*maxParts {
		f.Oversize = len(f.Buf) > slotSize
		r.out[kept] = f
		return kept + 1
	}
	for range b.divider.Count() {
		at := b.used * slotStride
		slot := b.parts[at : at+slotSize : at+slotSize]
		n, off := b.divider.Next(slot[frameAt:])
		r.out[kept] = Frame{Buf: slot[:frameAt+n], Start: frameAt, Off: off}
		kept++
		b.used++
	}
	return kept
}
