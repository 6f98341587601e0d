package ctltest

import (
	"context"

	"vtepd/dataplane"
	"vtepd/dataplane/pcapng"
)

// CaptureFrame is what Capture captures, again and again.
var CaptureFrame = []byte("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x88\xb5 a frame")

// CaptureLost is how many frames Capture says it lost.
const CaptureLost = 3

// Capture writes CaptureFrame Count times, or once and then nothing until ctx ends.
func (s *Switch) Capture(ctx context.Context, f dataplane.CaptureFilter, w dataplane.CaptureWriter) error {
	if err := f.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	err := s.done("capture %+v", f)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	b := pcapng.AppendInterface(pcapng.AppendSection(nil, "vtepd"), pcapng.Interface{Name: "tap10"})
	for range max(f.Count, 1) {
		b = pcapng.AppendPacket(b, pcapng.Packet{Time: Time.UnixNano(), Length: uint32(len(CaptureFrame)), Data: CaptureFrame, Comment: "vni 42"})
	}
	b = pcapng.AppendStatistics(b, pcapng.Statistics{Received: max(f.Count, 1) + CaptureLost, Dropped: CaptureLost})
	if _, err := w.Write(b); err != nil {
		return nil
	}
	if w.Flush() == nil && f.Count == 0 {
		<-ctx.Done()
	}
	return nil
}
