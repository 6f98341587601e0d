package dataplane

import (
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// A kept tag is not part of what an MTU bounds: a frame of full size from a peer of the same machine, its checksum unfinished, is no superframe for it.
func TestUnfinishedWithTag(t *testing.T) {
	t.Parallel()
	for _, tags := range [][]uint16{nil, {100}} {
		b := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Tags: tags, Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(1460, 1)}.Frame()
		var l encap.Layout
		l.Parse(b)
		encap.TCP(b[l.L4:]).SetChecksum(encap.PseudoIPv4(encap.IPv4(b[l.L3:]), encap.ProtoTCP, uint16(len(b)-int(l.L4))))
		f := &frame{wire: true}
		f.reset(b, 0, encap.Offload{})
		p := &port{maxFrame: 1514}
		f.findUnfinished(p)
		if !f.off.NeedsChecksum() || f.off.IsGSO() {
			t.Errorf("tags %v: %d bytes to a port of %d: %+v, want an unfinished checksum alone", tags, len(b), p.maxFrame, f.off)
		}
		if r := guardPortSize(f, p); r != ReasonNone {
			t.Errorf("tags %v: %v", tags, r)
		}
	}
}
