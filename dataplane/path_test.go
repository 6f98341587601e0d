package dataplane

import (
	"fmt"
	"net/netip"
)

// pathMTU is what the switch believes of the path to an address, in bytes; 0: nothing.
func (s *Switch) pathMTU(a netip.Addr) int {
	for _, p := range s.peers.all() {
		if p.addr.Addr() == a {
			s.paths.mu.Lock()
			defer s.paths.mu.Unlock()
			return p.path.current()
		}
	}
	return 0
}

// awaitPath waits until the switch believes in a path MTU.
func (n *node) awaitPath(a netip.Addr, mtu int) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("the path to %s carries %d bytes", a, mtu), func() bool { return n.pathMTU(a) == mtu })
}
