package ctl

import (
	"fmt"
	"net/http"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/encap"
)

// trace says what would become of a frame.
func (s *server) trace(w http.ResponseWriter, r *http.Request) error {
	var spec api.TraceSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	q, err := traceQuery(s.c.Model(), &spec)
	if err != nil {
		return err
	}
	t, err := s.c.sw.Trace(q)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, traceAnswer(&t))
}

func traceQuery(m *model.Model, spec *api.TraceSpec) (q dataplane.TraceQuery, err error) {
	if q.Frame, err = needed("frame", spec.Frame, model.ParseFrame); err != nil {
		return q, err
	}
	switch {
	case spec.Port != "" && spec.Peer != "":
		return q, malformed("peer", "port and peer exclude each other: a frame comes in at one place")
	case spec.Port == "" && spec.Peer == "":
		return q, malformed("port", "where the frame comes in is missing: port, or peer and vni")
	case spec.Port != "" && (spec.VNI != 0 || spec.OuterTOS != 0 || spec.GBPID != 0 || spec.OuterDPort != 0):
		return q, malformed("port", "vni, outer_dport, outer_tos and gbp_id are for a frame from a peer: a port gives its frames a VNI and a group")
	case spec.Port != "":
		q.Port = spec.Port
		if m.Ports.At(spec.Port) == nil {
			return q, noPort(m, spec.Port)
		}
		return q, nil
	case spec.VNI == 0:
		return q, malformed("vni", "vni is missing: the one that the datagram of the peer names")
	case spec.VNI > dataplane.MaxVNI:
		_, err := model.ParseVNI(fmt.Sprint(spec.VNI))
		return q, model.Invalid("vni", "vni: %v", err)
	}
	peer, err := needed("peer", spec.Peer, model.ParseAddr)
	if err != nil {
		return q, err
	}
	if err := m.Unheard("peer", peer, "outer_dport", spec.OuterDPort); err != nil {
		return q, err
	}
	q.Peer, q.Arrival, q.VNI, q.TOS, q.GBP = peer, spec.OuterDPort, spec.VNI, spec.OuterTOS, encap.NewGBP(spec.GBPID)
	return q, nil
}

func traceAnswer(t *dataplane.Trace) api.Trace {
	out := api.Trace{Verdict: "forwarded", VNI: t.VNI, Stages: []api.TraceStage{}, Copies: []api.TraceCopy{}, ICMPMTU: t.Answer, Reason: reasonText(t.Reason)}
	if t.Reason != dataplane.ReasonNone {
		out.Verdict = "dropped"
	}
	for _, s := range t.Stages {
		out.Stages = append(out.Stages, api.TraceStage{Stage: s.Name, Found: s.Text, Reason: reasonText(s.Reason)})
	}
	for _, c := range t.Copies {
		one := api.TraceCopy{
			Port: c.Port, VID: c.VID, PCP: uint8(c.Priority >> 13), Bytes: c.Bytes, Most: c.Most, MSSClamped: c.Clamped, Dropped: reasonText(c.Reason), Note: c.Text,
			FastPath: c.FastPath, FastPathReason: c.FastPathReason,
		}
		if c.Peer.IsValid() {
			o := c.Outer
			if c.FastPath {
				o.SrcPort = 0
			}
			one.Peer = c.Peer.Addr().String()
			one.Out = &api.TraceOuter{Source: o.Source.String(), SPort: o.SrcPort, DPort: c.Peer.Port(), TTL: o.TTL, TOS: o.TOS, UDPChecksum: o.Checksum}
		}
		out.Copies = append(out.Copies, one)
	}
	return out
}

// reasonText is empty where nothing was dropped.
func reasonText(r dataplane.Reason) string {
	if r == dataplane.ReasonNone {
		return ""
	}
	return r.String()
}
