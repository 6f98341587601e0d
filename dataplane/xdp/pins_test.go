package xdp

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestPinsUnlocked: whoever gives up a pin directory has given it up, whatever processes are being started meanwhile.
func TestPinsUnlocked(t *testing.T) {
	t.Parallel()
	dir := pinDir(t)
	var over atomic.Bool
	var starts sync.WaitGroup
	for range 4 {
		starts.Go(func() {
			for !over.Load() {
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3000 {
		p, err := openPins(dir)
		if err != nil {
			t.Errorf("time %d: %v", i, err)
			break
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}
	over.Store(true)
	starts.Wait()
}

// TestFormerOfAnotherLayout: that what a former process knew is lost is told, whether its maps are of another layout or have been removed.
func TestFormerOfAnotherLayout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		left string // in the pin directory
		want bool
	}{
		{"maps-1", true}, // without maps
		{"maps-2", true},
		{"links/port-ingress-7", true},
		{"links", false},
	} {
		t.Run(test.left, func(t *testing.T) {
			dir := pinDir(t)
			p, err := openPins(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if err := os.MkdirAll(filepath.Join(dir, test.left), 0o700); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			f := &FastPath{pins: p, log: slog.New(slog.NewTextHandler(&log, nil))}
			if state := f.Former(); (state != nil) != test.want || state != nil && len(state.Entries)+len(state.Ports)+len(state.Peers) > 0 {
				t.Errorf("state: %+v, want one that is empty: %v", state, test.want)
			}
			if got := strings.Count(log.String(), "former state is not readable"); got != 1 && test.want || got != 0 && !test.want {
				t.Errorf("log: %q", log.String())
			}
		})
	}
}

// TestStrayOrder: what laid frames bare goes first, and what they were joined in last: whatever comes out of it in between reaches the host's stack.
func TestStrayOrder(t *testing.T) {
	t.Parallel()
	p := &pins{dir: t.TempDir()}
	at := []place{{4, hookCell}, {3, Ingress}, {3, hookUnderlay}, {12, hookXDP}, {5, Egress}}
	for _, a := range at {
		if err := os.MkdirAll(p.link(a), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	list, err := p.stray(map[place]*attachment{{3, Ingress}: nil})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i] = filepath.Base(list[i])
	}
	if want := []string{"xdp-12", "port-egress-5", "underlay-3", "cell-4"}; !slices.Equal(list, want) {
		t.Errorf("%v, want %v", list, want)
	}
}
