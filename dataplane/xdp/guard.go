package xdp

import "fmt"

// guarded is a set of UDP ports as the programs hold it: port n is bit n % 64 of word n / 64.
type guarded [65536 / 64]uint64

// GuardPorts gives the UDP ports that the spoof guard of VNIs with Domain.GuardMore looks for besides Options.Ports, instead of those given before.
func (f *FastPath) GuardPorts(ports []uint16) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	var next guarded
	for _, p := range ports {
		next[p/64] |= 1 << (p % 64)
	}
	for word, bits := range next {
		if bits == f.guarded[word] {
			continue
		}
		if err := f.objects.Guarded.Put(uint32(word), bits); err != nil {
			return mapError(fmt.Sprintf("guarded udp ports %d to %d", 64*word, 64*word+63), err)
		}
		f.guarded[word] = bits
	}
	return nil
}
