package ctl

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stuckReader takes nothing of an answer until it may.
type stuckReader struct {
	*httptest.ResponseRecorder
	may chan struct{}
}

func (r stuckReader) Write(b []byte) (int, error) {
	<-r.may
	return r.ResponseRecorder.Write(b)
}

// TestReadersAreBounded: readers who take no more of the forwarding table hold a few copies of it, not as many as there are of them; others wait for their turn,
// and are told when it does not come.
func TestReadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := start(t, baseFile)
		h := Handler(c)
		get := func() *http.Request { return httptest.NewRequest("GET", "/v1/fdb", nil) }
		may := make(chan struct{})
		for range maxDumps {
			go h.ServeHTTP(stuckReader{httptest.NewRecorder(), may}, get())
		}
		synctest.Wait()

		began, late := time.Now(), httptest.NewRecorder()
		h.ServeHTTP(late, get())
		if late.Code != http.StatusServiceUnavailable || !strings.Contains(late.Body.String(), "4 others are reading the forwarding table already") || time.Since(began) != dumpPatience {
			t.Errorf("reader %d: %d %s after %s", maxDumps+1, late.Code, late.Body, time.Since(began))
		}

		patient, done := httptest.NewRecorder(), make(chan struct{})
		go func() {
			defer close(done)
			h.ServeHTTP(patient, get())
		}()
		synctest.Wait()
		close(may)
		<-done
		if patient.Code != http.StatusOK || !strings.HasPrefix(patient.Body.String(), "[{") {
			t.Errorf("who waited: %d %s", patient.Code, patient.Body)
		}
		for i := range 2 * maxDumps {
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, get()); w.Code != http.StatusOK {
				t.Errorf("reader %d afterwards: %d %s", i, w.Code, w.Body)
			}
		}
	})
}
