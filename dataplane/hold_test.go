package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What comes before the first configuration is complete waits for it, and is not dropped for a VNI that nobody has declared yet.
//
//	p0 ── switch ════ r0
func TestUnderlayIsHeldUntilTakeOver(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, func(c *Config) { c.HoldUnderlay = true })
	frame := frameOf(station(1), broadcast)
	s.remotes[0].send(42, times(3, frame)...)
	// What comes to a group that a VNI has joined waits as well, here for another VNI.
	group := netip.MustParseAddrPort("239.1.1.1:4789")
	s.setGroup(41, group, s.addrs()...)
	s.remotes[0].toGroup(s, group).send(42, frame, frame)
	s.barrier.pass(t)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	time.Sleep(50 * time.Millisecond) // for a worker that reads what it should not
	if diff := cmp.Diff(Totals{}, s.Totals()); diff != "" || !s.busy() {
		t.Errorf("datagrams did not wait (-want +got):\n%s", diff)
	}
	for range 2 { // once more changes nothing
		s.do(s.TakeOver)
	}
	s.rest()
	s.remotes[0].send(42, frame)
	s.rest()
	if got := s.seen("p0"); len(got) != 6 {
		t.Errorf("%d frames came out of the port, want the 3 and the 2 to the group that waited, and 1 after them", len(got))
	}
	if drops := s.Drops(); len(drops) != 0 {
		t.Errorf("dropped: %+v", drops)
	}
	s.balance()
}
