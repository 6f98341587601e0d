package ctl

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"vtepd/ctl/api"
)

// Every key of a body that takes a number has a range, to be told to who sends something else.
func TestNumbersHaveRanges(t *testing.T) {
	numbers := 0
	for _, spec := range []any{api.FDBSpec{}, flushBody{}, api.VNISpec{}, api.PortSpec{}, api.PeerSpec{}, api.VLAN{}, api.Settings{}, api.DoctorSpec{}, api.TraceSpec{}, api.ApplySpec{}, api.Request{}} {
		typ := reflect.TypeOf(spec)
		for i, key := range keysOf(typ) {
			field := typ.Field(i).Type
			for field.Kind() == reflect.Slice || field.Kind() == reflect.Pointer {
				field = field.Elem()
			}
			if kind := jsonKind(key, field); strings.HasPrefix(kind, "a number") {
				numbers++
				if largest[key] == 0 {
					t.Errorf("%s of %s: %s", key, typ.Name(), kind)
				}
			}
			if field.Kind() >= reflect.Int && field.Kind() <= reflect.Int64 {
				t.Errorf("%s of %s: a signed number, which jsonKind knows nothing of", key, typ.Name())
			}
		}
	}
	if numbers < 5 {
		t.Errorf("only %d keys with numbers were found", numbers)
	}
}

// TestBatchIsBounded: requests are counted as they come, and not when all of a body is in memory.
func TestBatchIsBounded(t *testing.T) {
	c, sw := start(t, baseFile)
	for _, n := range []int{maxBatch, maxBatch + 1} {
		w := call(Handler(c), "POST", "/v1/batch", "["+strings.Repeat("{},", n-1)+"nonsense")
		if more := strings.Contains(w.Body.String(), "more requests than the 200000 of one batch: make several of it"); w.Code != http.StatusBadRequest || more != (n > maxBatch) {
			t.Errorf("%d requests: %d %s", n, w.Code, w.Body)
		}
	}
	if ops := sw.Ops(); len(ops) > 0 {
		t.Errorf("operations %v", ops)
	}
}
