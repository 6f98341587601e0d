package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// A learned peer that goes between the list and its turn is passed over; one that was asked for by name is not known.
func TestDoctorPeerGoes(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/peers", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `[{"peer":"192.0.2.2","dport":4789,"vnis":[42]},{"peer":"192.0.2.57","dport":4789,"vnis":[]}]`)
	})
	mux.HandleFunc("POST /v1/doctor/mtu", func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), "192.0.2.2\"") {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"error":"peer 192.0.2.57 is not known: see peer show","field":"peer"}`)
			return
		}
		io.WriteString(w, `{"peer":"192.0.2.2","ok":true,"fits":1500,"inside_mtu":1450,"evidence":"probe"}`)
	})
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	defer server.Close()
	for _, c := range []struct {
		args string
		want string
	}{
		{"doctor mtu", "192.0.2.2  ok: 1500 bytes fit, 1450 inside (by probes that the other vtepd answered)\nexit 0"},
		{"-j doctor mtu peer 192.0.2.57", "vtepctl: peer 192.0.2.57 is not known: see peer show\nexit 1"},
	} {
		var out bytes.Buffer
		app := &App{Stdout: &out, Stderr: &out, Getenv: func(string) string { return socket }}
		fmt.Fprintf(&out, "exit %d", app.Run(context.Background(), strings.Fields(c.args)))
		if out.String() != c.want {
			t.Errorf("%s: %q, want %q", c.args, out.String(), c.want)
		}
	}
}
