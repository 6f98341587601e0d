package dataplane

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// A burst of announcements is one look, or two where it lasts: what the kernel holds ready of it by then asks for nothing more, however many those are. What is announced
// afterwards asks for another.
func TestRoutesBurst(t *testing.T) {
	t.Parallel()
	h := lab.New(t).Host("a")
	h.Must("ip", "link", "add", "d0", "type", "bridge")
	h.Must("ip", "link", "set", "d0", "up")
	var r *routes
	if err := h.Do(func() (err error) {
		r, err = newRoutes(slog.New(slog.DiscardHandler), vrf{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	// looks counts those that are asked for until none has been for a while.
	looks := func() (n int) {
		for {
			select {
			case <-r.changed:
				n++
			case <-time.After(10 * routeSettle):
				return n
			}
		}
	}
	looks() // the interface
	const routes = 100
	var batch strings.Builder
	for i := range routes {
		fmt.Fprintf(&batch, "route add 198.51.100.%d/32 dev d0\n", i+1)
	}
	file := filepath.Join(t.TempDir(), "routes")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	h.Must("ip", "-batch", file)
	most := routes/10 + int(time.Since(began)/routeSettle) // a busy host reads them late
	if n := looks(); n < 1 || n > most {
		t.Errorf("%d routes were announced: %d looks, want %d at most", routes, n, most)
	}
	h.Must("ip", "route", "del", "198.51.100.1/32")
	if looks() == 0 {
		t.Error("a route went, and nothing is looked at")
	}
}
