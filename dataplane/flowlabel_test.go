package dataplane

import (
	"fmt"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// Over IPv6 the outer flow label tells inner flows apart (RFC 6437 section 3, RFC 6438), as the source ports do or better, and a flow keeps its own, as
// single frames and in a superframe.
//
//	p0 ── switch ──── r0
func TestFlowLabel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ offload, byFlow bool }{{true, false}, {true, true}, {false, false}, {false, true}} {
		offload := c.offload
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			s := newWiretap(newScene6(t, 1, func(conf *Config) { conf.Offload, conf.FlowLabels = c.offload, c.byFlow }))
			s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{DSCP: 46}}, s.addrs()...)
			s.port("p0", 42)
			labels, both := map[uint32]bool{}, map[string]bool{}
			const flows, first, together = 100, 1000, 25
			for flow := first; flow < first+flows; flow += together {
				var frames [][]byte
				for i := range together {
					p := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, Proto: encap.ProtoTCP, SrcPort: uint16(flow + i), Payload: encaptest.Payload(3000, 1)}
					if offload {
						frame, off := p.Superframe(1000)
						s.InjectSuperframe("p0", encodeOffload(off), frame)
					}
					p.Payload = p.Payload[:1000]
					frames = append(frames, p.Frame(), p.Frame())
				}
				s.Inject("p0", frames...)
				of := byFlow(s.outers())
				for i := range together {
					got := of[uint16(flow+i)]
					if want := 2 + 3*btoi(offload); len(got) != want {
						t.Fatalf("flow %d: %d datagrams, want %d", flow+i, len(got), want)
					}
					for _, o := range got {
						if o.label != got[0].label || o.source != got[0].source || o.label == 0 || o.tos != 46<<2 {
							t.Fatalf("flow %d: label %#x, port %d, traffic class %#x after label %#x, port %d", flow+i, o.label, o.source, o.tos, got[0].label, got[0].source)
						}
					}
					labels[got[0].label] = true
					both[fmt.Sprint(got[0].label, got[0].source)] = true
				}
			}
			// 100 flows fall on about 69 of 128 labels.
			least, most := 14, 16
			if c.byFlow {
				least, most = 50, 128
			}
			if len(labels) < least || len(labels) > most || len(both) != len(labels) {
				t.Errorf("%d flows have %d labels, and %d pairs of label and port; want %d to %d", flows, len(labels), len(both), least, most)
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
