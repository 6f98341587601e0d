// Package client speaks the control API of vtepd over its unix socket.
//
// Calls take a context, and return an *api.Error when vtepd refused (its Message is for people, Field and Status for programs), or an error that wraps
// ErrUnavailable when there is no vtepd at the socket. The package knows no types but those of package api, and the
// blocks of a capture.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"syscall"
	"time"

	"vtepd/ctl/api"
)

// DefaultSocket is where vtepd listens when nothing else is said.
const DefaultSocket = "/run/vtepd/vtepd.sock"

// ErrUnavailable: nothing answers at the socket.
var ErrUnavailable = errors.New("no vtepd")

// Bounds of the wait for an answer to begin; see BoundByContext.
const (
	answerTimeout = time.Minute
	// batchTimeout is for many changes at a time: a port takes milliseconds.
	batchTimeout = 150 * time.Second
)

// maxErrorBody bounds what is read of an answer that refuses.
const maxErrorBody = 1 << 16

// Client is a connection pool to one vtepd. It may be used from any goroutine.
type Client struct {
	socket string
	http   *http.Client
	batch  *batch // nil outside a batch
}

// New makes a client for the vtepd at a unix socket; it connects with the first call.
func New(socket string) *Client {
	var d net.Dialer
	return &Client{
		socket: socket,
		http: &http.Client{Transport: &http.Transport{
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
			MaxIdleConns:       2,
			IdleConnTimeout:    30 * time.Second,
			DisableCompression: true,
			// Making a port takes milliseconds; whatever takes this long does not answer any more.
			ResponseHeaderTimeout: answerTimeout,
		}},
	}
}

// BoundByContext takes away the bounds that calls have beside their contexts. It is called before the first.
func (c *Client) BoundByContext() { c.transport().ResponseHeaderTimeout = 0 }

func (c *Client) transport() *http.Transport { return c.http.Transport.(*http.Transport) }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is the switch as a whole.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return get[api.Status](ctx, c, "/v1/status", nil)
}

// SetSettings changes what concerns the whole switch and may change while it runs; what is empty stays.
func (c *Client) SetSettings(ctx context.Context, s api.Settings) error {
	return c.send(ctx, http.MethodPatch, "/v1/settings", nil, s, nil)
}

// FDB lists the forwarding entries that a filter selects, by VNI and MAC.
func (c *Client) FDB(ctx context.Context, f api.FDBFilter) ([]api.FDBEntry, error) {
	q := params{}
	q.number("vni", f.VNI)
	q.text("mac", f.MAC)
	q.text("dst", f.Dst)
	q.number("dport", uint32(f.DPort))
	q.text("port", f.Port)
	q.flag("static", f.Static)
	q.flag("dynamic", f.Dynamic)
	return get[[]api.FDBEntry](ctx, c, "/v1/fdb", q)
}

// FDBEntry is one forwarding entry with the history of its moves.
func (c *Client) FDBEntry(ctx context.Context, vni uint32, mac string) (api.FDBEntry, error) {
	return get[api.FDBEntry](ctx, c, entryPath(vni, mac), nil)
}

// AddFDB makes a forwarding entry; it is refused when there is one.
func (c *Client) AddFDB(ctx context.Context, s api.FDBSpec) error {
	return c.send(ctx, http.MethodPost, "/v1/fdb", nil, s, nil)
}

// ReplaceFDB makes a forwarding entry in the place of the one that is there.
func (c *Client) ReplaceFDB(ctx context.Context, s api.FDBSpec) error {
	return c.send(ctx, http.MethodPut, "/v1/fdb", nil, s, nil)
}

// DeleteFDB removes a forwarding entry; with a dst only one that points there. dport 0 is any.
func (c *Client) DeleteFDB(ctx context.Context, vni uint32, mac, dst string, dport uint16) error {
	q := params{}
	q.text("dst", dst)
	q.number("dport", uint32(dport))
	return c.send(ctx, http.MethodDelete, entryPath(vni, mac), q, nil, nil)
}

func entryPath(vni uint32, mac string) string {
	return fmt.Sprintf("/v1/fdb/%d/%s", vni, url.PathEscape(mac))
}

// FlushFDB removes the entries that a filter selects, dynamic ones unless it says static, and returns how many.
func (c *Client) FlushFDB(ctx context.Context, f api.FDBFilter) (int, error) {
	var out api.Flushed
	err := c.send(ctx, http.MethodPost, "/v1/fdb/flush", nil, f, &out)
	return out.Flushed, err
}

// VNIs lists the VNIs, ascending; with their counters when stats is set.
func (c *Client) VNIs(ctx context.Context, stats bool) ([]api.VNI, error) {
	return get[[]api.VNI](ctx, c, "/v1/vnis", withStats(stats))
}

// VNI is one VNI.
func (c *Client) VNI(ctx context.Context, vni uint32, stats bool) (api.VNI, error) {
	return get[api.VNI](ctx, c, fmt.Sprintf("/v1/vnis/%d", vni), withStats(stats))
}

// AddVNI declares a VNI.
func (c *Client) AddVNI(ctx context.Context, s api.VNISpec) error {
	return c.send(ctx, http.MethodPost, "/v1/vnis", nil, s, nil)
}

// SetVNI changes a VNI.
func (c *Client) SetVNI(ctx context.Context, s api.VNISpec) error {
	return c.send(ctx, http.MethodPatch, fmt.Sprintf("/v1/vnis/%d", s.VNI), nil, s, nil)
}

// DeleteVNI removes a VNI that no port is in.
func (c *Client) DeleteVNI(ctx context.Context, vni uint32) error {
	return c.send(ctx, http.MethodDelete, fmt.Sprintf("/v1/vnis/%d", vni), nil, nil, nil)
}

// Ports lists the ports, by name; with their counters when stats is set.
func (c *Client) Ports(ctx context.Context, stats bool) ([]api.Port, error) {
	return get[[]api.Port](ctx, c, "/v1/ports", withStats(stats))
}

// Port is one port.
func (c *Client) Port(ctx context.Context, name string, stats bool) (api.Port, error) {
	return get[api.Port](ctx, c, portPath(name), withStats(stats))
}

// AddPort makes a port.
func (c *Client) AddPort(ctx context.Context, s api.PortSpec) error {
	return c.send(ctx, http.MethodPost, "/v1/ports", nil, s, nil)
}

// SetPort changes a port.
func (c *Client) SetPort(ctx context.Context, s api.PortSpec) error {
	return c.send(ctx, http.MethodPatch, portPath(s.Port), nil, s, nil)
}

// DeletePort removes a port with its forwarding entries.
func (c *Client) DeletePort(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, portPath(name), nil, nil, nil)
}

func portPath(name string) string { return "/v1/ports/" + url.PathEscape(name) }

// Peers lists the peers, by address: all, or those with an address, or those of a VNI.
func (c *Client) Peers(ctx context.Context, peer string, vni uint32, stats bool) ([]api.Peer, error) {
	q := withStats(stats)
	q.text("peer", peer)
	q.number("vni", vni)
	return get[[]api.Peer](ctx, c, "/v1/peers", q)
}

// AddPeer puts a peer on the flood list of a VNI.
func (c *Client) AddPeer(ctx context.Context, s api.PeerSpec) error {
	return c.send(ctx, http.MethodPost, "/v1/peers", nil, s, nil)
}

// DeletePeer takes a peer off the flood list of a VNI; VNI 0 is every one, DPort 0 any.
func (c *Client) DeletePeer(ctx context.Context, s api.PeerSpec) error {
	q := params{}
	q.number("vni", s.VNI)
	q.number("dport", uint32(s.DPort))
	return c.send(ctx, http.MethodDelete, "/v1/peers/"+url.PathEscape(s.Peer), q, nil, nil)
}

const doctorPath = "/v1/doctor/mtu"

// DoctorMTU has the path to a peer probed, which takes seconds.
func (c *Client) DoctorMTU(ctx context.Context, s api.DoctorSpec) (api.PathDiagnosis, error) {
	var d api.PathDiagnosis
	err := c.send(ctx, http.MethodPost, doctorPath, nil, s, &d)
	return d, err
}

const tracePath = "/v1/trace"

// Trace says what would become of a frame. Nothing is sent, learned or counted.
func (c *Client) Trace(ctx context.Context, s api.TraceSpec) (api.Trace, error) {
	var t api.Trace
	err := c.send(ctx, http.MethodPost, tracePath, nil, s, &t)
	return t, err
}

// VLANs lists the switch-wide VLANs, ascending.
func (c *Client) VLANs(ctx context.Context) ([]api.VLAN, error) {
	return get[[]api.VLAN](ctx, c, "/v1/vlans", nil)
}

// VLAN is one VLAN.
func (c *Client) VLAN(ctx context.Context, vid uint16) (api.VLAN, error) {
	return get[api.VLAN](ctx, c, fmt.Sprintf("/v1/vlans/%d", vid), nil)
}

// AddVLAN names a VNI by a VLAN.
func (c *Client) AddVLAN(ctx context.Context, v api.VLAN) error {
	return c.send(ctx, http.MethodPost, "/v1/vlans", nil, v, nil)
}

// DeleteVLAN removes a VLAN that no port uses.
func (c *Client) DeleteVLAN(ctx context.Context, vid uint16) error {
	return c.send(ctx, http.MethodDelete, fmt.Sprintf("/v1/vlans/%d", vid), nil, nil, nil)
}

// Stats lists counters: of every port and every peer, or of what the filter names.
func (c *Client) Stats(ctx context.Context, f api.StatsFilter) ([]api.Stats, error) {
	q := params{}
	q.text("port", f.Port)
	q.text("peer", f.Peer)
	q.number("vni", f.VNI)
	return get[[]api.Stats](ctx, c, "/v1/stats", q)
}

// Drops lists the drop ledger.
func (c *Client) Drops(ctx context.Context) ([]api.Drop, error) {
	return get[[]api.Drop](ctx, c, "/v1/drops", nil)
}

// Apply makes the running state equal to a configuration file, and returns what differed; with DryRun it only does that.
func (c *Client) Apply(ctx context.Context, s api.ApplySpec) ([]api.Difference, error) {
	if c.batch != nil {
		return nil, ErrBatch
	}
	sender := c.patient()
	defer sender.Close()
	var out api.Applied
	err := sender.send(ctx, http.MethodPost, "/v1/apply", nil, s, &out)
	return out.Differences, err
}

// Events calls yield for every change about the given objects (all when there are none) until ctx ends, vtepd stops, or yield returns an error, which
// is then returned. The end of ctx is no error; that vtepd stopped is io.ErrUnexpectedEOF.
func (c *Client) Events(ctx context.Context, objects []string, yield func(api.Event) error) error {
	q := params{}
	q.text("objects", strings.Join(objects, ","))
	resp, err := c.do(ctx, http.MethodGet, "/v1/events", q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := json.NewDecoder(resp.Body)
	for {
		var e api.Event
		if err := in.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("events: %w", io.ErrUnexpectedEOF)
		}
		if err := yield(e); err != nil {
			return err
		}
	}
}

// params is a query; what is zero is left away.
type params url.Values

func (p params) text(key, v string) {
	if v != "" {
		url.Values(p).Set(key, v)
	}
}

func (p params) number(key string, v uint32) {
	if v != 0 {
		url.Values(p).Set(key, fmt.Sprint(v))
	}
}

func (p params) flag(key string, v bool) {
	if v {
		url.Values(p).Set(key, "true")
	}
}

func withStats(stats bool) params {
	p := params{}
	p.flag("stats", stats)
	return p
}

func get[T any](ctx context.Context, c *Client, path string, q params) (T, error) {
	var out T
	err := c.send(ctx, http.MethodGet, path, q, nil, &out)
	return out, err
}

// send makes a request and decodes its answer into out, when that is not nil.
func (c *Client) send(ctx context.Context, method, path string, q params, in, out any) error {
	if c.batch != nil && out != nil {
		return ErrBatch
	}
	resp, err := c.do(ctx, method, path, q, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	switch done := changes(method, path, in); {
	case err == nil:
		return nil
	case ctx.Err() != nil && done:
		return fmt.Errorf("%s %s is done, but %w before all of the answer had come", method, path, context.Cause(ctx))
	case ctx.Err() != nil:
		return fmt.Errorf("%w before all of the answer to %s %s had come", context.Cause(ctx), method, path)
	case done:
		return fmt.Errorf("%s %s is done, but the answer cannot be understood: %w", method, path, err)
	}
	return fmt.Errorf("%s %s: the answer cannot be understood: %w", method, path, err)
}

// do makes a request; an answer that refuses becomes an error.
func (c *Client) do(ctx context.Context, method, path string, q params, in any) (*http.Response, error) {
	if c.batch != nil && method == http.MethodGet {
		return nil, ErrBatch
	}
	if c.batch != nil {
		return c.batch.gather(method, path, q, in)
	}
	var body io.Reader
	if in != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // it would make six bytes of each < of a file, whose size is bounded
		if err := e.Encode(in); err != nil {
			return nil, err
		}
		body = &b
	}
	target := "http://vtepd" + path
	if len(q) > 0 {
		target += "?" + url.Values(q).Encode()
	}
	taken := false
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { taken = true }})
	req, err := http.NewRequestWithContext(traced, method, target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	switch {
	case err == nil:
	case ctx.Err() != nil && !taken:
		return nil, fmt.Errorf("%w before vtepd at %s took the connection: nothing has been asked of it", context.Cause(ctx), c.socket)
	case ctx.Err() != nil && changes(method, path, in):
		return nil, fmt.Errorf("%w before vtepd answered: it goes on, and does or refuses what was asked: show says which", context.Cause(ctx))
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w before vtepd at %s answered", context.Cause(ctx), c.socket)
	default:
		reached, err := c.connectError(err)
		if reached && changes(method, path, in) {
			err = fmt.Errorf("%w: it may have done what was asked, or still do it: show says whether it did", err)
		}
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	refused := &api.Error{Status: resp.StatusCode}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxErrorBody)).Decode(refused); err != nil || refused.Message == "" {
		refused.Message = "vtepd answered " + resp.Status
	}
	return nil, refused
}

// changes says whether a request may change something, so that it matters when nobody knows what has become of it.
func changes(method, path string, in any) bool {
	apply, ok := in.(api.ApplySpec)
	return method != http.MethodGet && path != doctorPath && path != tracePath && !(ok && apply.DryRun)
}

// connectError says in one line why nobody answers, and whether the request may have reached somebody.
func (c *Client) connectError(err error) (reached bool, why error) {
	var ue *url.Error
	if !errors.As(err, &ue) {
		return true, fmt.Errorf("vtepd at %s gave no answer: %w", c.socket, err)
	}
	var op *net.OpError
	switch dialed := errors.As(ue.Err, &op) && op.Op == "dial"; {
	case !dialed && ue.Timeout():
		return true, fmt.Errorf("vtepd at %s does not answer: see its log", c.socket)
	case !dialed:
		return true, fmt.Errorf("vtepd at %s gave no answer: %w", c.socket, ue.Err)
	}
	cause := op.Err
	var errno syscall.Errno
	if errors.As(op.Err, &errno) {
		cause = errno
	}
	switch errno {
	case syscall.EAGAIN: // its backlog is full
		return false, fmt.Errorf("vtepd at %s takes no connection (%w): see its log", c.socket, cause)
	case syscall.EACCES, syscall.EPERM:
		return false, fmt.Errorf("vtepd at %s: %w: use an account that may read and write its socket, such as root", c.socket, cause)
	}
	return false, fmt.Errorf("%w at %s (%w): start it, or name its socket with --socket or VTEPD_SOCKET", ErrUnavailable, c.socket, cause)
}
