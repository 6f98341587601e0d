package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// maxBody bounds the body of a request, in bytes: the longest that makes sense is the peer list of a VNI, at 40 bytes a peer.
const maxBody = 1 << 22

// listKeys are the keys with an api.Value that may be a list.
var listKeys = []string{"trunk", "flood", "gbp_drop"}

// body decodes the JSON object of a request into a struct. Package encoding/json takes what reads like a mistake: a key twice, of which the last counts, a key
// in capitals, null for an object. All that is refused here, as are unknown keys: a misspelt one must not be taken for an absent one.
func body(w http.ResponseWriter, r *http.Request, into any) error {
	return decodeBody(w, r, maxBody, func(d *json.Decoder) error { return decodeObject(d, "body", reflect.ValueOf(into).Elem()) })
}

// decodeBody reads a body of limit bytes at most, which is one JSON value and all that the request says.
func decodeBody(w http.ResponseWriter, r *http.Request, limit int64, decode func(*json.Decoder) error) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	if err := decode(d); err != nil {
		return bodyError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return bodyError(err)
		}
		return malformed("", "the body goes on after its JSON value: send one")
	}
	return nil
}

// decodeList decodes the list of requests of a batch, most of them at the most: a body of the allowed size that is full of empty ones would take 70 times as much memory.
func decodeList[T any](d *json.Decoder, into *[]T, most int) error {
	if err := open(d, "body", '[', "a list"); err != nil {
		return err
	}
	for d.More() {
		if len(*into) == most {
			return malformed("", "more requests than the %d of one batch: make several of it", most)
		}
		var one T
		if err := decodeObject(d, "request", reflect.ValueOf(&one).Elem()); err != nil {
			var known *failure
			if errors.As(err, &known) { // others are about the body as a whole
				err = &batchError{len(*into) + 1, err}
			}
			return err
		}
		*into = append(*into, one)
	}
	_, err := d.Token()
	return unended(err)
}

// decodeObject decodes one object, which errors call what, into a flat struct.
func decodeObject(d *json.Decoder, what string, into reflect.Value) error {
	if err := open(d, what, '{', "an object"); err != nil {
		return err
	}
	keys := keysOf(into.Type())
	seen := make(map[string]bool, 8)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return unended(err)
		}
		key := t.(string)
		i := slices.Index(keys, key)
		switch {
		case i < 0:
			return malformed(key, "unknown key %.64q%s", key, model.Expected(key, keys))
		case seen[key]:
			return malformed(key, "%s is given twice", key)
		}
		seen[key] = true
		field := into.Field(i)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return unended(err)
		}
		if string(raw) == "null" && !field.Addr().Type().Implements(reflect.TypeFor[json.Unmarshaler]()) {
			return malformed(key, "%s: null is no value of it: give it one, or leave the key away", key)
		}
		if raw[0] == '[' && field.Type() == reflect.TypeFor[api.Value]() && !slices.Contains(listKeys, key) {
			return malformed(key, "%s: a JSON list does not fit: write one value", key)
		}
		if err := json.Unmarshal(raw, field.Addr().Interface()); err != nil {
			return valueError(key, err)
		}
		if k := field.Kind(); (k == reflect.Uint16 || k == reflect.Uint32) && field.IsZero() {
			// The handlers take it for absent.
			return bad(key, fmt.Errorf("0 is out of range: expected %s", jsonKind(key, field.Type())))
		}
	}
	_, err := d.Token()
	return unended(err)
}

// open reads the beginning of a list or an object.
func open(d *json.Decoder, what string, want json.Delim, kind string) error {
	t, err := d.Token()
	if err == nil && t != want {
		err = malformed("", "the %s is a JSON %s: send %s", what, kindOf(t), kind)
	}
	return err
}

// unended says of the end of a body that it came too early.
func unended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// keysOf lists the JSON names of the fields of a struct, each of which has one.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return keys
}

// valueError says what is wrong with the value of a key.
func valueError(key string, err error) error {
	var typed *json.UnmarshalTypeError
	if errors.As(err, &typed) {
		// The value's kind stands in front of a number's digits.
		is := strings.NewReplacer("array", "list", "bool", "boolean").Replace(typed.Value)
		return malformed(key, "%s: a JSON %s does not fit: expected %s", key, is, jsonKind(key, typed.Type))
	}
	return malformed(key, "%s: %w", key, err)
}

func bodyError(err error) error {
	var tooBig *http.MaxBytesError
	var known *failure
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &tooBig):
		return &failure{http.StatusRequestEntityTooLarge, "", fmt.Errorf("the body has more than %d bytes", tooBig.Limit)}
	case errors.Is(err, io.EOF):
		return malformed("", "the body is empty: send one JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("", "the body ends inside its JSON value")
	}
	return malformed("", "the body is not JSON: %v", err)
}

// kindOf is what the first token of a JSON value makes of it.
func kindOf(t json.Token) string {
	switch t := t.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64, json.Number:
		return "number"
	case json.Delim:
		if t == '[' {
			return "list"
		}
		return "object"
	}
	return "string"
}

// largest are the values that the keys with numbers take at most. Those of fromZero begin there, and the others at 1.
var largest = map[string]int{"vni": dataplane.MaxVNI, "vid": model.MaxVID, "dport": 1<<16 - 1, "outer_dport": 1<<16 - 1, "outer_tos": 1<<8 - 1, "gbp_id": 1<<16 - 1}

var fromZero = map[string]bool{"outer_tos": true, "gbp_id": true}

// jsonKind is what the Go type of a key, or of the elements of its list, is in JSON.
func jsonKind(key string, t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		if fromZero[key] {
			return fmt.Sprintf("a number from 0 to %d", largest[key])
		} else if t.Kind() != reflect.Uint8 { // bytes are what is passed on as it is
			return fmt.Sprintf("a number from 1 to %d", largest[key])
		}
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	}
	return t.String()
}
