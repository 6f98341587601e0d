package dataplane

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/dataplane/underlay"
	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// wagon is one datagram of a train, with what the outer header says.
type wagon struct {
	datagram []byte
	tos      uint8
	remote   int
}

// drive has the worker carry datagrams as one batch each. In trains: what may be one message is one, as UDP GRO would make it. Else every datagram is a message and comes
// from another UDP port than the one before, so that none follows.
func (w *worker) drive(s *scene, batches [][]wagon, inTrains bool) (followed int) {
	for _, batch := range batches {
		var messages []underlay.Message
		for i, d := range batch {
			from := netip.AddrPortFrom(s.remotes[d.remote].addr, 50000)
			if !inTrains {
				from = netip.AddrPortFrom(from.Addr(), uint16(50000+i))
				messages = append(messages, underlay.Message{Data: bytes.Clone(d.datagram), Source: from, TOS: d.tos})
				continue
			}
			if n := len(messages); n > 0 {
				last := &messages[n-1]
				size := max(last.DatagramSize, 1)
				if last.DatagramSize == 0 {
					size = len(last.Data)
				}
				if last.Source == from && last.TOS == d.tos && len(d.datagram) <= size && len(last.Data)%size == 0 && len(last.Data)+len(d.datagram) < 1<<16 && i%7 != 0 {
					last.Data, last.DatagramSize = append(last.Data, d.datagram...), size
					continue
				}
			}
			messages = append(messages, underlay.Message{Data: bytes.Clone(d.datagram), Source: from, TOS: d.tos})
		}
		w.inside.Store(entering)
		w.snap, w.now = w.s.current.Load(), w.s.now()
		w.inside.Store(w.snap.generation)
		for i := range messages {
			w.fromUnderlay(&messages[i])
		}
		followed += len(batch) - len(w.fates) // who follows has no fate of its own
		w.flush()
		w.seen, w.train = recent{}, train{}
		w.inside.Store(outside)
	}
	return followed
}

// account is everything that a scene counts, and what its ports showed.
type account struct {
	Frames map[string][][]byte
	Ports  map[string]Counters
	Peers  map[netip.AddrPort]Counters
	VNIs   map[uint32]Counters
	Drops  map[string]uint64
	Totals Totals
}

func (s *scene) account() account {
	a := account{Frames: map[string][][]byte{}, Ports: map[string]Counters{}, Peers: map[netip.AddrPort]Counters{}, VNIs: map[uint32]Counters{}, Drops: map[string]uint64{}, Totals: s.Totals()}
	for name := range s.sniffed {
		a.Frames[name] = s.seen(name)
	}
	for _, p := range s.PortStats() {
		a.Ports[p.Port] = p.Counters
	}
	for _, p := range s.PeerStats() {
		a.Peers[p.Peer] = p.Counters
	}
	for _, v := range s.VNIStats() {
		a.VNIs[v.VNI] = v.Counters
	}
	for _, d := range s.Drops() {
		a.Drops[fmt.Sprintf("%v %s %d %v", d.Reason, d.Port, d.VNI, d.Peer)] = d.Count
	}
	return a
}

// since takes the counts of a former account away; frames are those of the later one.
func (a account) since(b account) account {
	minus := func(x, y Counters) Counters {
		return Counters{x.RxPackets - y.RxPackets, x.RxBytes - y.RxBytes, x.TxPackets - y.TxPackets, x.TxBytes - y.TxBytes, x.RxDropped - y.RxDropped, x.TxDropped - y.TxDropped}
	}
	for k, v := range b.Ports {
		a.Ports[k] = minus(a.Ports[k], v)
	}
	for k, v := range b.Peers {
		a.Peers[k] = minus(a.Peers[k], v)
	}
	for k, v := range b.VNIs {
		a.VNIs[k] = minus(a.VNIs[k], v)
	}
	for k, v := range b.Drops {
		if a.Drops[k] -= v; a.Drops[k] == 0 {
			delete(a.Drops, k)
		}
	}
	a.Totals = Totals{a.Totals.Received - b.Totals.Received, a.Totals.Forwarded - b.Totals.Forwarded, a.Totals.Dropped - b.Totals.Dropped}
	return a
}

// trainOf makes datagrams that follow each other, but for what chance changes in some.
func trainOf(rng *rand.Rand, number uint16) (list []wagon) {
	p := encaptest.Packet{
		SrcMAC: station(10 + rng.IntN(2)), DstMAC: []uint64{station(1), station(1), station(1), station(2), station(3), station(4), station(9), broadcast}[rng.IntN(8)],
		V6: rng.IntN(3) == 0, Proto: encap.ProtoTCP, Flags: encap.TCPAck, SrcPort: number, Seq: rng.Uint32(), ID: uint16(rng.Uint32()), TOS: uint8(rng.IntN(4)),
	}
	if rng.IntN(2) == 0 {
		p.TCPOptions = encaptest.Timestamps(1, 2)
	}
	if rng.IntN(4) == 0 {
		p.Proto, p.TCPOptions = encap.ProtoUDP, nil
	}
	vni, tos, remote := uint32(42), uint8(rng.IntN(2)*rng.IntN(4)), rng.IntN(2)
	size := []int{100, 700, 1370}[rng.IntN(3)]
	count := 1 + rng.IntN(60)
	trouble := rng.IntN(3) == 0
	for i := range count {
		q := p
		q.Payload = encaptest.Payload(size, uint64(number)+uint64(i))
		if i == count-1 && rng.IntN(2) == 0 {
			q.Payload = q.Payload[:1+rng.IntN(size)]
			if rng.IntN(2) == 0 {
				q.Flags |= encap.TCPPsh
			}
		}
		d := wagon{tos: tos, remote: remote}
		flags := byte(0x08)
		if trouble {
			switch rng.IntN(40) {
			case 0:
				q.TOS ^= 1
			case 1:
				q.BadChecksum = true
			case 2:
				q.BadIPChecksum = true
			case 3:
				q.Pad = 1400
			case 4:
				q.Tags = []uint16{0x6000} // VID 0, priority 3
			case 5:
				q.Tags = []uint16{5}
			case 6:
				q.SrcMAC |= 1 << 40
			case 7:
				q.DstMAC = station(2)
			case 8:
				q.SrcMAC = station(13)
			case 9:
				q.Seq += 3
			case 10:
				q.Flags |= encap.TCPSyn
			case 11:
				q.Flags |= encap.TCPFin
			case 12:
				q.Payload = nil
			case 13:
				q.Fragment = encap.IPv4MoreFragments
			case 14:
				flags = 0
			case 15:
				vni = 43
			case 16:
				vni = 44 // nobody's
			case 17:
				d.tos ^= 3
			case 18:
				d.remote ^= 1
			}
		}
		d.datagram = datagramOf(vni, q.Frame())
		d.datagram[0] = flags
		switch rng.IntN(400) {
		case 0:
			d.datagram = d.datagram[:rng.IntN(len(d.datagram))]
		case 1:
			d.datagram[rng.IntN(len(d.datagram))] ^= 1 << rng.IntN(8)
		}
		if len(d.datagram) > 0 {
			list = append(list, d)
		}
		vni = 42
		p.Seq += uint32(size)
		p.ID++
	}
	return list
}

// TestTrains: what is decided once for a train is what is decided for each of its frames. The same datagrams, in trains and each on its own, come to the same frames at
// the ports, the same counters and the same drops.
//
//	p0 p1 trunk (VNI 42) p2 (VNI 42, down) other (VNI 43) ── one worker, called by the test ════ r0 r1
func TestTrains(t *testing.T) {
	t.Parallel()
	for _, policy := range []struct {
		name string
		vni  VNIConfig
	}{
		{"learning", VNIConfig{Learning: true}},
		{"static", VNIConfig{}},
		{"strict bits, kept tags", VNIConfig{Learning: true, Header: HeaderPolicy{StrictReserved: true, KeepInnerVLAN: true}}},
		{"mss-clamp", VNIConfig{Learning: true, MSSClamp: MSSAuto}},
	} {
		t.Run(policy.name, func(t *testing.T) {
			s := newScene(t, 2, func(c *Config) { c.Workers = 1 })
			for _, vni := range []uint32{42, 43} {
				c := policy.vni
				c.VNI = vni
				s.set(c, s.addrs()...)
			}
			for name, vni := range map[string]uint32{"p0": 42, "p1": 42, "p2": 42, "other": 43} {
				s.port(name, vni)
			}
			s.configuredPort(PortConfig{Name: "trunk", Tagged: []VIDMap{{7, 42}}})
			for i, name := range []string{"p0", "p1", "p2", "trunk"} {
				s.do(func() error {
					return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(1 + i)), Port: name, State: fdb.Static}, fdb.Replace)
				})
			}
			s.do(func() error {
				return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(station(13)), Dst: netip.AddrPortFrom(s.remotes[1].addr, DefaultPort), State: fdb.Static}, fdb.Replace)
			})
			s.outer().Must("ip", "link", "set", "p2", "down")
			eventually(t, "the port is down", func() bool { return s.portInfo("p2").State == PortIsDown })
			w := s.parked()

			rng := rand.New(rand.NewPCG(3, uint64(len(policy.name))))
			for round := range 12 {
				var batches [][]wagon
				for range 8 {
					var batch []wagon
					for range 1 + rng.IntN(4) {
						batch = append(batch, trainOf(rng, uint16(1000+round))...)
					}
					batches = append(batches, batch)
				}
				before := s.account()
				followed := w.drive(s, batches, true)
				together := s.account()
				if n := w.drive(s, batches, false); n != 0 {
					t.Fatalf("%d followed that should not", n)
				}
				apart := s.account().since(together)
				if round == 0 {
					continue // stations were learned
				}
				// cmp takes its time over megabytes that are equal.
				if got := together.since(before); !reflect.DeepEqual(apart, got) {
					t.Fatalf("round %d: one by one (-) and in trains (+):\n%.4000s", round, cmp.Diff(apart, got))
				}
				if total := len(slices.Concat(batches...)); followed < total/8 {
					t.Errorf("round %d: %d of %d datagrams followed", round, followed, total)
				}
			}
			if got := s.Totals(); got.Forwarded == 0 || got.Dropped == 0 {
				t.Errorf("one side was not exercised: %+v", got)
			}
		})
	}
}
