package xdp

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestDrop: a successor without a fast path takes down what a killed process left, and nothing of one that lives.
func TestDrop(t *testing.T) {
	for _, decap := range []DecapMode{Auto, TCX, XDPNative} {
		t.Run([...]string{"auto", "tcx", "xdp"}[decap], func(t *testing.T) { drop(t, decap) })
	}
}

func drop(t *testing.T, decap DecapMode) {
	dir := pinDir(t)
	first := true
	a, b := newSides(t, false, true, func(o *Options, _ *Domain) {
		o.Decap = decap
		if first {
			o.PinDir, first = dir, false
		}
	})
	sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
	meet(sa, sb)
	if err := a.f.Commit(); err != nil {
		t.Fatal(err)
	}
	wire, port := a.host.Index(a.wire.Name), sa.port.Ifindex
	if a.programs(wire) == 0 || a.programs(port) == 0 {
		t.Fatalf("%d programs on the wire, %d on the port: too few to drop", a.programs(wire), a.programs(port))
	}
	if _, err := Drop(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("while the process lives: %v, want %v", err, ErrLocked)
	}
	if err := a.f.Abandon(); err != nil {
		t.Fatal(err)
	}
	a.do(func() error {
		dropped, err := Drop(dir)
		if !dropped {
			t.Error("nothing was dropped")
		}
		return err
	})
	if n := a.programs(wire) + a.programs(port); n != 0 {
		t.Errorf("%d programs are attached still", n)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pin directory: %v", err)
	}
	if dropped, err := Drop(dir); dropped || err != nil {
		t.Errorf("of nothing: %v, %v", dropped, err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		t.Error(err)
	}
}
