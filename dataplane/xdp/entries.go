package xdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Bits of programsFdbValue, PLACE_PEER and ENTRY_* in maps.h.
const (
	placePeer   = 1 << 31
	entryStatic = 1
	entrySticky = 2
)

// batchEntries is how many entries one system call moves: 96 KiB of keys and values.
const batchEntries = 4096

func (e *Entry) wire() (programsFdbKey, programsFdbValue) {
	v := programsFdbValue{Place: e.Index, Seen: e.Seen}
	if e.ToPeer {
		v.Place |= placePeer
	}
	if e.Static {
		v.Flags |= entryStatic
	}
	if e.Sticky {
		v.Flags |= entrySticky
	}
	return programsFdbKey{Vni: e.VNI, Mac: e.MAC}, v
}

func entryFrom(k *programsFdbKey, v *programsFdbValue) Entry {
	return Entry{VNI: k.Vni, MAC: k.Mac, ToPeer: v.Place&placePeer != 0, Index: v.Place &^ placePeer, Static: v.Flags&entryStatic != 0, Sticky: v.Flags&entrySticky != 0, Seen: v.Seen}
}

// PutEntry makes or changes a forwarding entry. An entry that is there for the same place keeps the newer Seen.
func (f *FastPath) PutEntry(e Entry) error {
	k, v := e.wire()
	var old programsFdbValue
	if err := f.objects.Fdb.Lookup(&k, &old); err == nil && old.Place == v.Place && int32(old.Seen-v.Seen) > 0 {
		v.Seen = old.Seen
	}
	return mapError(fmt.Sprintf("entry %x vni %d", e.MAC, e.VNI), f.change(func() error { return f.objects.Fdb.Put(&k, &v) }))
}

// PutEntries makes or changes many entries at once, each with the Seen that is given. On an error some may have been put.
func (f *FastPath) PutEntries(list []Entry) error {
	keys := make([]programsFdbKey, 0, min(len(list), batchEntries))
	values := make([]programsFdbValue, 0, cap(keys))
	for len(list) > 0 {
		n := min(len(list), batchEntries)
		keys, values = keys[:0], values[:0]
		for i := range list[:n] {
			k, v := list[i].wire()
			keys, values = append(keys, k), append(values, v)
		}
		if err := f.change(func() error {
			_, err := f.objects.Fdb.BatchUpdate(keys, values, nil)
			return err
		}); err != nil {
			return mapError("entries", err)
		}
		list = list[n:]
	}
	return nil
}

// DelEntries removes forwarding entries. One that is not there is no error.
func (f *FastPath) DelEntries(list ...EntryKey) error {
	keys := make([]programsFdbKey, 0, min(len(list), batchEntries))
	for len(list) > 0 {
		n := min(len(list), batchEntries)
		keys = keys[:0]
		for _, k := range list[:n] {
			keys = append(keys, programsFdbKey{Vni: k.VNI, Mac: k.MAC})
		}
		if err := f.change(func() error { return delBatch(f.objects.Fdb, keys) }); err != nil {
			return mapError("remove entries", err)
		}
		list = list[n:]
	}
	return nil
}

// delBatch is a BPF_MAP_DELETE_BATCH that passes over what is not there, where the kernel stops.
func delBatch[K any](m *ebpf.Map, keys []K) error {
	for len(keys) > 0 {
		n, err := m.BatchDelete(keys, nil)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ebpf.ErrKeyNotExist) || n >= len(keys) {
			return err
		}
		keys = keys[n+1:]
	}
	return nil
}

// FindEntry finds the forwarding entry of a key.
func (f *FastPath) FindEntry(k EntryKey) (e Entry, ok bool, err error) {
	key := programsFdbKey{Vni: k.VNI, Mac: k.MAC}
	var v programsFdbValue
	switch err := f.objects.Fdb.Lookup(&key, &v); {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return e, false, nil
	case err != nil:
		return e, false, fmt.Errorf("entry %x vni %d: %w", k.MAC, k.VNI, err)
	}
	return entryFrom(&key, &v), true, nil
}

// WalkEntries calls fn with every entry until it returns false, in no order. Entries that come or go meanwhile may be missed, or come twice.
func (f *FastPath) WalkEntries(fn func(Entry) bool) error { return walkEntries(f.objects.Fdb, fn) }

func walkEntries(m *ebpf.Map, fn func(Entry) bool) error {
	n := batchEntries
	keys, values := make([]programsFdbKey, n), make([]programsFdbValue, n)
	var cursor ebpf.MapBatchCursor
	for {
		got, err := m.BatchLookup(&cursor, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		switch {
		case errors.Is(err, unix.ENOSPC): // one bucket holds more than fits
			n *= 2
			keys, values = make([]programsFdbKey, n), make([]programsFdbValue, n)
			continue
		case err != nil && !last:
			return fmt.Errorf("entries: %w", err)
		}
		for i := range got {
			if !fn(entryFrom(&keys[i], &values[i])) {
				return nil
			}
		}
		if last {
			return nil
		}
	}
}
