package dataplane

import (
	"math/bits"
	"slices"
	"sync/atomic"
)

// portSet is a set of UDP ports that workers look into without a lock. A port is in it as long as it was added more often than removed.
type portSet struct {
	bits  [1 << 16 / 64]atomic.Uint64
	times map[uint16]int // guarded by whoever adds and removes
}

func (s *portSet) has(port uint16) bool {
	return s.bits[port>>6].Load()&(1<<(port&63)) != 0
}

// others lists the ports of the set that are not among those given, in ascending order.
func (s *portSet) others(given []uint16) (list []uint16) {
	for i := range s.bits {
		for b := s.bits[i].Load(); b != 0; b &= b - 1 {
			port := uint16(i<<6 + bits.TrailingZeros64(b))
			if !slices.Contains(given, port) {
				list = append(list, port)
			}
		}
	}
	return list
}

func (s *portSet) add(port uint16) {
	if s.times == nil {
		s.times = make(map[uint16]int)
	}
	s.times[port]++
	s.bits[port>>6].Or(1 << (port & 63))
}

func (s *portSet) remove(port uint16) {
	if s.times[port]--; s.times[port] == 0 {
		delete(s.times, port)
		s.bits[port>>6].And(^uint64(1 << (port & 63)))
	}
}
