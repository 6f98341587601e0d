package ctl

import (
	"net/http"
	"slices"
	"time"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// captureWriter writes a capture to a client, each part as soon as it is whole, and fails when the client takes none of it for api.CaptureStall.
type captureWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (c captureWriter) Write(p []byte) (int, error) {
	c.mustTake()
	return c.ResponseWriter.Write(p)
}

func (c captureWriter) Flush() error {
	c.mustTake()
	return c.control.Flush()
}

func (c captureWriter) mustTake() {
	_ = c.control.SetWriteDeadline(time.Now().Add(api.CaptureStall)) // writers in tests have none
}

// capture streams the frames that are asked for as pcapng, until the client goes or has as many as it wanted. Of a client that is too slow frames are lost, and it is
// told how many; the switch never waits for it. One that reads nothing for long is given up.
func (s *server) capture(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "port", "peer", "vni", "dir", "drops", "snaplen", "count")
	f := dataplane.CaptureFilter{
		Port:    parsed(q, "port", model.ParsePortName),
		Peer:    parsed(q, "peer", model.ParsePeer),
		VNI:     parsed(q, "vni", model.ParseVNI),
		Dir:     parsed(q, "dir", model.ParseCaptureDir),
		Drops:   q.flag("drops"),
		Snaplen: parsed(q, "snaplen", model.ParseSnaplen),
		Count:   uint64(parsed(q, "count", model.ParseCaptureCount)),
	}
	if q.err != nil {
		return q.err
	}
	if err := s.captured(&f); err != nil {
		return err
	}
	control := http.NewResponseController(w)
	// A stream lasts as long as its reader wants; the deadline for a request does not apply.
	_ = control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", api.CaptureType)
	return s.c.sw.Capture(r.Context(), f, captureWriter{w, control})
}

// captured says that something which a capture names is not there.
func (s *server) captured(f *dataplane.CaptureFilter) error {
	m := s.c.Model()
	if f.Port != "" && !slices.Contains(m.PortNames(), f.Port) {
		return noPort(m, f.Port)
	}
	if f.VNI != 0 {
		if err := needVNI(m, f.VNI); err != nil {
			return err
		}
	}
	if f.Peer.Addr().IsValid() && !slices.ContainsFunc(s.c.sw.Peers(), func(i dataplane.PeerInfo) bool { return matchPeer(i.Addr, f.Peer) }) {
		return noPeer(f.Peer)
	}
	return nil
}
