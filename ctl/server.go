package ctl

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"sort"
	"strings"
	"time"
)

// Times and sizes of the control API. Its clients are on the same host: whoever takes longer is stuck.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
)

// NewServer is an HTTP server of the control API. The caller makes it serve a listener, and shuts it down.
func NewServer(c *Controller, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           Handler(c),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// handler answers a request or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// Handler is the control API, version 1.
func Handler(c *Controller) http.Handler {
	s := &server{c: c, edit: c, streams: make(chan struct{}, maxStreams), dumps: make(chan struct{}, maxDumps)}
	resources := s.changes()
	for path, methods := range map[string]map[string]handler{
		"/v1/status":          {"GET": s.getStatus},
		"/v1/settings":        {"GET": s.getSettings},
		"/v1/fdb":             {"GET": s.listFDB},
		"/v1/fdb/flush":       {"POST": s.flushFDB},
		"/v1/fdb/{vni}/{mac}": {"GET": s.getFDB},
		"/v1/vnis":            {"GET": s.listVNIs},
		"/v1/vnis/{vni}":      {"GET": s.getVNI},
		"/v1/ports":           {"GET": s.listPorts},
		"/v1/ports/{port}":    {"GET": s.getPort},
		"/v1/peers":           {"GET": s.listPeers},
		"/v1/vlans":           {"GET": s.listVLANs},
		"/v1/vlans/{vid}":     {"GET": s.getVLAN},
		"/v1/stats":           {"GET": s.listStats},
		"/v1/drops":           {"GET": s.listDrops},
		"/v1/doctor/mtu":      {"POST": s.doctorMTU},
		"/v1/trace":           {"POST": s.trace},
		"/v1/events":          {"GET": s.events},
		"/v1/capture":         {"GET": s.capture},
		"/v1/batch":           {"POST": s.postBatch},
		"/v1/apply":           {"POST": s.postApply},
	} {
		maps.Copy(methods, resources[path])
		resources[path] = methods
	}
	return routes(resources, func(r *http.Request) error { return malformedPath(r.URL.EscapedPath()) })
}

// routes serves resources by their paths and methods; other is what is wrong with a request for any other path.
func routes(resources map[string]map[string]handler, other func(r *http.Request) error) http.Handler {
	mux := http.NewServeMux()
	for path, methods := range resources {
		mux.Handle(path, resource(methods))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fail(w, other(r)) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.EscapedPath(); {
		case !strings.HasPrefix(p, "/"): // such as that of CONNECT, for which ServeMux has answers of its own as well
			fail(w, malformedPath(r.URL.EscapedPath()))
		case p != path.Clean(p):
			// ServeMux would redirect it to a path that the client has not named, be it that of another object.
			fail(w, uncleanPath(r.URL.EscapedPath()))
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// changes are the requests that change the desired state, which a batch may hold.
func (s *server) changes() map[string]map[string]handler {
	return map[string]map[string]handler{
		"/v1/settings":        {"PATCH": s.setSettings},
		"/v1/fdb":             {"POST": s.addFDB, "PUT": s.replaceFDB},
		"/v1/fdb/{vni}/{mac}": {"DELETE": s.deleteFDB},
		"/v1/vnis":            {"POST": s.addVNI},
		"/v1/vnis/{vni}":      {"PATCH": s.setVNI, "DELETE": s.deleteVNI},
		"/v1/ports":           {"POST": s.addPort},
		"/v1/ports/{port}":    {"PATCH": s.setPort, "DELETE": s.deletePort},
		"/v1/peers":           {"POST": s.addPeer},
		"/v1/peers/{peer}":    {"DELETE": s.deletePeer},
		"/v1/vlans":           {"POST": s.addVLAN},
		"/v1/vlans/{vid}":     {"DELETE": s.deleteVLAN},
	}
}

type server struct {
	c       *Controller
	edit    editor        // takes changes
	streams chan struct{} // holds one element for each event stream
	dumps   chan struct{} // holds one for each reader of the forwarding table
}

// resource answers the methods of one path.
func resource(methods map[string]handler) http.Handler {
	var allowed []string
	for m := range methods {
		allowed = append(allowed, m)
	}
	sort.Strings(allowed)
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := methods[r.Method]
		if h == nil {
			w.Header().Set("Allow", allow)
			fail(w, &failure{http.StatusMethodNotAllowed, "", fmt.Errorf("%s does not take %s: expected %s", r.URL.EscapedPath(), r.Method, allow)})
			return
		}
		mustTake(w) // for 100 Continue
		if err := h(w, r); err != nil {
			fail(w, err)
		}
	})
}

func malformedPath(path string) error {
	return &failure{http.StatusNotFound, "", fmt.Errorf("%.100q is no path of this API: expected /v1/ and one of fdb, vnis, ports, peers, vlans, stats, drops, status, settings, events, capture, doctor, trace, batch, apply", path)}
}

// uncleanPath is a path in which a name is missing or stands for a directory.
func uncleanPath(path string) error {
	return &failure{http.StatusNotFound, "", fmt.Errorf("%.100q is no path of this API: no part of one is empty, . or ..: see whether a name is missing", path)}
}

// begin begins an answer. The time that its reader has for it counts from here: a change may have waited for its turn longer than that, and is done.
func begin(w http.ResponseWriter, status int) {
	mustTake(w)
	w.WriteHeader(status)
}

// mustTake bounds how long a reader may take for what is written next: one that does not take it must not hold the connection for ever. Setting it fails
// for writers without deadlines, as in tests and batches.
func mustTake(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(requestTimeout))
}

// reply writes one JSON value.
func reply(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	begin(w, status)
	// The client may be gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
	return nil
}

// replyList writes a JSON array element by element: a forwarding table of a million entries is not built as text first.
func replyList[T, U any](w http.ResponseWriter, list []T, convert func(T) U) error {
	w.Header().Set("Content-Type", "application/json")
	begin(w, http.StatusOK)
	out := json.NewEncoder(w)
	sep := "["
	for _, v := range list {
		if _, err := fmt.Fprint(w, sep); err != nil {
			return nil
		}
		sep = ","
		if err := out.Encode(convert(v)); err != nil {
			return nil
		}
	}
	if len(list) == 0 {
		fmt.Fprint(w, sep)
	}
	fmt.Fprintln(w, "]")
	return nil
}

func noContent(w http.ResponseWriter) error {
	begin(w, http.StatusNoContent)
	return nil
}

// fail writes an error as JSON.
func fail(w http.ResponseWriter, err error) {
	if o, ok := w.(*outcome); ok {
		o.err = err
		return
	}
	e := answer(err)
	_ = reply(w, e.Status, e)
}

// created answers a POST that made something.
func created(w http.ResponseWriter) error {
	begin(w, http.StatusCreated)
	return nil
}

func (s *server) getStatus(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	return reply(w, http.StatusOK, s.c.status())
}
