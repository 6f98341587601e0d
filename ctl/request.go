package ctl

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/fdb"
)

// failure is an error with the status that it is answered with.
type failure struct {
	status int
	field  string
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// bad is a value that cannot be.
func bad(field string, err error) error {
	return &failure{http.StatusUnprocessableEntity, field, fmt.Errorf("%s: %w", strings.ReplaceAll(field, "_", "-"), err)}
}

// malformed is a request that cannot be understood.
func malformed(field, format string, args ...any) error {
	return &failure{http.StatusBadRequest, field, fmt.Errorf(format, args...)}
}

// query is the query of a request without body, of which every key must be used.
type query struct {
	values url.Values
	err    error
}

func newQuery(r *http.Request, known ...string) *query {
	values, err := parameters(r, known...)
	// What stands in a body would be left out of a DELETE that is to be about less.
	if n, _ := io.ReadFull(r.Body, make([]byte, 1)); n > 0 && err == nil {
		err = malformed("", "%s %s takes no body: say it in the path and by parameters", r.Method, r.URL.EscapedPath())
	}
	return &query{values: values, err: err}
}

// parameters are those of a request, of which only some are known.
func parameters(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return values, malformed("", "the query cannot be understood: %v", err)
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		switch {
		case len(known) == 0:
			return values, malformed(k, "unknown parameter %q: %s %s takes none", k, r.Method, r.URL.EscapedPath())
		case !slices.Contains(known, k):
			return values, malformed(k, "unknown parameter %.64q%s", k, model.Expected(k, known))
		case len(values[k]) > 1:
			return values, malformed(k, "parameter %s is given %d times: leave one away", k, len(values[k]))
		}
	}
	return values, nil
}

// text is a parameter as it stands; "" when it is absent. One that is there and empty is refused: it comes of a script's variable that was not set, and
// what it was to narrow would be about everything.
func (q *query) text(key string) string {
	v := q.values.Get(key)
	if v == "" && q.values.Has(key) && q.err == nil {
		q.err = malformed(key, "parameter %s is empty: give it a value or leave it away", key)
	}
	return v
}

func (q *query) flag(key string) bool {
	if !q.values.Has(key) {
		return false
	}
	v := q.values.Get(key)
	b, err := model.ParseBool(v)
	if v == "" || v == "1" {
		return true
	}
	if v == "0" {
		return false
	}
	if err != nil {
		q.fail(key, err)
	}
	return b
}

func (q *query) fail(key string, err error) {
	if q.err == nil {
		q.err = bad(key, err)
	}
}

// parsed is a parameter read with a parser of package model; the zero value when it is absent.
func parsed[T any](q *query, key string, parse func(string) (T, error)) T {
	var zero T
	if !q.values.Has(key) {
		return zero
	}
	v, err := parse(q.values.Get(key))
	if err != nil {
		q.fail(key, err)
		return zero
	}
	return v
}

// needed reads a value of a body that must be there.
func needed[T any](field, text string, parse func(string) (T, error)) (T, error) {
	var zero T
	if text == "" {
		return zero, malformed(field, "%s is missing", field)
	}
	return given(field, text, parse)
}

// given reads a value of a body; the zero value when it is absent.
func given[T any](field, text string, parse func(string) (T, error)) (T, error) {
	var zero T
	if text == "" {
		return zero, nil
	}
	v, err := parse(text)
	if err != nil {
		return zero, bad(field, err)
	}
	return v, nil
}

func parseState(s string) (fdb.State, error) {
	w, err := model.ParseWord(s, "dynamic", "static", "sticky")
	switch w {
	case "static":
		return fdb.Static, err
	case "sticky":
		return fdb.Sticky, err
	}
	return fdb.Dynamic, err
}

// endpoint joins the address of a peer and its UDP port, each of which may be absent. An address may bring its own port.
func endpoint(field, dst string, dport uint16) (netip.AddrPort, error) {
	p, err := given(field, dst, model.ParsePeer)
	switch {
	case err != nil || dport == 0:
		return p, err
	case !p.IsValid() && !p.Addr().IsValid():
		return p, malformed("dport", "dport without %s: give both, or neither", field)
	case p.Port() != 0 && p.Port() != dport:
		return p, malformed("dport", "dport %d contradicts %s %s: leave one of the two away", dport, field, dst)
	}
	return netip.AddrPortFrom(p.Addr(), dport), nil
}

// answer is what an error is told as.
func answer(err error) *api.Error {
	var b *batchError
	if errors.As(err, &b) {
		e := *answer(b.err)
		e.Request = b.request
		return &e
	}
	var f *failure
	if errors.As(err, &f) {
		return &api.Error{Message: f.Error(), Field: f.field, Status: f.status}
	}
	var e *model.Error
	if errors.As(err, &e) {
		return &api.Error{Message: e.Error(), Field: strings.ReplaceAll(e.Field(), "-", "_"), Status: statusOf(err)}
	}
	return &api.Error{Message: err.Error(), Status: statusOf(err)}
}
