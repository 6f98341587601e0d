package dataplane

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
	"vtepd/fdb"
)

// strangersOf are those of a switch without what time makes of them.
func (n *node) strangersOf() (list []Stranger) {
	for _, s := range n.Strangers() {
		s.Age = 0
		list = append(list, s)
	}
	return list
}

// Who is refused is named until it would be let in: a host whose VNI is another, and one that nobody lists. Neither is who sends something wrong.
//
//	a (VNI 42) ── switch ════ r0 (a peer), r1
func TestStrangersAreNamed(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2, nil)
	known, other := s.remotes[0].addr, s.remotes[1].addr
	s.set(VNIConfig{VNI: 42, Learning: true}, known)
	s.port("a", 42)
	frame := frameOf(station(1), broadcast)

	s.drops(3, UnknownVNI, func() { s.remotes[0].send(43, times(3, frame)...) })
	s.drops(2, UnknownPeer, func() { s.remotes[1].send(42, times(2, frame)...) })
	s.drops(1, InvalidSourceMAC, func() { s.remotes[0].send(42, frameOf(broadcast, broadcast)) })
	s.drops(1, BadVXLANHeader, func() { s.remotes[1].sendRaw(make([]byte, 60)) })
	sort := cmp.Transformer("set", func(list []Stranger) map[Stranger]bool {
		set := map[Stranger]bool{}
		for _, s := range list {
			set[s] = true
		}
		return set
	})
	want := []Stranger{{Reason: UnknownVNI, Source: known, VNI: 43, Count: 3}, {Reason: UnknownPeer, Source: other, VNI: 42, Count: 2}}
	if diff := cmp.Diff(want, s.strangersOf(), sort, sameAddr); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	s.set(VNIConfig{VNI: 42, Learning: true}, known, other)
	if diff := cmp.Diff(want[:1], s.strangersOf(), sameAddr); diff != "" {
		t.Errorf("the peer is listed (-want +got):\n%s", diff)
	}
	s.set(VNIConfig{VNI: 43, Learning: true}, known)
	if diff := cmp.Diff([]Stranger(nil), s.strangersOf(), sameAddr); diff != "" {
		t.Errorf("the VNI is declared, too (-want +got):\n%s", diff)
	}
	s.set(VNIConfig{VNI: 42, Learning: true}, known)
	if diff := cmp.Diff(want[1:], s.strangersOf(), sameAddr); diff != "" {
		t.Errorf("the peer is gone again (-want +got):\n%s", diff)
	}
	s.forget()
	s.balance()
}

// Many strangers, as a forger has them, push out the one that was quiet for the longest time, and no more than the bound are kept.
func TestStrangersAreBounded(t *testing.T) {
	var s strangers
	header := make(encap.VXLAN, encap.VXLANLen)
	encap.NewVXLANHeader(44).Put(header)
	source := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	for i := range 3 * MaxStrangers {
		s.note(UnknownVNI, source(0), header, fdb.Tick(i))
		s.note(UnknownPeer, source(i), header, fdb.Tick(i))
	}
	got := map[strangerKey]stranger{}
	s.sum(got)
	if len(got) != MaxStrangers {
		t.Errorf("%d are kept, want %d", len(got), MaxStrangers)
	}
	steady := strangerKey{UnknownVNI, source(0), 44}
	if e := got[steady]; e.count != 3*MaxStrangers || e.last != 3*MaxStrangers-1 {
		t.Errorf("one that sends all the time: %+v", e)
	}
	for i := 2*MaxStrangers + 1; i < 3*MaxStrangers; i++ {
		if e := got[strangerKey{UnknownPeer, source(i), 44}]; e.count != 1 {
			t.Errorf("the one of tick %d: %+v", i, e)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.note(UnknownPeer, source(1), header, 1) }); n != 0 {
		t.Errorf("%v allocations a refused datagram", n)
	}
}

// Control looks while workers note.
func TestStrangersWhileTheyCome(t *testing.T) {
	var s strangers
	header := make(encap.VXLAN, encap.VXLANLen)
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 20000 {
			s.note(UnknownPeer, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), header, fdb.Tick(i))
		}
	})
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		got := map[strangerKey]stranger{}
		s.sum(got)
		for k, e := range got {
			if e.count == 0 || e.strangerKey != k || e.source != k.source {
				t.Fatalf("%+v under %+v", e, k)
			}
		}
		if len(got) == MaxStrangers {
			break
		}
	}
	group.Wait()
}
