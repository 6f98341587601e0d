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
	c := &churn{scene: s, t: t, done: make(chan struct{})}
	c.traffic()
	c.changePorts()
	c.changeVNIs()
	c.changeEntries()
	c.look()
	time.Sleep(2500 * time.Millisecond)
	eventually(t, "there was enough traffic to tell", func() bool {
		got := s.Totals()
		return got.Forwarded >= 1000 && got.Dropped >= 1000
	})
	close(c.done)
	c.running.Wait()
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

// churn is what TestChurn does at once, each until done is closed.
type churn struct {
	*scene
	t       *testing.T
	done    chan struct{}
	running sync.WaitGroup
}

func (c *churn) loop(pause time.Duration, f func(rng *rand.Rand)) {
	seed := rand.Uint64()
	c.running.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 1))
		for {
			select {
			case <-c.done:
				return
			default:
			}
			f(rng)
			time.Sleep(pause)
		}
	})
}

// want forgives what an operation may be refused for when others change the same things.
func (c *churn) want(err error) {
	c.t.Helper()
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) || errors.Is(err, ErrInUse) || errors.Is(err, fdb.ErrExists) {
		return
	}
	c.t.Error(err)
}

func (c *churn) inside(f func() error) { c.want(c.Host.Do(f)) }

// traffic is frames of all kinds, from ports and from remotes.
func (c *churn) traffic() {
	for _, port := range []string{"p0", "p1", "t0"} {
		j := newInjector(c.t, c.Host, port)
		c.loop(200*time.Microsecond, func(rng *rand.Rand) {
			for range 16 {
				frame, off := randomFrame(rng)
				if len(frame) >= 14 && len(frame) < 1450 && !off.IsGSO() {
					j.send(frame)
				}
			}
		})
	}
	for _, r := range c.remotes {
		c.loop(200*time.Microsecond, func(rng *rand.Rand) {
			for range 16 {
				if frame, off := randomFrame(rng); !off.IsGSO() {
					// Remotes keep their stations apart by VNI: what of 43 comes out in 42 would show below.
					_, _ = r.conn.WriteToUDPAddrPort(randomDatagram(rng, frame[:min(len(frame), 1400)]), r.sw)
				}
			}
		})
	}
}

// changePorts has ports come, change, and go.
func (c *churn) changePorts() {
	for i := range 4 {
		name := fmt.Sprintf("c%d", i)
		netlinkHandle := c.Netlink()
		c.loop(time.Millisecond, func(rng *rand.Rand) {
			port := PortConfig{Name: name, Type: PortTAP, Untagged: 42, Tagged: []VIDMap{{3, 43}}, MaxMACs: rng.IntN(20)}
			c.inside(func() error { return c.AddPort(port) })
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			port.Tagged, port.MTU = []VIDMap{{5, 44}}, 1000+rng.IntN(500)
			c.inside(func() error { return c.SetPort(port) })
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			// Not with a command: a process just forked holds the device's descriptors until it executes its program.
			if link, err := netlinkHandle.LinkByName(name); err == nil && rng.IntN(4) == 0 {
				_ = netlinkHandle.LinkSetDown(link)
			}
			c.inside(func() error { return c.DelPort(name) })
		})
	}
}

// changeVNIs changes two that carry traffic, and has others come and go.
func (c *churn) changeVNIs() {
	c.loop(2*time.Millisecond, func(rng *rand.Rand) {
		vni := VNIConfig{VNI: 42 + uint32(rng.IntN(2)), Learning: rng.IntN(4) > 0, Ageing: time.Duration(rng.IntN(4)) * time.Second, MaxMACs: 10 * rng.IntN(10)}
		for _, a := range c.addrs()[:rng.IntN(3)] {
			vni.Peers = append(vni.Peers, peerAt(a))
		}
		vni.Policy = Policy(rng.IntN(2))
		vni.Header.TTL = uint8(rng.IntN(256))
		c.inside(func() error { return c.SetVNI(vni) })
	})
	c.loop(3*time.Millisecond, func(rng *rand.Rand) {
		vni := 100 + uint32(rng.IntN(1000))
		c.inside(func() error {
			return c.SetVNI(VNIConfig{VNI: vni, Peers: []netip.AddrPort{peerAt(netip.AddrFrom4([4]byte{203, 0, 113, byte(vni)}))}})
		})
		c.inside(func() error { return c.DelVNI(100 + uint32(rng.IntN(1000))) })
	})
}

func (c *churn) changeEntries() {
	c.loop(time.Millisecond, func(rng *rand.Rand) {
		e := FDBEntry{VNI: 42 + uint32(rng.IntN(3)), MAC: fdb.MAC(0x02_00_00_00_01_00 + uint64(rng.IntN(20))), State: fdb.State(rng.IntN(3))}
		if rng.IntN(2) == 0 {
			e.Port = "t0"
		} else {
			e.Dst = peerAt(c.addrs()[rng.IntN(2)])
		}
		c.want(c.FDBPut(e, fdb.PutMode(rng.IntN(2))))
		c.want(c.FDBDel(42+uint32(rng.IntN(3)), fdb.MAC(0x02_00_00_00_01_00+uint64(rng.IntN(20))), netip.AddrPort{}))
		if rng.IntN(20) == 0 {
			_, err := c.FDBFlush(FDBFilter{VNI: 42, Static: rng.IntN(2) == 0, Dynamic: true})
			c.want(err)
		}
	})
}

// look asks for all that can be asked for, and listens to events.
func (c *churn) look() {
	c.loop(2*time.Millisecond, func(rng *rand.Rand) {
		c.FDBDump(FDBFilter{})
		c.Ports()
		c.VNIs()
		c.Peers()
		c.PortStats()
		c.PeerStats()
		c.VNIStats()
		c.Drops()
		c.FDBHistory(42, 0x02_00_00_00_01_00)
		_, _ = c.FDBGet(42, 0x02_00_00_00_01_00)
		if st := c.Status(); st.Totals.Forwarded+st.Totals.Dropped > st.Totals.Received+uint64(len(c.workers)*maxFates*2) {
			c.t.Errorf("more came out than went in: %+v", st.Totals)
		}
	})
	c.loop(time.Millisecond, func(rng *rand.Rand) {
		events, cancel := c.Subscribe(rng.IntN(64))
		time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
		for len(events) > 0 {
			<-events
		}
		cancel()
	})
}
