package ctl

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"vtepd/ctl/api"
	"vtepd/dataplane"
	"vtepd/fdb"
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

// TestBatchLeavesModel: what a refused batch did to its copy of the model, static entries and others in turn, the Controller's has nothing of; and whichever
// request the switch refuses is told by its number, that of the last one that made a difference.
func TestBatchLeavesModel(t *testing.T) {
	const changes = `{"method":"POST","path":"/v1/fdb","body":{"vni":42,"mac":"02:00:00:00:00:71","dst":"192.0.2.2"}},
		{"method":"DELETE","path":"/v1/fdb/42/02:00:00:00:00:70"},
		{"method":"POST","path":"/v1/vnis","body":{"vni":61}},
		{"method":"POST","path":"/v1/fdb","body":{"vni":61,"mac":"02:00:00:00:00:72","dst":"192.0.2.2"}},
		{"method":"PUT","path":"/v1/fdb","body":{"vni":42,"mac":"02:00:00:00:00:71","dst":"192.0.2.3"}},
		{"method":"PUT","path":"/v1/fdb","body":{"vni":42,"mac":"02:00:00:00:00:71","dst":"192.0.2.3"}}`
	for _, c := range []struct {
		more    string
		fail    string
		request int
	}{
		{`,{"method":"POST","path":"/v1/fdb","body":{"vni":99,"mac":"02:00:00:00:00:73","dst":"192.0.2.2"}}`, "", 7},
		{`,{"method":"POST","path":"/v1/fdb","body":{"vni":61,"mac":"02:00:00:00:00:72","dst":"192.0.2.2"}}`, "", 7},
		{`,{"method":"DELETE","path":"/v1/fdb/42/02:00:00:00:00:70"}`, "", 7},
		{"", "02:00:00:00:00:71", 5},
		{"", "", 0},
	} {
		ctl, sw := start(t, baseFile)
		h := Handler(ctl)
		if w := call(h, "POST", "/v1/fdb", `{"vni":42,"mac":"02:00:00:00:00:70","dst":"192.0.2.2"}`); w.Code >= 300 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		before := ctl.Model()
		statics := len(before.StaticKeys())
		sw.Fail(func(op string) error {
			if c.fail != "" && strings.Contains(op, c.fail) {
				return errTest
			}
			return nil
		})
		w := call(h, "POST", "/v1/batch", "["+changes+c.more+"]")
		var e api.Error
		if c.request == 0 {
			keys := ctl.Model().StaticKeys()
			if w.Code >= 300 || len(keys) != statics+1 || len(before.StaticKeys()) != statics {
				t.Errorf("%d %s, entries %v", w.Code, w.Body, keys)
			}
			continue
		}
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Request != c.request {
			t.Errorf("%s %s: %d %s, want request %d", c.more, c.fail, w.Code, w.Body, c.request)
		}
		if after := ctl.Model(); after != before || len(after.StaticKeys()) != statics || after.HasVNI(61) {
			t.Errorf("%s %s: refused, and the model has %v", c.more, c.fail, after.StaticKeys())
		}
	}
}

// TestBatchChangesInPlace: the entries of a batch go into one copy of the model, and not each into one of its own.
func TestBatchChangesInPlace(t *testing.T) {
	const n = 4000
	c, _ := start(t, baseFile)
	var before, after runtime.MemStats
	err := c.batch(1, func(_ int, ed editor) error {
		runtime.ReadMemStats(&before)
		for i := range n {
			e := dataplane.FDBEntry{VNI: 42, MAC: fdb.MAC(0x020000010000 + i), Dst: netip.MustParseAddrPort("192.0.2.2:4789"), State: fdb.Static}
			if err := ed.putEntry(e, fdb.Replace); err != nil {
				return err
			}
		}
		runtime.ReadMemStats(&after)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := (after.TotalAlloc - before.TotalAlloc) / n; got > 2000 {
		t.Errorf("an entry of a batch takes %d bytes", got)
	}
}
