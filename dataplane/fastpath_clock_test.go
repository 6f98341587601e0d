package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// What the programs saw a moment ago is as old as that, however long they took to be loaded: whoever waits for that holds up the table's clock.
func TestAgesAfterASlowLoad(t *testing.T) {
	t.Parallel()
	f := newFakePrograms(t)
	const slow = 6 * time.Second
	var loaded time.Time
	s := newScene(t, 1, func(c *Config) {
		c.openPrograms = func(xdp.Options) (programs, error) {
			time.Sleep(slow)
			f.locked(func() { f.clock += uint32(slow / time.Second) })
			loaded = time.Now()
			return f, nil
		}
	})
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	mac := madeFor(true, 2, 1)
	s.do(func() error { return s.SetFastPath(FastPathOn) })
	s.do(func() error {
		return s.FDBPut(FDBEntry{VNI: 42, MAC: mac, State: fdb.Dynamic, Dst: netip.AddrPortFrom(s.remotes[0].addr, 0)}, fdb.Replace)
	})
	s.fast.catchUp()
	turned := s.now() + 1
	eventually(t, "the table's clock goes on", func() bool { return s.now() > turned })
	f.see(fdbKey{42, mac}, f.Now()+uint32(time.Since(loaded)/time.Second))
	s.fast.with(func(m *mirror) { m.readAges(nil) })
	e, err := s.FDBGet(42, mac)
	if err != nil {
		t.Fatal(err)
	}
	if e.Age > 3*time.Second {
		t.Errorf("age %s of what was just seen", e.Age)
	}
}
