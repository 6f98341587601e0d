package dataplane

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// Every counter of ports, peers and VNIs is exact: packets, bytes of the Ethernet frames, drops where a frame came from and where a copy did not leave.
//
//	p0 (MTU 3000) p1 (MTU 1000) ── switch ════ r0 r1
func TestCounters(t *testing.T) {
	s := newScene(t, 2, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 3000})
	s.configuredPort(PortConfig{Name: "p1", Untagged: 42, MTU: 1000})
	port, peer := map[string]Counters{}, map[int]Counters{}
	var vni Counters
	read := func() (map[string]Counters, map[int]Counters, Counters) {
		s.rest()
		ports, peers := map[string]Counters{}, map[int]Counters{}
		for _, p := range s.PortStats() {
			ports[p.Port] = p.Counters
		}
		for _, p := range s.PeerStats() {
			for i, r := range s.remotes {
				if p.Peer == peerAt(r.addr) {
					peers[i] = p.Counters
				}
			}
		}
		return ports, peers, s.VNIStats()[0].Counters
	}
	check := func(what string) {
		t.Helper()
		gotPort, gotPeer, gotVNI := read()
		if diff := cmp.Diff(port, gotPort); diff != "" {
			t.Errorf("%s: ports (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(peer, gotPeer); diff != "" {
			t.Errorf("%s: peers (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(vni, gotVNI); diff != "" {
			t.Errorf("%s: VNI (-want +got):\n%s", what, diff)
		}
		port, peer, vni = gotPort, gotPeer, gotVNI // one mistake is told once
	}
	received := func(c Counters, packets, bytes uint64) Counters {
		c.RxPackets += packets
		c.RxBytes += bytes
		return c
	}
	sent := func(c Counters, packets, bytes uint64) Counters {
		c.TxPackets += packets
		c.TxBytes += bytes
		return c
	}
	dropped := func(c Counters, rx, tx uint64) Counters {
		c.RxDropped += rx
		c.TxDropped += tx
		return c
	}
	port["p0"], port["p1"], peer[0], peer[1] = Counters{}, Counters{}, Counters{}, Counters{}
	check("at first")

	frame := frameOf(station(1), broadcast)
	size := uint64(len(frame))
	s.Inject("p0", times(10, frame)...)
	port["p0"], vni = received(port["p0"], 10, 10*size), received(vni, 10, 10*size)
	port["p1"], peer[0], peer[1], vni = sent(port["p1"], 10, 10*size), sent(peer[0], 10, 10*size), sent(peer[1], 10, 10*size), sent(vni, 30, 30*size)
	check("flood from a port")

	s.remotes[0].send(42, times(7, frameOf(station(2), station(1)))...)
	peer[0], vni = received(peer[0], 7, 7*size), received(vni, 7, 7*size)
	port["p0"], vni = sent(port["p0"], 7, 7*size), sent(vni, 7, 7*size)
	check("from a peer to a port")

	s.remotes[1].send(42, times(5, frameOf(station(3), station(2)))...)
	peer[1], vni = dropped(received(peer[1], 5, 5*size), 5, 0), dropped(received(vni, 5, 5*size), 5, 0)
	check("split horizon")

	s.Inject("p0", times(4, putTag(frame, 0x8100, 9))...)
	port["p0"] = dropped(received(port["p0"], 4, 4*(size+4)), 4, 0)
	check("a tag that is refused, before a VNI is known")

	super, off := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(9500, 1)}.Superframe(1000)
	s.InjectSuperframe("p0", encodeOffload(off), super)
	bytes := uint64(9500 + 10*54)
	port["p0"], vni = received(port["p0"], 10, bytes), received(vni, 10, bytes)
	peer[0], vni = sent(peer[0], 10, bytes), sent(vni, 10, bytes)
	check("a superframe to a peer")

	s.Inject("p0", sized(2500)) // station 1 to station 2, behind r0
	port["p0"], vni = dropped(received(port["p0"], 1, 2500), 1, 0), dropped(received(vni, 1, 2500), 1, 1)
	peer[0] = dropped(peer[0], 0, 1)
	const answer = encap.EthernetLen + 576 // ICMP, as long as RFC 1812 4.3.2.3 lets it be
	port["p0"], vni = sent(port["p0"], 1, answer), sent(vni, 1, answer)
	check("too big for the underlay")

	big := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, Proto: 253, Payload: encaptest.Payload(1200, 1)}.Frame()
	s.Inject("p0", big)
	n := uint64(len(big))
	port["p0"], vni = received(port["p0"], 1, n), received(vni, 1, n)
	port["p1"], peer[0], peer[1], vni = dropped(port["p1"], 0, 1), sent(peer[0], 1, n), sent(peer[1], 1, n), dropped(sent(vni, 2, 2*n), 0, 1)
	check("too big for one of three")

	// The same from the wire, where frames wait to be joined, and a device that is down.
	s.do(func() error {
		return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(4)), Port: "p1", State: fdb.Static}, fdb.Add)
	})
	s.Must("ip", "link", "set", "p1", "down")
	s.do(func() error { s.Ports(); return nil }) // which looks, and tells the fast path
	port, peer, vni = read()
	s.remotes[0].send(42, times(6, frameOf(station(2), station(4)))...)
	peer[0], vni = dropped(received(peer[0], 6, 6*size), 6, 0), dropped(received(vni, 6, 6*size), 6, 6)
	port["p1"] = dropped(port["p1"], 0, 6)
	check("from a peer to a port that is down")
	s.balance()
}
