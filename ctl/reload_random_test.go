package ctl

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/ctl/ctltest"
	"vtepd/ctl/model"
)

// TestRandomReload has random files meet random changes at run time: a reload is refused with a word of run time and changes nothing, or leads where a start would, and
// nothing is left to do; and apply lets the file rule in any case.
func TestRandomReload(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	ns := namespaces(t, "red", "blue")
	base := parse(t, baseFile)
	reloaded, refused := 0, 0
	for range 1000 {
		file := randomlyEdited(rng, base, 15, ns)
		sw := ctltest.New(file.SwitchConfig())
		c, err := New(context.Background(), sw, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		changes := rng.IntN(8)
		if err := c.Change(func(m *model.Model) error { *m = *randomlyEdited(rng, m, changes, ns); return nil }); err != nil {
			t.Fatal(err)
		}
		target, before := randomlyEdited(rng, file, 1+rng.IntN(8), ns), sw.State()
		if _, err := c.Reload(target); err != nil {
			refused++
			if !strings.Contains(err.Error(), "at run time") || changes == 0 {
				t.Fatalf("%d changes at run time: %v", changes, err)
			}
			if diff := cmp.Diff(before, sw.State()); diff != "" {
				t.Fatalf("a refused reload left (-before +after):\n%s", diff)
			}
		} else {
			reloaded++
			isAsStarted(t, sw, c.Model())
			if ops, err := c.Reload(target.Clone()); err != nil || len(ops) > 0 {
				t.Fatalf("the same file again: %v, %v", ops, err)
			}
		}
		if _, err := c.Apply(target, false); err != nil {
			t.Fatalf("apply: %v", err)
		}
		isAsStarted(t, sw, target)
	}
	if reloaded < 100 || refused < 10 {
		t.Errorf("%d reloads, and %d refused: this is too narrow", reloaded, refused)
	}
}

// isAsStarted holds a switch against one that was started with a model.
func isAsStarted(t *testing.T, sw *ctltest.Switch, m *model.Model) {
	t.Helper()
	fresh := ctltest.New(sw.Config)
	if _, err := New(context.Background(), fresh, m, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fresh.State(), sw.State()); diff != "" {
		t.Fatalf("state (-started +got):\n%s", diff)
	}
}

// randomlyEdited is a model with n random commands more, as far as they are taken.
func randomlyEdited(rng *rand.Rand, m *model.Model, n int, ns []string) *model.Model {
	next := m.Clone()
	for range n {
		tried := next.Clone()
		if rng.IntN(3) == 0 {
			randomDevice(rng, tried, ns)
		} else {
			randomCommand(rng, tried)
		}
		for name, p := range tried.Ports.All() {
			if p.NetNS == "blue" { // which is not there
				c := *p
				c.NetNS = ns[1]
				tried.Ports.Put(name, &c)
			}
		}
		tried.Normalize()
		if tried.Check() == nil && !clashes(tried) {
			next = tried
		}
	}
	return next
}
