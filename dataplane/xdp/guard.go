package xdp

import (
	"fmt"
	"net/netip"
)

// guarded is a set of UDP ports as the programs hold it: port n is bit n % 64 of word n / 64.
type guarded [65536 / 64]uint64

// GuardPorts gives the UDP ports that the spoof guard of VNIs with Domain.GuardMore looks for besides Options.Ports, instead of those given before.
// What is for such a port goes to user space when its destination is one of GuardAddresses.
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

// GuardAddresses gives the underlay addresses of VTEPs, at most Options.MaxPeers and eight more, instead of those given before. An IPv4 address and the IPv6
// address that it is mapped to are one. On an error some of both may be guarded.
func (f *FastPath) GuardAddresses(list []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	next := make(map[netip.Addr]struct{}, len(list))
	for _, a := range list {
		next[a.Unmap().WithZone("")] = struct{}{}
	}
	for a := range f.vteps { // first, for the others to have room
		if _, stays := next[a]; stays {
			continue
		}
		if err := f.objects.Vteps.Delete(words(a)); err != nil {
			return mapError(fmt.Sprintf("guarded address %s", a), err)
		}
		delete(f.vteps, a)
	}
	for a := range next {
		if _, there := f.vteps[a]; there {
			continue
		}
		if err := f.objects.Vteps.Put(words(a), uint8(1)); err != nil {
			return mapError(fmt.Sprintf("guarded address %s", a), err)
		}
		f.vteps[a] = struct{}{}
	}
	return nil
}
