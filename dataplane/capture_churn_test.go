package dataplane

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// forgetful takes a capture and forgets it.
type forgetful struct{}

func (forgetful) Write(p []byte) (int, error) { return len(p), nil }
func (forgetful) Flush() error                { return nil }

// Captures that come and go, those that nobody reads among them, lose, double and change no frame: from ports to ports and peers, flooded, and from peers in bulk.
func TestCapturesComeAndGoUnderTraffic(t *testing.T) {
	everyMode(t, 2, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: 42, Learning: true, MSSClamp: MSSOff, Header: HeaderPolicy{UDP6ZeroChecksumTx: true}}, s.addrs()...)
		for _, r := range s.remotes {
			if r.addr.Is6() {
				r.option(unix.SOL_UDP, unix.UDP_NO_CHECK6_RX, 1)
			}
		}
		s.port("p0", 42)
		s.port("p1", 42)
		s.pinned(42, "p0", station(1))
		s.pinned(42, "p1", station(2))
		s.pinned(42, "", station(4))
		s.forget()
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		for i := range 4 {
			running.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				for ctx.Err() == nil {
					f := []CaptureFilter{{}, {VNI: 42, Snaplen: 60}, {Port: "p1"}, {Peer: netip.AddrPortFrom(s.remotes[0].addr, 0)}, {Drops: true}, {Dir: CaptureOut}, {Count: 3}}[r.IntN(7)]
					while, stop := context.WithTimeout(ctx, time.Duration(r.IntN(20))*time.Millisecond)
					if err := s.Capture(while, f, forgetful{}); err != nil {
						t.Error(err)
					}
					stop()
				}
			})
		}
		const rounds, burst, size, headers = 40, 8, 500, 14 + 20 + 20
		numbered := func(src, dst uint64, round int) (list [][]byte) {
			for i := range burst {
				list = append(list, encaptest.Packet{SrcMAC: src, DstMAC: dst, Proto: encap.ProtoTCP, Flags: encap.TCPAck, SrcPort: uint16(src), ID: uint16(round*burst + i),
					Seq: uint32((round*burst + i) * size), Payload: encaptest.Payload(size, uint64(round*burst+i))}.Frame())
			}
			return list
		}
		want := make(map[string]map[string]int)
		got := make(map[string]map[string]int)
		// What is counted is who sent which part of a payload to whom: some of them arrive joined.
		note := func(counts map[string]map[string]int, where string, frames ...[]byte) {
			if counts[where] == nil {
				counts[where] = make(map[string]int)
			}
			for _, f := range frames {
				for part := range slices.Chunk(f[headers:], size) {
					counts[where][string(f[:12])+string(part)]++
				}
			}
		}
		r0, r1 := s.remotes[0].addr.String(), s.remotes[1].addr.String()
		for round := range rounds {
			toPort, toPeer, toAll, back := numbered(station(1), station(2), round), numbered(station(1), station(4), round), numbered(station(1), broadcast, round), numbered(station(4), station(2), round)
			s.Inject("p0", toPort...)
			s.Inject("p0", toPeer...)
			s.Inject("p0", toAll...)
			for _, f := range back {
				s.remotes[0].send(42, f)
			}
			s.rest()
			note(want, "p1", toPort...)
			note(want, "p1", toAll...)
			note(want, "p1", back...)
			note(want, r0, toPeer...)
			note(want, r0, toAll...)
			note(want, r1, toAll...)
			note(got, "p1", s.seen("p1")...)
			for _, r := range s.remotes {
				for _, a := range r.received() {
					note(got, r.addr.String(), a.frame)
				}
			}
			s.forget()
		}
		cancel()
		running.Wait()
		for where, parts := range want {
			for part, n := range parts {
				if got[where][part] != n {
					t.Errorf("%s got % x... %d times, want %d", where, part[:20], got[where][part], n)
				}
			}
			if len(got[where]) != len(parts) {
				t.Errorf("%s got %d different ones, want %d", where, len(got[where]), len(parts))
			}
		}
		s.balance()
	})
}
