package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vtepd/ctl/api"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// TestStatusOfRefusals: what the switch, a device or the kernel refuses is the client's to know: a fault of vtepd (500) is only what nothing else explains.
func TestStatusOfRefusals(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		field  string
	}{
		{fmt.Errorf("port tap9: %w", dataplane.ErrNotFound), 404, "port"},
		{fmt.Errorf("port tap9: netns %q: %w: see", "blue", dataplane.ErrNoNetNS), 404, "netns"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrExists), 409, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrInUse), 409, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrBusy), 409, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrNotTAP), 409, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrUnfit), 409, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrGone), 409, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrNoIPv6), 409, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrHost), 409, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrInvalid), 422, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrOption), 422, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrLimit), 422, "port"},
		{fmt.Errorf("port tap9: %w", fdb.ErrFull), 422, "port"},
		{fmt.Errorf("port tap9: %w", dataplane.ErrClosed), 503, "port"},
		{fmt.Errorf("port tap9: rename: %w", unix.EEXIST), 409, "port"},
		{fmt.Errorf("port tap9: attach: %w", unix.EBUSY), 409, "port"},
		{fmt.Errorf("port tap9: %w", unix.EADDRINUSE), 409, "port"},
		{fmt.Errorf("port tap9: set up: %w", unix.ENODEV), 409, "port"},
		{fmt.Errorf("port tap9: mac: %w", unix.EOPNOTSUPP), 409, "port"},
		{fmt.Errorf("port tap9: mac: %w", unix.EADDRNOTAVAIL), 422, "port"},
		{fmt.Errorf("port tap9: socket: %w", unix.EMFILE), 503, "port"},
		{fmt.Errorf("port tap9: socket: %w", unix.ENFILE), 503, "port"},
		{fmt.Errorf("port tap9: socket: %w", unix.ENOMEM), 503, "port"},
		{fmt.Errorf("port tap9: packet socket: %w: this process lacks CAP_NET_RAW", unix.EPERM), 500, "port"},
		{errors.New("port tap9: something unheard of"), 500, "port"},
		// What the switch says of itself goes before what the kernel said to it.
		{fmt.Errorf("port tap9: %w: %w", dataplane.ErrOption, unix.EBUSY), 422, "port"},
	} {
		control, sw := start(t, baseFile)
		before := sw.State()
		sw.Fail(func(op string) error {
			if op == "add port tap9" {
				return c.err
			}
			return nil
		})
		w := call(Handler(control), "POST", "/v1/ports", `{"port":"tap9","vni":42}`)
		var e api.Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s: %v", c.err, w.Body, err)
		}
		if w.Code != c.status || e.Field != c.field || e.Message != c.err.Error() {
			t.Errorf("%v: %d %q %q, want %d %q", c.err, w.Code, e.Field, e.Message, c.status, c.field)
		}
		if sw.State() != before {
			t.Errorf("%v: something changed", c.err)
		}
	}
}

// TestFastPathRefused: a host that cannot is a conflict, and no fault of vtepd.
func TestFastPathRefused(t *testing.T) {
	control, sw := start(t, baseFile)
	sw.Fail(func(op string) error {
		return fmt.Errorf("fastpath on: %w: the kernel is too old", dataplane.ErrHost)
	})
	if w := call(Handler(control), "PATCH", "/v1/settings", `{"fastpath":"on"}`); w.Code != 409 || !strings.Contains(w.Body.String(), "too old") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
