package dataplane

import (
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
)

// TestFastPathOpensConnections: connections that announce no more than their way carries are opened without user space, in both directions, by whatever setting the
// bound is; of the others user space lowers the MSS.
//
//	p0 ── switch ── eth0 ══ r0
func TestFastPathOpensConnections(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.FastPath = FastPathOn })
	vni := VNIConfig{VNI: 42, Learning: true}
	s.set(vni, s.addrs()...)
	s.port("p0", 42)
	s.Inject("p0", frameOf(station(1), broadcast))
	s.remotes[0].send(42, frameOf(station(4), broadcast))
	s.settleFrame()
	path := s.peers.find(peerAt(s.remotes[0].addr)).maxFrame() - encap.EthernetLen

	for _, c := range []struct {
		name  string
		clamp MSSClamp
		port  PortConfig
		most4 int
		most6 int
	}{
		{name: "by path and port", most4: path - 40, most6: path - 60},
		{name: "by a narrow port", port: PortConfig{MTU: 1300}, most4: 1260, most6: 1240},
		{name: "to a number", clamp: 1200, most4: 1200, most6: 1200},
		{name: "to the port's number", port: PortConfig{MSSClamp: 1100}, most4: 1100, most6: 1100},
	} {
		vni.MSSClamp = c.clamp
		s.set(vni, s.addrs()...)
		c.port.Name, c.port.Type, c.port.Untagged = "p0", PortTAP, 42
		s.do(func() error { return s.SetPort(c.port) })
		for _, v6 := range []bool{false, true} {
			most := c.most4
			if v6 {
				most = c.most6
			}
			for _, mss := range []int{536, most, most + 1} {
				if mss > 0xffff {
					continue
				}
				for _, d := range []struct {
					way  string
					send func()
					mss  func(f func()) []int
				}{
					{"to the peer", func() { s.Inject("p0", opening(v6, station(1), station(4), uint16(mss)).Frame()) },
						func(f func()) []int { return s.mssAtPeer(0, f) }},
					{"from the peer", func() { s.remotes[0].send(42, opening(v6, station(4), station(1), uint16(mss)).Frame()) },
						func(f func()) []int { return s.mssAtPort("p0", f) }},
				} {
					var got []int
					var carried, left uint64
					look := func() bool {
						s.settleFrame()
						before := s.Status().FastPath
						got = d.mss(d.send)
						after := s.Status().FastPath
						carried = after.Encap + after.Decap - before.Encap - before.Decap
						left = after.Punted["vni_policy"] - before.Punted["vni_policy"]
						if mss <= most {
							return carried == 1
						}
						return left == 1
					}
					// The maps follow what is set in their own time.
					for end := time.Now().Add(lab.Patience); !look() && time.Now().Before(end); {
					}
					wantCarried, wantLeft := uint64(1), uint64(0)
					if mss > most {
						wantCarried, wantLeft = 0, 1
					}
					if carried != wantCarried || left != wantLeft {
						t.Errorf("%s, %s, IPv6 %t, MSS %d of %d: %d carried, %d left to user space", c.name, d.way, v6, mss, most, carried, left)
					}
					wantMSS(t, c.name+", "+d.way, got, min(mss, most))
				}
			}
		}
	}
}
