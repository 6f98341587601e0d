package xdp

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestKeepPins: whatever somebody removes of the pins is there again, and the next process takes everything over.
func TestKeepPins(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(p *pins) error{
		"everything": func(p *pins) error { return os.RemoveAll(p.dir) },
		"links":      func(p *pins) error { return os.RemoveAll(filepath.Join(p.dir, "links")) },
		"one link": func(p *pins) error {
			links, err := filepath.Glob(filepath.Join(p.dir, "links", "port-*"))
			if err == nil {
				err = os.Remove(links[0])
			}
			return err
		},
		"maps":   func(p *pins) error { return os.RemoveAll(p.maps()) },
		"order":  func(p *pins) error { return os.Remove(filepath.Join(p.maps(), orderPin)) },
		"filter": func(p *pins) error { return os.Remove(p.filter()) },
		"marks": func(p *pins) error {
			marks, err := filepath.Glob(filepath.Join(p.dir, "gro-*"))
			if err == nil {
				err = os.Remove(marks[0])
			}
			return err
		},
		"another's directory in its place": func(p *pins) error {
			return errors.Join(os.RemoveAll(p.dir), os.Mkdir(p.dir, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) { keepPins(t, spoil) })
	}
}

func keepPins(t *testing.T, spoil func(*pins) error) {
	dir := pinDir(t)
	var options Options
	a, b := newSides(t, false, true, func(o *Options, _ *Domain) {
		if options.MaxEntries == 0 {
			o.PinDir, o.Decap = dir, XDPNative
			options = *o
		}
	})
	sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
	meet(sa, sb)
	keep := func(want bool) {
		t.Helper()
		a.do(func() error {
			renewed, err := a.f.KeepPins()
			if renewed != want {
				t.Errorf("pins were made anew: %v, want %v", renewed, want)
			}
			return err
		})
	}
	keep(false) // what is there before the takeover may be a former process's
	if err := a.f.Commit(); err != nil {
		t.Fatal(err)
	}
	keep(false)
	for range 2 { // a second time: the library remembers where it has pinned
		if err := spoil(a.f.pins); err != nil {
			t.Fatal(err)
		}
		keep(true)
		keep(false)
	}
	a.do(func() error {
		if _, err := Open(options); !errors.Is(err, ErrLocked) {
			t.Errorf("a second process: %v, want %v", err, ErrLocked)
		}
		return nil
	})

	wire, port := a.host.Index(a.wire.Name), sa.port.Ifindex
	before := a.programs(wire) + a.programs(port)
	if err := a.f.Abandon(); err != nil {
		t.Fatal(err)
	}
	if n := a.programs(wire) + a.programs(port); n != before {
		t.Errorf("%d of %d programs outlive the process", n, before)
	}
	if state := a.reopen(options, b.host.Underlay4()); state == nil || len(state.Entries) == 0 {
		t.Errorf("the next process finds no entries: %+v", state)
	}
	a.do(func() error { return errors.Join(a.f.AttachPort(port, Ingress, -1), a.f.PutPort(sa.port)) })
	a.do(func() error { _, err := a.f.AttachUnderlay(wire); return err })
	for _, at := range a.f.Attachments() {
		if !at.Taken {
			t.Errorf("%s of ifindex %d was not taken over", at.Hook, at.Ifindex)
		}
	}
	if err := a.f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pin directory afterwards: %v", err)
	}
}

// TestAttachAfterPinsWent: pins that went a moment ago keep no interface from its program, nor the end from taking everything down.
func TestAttachAfterPinsWent(t *testing.T) {
	dir := pinDir(t)
	first := true
	a, b := newSides(t, false, true, func(o *Options, _ *Domain) {
		if first {
			o.PinDir, first = dir, false
		}
	})
	sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
	meet(sa, sb)
	if err := a.f.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	// Before anybody has looked: a new interface brings the directory back.
	more := a.veth("wc", 1450)
	for _, ifindex := range []int{sa.port.Ifindex, more.port.Ifindex} {
		if !exists(a.f.pins.link(place{ifindex, Ingress})) {
			t.Errorf("the program of ifindex %d is not pinned", ifindex)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := a.f.Close(); err != nil {
		t.Errorf("close without pins: %v", err)
	}
	if n := a.programs(sa.port.Ifindex); n != 0 {
		t.Errorf("%d programs are left", n)
	}
}
