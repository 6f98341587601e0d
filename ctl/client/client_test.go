package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vtepd/ctl/api"
)

// serve answers every request at a socket in the same way.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	// The path of a socket has room for 107 bytes: not under a test's own directory.
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	c := New(filepath.Join(dir, "s"))
	t.Cleanup(func() {
		c.Close()
		server.Close()
		<-done
	})
	return c
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		want       api.Error
	}{
		{"a reason", `{"error":"VNI 7 does not exist","field":"vni"}`, 404, api.Error{Message: "VNI 7 does not exist", Field: "vni", Status: 404}},
		{"no JSON", "<html>", 502, api.Error{Message: "vtepd answered 502 Bad Gateway", Status: 502}},
		{"no reason", "{}", 500, api.Error{Message: "vtepd answered 500 Internal Server Error", Status: 500}},
		{"endless", `{"error":"` + strings.Repeat("x", 1<<17), 400, api.Error{Message: "vtepd answered 400 Bad Request", Status: 400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			var got *api.Error
			if err := cl.DeleteVNI(context.Background(), 7); !errors.As(err, &got) {
				t.Fatalf("error %v", err)
			}
			if *got != c.want {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
		})
	}
}

// TestCutShort: an answer that ends early is an error, not a short list.
func TestCutShort(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `[{"vni":1}`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	if vnis, err := c.VNIs(context.Background(), false); err == nil {
		t.Errorf("no error, %v", vnis)
	}
	err := c.Events(context.Background(), nil, func(api.Event) error { return nil })
	if err == nil {
		t.Error("events: no error")
	}
}

// TestCutOff: who has asked for a change and hears no answer, or half of one, is told that it may have been done; who has only asked something is not.
func TestCutOff(t *testing.T) {
	ctx := context.Background()
	for _, answer := range []string{"", `{"flushed":`} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if answer != "" {
				io.WriteString(w, answer)
				w.(http.Flusher).Flush()
			}
			panic(http.ErrAbortHandler)
		})
		batch := c.Begin()
		if err := batch.AddVNI(ctx, api.VNISpec{VNI: 42}); err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]struct {
			ask  func() error
			said bool
		}{
			"vni add":       {func() error { return c.AddVNI(ctx, api.VNISpec{VNI: 42}) }, true},
			"port set":      {func() error { return c.SetPort(ctx, api.PortSpec{Port: "tap0"}) }, true},
			"fdb replace":   {func() error { return c.ReplaceFDB(ctx, api.FDBSpec{VNI: 42}) }, true},
			"port del":      {func() error { return c.DeletePort(ctx, "tap0") }, true},
			"fdb flush":     {func() error { _, err := c.FlushFDB(ctx, api.FDBFilter{}); return err }, true},
			"apply":         {func() error { _, err := c.Apply(ctx, api.ApplySpec{}); return err }, true},
			"batch":         {func() error { return batch.Commit(ctx) }, true},
			"apply dry-run": {func() error { _, err := c.Apply(ctx, api.ApplySpec{DryRun: true}); return err }, false},
			"doctor":        {func() error { _, err := c.DoctorMTU(ctx, api.DoctorSpec{}); return err }, false},
			"port show":     {func() error { _, err := c.Ports(ctx, false); return err }, false},
		} {
			err, want := r.ask(), "it may have done what was asked"
			if answer != "" {
				want = "is done, but the answer"
			}
			if err == nil || errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), want) != r.said {
				t.Errorf("%s, answered %q: %v", name, answer, err)
			}
		}
	}
}

func TestUnavailable(t *testing.T) {
	c := New("/nonexistent/socket")
	defer c.Close()
	_, err := c.Status(context.Background())
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := New("/nonexistent/socket").Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestInterrupted: who interrupts a change is told that it is not called off, who interrupts a question is not.
func TestInterrupted(t *testing.T) {
	over := make(chan struct{})
	asked := make(chan struct{}, 2)
	c := serve(t, func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-over
	})
	defer close(over)
	for _, r := range []struct {
		ask  func(context.Context) error
		said bool
	}{
		{func(ctx context.Context) error { return c.AddVNI(ctx, api.VNISpec{}) }, true},
		{func(ctx context.Context) error { _, err := c.Ports(ctx, false); return err }, false},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-asked
			cancel()
		}()
		err := r.ask(ctx)
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "before vtepd answered: it goes on") != r.said {
			t.Errorf("%v", err)
		}
	}
}
