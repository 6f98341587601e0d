package dataplane

import (
	"testing"

	"vtepd/encap"
)

// TestFastPathOfJumbo: a port whose frames may be longer than what the kernel wraps up stays off the fast path, or it would carry the shorter ones past the longer of the
// same connection. Where all can be carried, they are.
//
//	port0 ── switch ── eth0 ══ eth0 ── switch ── port0
func TestFastPathOfJumbo(t *testing.T) {
	t.Parallel()
	_, nodes, w := fastPair(t, PortTAP, nil)
	give := func(mtu int) {
		for _, n := range nodes {
			n.Host.MTU("eth0", mtu)
		}
		for _, n := range nodes {
			eventually(t, "the port follows", func() bool { return n.Ports()[0].MTU == mtu-50 })
		}
	}
	left := func() (n uint64) {
		for _, node := range nodes {
			punted := node.Status().FastPath.Punted
			n += punted["refused"] + punted["given_back"] + punted["too_large"]
		}
		return n
	}
	echoes := func() {
		t.Helper()
		p := w[0].Pinger(w[1].Overlay4())
		defer p.Close()
		for _, size := range []int{56, nodes[0].Ports()[0].MTU - encap.IPv4MinLen - encap.UDPLen} {
			echo := func() {
				t.Helper()
				// Ping sockets get the checksum of a large request wrong (Linux 6.18) where the thread has sent an odd number of bytes over TCP, for another test.
				if _, err := p.Ping(size); err != nil {
					t.Error(err)
				}
			}
			eventually(t, "the fast path follows", func() bool {
				before := left()
				echo()
				return left() == before
			})
			before := left()
			for range 20 { // one by one: a raw socket has room for one of 64 KiB
				echo()
			}
			if n := left() - before; n > 0 {
				t.Errorf("%d of 20 echoes of %d bytes were left to user space for their length", n, size)
			}
		}
	}
	carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
	give(9216)
	carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
	echoes()
	for _, mtu := range []int{20000, 65535} {
		give(mtu)
		echoes()
	}
	give(15000)
	carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
	echoes()
	for _, n := range nodes {
		n.balance()
	}
}
