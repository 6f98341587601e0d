package netdev

import (
	"testing"

	"vtepd/encap"
)

// What the socket was told of earlier is no fault of the frame that is sent next.
func TestStaleError(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	q := d.Handle(0)
	s.host.Must("ip", "link", "set", "port0", "down")
	s.host.Must("ip", "link", "set", "port0", "up")
	for i := range 3 {
		if !q.Add(encap.Offload{}, [][]byte{plain(60)}, uint32(i)) {
			t.Fatal("no room")
		}
	}
	q.Flush(func(tag uint32, err error) { t.Errorf("frame %d of an interface that is up again: %v", tag, err) })
}
