package underlay

import (
	"net/netip"
	"testing"
)

// The answer to the last datagram of all counts as that to one before: no later send is needed to hear of it.
func TestProberRefused(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(familyName(v6), func(t *testing.T) {
			l := newLab(t)
			a, b := l.pair(v6, nil)
			p, err := NewProber("", a.Local().Addr(), b.Local())
			must(t, err)
			defer p.Close()
			// On a veth pair the ICMP error comes back within the system call.
			must(t, p.SendUDP(payload(100, 1)))
			if p.Refused() {
				t.Fatal("refused by a socket that listens")
			}
			closed, err := NewProber("", a.Local().Addr(), netip.AddrPortFrom(b.Local().Addr(), 9))
			must(t, err)
			defer closed.Close()
			must(t, closed.SendUDP(payload(100, 1)))
			for range 2 {
				if !closed.Refused() {
					t.Fatal("not refused by a port that is closed")
				}
			}
		})
	}
}
