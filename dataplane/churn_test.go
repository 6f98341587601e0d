package dataplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// Everything that control can do is done at once, again and again, while frames of all kinds come from ports and peers. Nothing is lost from the accounts,
// nothing crosses VNIs, nothing is left in the way; the race detector watches when it is on.
//
//	p0 p1 (VNI 42) t0 (42, 43, 44) c0..c3 (come and go) ── switch ════ r0 r1
func TestChurn(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	all := s.addrs()
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, all...)
	s.set(VNIConfig{VNI: 43, Learning: true}, all...)
	s.set(VNIConfig{VNI: 44, Learning: true}, all...)
	s.port("p0", 42)
	s.do(func() error { return s.AddPort(PortConfig{Name: "p1", Type: PortTAP, Untagged: 42}) })
	s.do(func() error {
		return s.AddPort(PortConfig{Name: "t0", Type: PortTAP, Untagged: 42, NativeVID: 2, Tagged: []VIDMap{{3, 43}, {4, 44}}})
	})
	done := make(chan struct{})
	var running sync.WaitGroup
	loop := func(pause time.Duration, f func(rng *rand.Rand)) {
		seed := rand.Uint64()
		running.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				f(rng)
				time.Sleep(pause)
			}
		})
	}
	// want forgives what an operation may be refused for when others change the same things.
	want := func(err error) {
		t.Helper()
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) || errors.Is(err, ErrInUse) || errors.Is(err, fdb.ErrExists) {
			return
		}
		t.Error(err)
	}
	inside := func(f func() error) { want(s.Host.Do(f)) }

	for _, port := range []string{"p0", "p1", "t0"} {
		j := newInjector(t, s.Host, port)
		loop(200*time.Microsecond, func(rng *rand.Rand) {
			for range 16 {
				frame, off := randomFrame(rng)
				if len(frame) >= 14 && len(frame) < 1450 && !off.IsGSO() {
					j.send(frame)
				}
			}
		})
	}
	for _, r := range s.remotes {
		loop(200*time.Microsecond, func(rng *rand.Rand) {
			for range 16 {
				if frame, off := randomFrame(rng); !off.IsGSO() {
					// Remotes keep their stations apart by VNI: what of 43 comes out in 42 would show below.
					_, _ = r.conn.WriteToUDPAddrPort(randomDatagram(rng, frame[:min(len(frame), 1400)]), r.sw)
				}
			}
		})
	}
	for i := range 4 {
		name := fmt.Sprintf("c%d", i)
		netlinkHandle := s.Netlink()
		loop(time.Millisecond, func(rng *rand.Rand) {
			c := PortConfig{Name: name, Type: PortTAP, Untagged: 42, Tagged: []VIDMap{{3, 43}}, MaxMACs: rng.IntN(20)}
			inside(func() error { return s.AddPort(c) })
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			c.Tagged, c.MTU = []VIDMap{{5, 44}}, 1000+rng.IntN(500)
			inside(func() error { return s.SetPort(c) })
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			// Not with a command: a process just forked holds the device's descriptors until it executes its program.
			if link, err := netlinkHandle.LinkByName(name); err == nil && rng.IntN(4) == 0 {
				_ = netlinkHandle.LinkSetDown(link)
			}
			inside(func() error { return s.DelPort(name) })
		})
	}
	loop(2*time.Millisecond, func(rng *rand.Rand) {
		c := VNIConfig{VNI: 42 + uint32(rng.IntN(2)), Learning: rng.IntN(4) > 0, Ageing: time.Duration(rng.IntN(4)) * time.Second, MaxMACs: 10 * rng.IntN(10)}
		for _, a := range all[:rng.IntN(3)] {
			c.Peers = append(c.Peers, peerAt(a))
		}
		c.Policy = Policy(rng.IntN(2))
		c.Header.TTL = uint8(rng.IntN(256))
		inside(func() error { return s.SetVNI(c) })
	})
	loop(3*time.Millisecond, func(rng *rand.Rand) {
		vni := 100 + uint32(rng.IntN(1000))
		inside(func() error {
			return s.SetVNI(VNIConfig{VNI: vni, Peers: []netip.AddrPort{peerAt(netip.AddrFrom4([4]byte{203, 0, 113, byte(vni)}))}})
		})
		inside(func() error { return s.DelVNI(100 + uint32(rng.IntN(1000))) })
	})
	loop(time.Millisecond, func(rng *rand.Rand) {
		e := FDBEntry{VNI: 42 + uint32(rng.IntN(3)), MAC: fdb.MAC(0x02_00_00_00_01_00 + uint64(rng.IntN(20))), State: fdb.State(rng.IntN(3))}
		if rng.IntN(2) == 0 {
			e.Port = "t0"
		} else {
			e.Dst = peerAt(all[rng.IntN(2)])
		}
		want(s.FDBPut(e, fdb.PutMode(rng.IntN(2))))
		want(s.FDBDel(42+uint32(rng.IntN(3)), fdb.MAC(0x02_00_00_00_01_00+uint64(rng.IntN(20))), netip.AddrPort{}))
		if rng.IntN(20) == 0 {
			_, err := s.FDBFlush(FDBFilter{VNI: 42, Static: rng.IntN(2) == 0, Dynamic: true})
			want(err)
		}
	})
	loop(2*time.Millisecond, func(rng *rand.Rand) {
		s.FDBDump(FDBFilter{})
		s.Ports()
		s.VNIs()
		s.Peers()
		s.PortStats()
		s.PeerStats()
		s.VNIStats()
		s.Drops()
		s.FDBHistory(42, 0x02_00_00_00_01_00)
		_, _ = s.FDBGet(42, 0x02_00_00_00_01_00)
		if st := s.Status(); st.Totals.Forwarded+st.Totals.Dropped > st.Totals.Received+uint64(len(s.workers)*maxFates*2) {
			t.Errorf("more came out than went in: %+v", st.Totals)
		}
	})
	loop(time.Millisecond, func(rng *rand.Rand) {
		events, cancel := s.Subscribe(rng.IntN(64))
		time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
		for len(events) > 0 {
			<-events
		}
		cancel()
	})
	time.Sleep(2500 * time.Millisecond)
	eventually(t, "there was enough traffic to tell", func() bool {
		got := s.Totals()
		return got.Forwarded >= 1000 && got.Dropped >= 1000
	})
	close(done)
	running.Wait()
	s.rest()
	s.balance()
	t.Logf("%+v, %d lost in the kernel", s.Totals(), s.Status().KernelDrops)

	// And it works as if nothing had been.
	for _, p := range s.Ports() {
		if p.Config.Name[0] == 'c' {
			s.do(func() error { return s.DelPort(p.Config.Name) })
		}
	}
	s.set(VNIConfig{VNI: 42, Learning: true}, all...)
	if _, err := s.FDBFlush(FDBFilter{Static: true, Dynamic: true}); err != nil {
		t.Fatal(err)
	}
	fresh := s.Sniff("p1")
	s.Inject("p0", encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, EtherType: 0x88b5, Payload: encaptest.Payload(50, 1)}.Frame())
	if f, ok := fresh.Next(lab.Patience); !ok || f.Data[11] != byte(station(1)&0xff) {
		t.Errorf("a broadcast afterwards: %v % x", ok, f.Data)
	}
}
