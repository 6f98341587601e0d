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

// Without virtio-net header a tagged frame of full size, its checksum unfinished, is no superframe: the MTU does not count the tag.
func TestUnfinishedWithTag(t *testing.T) {
	s := newStage(t)
	d := s.open(func(o *Options) { o.Refuse.VnetHdr = true })
	for _, tags := range [][]uint16{nil, {0x8100, 100}} {
		frame, off := tcp(false, 1460, 1460)
		off.GSOType, off.GSOSize = encap.GSONone, 0
		frame, off = tagged(frame, tags...), off.Shift(2*len(tags))
		s.workload.InjectSuperframe("eth0", header(off), frame)
		f := s.next(d, func(f Frame) bool { return len(f.Buf)-f.Start == len(frame) })
		if !f.Off.NeedsChecksum() || f.Off.IsGSO() {
			t.Errorf("tags %x: %d bytes came with %+v, want an unfinished checksum alone", tags, len(frame), f.Off)
		}
	}
}
