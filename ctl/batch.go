package ctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

const (
	// maxBatchBody bounds the body of a batch, in bytes: maxBatch requests of the usual size.
	maxBatchBody = 1 << 25
	// maxBatch bounds the requests of a batch.
	maxBatch = 200_000
)

// editor takes changes: a Controller at once, a batch until all are there.
type editor interface {
	Change(edit func(m *model.Model) error) error
	putEntry(e dataplane.FDBEntry, mode fdb.PutMode) error
	delEntry(vni uint32, mac fdb.MAC, dst netip.AddrPort) error
}

// batch gathers changes in a copy of the model. Each is checked in its turn; the switch hears of them together. The Controller's mu is held.
type batch struct {
	c     *Controller
	model *model.Model
	own   bool // the model is a copy that nobody else has
	// exclusive are the static entries that must be new to the switch.
	exclusive map[model.StaticKey]bool
	// steps say what each change made different.
	steps []model.Changes
}

// Change implements editor.
func (b *batch) Change(edit func(m *model.Model) error) error {
	next := b.model.Clone()
	if err := edit(next); err != nil {
		return err
	}
	changes := next.Since(b.model)
	next.NormalizeSince(changes)
	if err := next.CheckStep(b.model, changes); err != nil {
		return err
	}
	b.model, b.own = next, true
	b.steps = append(b.steps, changes)
	return nil
}

// changeStatic is Change for one static entry, of which a batch may have very many: the model is changed in place, and what differs need not be looked for. A
// batch ends at the first error.
func (b *batch) changeStatic(k model.StaticKey, edit func(m *model.Model)) error {
	if !b.own {
		b.model, b.own = b.model.Clone(), true
	}
	was, had := b.model.Statics.Get(k)
	edit(b.model)
	changes := model.Changes{Statics: []model.StaticKey{k}}
	b.model.NormalizeSince(changes)
	if is, has := b.model.Statics.Get(k); is == was && has == had {
		changes.Statics = nil
	}
	if err := b.model.CheckStep(b.model, changes); err != nil {
		return err
	}
	b.steps = append(b.steps, changes)
	return nil
}

func (b *batch) putEntry(e dataplane.FDBEntry, mode fdb.PutMode) error {
	if e.MAC.IsZero() {
		return b.Change(putFlood(e, mode))
	}
	if e.State == fdb.Dynamic {
		return model.Invalid("fdb/0/state", "a dynamic entry is no part of a batch, because it may leave the table before the batch is done: make it static or sticky")
	}
	k := model.StaticKey{VNI: e.VNI, MAC: e.MAC}
	if err := entryNames(b.model, e); err != nil {
		return err
	}
	if mode == fdb.Add {
		before, had := b.model.Statics.Get(k)
		if had {
			return entryExists(b.model, k, dataplane.FDBEntry{State: before.State, Port: before.Port, Dst: before.Dst})
		}
		// A static entry that the switch still has was deleted by this batch.
		if old, err := b.c.sw.FDBPeek(e.VNI, e.MAC); err == nil && old.State == fdb.Dynamic {
			return entryExists(b.model, k, old)
		}
		b.exclusive[k] = !b.c.model.Statics.Has(k)
	} else {
		delete(b.exclusive, k)
	}
	return b.changeStatic(k, func(m *model.Model) {
		m.Statics.Put(k, model.Static{Dst: e.Dst, Port: e.Port, State: e.State})
	})
}

func (b *batch) delEntry(vni uint32, mac fdb.MAC, dst netip.AddrPort) error {
	if mac.IsZero() {
		return b.Change(delFlood(vni, dst))
	}
	if err := needVNI(b.model, vni); err != nil {
		return err
	}
	k := model.StaticKey{VNI: vni, MAC: mac}
	s, ok := b.model.Statics.Get(k)
	if !ok {
		if e, err := b.c.sw.FDBPeek(vni, mac); err == nil && e.State == fdb.Dynamic {
			return model.Invalid("fdb/0/mac", "%s in VNI %d is dynamic, and a dynamic entry is no part of a batch: delete it with a command of its own", mac, vni)
		}
		return noEntry(vni, mac)
	}
	if dst.IsValid() && !(s.Dst.IsValid() && matchPeer(s.Dst, dst)) {
		return entryElsewhere(b.model, k, dataplane.FDBEntry{Port: s.Port, Dst: s.Dst}, dst)
	}
	return b.changeStatic(k, func(m *model.Model) { m.Statics.Delete(k) })
}

// blame finds the last change that touched what an operation is about, counted from 0; -1 when there is none.
func (b *batch) blame(op *Op) int {
	for i, c := range slices.Backward(b.steps) {
		switch op.object {
		case "vni":
			if slices.Contains(c.VNIs, op.key.VNI) || slices.Contains(c.Named, op.key.VNI) || slices.Contains(c.Undeclared, op.key.VNI) {
				return i
			}
		case "port":
			if slices.Contains(c.Ports, op.port) || slices.Contains(c.PortsGone, op.port) {
				return i
			}
		case "fdb":
			if slices.Contains(c.Statics, op.key) {
				return i
			}
		case "set":
			if c.Global {
				return i
			}
		}
	}
	return -1
}

// blamePort finds the request behind an error about a port.
func (b *batch) blamePort(err error) error {
	var located *model.Error
	if errors.As(err, &located) {
		name, _, _ := strings.Cut(strings.TrimPrefix(located.Path, "ports/"), "/")
		if i := b.blame(&Op{object: "port", port: name}); i >= 0 {
			return &batchError{i + 1, err}
		}
	}
	return err
}

// batchError is an error in one request of a batch, counted from 1.
type batchError struct {
	request int
	err     error
}

func (e *batchError) Error() string { return e.err.Error() }
func (e *batchError) Unwrap() error { return e.err }

// batch makes changes, all or none: do makes the i-th of n with the editor that it is given.
func (c *Controller) batch(n int, do func(i int, ed editor) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &batch{c: c, model: c.model, exclusive: map[model.StaticKey]bool{}}
	for i := range n {
		if c.life.Err() != nil {
			return ErrStopping
		}
		c.progress.Add(1)
		before := len(b.steps)
		if err := do(i, b); err != nil {
			return &batchError{i + 1, err}
		}
		// One change a request: what blame finds is the request.
		if len(b.steps) == before {
			b.steps = append(b.steps, model.Changes{})
		}
	}
	changes := b.model.Since(c.model)
	if len(changes.Ports) > 0 {
		if err := b.model.CheckEnds(); err != nil {
			return b.blamePort(err)
		}
	}
	err := c.moveTo(b.model, changes, b.exclusive)
	var failed *opError
	if errors.As(err, &failed) {
		err = failed.err
		if failed.op.object == "fdb" {
			err = putError(failed.op.key, err)
		}
		if i := b.blame(failed.op); i >= 0 {
			return &batchError{i + 1, err}
		}
	}
	return err
}

// postBatch takes requests that change something and makes them happen together or not at all.
func (s *server) postBatch(w http.ResponseWriter, r *http.Request) error {
	var requests []api.Request
	if err := decodeBody(w, r, maxBatchBody, func(d *json.Decoder) error { return decodeList(d, &requests, maxBatch) }); err != nil {
		return err
	}
	inner := *s
	each := routes(inner.changes(), func(r *http.Request) error { return noPart(r.Method, r.URL.EscapedPath()) })
	err := s.c.batch(len(requests), func(i int, ed editor) error {
		inner.edit = ed
		return inside(&requests[i], each)
	})
	if err != nil {
		return err
	}
	return noContent(w)
}

// noPart is a request that a batch cannot hold.
func noPart(method, path string) error {
	return malformed("path", "%s %.100q is no part of a batch: it takes what adds, changes and deletes", method, path)
}

// inside serves one request of a batch.
func inside(in *api.Request, each http.Handler) error {
	if string(in.Body) == "null" {
		in.Body = nil
	}
	if in.Method == "" {
		return malformed("method", "method is missing: it is that of a single request, such as POST")
	}
	if in.Method == http.MethodGet { // which the path takes, but not here
		return noPart(in.Method, in.Path)
	}
	r, err := http.NewRequest(in.Method, "/", io.NopCloser(bytes.NewReader(in.Body)))
	if err == nil {
		// As a server reads it: http.NewRequest would take // for the beginning of a host, and cut a name off at its first #.
		r.URL, err = url.ParseRequestURI(in.Path)
	}
	if err != nil || !strings.HasPrefix(in.Path, "/") {
		return malformed("path", "%.20q %.100q is no request: method and path are those of a single one", in.Method, in.Path)
	}
	var w outcome
	each.ServeHTTP(&w, r)
	return w.err
}

// outcome takes the answer to a request inside a batch, of which only an error matters; see fail.
type outcome struct {
	err error
}

func (o *outcome) Header() http.Header         { return http.Header{} }
func (o *outcome) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader takes an answer that did not come by way of fail. A request that was not made must not pass for one that was.
func (o *outcome) WriteHeader(status int) {
	if status >= 300 && o.err == nil {
		o.err = fmt.Errorf("the answer to it is %d %s, without a reason: this is a fault of vtepd", status, http.StatusText(status))
	}
}
