package dataplane

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"vtepd/fdb"
)

// TestManyLearnedPeersLeave: learned peers that go at once take along what was admitted in their name, in every VNI, and nothing else.
func TestManyLearnedPeersLeave(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 2, nil)
	vnis := []uint32{10, 20}
	for _, vni := range vnis {
		s.set(VNIConfig{VNI: vni, Learning: true, Policy: Learn}, s.addrs(0)...)
	}
	const n = 200
	for i := range n {
		p, err := s.peers.obtain(netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}), DefaultPort), 0)
		if err != nil {
			t.Fatal(err)
		}
		s.fdb.Learn(vnis[i%2], fdb.MAC(0x020000000000+uint64(i)), p.place(), s.now())
	}
	sources := func() (count int) {
		f.locked(func() { count = len(f.sources) })
		return count
	}
	f.equal(t, s.Switch, "learned")
	// A source whose peer was learned while a round went on comes with the next.
	for i := 0; i < 60 && sources() != n+len(vnis); i++ {
		time.Sleep(50 * time.Millisecond)
	}
	if got := sources(); got != n+len(vnis) {
		t.Fatalf("%d sources are admitted, not %d", got, n+len(vnis))
	}
	s.fdb.FlushVNI(10, fdb.FlushFilter{})
	s.reapPeers() // those of this time are young
	s.reapPeers()
	f.equal(t, s.Switch, "those of one VNI are gone")
	if got := sources(); got != n/2+len(vnis) {
		t.Errorf("%d sources are left, not %d", got, n/2+len(vnis))
	}
}

// TestSourcesFindNoRoom: of sources that come together those that find no room are user space's, the others are admitted, and the programs are told of those that go.
func TestSourcesFindNoRoom(t *testing.T) {
	t.Parallel()
	s, f := fakeScene(t, 5, nil)
	f.locked(func() { f.seats = 3 })
	s.set(VNIConfig{VNI: 10, Learning: true}, s.addrs(0, 1, 2, 3, 4)...)
	sources := func() (count int) {
		f.locked(func() { count = len(f.sources) })
		return count
	}
	for i := 0; i < 60 && sources() != 3; i++ {
		time.Sleep(50 * time.Millisecond)
	}
	if got := sources(); got != 3 {
		t.Errorf("%d sources are admitted where 3 have room", got)
	}
	// While none leaves there is no use in trying the others again, each time that something of the VNI changes.
	tried := func() (n int) {
		s.fast.catchUp()
		f.locked(func() { n = f.admitted })
		return n
	}
	before := tried()
	for i := range 20 {
		s.set(VNIConfig{VNI: 10, Learning: true, Ageing: time.Duration(i+1) * time.Hour}, s.addrs(0, 1, 2, 3, 4)...)
	}
	if got := tried(); got != before {
		t.Errorf("sources were tried %d times more", got-before)
	}
	f.locked(func() { f.seats = 0 })
	s.set(VNIConfig{VNI: 10, Learning: true}, s.addrs(4, 3, 2)...)
	f.equal(t, s.Switch, "there is room")
	if got := sources(); got != 3 {
		t.Errorf("%d sources are admitted, not the 3 that are left", got)
	}
}

// TestSourcesFindRoomLater: those that found no room are admitted when those of another VNI have left, though nothing of their own changes.
func TestSourcesFindRoomLater(t *testing.T) {
	t.Parallel()
	log := new(lines)
	s, f := fakeScene(t, 3, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	f.locked(func() { f.seats = 3 })
	s.set(VNIConfig{VNI: 10, Learning: true}, s.addrs(0, 1, 2)...)
	s.fast.catchUp()
	s.set(VNIConfig{VNI: 20, Learning: true}, s.addrs(0, 1)...)
	s.fast.catchUp()
	admitted := func(vni uint32) (n int) {
		f.locked(func() {
			for k := range f.sources {
				if k.vni == vni {
					n++
				}
			}
		})
		return n
	}
	if a, b := admitted(10), admitted(20); a != 3 || b != 0 {
		t.Fatalf("%d and %d sources are admitted where 3 have room", a, b)
	}
	if got := log.count("finds no room"); got != 1 {
		t.Errorf("told %d times:\n%s", got, log.text())
	}
	s.do(func() error { return s.DelVNI(10) })
	f.equal(t, s.Switch, "the others have left")
	if log.count("has found room") != 1 {
		t.Errorf("not told:\n%s", log.text())
	}
}
