package dataplane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// outcome is everything that shows of what a switch did with some frames.
type outcome struct {
	Ports, Remotes map[string][]string // frames in hexadecimal, sorted
	Counters       map[string]Counters
	Drops          map[string]uint64
	Totals         Totals
}

// TestFastPathIsTheSame: hundreds of frames and datagrams of every kind, well-formed, crafted and noise, do the same by the fast path as by user space:
// what comes out where, byte for byte, and every counter.
//
//	p0 (VNI 42) ─┐
//	p1 (VNI 42) ─┼─ switch ════ r0 (member), r1 (member), r2 (stranger)
//	tr (10, 42) ─┘
func TestFastPathIsTheSame(t *testing.T) {
	rounds := 800
	if testing.Short() {
		rounds = 300
	}
	var results [2]outcome
	carried := uint64(0)
	for i, mode := range []FastPathMode{FastPathOff, FastPathOn} {
		s := newScene(t, 3, func(c *Config) { c.FastPath = mode })
		results[i] = s.sameTraffic(rounds)
		f := s.Status().FastPath
		carried = f.Encap + f.Decap + f.Local
	}
	if carried < uint64(rounds)/8 {
		t.Errorf("the fast path carried %d of %d frames: nothing was compared", carried, rounds)
	}
	if diff := gocmp.Diff(results[0], results[1]); diff != "" {
		t.Errorf("user space (-) and fast path (+) differ:\n%.6000s", diff)
	}
	t.Logf("%d of %d frames were carried by the fast path; %v", carried, rounds, results[1].Totals)
}

// sameTraffic puts the same frames into any switch, and gathers what comes of them.
func (s *scene) sameTraffic(rounds int) outcome {
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs(0, 1)...)
	s.set(VNIConfig{VNI: 10, Learning: true, Header: HeaderPolicy{StrictReserved: true}}, s.addrs(0)...)
	s.port("p0", 42)
	s.port("p1", 42)
	s.configuredPort(PortConfig{Name: "tr", Untagged: 42, NativeVID: 7, Tagged: []VIDMap{{10, 10}}})
	// Stations 1 and 2 are behind p0 and p1, 3 behind the trunk in both VNIs, 4 and 5 behind the members.
	s.Inject("p0", frameOf(station(1), broadcast))
	s.Inject("p1", frameOf(station(2), broadcast))
	s.Inject("tr", frameOf(station(3), broadcast), putTag(frameOf(station(3), broadcast), 0x8100, 10))
	s.remotes[0].send(42, frameOf(station(4), broadcast))
	s.remotes[0].send(10, frameOf(station(4), broadcast))
	s.remotes[1].send(42, frameOf(station(5), broadcast))
	s.forget()
	s.fast.catchUp()
	rng := rand.New(rand.NewPCG(11, 12))
	place := map[int]string{1: "p0", 2: "p1", 3: "tr"}
	for range rounds {
		src := 1 + rng.IntN(5)
		dst := []int{1, 2, 3, 4, 5, 5, 4, 9}[rng.IntN(8)]
		p := encaptest.Packet{
			SrcMAC: station(src), DstMAC: station(dst), V6: rng.IntN(3) == 0, TOS: uint8(rng.IntN(256)), Proto: encap.ProtoUDP,
			SrcPort: uint16(rng.IntN(4)), DstPort: []uint16{2000, 4789}[rng.IntN(2)], Payload: encaptest.Payload(rng.IntN(1700), rng.Uint64()),
		}
		if rng.IntN(2) == 0 {
			p.Proto, p.Flags = encap.ProtoTCP, uint8(rng.IntN(64))
		}
		switch rng.IntN(14) {
		case 0:
			p.SrcMAC = []uint64{0, 0x01005e000001, station(12)}[rng.IntN(2)]
		case 1:
			p.DstMAC = []uint64{broadcast, 0x0180c2000000, 0x3333_0000_0001}[rng.IntN(3)]
		case 2:
			p.Tags = []uint16{[]uint16{0, 7, 10, 30}[rng.IntN(4)] | uint16(rng.IntN(8))<<13}
		}
		f := p.Frame()
		switch rng.IntN(12) {
		case 0:
			f[12+rng.IntN(30)] ^= 1 << rng.IntN(8)
		case 1:
			f = f[:14+rng.IntN(len(f)-14)]
		}
		if name := place[src]; name != "" {
			if len(f) <= 1464 {
				s.Inject(name, f)
			}
		} else {
			r := s.remotes[src-4]
			if rng.IntN(12) == 0 {
				r = s.remotes[2] // somebody else's name
			}
			r.tos(uint8(rng.IntN(256)))
			d := datagramOf([]uint32{42, 42, 42, 10, 99}[rng.IntN(5)], f)
			if rng.IntN(10) == 0 {
				d[rng.IntN(8)] ^= 1 << rng.IntN(8)
			}
			if len(d) <= 1472 {
				r.sendRaw(d)
			}
		}
		// One after the other: what a frame teaches holds for the next.
		s.settleFrame()
	}
	s.rest()
	out := outcome{Ports: map[string][]string{}, Remotes: map[string][]string{}, Counters: map[string]Counters{}, Drops: map[string]uint64{}, Totals: s.Totals()}
	for p := range s.sniffed {
		for _, f := range s.seen(p) {
			out.Ports[p] = append(out.Ports[p], fmt.Sprintf("%x", f))
		}
		slices.Sort(out.Ports[p])
	}
	for i, r := range s.remotes {
		name := fmt.Sprint("r", i)
		for _, a := range r.received() {
			out.Remotes[name] = append(out.Remotes[name], fmt.Sprintf("%d %x", a.vni, a.frame))
		}
		slices.Sort(out.Remotes[name])
	}
	for _, c := range s.PortStats() {
		out.Counters[c.Port] = c.Counters
	}
	for _, c := range s.PeerStats() {
		out.Counters[c.Peer.String()] = c.Counters
	}
	for _, c := range s.VNIStats() {
		out.Counters[fmt.Sprint("vni ", c.VNI)] = c.Counters
	}
	for _, d := range s.Drops() {
		out.Drops[fmt.Sprintf("%s %s %d %s", d.Reason, d.Port, d.VNI, d.Peer)] += d.Count
	}
	s.balance()
	return out
}

// settleFrame waits until a frame has been carried and what it taught is known everywhere.
func (s *scene) settleFrame() {
	for i := 0; i < 2; i++ {
		for s.busy() {
			time.Sleep(200 * time.Microsecond)
		}
		time.Sleep(300 * time.Microsecond)
	}
	s.fast.catchUp()
}
