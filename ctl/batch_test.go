package ctl

import (
	"encoding/json"
	"net/http"
	"testing"

	"vtepd/ctl/api"
)

// TestBatchPaths: a request of a batch whose path is not what a single one could have has the whole batch refused.
func TestBatchPaths(t *testing.T) {
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/v1//vnis", `{"vni":62}`},
		{"POST", "//vnis", `{"vni":62}`},
		{"POST", "//vtepd/v1/vnis", `{"vni":62}`},
		{"POST", "/v1/./vnis", `"nonsense"`},
		{"POST", "/v1/vnis/", `{"vni":62}`},
		{"POST", "http://vtepd/v1/vnis", `{"vni":62}`},
		{"POST", "", `{"vni":62}`},
		{"DELETE", "/v1/ports/..", "null"},
		{"DELETE", "/v1/ports/tap0#1", "null"},
		{"DELETE", "/v1/ports/%2e%2e", "null"},
		{"DELETE", "/v1/ports/x%2Ftap0", "null"},
		{"CONNECT", "/v1//vnis", "null"},
	} {
		c, sw := start(t, baseFile)
		w := call(Handler(c), "POST", "/v1/batch", `[{"method":"POST","path":"/v1/vnis","body":{"vni":61}},{"method":"`+r.method+`","path":"`+r.path+`","body":`+r.body+`}]`)
		var e api.Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); w.Code < 400 || err != nil || e.Message == "" || e.Request != 2 {
			t.Errorf("%s %s: %d %s", r.method, r.path, w.Code, w.Body)
		}
		if ops := sw.Ops(); len(ops) > 0 || c.Model().HasVNI(61) {
			t.Errorf("%s %s: refused, and yet %v", r.method, r.path, ops)
		}
	}
}

// TestBatchNamesDeletion: a deletion that the switch refuses is told by the number of its request, as any other change.
func TestBatchNamesDeletion(t *testing.T) {
	c, sw := start(t, baseFile)
	sw.Fail(func(op string) error {
		if op == "del vni 43" {
			return errTest
		}
		return nil
	})
	w := call(Handler(c), "POST", "/v1/batch", `[{"method":"POST","path":"/v1/vnis","body":{"vni":61}},{"method":"DELETE","path":"/v1/vnis/43"},{"method":"POST","path":"/v1/vnis","body":{"vni":62}}]`)
	var e api.Error
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Request != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestBatchNumbersWhatItCannotRead: a request that is no request is told by its number, too.
func TestBatchNumbersWhatItCannotRead(t *testing.T) {
	for _, request := range []string{`null`, `[]`, `{"x":1}`, `{"method":1}`, `{"method":"POST","method":"POST"}`} {
		c, _ := start(t, baseFile)
		w := call(Handler(c), "POST", "/v1/batch", `[{"method":"POST","path":"/v1/vnis","body":{"vni":61}},`+request+`]`)
		var e api.Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); w.Code != 400 || err != nil || e.Request != 2 {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
	}
}

// TestBatchPassesNothingOver: an answer that no handler of the API gave is no success either.
func TestBatchPassesNothingOver(t *testing.T) {
	for _, h := range []http.Handler{http.RedirectHandler("/v1/vnis", http.StatusTemporaryRedirect), http.NotFoundHandler()} {
		if err := inside(&api.Request{Method: "POST", Path: "/v1/vnis"}, h); err == nil {
			t.Errorf("%T: no error", h)
		}
	}
}
