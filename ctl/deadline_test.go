package ctl

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// timedWriter notes until when its reader has time for what is written, and for the answer when that begins.
type timedWriter struct {
	*httptest.ResponseRecorder
	until, begun time.Time
	asked        chan struct{} // closed when the first time has been set
}

func (w *timedWriter) SetReadDeadline(time.Time) error { return nil }

func (w *timedWriter) SetWriteDeadline(until time.Time) error {
	if w.until.IsZero() {
		close(w.asked)
	}
	w.until = until
	return nil
}

func (w *timedWriter) WriteHeader(status int) {
	w.begun = w.until
	w.ResponseRecorder.WriteHeader(status)
}

func (w *timedWriter) Write(p []byte) (int, error) {
	if w.begun.IsZero() {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseRecorder.Write(p)
}

// TestTimeForTheAnswer: a request that has waited for its turn, for however long, has as much time for its answer as one that has not.
func TestTimeForTheAnswer(t *testing.T) {
	file, err := json.Marshal(map[string]any{"text": baseFile, "dry_run": true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/vnis", `{"vni":50}`, 201},
		{"POST", "/v1/vnis", `{"vni":42}`, 409},
		{"PATCH", "/v1/vnis/42", `{}`, 204},
		{"DELETE", "/v1/vnis/43", "", 204},
		{"POST", "/v1/fdb/flush", `{}`, 200},
		{"POST", "/v1/batch", `[{"method":"POST","path":"/v1/vnis","body":{"vni":50}}]`, 204},
		{"POST", "/v1/apply", string(file), 200},
		{"GET", "/v1/vnis", "", 200},
	} {
		c, _ := start(t, baseFile)
		w := &timedWriter{ResponseRecorder: httptest.NewRecorder(), asked: make(chan struct{})}
		c.mu.Lock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			Handler(c).ServeHTTP(w, httptest.NewRequest(r.method, r.path, strings.NewReader(r.body)))
		}()
		<-w.asked
		turn := time.Now()
		c.mu.Unlock()
		<-done
		if w.Code != r.status || w.begun.Before(turn.Add(requestTimeout)) || w.until != w.begun {
			t.Errorf("%s %s: %d %s, at its turn %s until it must be taken, and %s in the end", r.method, r.path, w.Code, w.Body, w.begun.Sub(turn), w.until.Sub(w.begun))
		}
	}
}
