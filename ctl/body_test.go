package ctl

import (
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
