package ctl

import (
	"net/http/httptest"
	"testing"
	"time"

	"vtepd/ctl/api"
)

// TestTimeForACapture: each part of a capture has to be taken in a time that counts from when it was written, however long the capture goes on.
func TestTimeForACapture(t *testing.T) {
	c, _ := start(t, baseFile)
	w := &timedWriter{ResponseRecorder: httptest.NewRecorder(), asked: make(chan struct{})}
	Handler(c).ServeHTTP(w, httptest.NewRequest("GET", "/v1/capture?count=1", nil))
	if left := time.Until(w.until); w.Code != 200 || w.Body.Len() == 0 || left > api.CaptureStall || left < api.CaptureStall-requestTimeout/2 {
		t.Errorf("%d, %d bytes, which must be taken in %v", w.Code, w.Body.Len(), left)
	}
}
