package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/dataplane/pcapng"
)

// Ports may be called as anything else that a capture shows, and come again as another type.
func TestCaptureTellsNamesakesApart(t *testing.T) {
	t.Parallel()
	s := newCaptureStream(newCapture(CaptureFilter{}, 1), nil, DefaultPort)
	s.describe("vtepd", "whatever has no interface of its own")
	named := func(name string, kind PortType) *port { return &port{config: PortConfig{Name: name, Type: kind}} }
	q := &peer{addr: peerAt(netip.MustParseAddr("192.0.2.1"))}
	var got []uint32
	for _, p := range []*port{named("vtepd", PortTAP), named("192.0.2.1", PortTAP), named("vtepd", PortTAP), named("vtepd", PortVeth), nil} {
		if p == nil {
			got = append(got, s.interfaceOf(nil, q), s.interfaceOf(nil, nil))
			continue
		}
		got = append(got, s.interfaceOf(p, nil))
	}
	if diff := cmp.Diff([]uint32{1, 2, 1, 3, 4, otherInterface}, got); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
	blocks := 0
	for in := pcapng.NewScanner(bytes.NewReader(s.out)); ; blocks++ {
		if _, err := in.Next(); err != nil {
			break
		}
	}
	if blocks != 5 {
		t.Errorf("%d interfaces are described, want 5", blocks)
	}
}
