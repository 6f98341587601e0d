package xdp

import (
	"fmt"
)

// PutSources admits underlay sources. On an error some may have been put.
func (f *FastPath) PutSources(list []Source) error {
	keys := make([]programsSourceKey, 0, min(len(list), batchEntries))
	values := make([]programsSource, 0, cap(keys))
	for len(list) > 0 {
		n := min(len(list), batchEntries)
		keys, values = keys[:0], values[:0]
		for _, s := range list[:n] {
			if !s.Addr.IsValid() || int(s.Peer) >= f.options.MaxPeers {
				return fmt.Errorf("source %s vni %d: peer %d: %w", s.Addr, s.VNI, s.Peer, ErrInvalid)
			}
			keys, values = append(keys, s.wire()), append(values, programsSource{Peer: s.Peer, Serial: s.Serial})
		}
		if err := f.change(func() error {
			_, err := f.objects.Sources.BatchUpdate(keys, values, nil)
			return err
		}); err != nil {
			return mapError("sources", err)
		}
		list = list[n:]
	}
	return nil
}

// DelSources admits underlay sources no longer. One that is not there is no error.
func (f *FastPath) DelSources(list ...SourceKey) error {
	keys := make([]programsSourceKey, 0, min(len(list), batchEntries))
	for len(list) > 0 {
		n := min(len(list), batchEntries)
		keys = keys[:0]
		for _, k := range list[:n] {
			if !k.Addr.IsValid() {
				return fmt.Errorf("source %s vni %d: %w", k.Addr, k.VNI, ErrInvalid)
			}
			keys = append(keys, k.wire())
		}
		if err := f.change(func() error { return delBatch(f.objects.Sources, keys) }); err != nil {
			return mapError("remove sources", err)
		}
		list = list[n:]
	}
	return nil
}

func (k *SourceKey) wire() programsSourceKey {
	w := programsSourceKey{Vni: k.VNI}
	w.Address.Word = words(k.Addr)
	return w
}
