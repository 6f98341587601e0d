package xdp

import (
	"reflect"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
)

// shelf has loaded programs that no test uses at present: most of a test of a program is the time that the kernel takes to verify it.
var shelf struct {
	sync.Mutex
	free []shelved
}

// shelved is what programs with these options are.
type shelved struct {
	options Options
	former  *FastPath
}

// loadedFastPath is what Open returns, perhaps with programs that another test has used, whose maps are as they were at the start. What was closed, what a
// test has failed with, and what has a sign of life or pins is not used again.
func loadedFastPath(t testing.TB, o Options) *FastPath {
	t.Helper()
	f := fromShelf(t, o)
	if f == nil {
		var err error
		if f, err = Open(o); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() || o.VRF || o.PinDir != "" {
			f.Close()
		} else if !f.closed {
			shelf.Lock()
			defer shelf.Unlock()
			shelf.free = append(shelf.free, shelved{o, f})
		}
	})
	return f
}

func fromShelf(t testing.TB, o Options) *FastPath {
	t.Helper()
	shelf.Lock()
	defer shelf.Unlock()
	for i, s := range shelf.free {
		if !reflect.DeepEqual(s.options, o) {
			continue
		}
		shelf.free = append(shelf.free[:i], shelf.free[i+1:]...)
		f := newFastPath(s.former.options)
		f.objects, f.noXDP, f.events = s.former.objects, s.former.noXDP, s.former.events
		f.ReadEvents(make([]LearnEvent, 1<<16))
		if err := f.emptyMaps(); err != nil {
			t.Fatal(err)
		}
		if err := f.setEpoch(0); err != nil {
			t.Fatal(err)
		}
		return f
	}
	return nil
}

func (f *FastPath) emptyMaps() error {
	for i, all := 0, reflect.ValueOf(f.objects.programsMaps); i < all.NumField(); i++ {
		m := all.Field(i).Interface().(*ebpf.Map)
		var err error
		switch m.Type() {
		case ebpf.Hash:
			err = emptyHash(m)
		case ebpf.Array:
			err = emptyArray(m, make([]byte, m.ValueSize()))
		case ebpf.PerCPUArray:
			each := make([][]byte, ebpf.MustPossibleCPU())
			for i := range each {
				each[i] = make([]byte, m.ValueSize())
			}
			err = emptyArray(m, each)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func emptyHash(m *ebpf.Map) error {
	for {
		key, err := m.NextKeyBytes(nil)
		if key == nil || err != nil {
			return err
		}
		if err := m.Delete(key); err != nil {
			return err
		}
	}
}

func emptyArray(m *ebpf.Map, nothing any) error {
	for i := range m.MaxEntries() {
		if err := m.Put(i, nothing); err != nil {
			return err
		}
	}
	return nil
}
