package ctl

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"vtepd/ctl/ctltest"
	"vtepd/dataplane"
)

// flushedWriter tells what its reader has got: what was written before the last flush.
type flushedWriter struct {
	*httptest.ResponseRecorder
	began func() // called with the first flush, when the stream stands
	got   string
}

func (w *flushedWriter) FlushError() error {
	w.got = w.Body.String()
	if began := w.began; began != nil {
		w.began = nil
		began()
	}
	return nil
}

// TestEventsBeforeOthers: an event reaches its reader also when those behind it are of kinds that the reader has not asked for.
func TestEventsBeforeOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sw := start(t, baseFile)
		ctx, cancel := context.WithCancel(context.Background())
		w := &flushedWriter{ResponseRecorder: httptest.NewRecorder(), began: func() {
			sw.Send(dataplane.Event{Time: ctltest.Time, Object: "port", Action: "add", Port: "tap0"})
			for vni := range uint32(3) {
				sw.Send(dataplane.Event{Time: ctltest.Time, Object: "vni", Action: "add", VNI: vni + 1})
			}
		}}
		go Handler(c).ServeHTTP(w, httptest.NewRequest("GET", "/v1/events?objects=port", nil).WithContext(ctx))
		synctest.Wait()
		if !strings.Contains(w.got, `"port":"tap0"`) {
			t.Errorf("the reader has got %q, and %q was written", w.got, w.Body)
		}
		cancel()
		synctest.Wait()
	})
}
