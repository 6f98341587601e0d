package xdp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// KeepPins pins anew what is not pinned any more: somebody has removed pins, or their bpffs was unmounted. A Commit that failed is tried again. It says
// whether there was anything to do. Before the first Commit pins are a former process's, and are left alone. Errors are those of Open and Commit.
func (f *FastPath) KeepPins() (renewed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return false, ErrClosed
	case f.pins == nil || !f.asked:
		return false, nil
	case f.committed && f.pins.whole(f.attached):
		return false, nil
	}
	if err := f.renewPins(); err != nil {
		return false, err
	}
	f.committed = false
	return true, f.commit()
}

// renewPins makes the directory, and the pins of links and marks in it, where they are missing. Needs mu.
func (f *FastPath) renewPins() error {
	if !f.pins.present() {
		fresh, err := openPins(f.pins.dir)
		if err != nil {
			return err
		}
		_ = f.pins.close() // of a directory that nobody finds any more
		f.pins = fresh
	} else if err := os.MkdirAll(filepath.Join(f.pins.dir, "links"), 0o700); err != nil {
		return fmt.Errorf("pin directory: %w", err)
	}
	for at, a := range f.attached {
		if a.gro && at.hook == hookXDP {
			if err := f.pins.mark(at.ifindex); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("pins: %w", err)
			}
		}
		path := f.pins.link(at)
		if exists(path) {
			continue
		}
		// Without this the library takes it for pinned.
		if err := a.link.Unpin(); err != nil {
			return fmt.Errorf("%s of ifindex %d: %w", at.hook, at.ifindex, err)
		}
		if err := a.link.Pin(path); err != nil {
			return fmt.Errorf("%s of ifindex %d: pin: %w", at.hook, at.ifindex, err)
		}
	}
	return nil
}

// present says whether the directory that is locked is still the one of that name.
func (p *pins) present() bool {
	var locked, named unix.Stat_t
	return unix.Fstat(p.lock, &locked) == nil && unix.Stat(p.dir, &named) == nil && locked.Ino == named.Ino && locked.Dev == named.Dev
}

// whole says whether everything is there that a next process looks for.
func (p *pins) whole(attached map[place]*attachment) bool {
	if !p.present() || !exists(p.filter()) {
		return false
	}
	for _, name := range append(slices.Clone(statePins), orderPin) {
		if !exists(filepath.Join(p.maps(), name)) {
			return false
		}
	}
	found, err := os.ReadDir(filepath.Join(p.dir, "links"))
	if err != nil {
		return false
	}
	pinned := make(map[string]bool, len(found))
	for _, e := range found {
		pinned[e.Name()] = true
	}
	for at, a := range attached {
		if !pinned[at.pinName()] || a.gro && at.hook == hookXDP && !p.marked(at.ifindex) {
			return false
		}
	}
	return true
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// pinAnew pins a map or a program whose former pin may have been renamed or removed since.
func pinAnew(o interface {
	Pin(string) error
	Unpin() error
}, path string) error {
	return errors.Join(o.Unpin(), o.Pin(path))
}
