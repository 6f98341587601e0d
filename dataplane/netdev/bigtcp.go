package netdev

import "vtepd/encap"

// A host may be told to make TCP superframes of more than 64 KiB (BIG TCP: gso_max_size, gso_ipv4_max_size, and gro_max_size of a card). Few are, and slots
// of that size would cost every port its cache. So what the first read of a queue brings of them is lost, as segments on the way may be, and from then on
// the queue is read into a few slots joined together, and what comes in there is divided into superframes that fit one.

const (
	// bigSlots is how many slots in a row hold the largest superframe, which is 524280 bytes: GSO_MAX_SIZE (include/linux/netdevice.h, Linux 5.19).
	bigSlots = 8
	// bigFrames is the most that one Recv takes from a queue with such superframes.
	bigFrames = 3
	// partSlots are left for what they are divided into, nine of the largest with segments of up to 10 kB.
	partSlots = MaxFrames - bigFrames*bigSlots
)

// slot is where message i of a queue goes.
func (r *Receiver) slot(i int, q *Queue) []byte {
	at, size := i*slotStride, slotSize
	if q.big {
		at, size = (partSlots+i*bigSlots)*slotStride, bigSlots*slotStride
	}
	return r.slots[at : at+size : at+size]
}

// isBig says whether a frame is more than its IP header can state the length of.
func (f *Frame) isBig() bool {
	return f.Oversize || f.Off.IsGSO() && len(f.Buf)-f.Start > encap.EthernetLen+65535
}

// divide puts what big is divided into behind the kept frames, in slots from used on. What cannot be divided is put there as it is.
func (r *Receiver) divide(big Frame, kept, used int) (nowKept, nowUsed int) {
	if big.Oversize || r.divider.Init(big.Buf[big.Start:], big.Off) != nil || used+r.divider.Count() > partSlots {
		big.Oversize = len(big.Buf) > slotSize
		r.out[kept] = big
		return kept + 1, used
	}
	for range r.divider.Count() {
		slot := r.slots[used*slotStride : used*slotStride+slotSize : used*slotStride+slotSize]
		n, off := r.divider.Next(slot[frameAt:])
		r.out[kept] = Frame{Buf: slot[:frameAt+n], Start: frameAt, Off: off}
		kept++
		used++
	}
	return kept, used
}
