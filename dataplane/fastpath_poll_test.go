package dataplane

import (
	"net/netip"
	"testing"
)

// Without an announcement the kernel is asked about some of many peers at a time, in turn, and its last answer about the others is judged by what has become of
// the host. After an announcement, or where there are none, it is asked about all.
func TestPollAsksInTurn(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 1, nil)
	const peers = 2*routesATurn + 50
	c := VNIConfig{VNI: 42}
	for i := range peers {
		net := [][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}[i%3]
		c.Peers = append(c.Peers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{net[0], net[1], net[2], byte(10 + i/3)}), DefaultPort))
	}
	s.Must("ip", "route", "add", "default", "via", s.remotes[0].addr.String())
	s.do(func() error { return s.SetVNI(c) })
	f.equal(t, s.Switch, "before")

	const stale = 900 // bytes, of no route here
	left := func() (n int) {
		s.fast.with(func(m *mirror) {
			for _, mp := range m.peers {
				if mp == nil {
					continue
				}
				judged := mp.put.MaxFrame == stale-encapOverhead(mp.p.addr.Addr())
				if kept := mp.kernel.mtu == stale; kept {
					n++
					if !judged {
						t.Errorf("%s: the last answer is not gone by: %+v", mp.p.addr, mp.put)
					}
				} else if judged {
					t.Errorf("%s: %+v, but the kernel was asked again", mp.p.addr, mp.put)
				}
			}
		})
		return n
	}
	forge := func() {
		s.fast.with(func(m *mirror) {
			for _, mp := range m.peers {
				if mp != nil {
					mp.kernel.mtu = stale
				}
			}
		})
	}
	turn := func(do func(m *mirror)) {
		s.fast.with(func(m *mirror) {
			do(m)
			m.round()
		})
	}
	poll := func(m *mirror) { m.poll() }
	forge()
	turn(func(m *mirror) { m.look() })
	if n := left(); n != 0 {
		t.Errorf("%d of %d peers were not asked about after an announcement", n, peers)
	}
	// The switch polls by itself meanwhile, perhaps; and what the kernel has yet to announce of the links of the lab has all asked about.
	eventually(t, "peers are asked about in turn", func() bool {
		forge()
		turn(poll)
		n := left()
		return n >= peers-2*routesATurn && n <= peers-routesATurn
	})
	for want := peers - 2*routesATurn; want > -routesATurn; want -= routesATurn {
		turn(poll)
		if n := left(); n > max(want, 0) {
			t.Errorf("%d of %d peers are left to be asked about, want %d", n, peers, max(want, 0))
		}
	}
	// What was learned of paths has all judged anew, and the kernel is asked about none, wherever a turn had ended when there were more peers.
	eventually(t, "none is asked about without a poll", func() bool {
		forge()
		turn(func(m *mirror) { m.nextPeer, m.recheckPeers = peers+1000, true })
		return left() >= peers-routesATurn
	})
	forge()
	s.fast.with(func(m *mirror) { m.routes.deaf.Store(true) })
	turn(poll)
	if n := left(); n != 0 {
		t.Errorf("%d of %d peers were not asked about where nothing is announced", n, peers)
	}
}
