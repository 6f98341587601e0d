package dataplane

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"vtepd/dataplane/tap"
	"vtepd/dataplane/underlay"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// benchScene is a switch whose only worker the benchmark calls: ports p0 and so on and remotes in VNI 42, station(1) behind p0 and station(2) behind the first remote.
func benchScene(b *testing.B, ports, remotes int) (*scene, *worker) {
	procs := runtime.GOMAXPROCS(0) // a switch raises it
	b.Cleanup(func() { runtime.GOMAXPROCS(procs) })
	s := newScene(b, remotes, func(c *Config) { c.Workers = 1 })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	for i := range ports {
		s.do(func() error { return s.AddPort(s.ofKind(PortConfig{Name: fmt.Sprintf("p%d", i), Untagged: 42})) })
	}
	s.Inject("p0", frameOf(station(1), broadcast))
	s.remotes[0].send(42, frameOf(station(2), broadcast))
	s.rest()
	if !s.known(42, station(1)) || !s.known(42, station(2)) {
		b.Fatalf("not learned: %+v", s.FDBDump(FDBFilter{}))
	}
	w := s.parked()
	w.snap, w.now = s.current.Load(), s.now()
	return s, w
}

// forget ends a batch as flush does, but sends nothing.
func (w *worker) forget() {
	w.join.Reset()
	w.fates = w.fates[:0]
	w.work = 0
}

// BenchmarkFromWire is what 44 datagrams cost from the receive slot to the superframe that is ready to be written, without system calls: as one message
// (UDP GRO), one by one, and in turn with those of seven other flows.
func BenchmarkFromWire(b *testing.B) {
	const segments, size = 44, 1398
	for _, c := range []struct {
		name     string
		proto    uint8
		flows    int
		together bool
	}{{"tcp, joined", encap.ProtoTCP, 1, true}, {"tcp", encap.ProtoTCP, 1, false}, {"udp, joined", encap.ProtoUDP, 1, true}, {"tcp, 8 flows", encap.ProtoTCP, 8, false}} {
		b.Run(c.name, func(b *testing.B) {
			s, w := benchScene(b, 1, 1)
			from := netip.AddrPortFrom(s.remotes[0].addr, 50000)
			var messages []underlay.Message
			var all []byte
			for i := range segments {
				p := encaptest.Packet{SrcMAC: station(2), DstMAC: station(1), SrcPort: uint16(1000 + i%c.flows), ID: uint16(i / c.flows), Proto: c.proto, Payload: encaptest.Payload(size, uint64(i))}
				if c.proto == encap.ProtoTCP {
					p.Flags, p.TCPOptions, p.Seq = encap.TCPAck, encaptest.Timestamps(1, 2), uint32(i/c.flows*size)
				}
				d := datagramOf(42, p.Frame())
				all = append(all, d...)
				messages = append(messages, underlay.Message{Data: d, Source: from})
			}
			if c.together {
				messages = []underlay.Message{{Data: all, DatagramSize: len(all) / segments, Source: from}}
			}
			b.SetBytes(int64(len(all)))
			for b.Loop() {
				for i := range messages {
					w.fromUnderlay(&messages[i])
				}
				if w.join.Len() != c.flows {
					b.Fatalf("joined to %d superframes", w.join.Len())
				}
				w.forget()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/segments, "ns/datagram")
		})
	}
}

// BenchmarkFlood is what a broadcast costs from the port's arena to all ports and peers of its VNI, system calls included.
func BenchmarkFlood(b *testing.B) {
	for _, c := range []struct{ ports, peers int }{{1, 1}, {8, 1}, {1, 16}} {
		b.Run(fmt.Sprintf("ports=%d,peers=%d", c.ports, c.peers), func(b *testing.B) {
			s, w := benchScene(b, c.ports+1, c.peers)
			p := s.ports["p0"].published
			frame := frameOf(station(1), broadcast)
			buf := append(make([]byte, tap.Headroom), frame...)
			for b.Loop() {
				w.fromPort(p, buf, tap.Headroom, encap.Offload{})
				w.flush()
			}
			copies := float64(c.ports + c.peers)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/copies, "ns/copy")
			if sent := s.Totals(); sent.Dropped > 0 {
				b.Errorf("%+v: %v", sent, s.Drops())
			}
		})
	}
}
