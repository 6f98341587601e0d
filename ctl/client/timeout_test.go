package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vtepd/ctl/api"
)

var errPatience = errors.New("50ms are over")

// enough is a bound within which a busy machine gets a request, or the beginning of an answer, over.
const enough = 2 * time.Second

// TestOutOfTime: whoever bounds a call hears whether it may have been done.
func TestOutOfTime(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	silent := serve(t, func(w http.ResponseWriter, r *http.Request) { <-over })
	halting := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `[{"vni":1}`)
		w.(http.Flusher).Flush()
		<-over
	})
	add := func(ctx context.Context, c *Client) error { return c.AddVNI(ctx, api.VNISpec{VNI: 42}) }
	show := func(ctx context.Context, c *Client) error { _, err := c.VNIs(ctx, false); return err }
	batch := func(ctx context.Context, c *Client) error {
		b := c.Begin()
		if err := add(ctx, b); err != nil {
			t.Fatal(err)
		}
		return b.Commit(ctx)
	}
	for _, c := range []struct {
		name string
		c    *Client
		ask  func(context.Context, *Client) error
		want string
	}{
		{"a change", silent, add, "50ms are over before vtepd answered: it goes on, and does or refuses what was asked: show says which"},
		{"a batch", silent, batch, "50ms are over before vtepd answered: it goes on, and does or refuses what was asked: show says which"},
		{"a question", silent, show, "50ms are over before vtepd at SOCKET answered"},
		{"a question answered in part", halting, show, "50ms are over before all of the answer to GET /v1/vnis had come"},
		{"a change answered in part", halting, add, "POST /v1/vnis is done, but 50ms are over before all of the answer had come"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeoutCause(context.Background(), enough, errPatience)
			defer cancel()
			err := c.ask(ctx, c.c)
			if want := strings.Replace(c.want, "SOCKET", c.c.socket, 1); !errors.Is(err, errPatience) || err.Error() != want {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
}

// TestNotTaken: a vtepd that takes no connection has not been asked anything, so that nothing can have been done.
func TestNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// Nobody accepts: connections are taken until the backlog is full (net.core.somaxconn), and refused with EAGAIN from then on.
	for {
		c, err := net.Dial("unix", path)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	add := func(ctx context.Context) error { return New(path).AddVNI(ctx, api.VNISpec{VNI: 42}) }
	err = add(context.Background())
	if want := "vtepd at " + path + " takes no connection (resource temporarily unavailable): see its log"; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), 0, errPatience)
	defer cancel()
	err = add(ctx)
	if want := "50ms are over before vtepd at " + path + " took the connection: nothing has been asked of it"; !errors.Is(err, errPatience) || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// TestBoundByContext: with a bound of the caller's own there is no other, for a batch neither.
func TestBoundByContext(t *testing.T) {
	c := New("/nonexistent/socket")
	if d := c.transport().ResponseHeaderTimeout; d != answerTimeout {
		t.Errorf("a request waits %v", d)
	}
	if d := c.patient().transport().ResponseHeaderTimeout; d != batchTimeout {
		t.Errorf("a batch waits %v", d)
	}
	c.BoundByContext()
	if d, e := c.transport().ResponseHeaderTimeout, c.patient().transport().ResponseHeaderTimeout; d != 0 || e != 0 {
		t.Errorf("a request waits %v, a batch %v", d, e)
	}
}
