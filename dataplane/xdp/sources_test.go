package xdp

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
)

// TestSources: more sources than one system call takes come and go at once, among them some that are not there.
func TestSources(t *testing.T) {
	b := newBench(t, func(o *Options, _ *Domain) { o.MaxSources = 3 * batchEntries })
	const n = 2*batchEntries + 7
	addr := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)})
	}
	var list []Source
	var keys []SourceKey
	for i := range n {
		k := SourceKey{testVNI, addr(i)}
		if list, keys = append(list, Source{k, uint32(i % 16), 7}), append(keys, k); i%100 == 0 {
			keys = append(keys, SourceKey{testVNI + 1, addr(i)})
		}
	}
	if err := b.PutSources(list); err != nil {
		t.Fatal(err)
	}
	has := func(k SourceKey) (v programsSource, there bool) {
		err := b.objects.Sources.Lookup(k.wire(), &v)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
		return v, err == nil
	}
	for _, s := range list {
		if v, there := has(s.SourceKey); !there || v != (programsSource{Peer: s.Peer, Serial: s.Serial}) {
			t.Fatalf("%+v is %+v, %v", s, v, there)
		}
	}
	if err := b.DelSources(keys...); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if _, there := has(k); there {
			t.Fatalf("%+v is still there", k)
		}
	}
	if _, there := has(SourceKey{testVNI, remote4}); !there {
		t.Error("another went with them")
	}
	if err := b.PutSources([]Source{{Peer: 1}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("no address: %v", err)
	}
	if err := b.DelSources(SourceKey{VNI: testVNI}); !errors.Is(err, ErrInvalid) {
		t.Errorf("no address: %v", err)
	}
}
