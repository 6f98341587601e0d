package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// Datagrams are taken on every port listened on. A configured peer is answered where configuration says, a learned one at the port that it sent to.
//
//	p0 (VNI 42) ── switch, ports 4789, 8472, 4790 ════ r0 4789, r1 8472
func TestListen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		build   func(testing.TB, int, func(*Config)) *scene
		offload bool
	}{{"v4", newScene, true}, {"v6", newScene6, true}, {"v4, offload off", newScene, false}} {
		t.Run(c.name, func(t *testing.T) {
			s := c.build(t, 2, func(conf *Config) { conf.Listen, conf.Offload = []uint16{8472, DefaultPort, 4790}, c.offload })
			if got, want := s.Status().Listen, []uint16{4789, 4790, 8472}; !slices.Equal(got, want) {
				t.Errorf("listens on %v, want %v", got, want)
			}
			// The second remote listens on 8472 too, which is where it is asked to be answered.
			elsewhere := *s.remotes[1]
			err := s.wire.Do(func() (err error) {
				elsewhere.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(elsewhere.addr, 8472)))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { elsewhere.conn.Close() })
			s.remotes = append(s.remotes, &elsewhere) // r2
			at := func(r *remote, port uint16) *remote {
				to := *r
				to.sw = netip.AddrPortFrom(s.config.Local, port)
				return &to
			}

			s.do(func() error {
				return s.SetVNI(VNIConfig{VNI: 42, Learning: true, Policy: Learn, Peers: []netip.AddrPort{peerAt(s.remotes[0].addr)}})
			})
			s.port("p0", 42)
			for _, port := range []uint16{4789, 8472, 4790} {
				at(s.remotes[0], port).send(42, times(5, frameOf(station(1), broadcast))...)
				if got, want := s.counts(), "p0:5"; got != want {
					t.Errorf("to port %d: %q, want %q", port, got, want)
				}
				s.Inject("p0", frameOf(station(9), station(1)))
				if got, want := s.counts(), "r0:1"; got != want {
					t.Errorf("answer to a configured peer that sent to %d: %q, want %q", port, got, want)
				}
			}
			for _, way := range []struct {
				port uint16
				want string
			}{{8472, "r2:1"}, {4789, "r1:1"}} {
				at(s.remotes[1], way.port).send(42, frameOf(station(2), broadcast))
				s.forget()
				s.Inject("p0", frameOf(station(9), station(2)))
				if got := s.counts(); got != way.want {
					t.Errorf("answer to a learned peer that sent to %d: %q, want %q", way.port, got, way.want)
				}
			}
			// A learned peer that moves to another port is followed by its known traffic too: 4789 was the last.
			time.Sleep(300 * time.Millisecond) // a fast path has taken over by now
			at(s.remotes[1], 8472).send(42, times(3, frameOf(station(2), station(9)))...)
			if got, want := s.counts(), "p0:3"; got != want {
				t.Errorf("known unicast to another port: %q, want %q", got, want)
			}
			s.Inject("p0", frameOf(station(9), station(2)))
			if got, want := s.counts(), "r2:1"; got != want {
				t.Errorf("answer to a learned peer that moved to 8472: %q, want %q", got, want)
			}
			// A peer on another port is a peer like any.
			s.do(func() error {
				return s.SetVNI(VNIConfig{VNI: 42, Learning: true, Peers: []netip.AddrPort{netip.AddrPortFrom(s.remotes[1].addr, 8472)}})
			})
			at(s.remotes[1], 8472).send(42, frameOf(station(3), broadcast))
			s.forget()
			s.Inject("p0", frameOf(station(9), station(3)), frameOf(station(9), broadcast))
			if got, want := s.counts(), "r2:2"; got != want {
				t.Errorf("peer on port 8472: %q, want %q", got, want)
			}
			s.balance()
		})
	}
}

// The source ports of datagrams stay in their range, of which each flow keeps one.
//
//	p0 ── switch ──── r0
func TestSourcePortRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, last uint16
		used        int
	}{{50000, 50015, 16}, {50000, 50002, 3}, {4788, 4790, 2}} {
		t.Run(fmt.Sprintf("%d-%d", c.first, c.last), func(t *testing.T) {
			s := newWiretap(newScene(t, 1, func(conf *Config) { conf.SourcePorts = [2]uint16{c.first, c.last} }))
			s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
			s.port("p0", 42)
			const flows, first, together = 200, 1000, 40
			ports := map[uint16]bool{}
			for flow := first; flow < first+flows; flow += together {
				var frames [][]byte
				for i := range together {
					frame := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, Proto: encap.ProtoUDP, SrcPort: uint16(flow + i), Payload: encaptest.Payload(40, 1)}.Frame()
					frames = append(frames, frame, frame)
				}
				s.Inject("p0", frames...)
				of := byFlow(s.outers())
				for i := range together {
					got := of[uint16(flow+i)]
					if len(got) != 2 || got[0].source != got[1].source {
						t.Fatalf("flow %d: %+v, want two datagrams from one port", flow+i, got)
					}
					ports[got[0].source] = true
				}
			}
			for p := range ports {
				if p < c.first || p > c.last || p == DefaultPort {
					t.Errorf("source port %d", p)
				}
			}
			if len(ports) != c.used {
				t.Errorf("%d source ports, want %d", len(ports), c.used)
			}
		})
	}
}
