package ctltest

import (
	"fmt"

	"vtepd/dataplane"
	"vtepd/encap"
	"vtepd/fdb"
)

// Trace invents what becomes of a frame: broadcast goes everywhere and gets through to peers with an even last byte, group addresses are dropped, and the rest
// goes to the first peer by the fast path.
func (s *Switch) Trace(q dataplane.TraceQuery) (dataplane.Trace, error) {
	if len(q.Frame) < encap.EthernetLen {
		return dataplane.Trace{Reason: dataplane.ShortFrame, Stages: []dataplane.TraceStage{{Name: "length", Text: fmt.Sprintf("%d bytes", len(q.Frame)), Reason: dataplane.ShortFrame}}}, nil
	}
	out := dataplane.Trace{VNI: 42, Stages: []dataplane.TraceStage{{Name: "length", Text: fmt.Sprintf("%d bytes", len(q.Frame))}}}
	eth := encap.Ethernet(q.Frame)
	out.Stages = append(out.Stages, dataplane.TraceStage{Name: "source", Text: fdb.MAC(eth.Src()).String() + " is a station's"})
	dst := fdb.MAC(eth.Dst())
	switch {
	case dst == 1<<48-1:
		out.Answer = 1400
		out.Stages = append(out.Stages, dataplane.TraceStage{Name: "lookup", Text: "broadcast"})
		for _, p := range s.Ports() {
			out.Copies = append(out.Copies, dataplane.TraceCopy{Port: p.Config.Name, VID: 20, Priority: 3 << 13, Bytes: len(q.Frame) + 4, Most: 1468, FastPathReason: "what is flooded passes user space"})
		}
	case dst.IsMulticast():
		out.Reason = dataplane.FloodDisabled
		out.Stages = append(out.Stages, dataplane.TraceStage{Name: "lookup", Text: dst.String() + " is a group", Reason: out.Reason})
		return out, nil
	default:
		out.Stages = append(out.Stages, dataplane.TraceStage{Name: "lookup", Text: dst.String() + " is known"})
	}
	for i, p := range s.Peers() {
		if i > 0 && len(out.Copies) == 1 {
			break
		}
		c := dataplane.TraceCopy{
			Peer: p.Addr, Bytes: len(q.Frame) + 36, Most: 1500, FastPath: out.Copies == nil, Clamped: out.Copies == nil,
			Outer: dataplane.TraceOuter{Source: s.Config.Local, SrcPort: 50000, TTL: 64, TOS: 0xb8, Checksum: true},
		}
		if !c.FastPath {
			c.FastPathReason = "what is flooded passes user space"
		}
		if b := p.Addr.Addr().AsSlice(); b[len(b)-1]%2 != 0 {
			c.Reason, c.Text = dataplane.NoRoute, "there is no route to it"
		}
		out.Copies = append(out.Copies, c)
	}
	return out, nil
}
