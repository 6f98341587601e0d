package ctl

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

const (
	// maxStreams bounds the event streams at a time: each holds a connection and a buffer.
	maxStreams = 64
	// eventBuffer is how many events a reader may be behind before it loses some: a burst of learning at a million MACs a second lasts 4 ms in it.
	eventBuffer = 4096
)

// events streams changes, one JSON object a line, until the client goes. A reader that is too slow loses events and is told how many; the switch never
// waits for it.
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "objects")
	var objects []string
	if text := q.text("objects"); text != "" && q.err == nil {
		for o := range strings.SplitSeq(text, ",") {
			if _, err := model.ParseWord(o, api.EventObjects...); err != nil {
				q.fail("objects", err)
			}
			objects = append(objects, o)
		}
	}
	if q.err != nil {
		return q.err
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return &failure{http.StatusServiceUnavailable, "", fmt.Errorf("%d event streams are open already: end one", maxStreams)}
	}
	control := http.NewResponseController(w)
	// A stream lasts as long as its reader wants; the deadlines of single requests do not apply.
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})

	events, cancel := s.c.sw.Subscribe(eventBuffer)
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if err := control.Flush(); err != nil {
		return nil
	}
	out := json.NewEncoder(w)
	held := false // written and not handed on
	for {
		select {
		case <-r.Context().Done():
			return nil
		case e, open := <-events:
			if !open {
				return nil
			}
			if len(objects) == 0 || e.Action == "lost" || slices.Contains(objects, e.Object) {
				if err := out.Encode(event(e)); err != nil {
					return nil
				}
				held = true
			}
			// More is handed on together, and the last that waits may be one that is not asked for.
			if !held || len(events) > 0 {
				continue
			}
			if err := control.Flush(); err != nil {
				return nil
			}
			held = false
		}
	}
}
