package xdp

import (
	"errors"
	"testing"
	"time"
)

// TestMillionEntries wants a million entries to fit, to come back as they were, and one more to be refused.
func TestMillionEntries(t *testing.T) {
	t.Parallel()
	n := 1 << 20
	if testing.Short() {
		n = 1 << 14
	}
	b := newBench(t, func(o *Options, _ *Domain) { o.MaxEntries = n + 6 }) // six of its own
	list := entries(n)
	start := time.Now()
	if err := b.PutEntries(list); err != nil {
		t.Fatal(err)
	}
	put := time.Since(start)
	want := make(map[Entry]bool, n)
	for _, e := range list {
		want[e] = true
	}
	start = time.Now()
	seen := 0
	err := b.WalkEntries(func(e Entry) bool {
		if want[e] {
			seen++
			delete(want, e)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d entries: put %v, walked %v", n, put, time.Since(start))
	if seen != n || len(want) != 0 {
		t.Errorf("%d of %d entries came back", seen, n)
	}
	if err := b.PutEntry(Entry{VNI: 1 << 20, MAC: [6]byte{4}}); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if err := b.DelEntries(EntryKey{list[0].VNI, list[0].MAC}); err != nil {
		t.Error(err)
	}
	if err := b.PutEntry(Entry{VNI: 1 << 20, MAC: [6]byte{4}}); err != nil {
		t.Errorf("one more after one less: %v", err)
	}
	if answer, verdict, _ := b.run(b.objects.VtepdTap, known().frame(macB, macA), nil); answer != redirect || verdict != toPeer {
		t.Errorf("among them: answer %d, verdict %d", int32(answer), verdict)
	}
}

// TestDelEntries: what is not there, or comes twice, keeps nothing else from going, wherever it stands in the list.
func TestDelEntries(t *testing.T) {
	t.Parallel()
	const n = 2*batchEntries + 10
	b := newBench(t, func(o *Options, _ *Domain) { o.MaxEntries = n + 6 })
	list := entries(n)
	for _, c := range []struct {
		name string
		gone func(i int) bool
	}{
		{"none gone", func(int) bool { return false }},
		{"first and last gone", func(i int) bool { return i == 0 || i == n-1 || i == batchEntries-1 || i == batchEntries }},
		{"every third gone", func(i int) bool { return i%3 == 0 }},
		{"all gone", func(int) bool { return true }},
	} {
		var put []Entry
		var keys []EntryKey
		for i, e := range list {
			if !c.gone(i) {
				put = append(put, e)
			}
			if keys = append(keys, EntryKey{e.VNI, e.MAC}); i%1000 == 0 {
				keys = append(keys, EntryKey{e.VNI, e.MAC})
			}
		}
		count := func() (n int) {
			if err := b.WalkEntries(func(Entry) bool { n++; return true }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := count()
		if err := b.PutEntries(put); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != before+len(put) {
			t.Errorf("%s: %d entries, want %d", c.name, got, before+len(put))
		}
		if err := b.DelEntries(keys...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := count(); got != before {
			t.Errorf("%s: %d entries afterwards, want %d", c.name, got, before)
		}
	}
}

// TestPutEntry keeps the newer time, and only where the entry stays where it is.
func TestPutEntry(t *testing.T) {
	b := newBench(t, nil)
	get := func() (got Entry) {
		b.WalkEntries(func(e Entry) bool {
			if e.MAC == macNone {
				got = e
			}
			return true
		})
		if one, ok, err := b.FindEntry(EntryKey{testVNI, macNone}); one != got || !ok || err != nil {
			t.Errorf("found %+v, %v, %v, want %+v", one, ok, err, got)
		}
		return got
	}
	if _, ok, err := b.FindEntry(EntryKey{testVNI, macNone}); ok || err != nil {
		t.Errorf("found what is not there, %v", err)
	}
	e := Entry{VNI: testVNI, MAC: macNone, Index: 1, Seen: 100}
	for _, c := range []struct {
		name string
		put  Entry
		seen uint32
	}{
		{"new", e, 100},
		{"older", Entry{VNI: testVNI, MAC: macNone, Index: 1, Seen: 50}, 100},
		{"newer", Entry{VNI: testVNI, MAC: macNone, Index: 1, Seen: 150}, 150},
		{"static", Entry{VNI: testVNI, MAC: macNone, Index: 1, Seen: 10, Static: true}, 150},
		{"elsewhere", Entry{VNI: testVNI, MAC: macNone, Index: 2, Seen: 10}, 10},
		{"to a peer", Entry{VNI: testVNI, MAC: macNone, ToPeer: true, Index: 2, Seen: 5}, 5},
	} {
		if err := b.PutEntry(c.put); err != nil {
			t.Fatal(err)
		}
		c.put.Seen = c.seen
		if got := get(); got != c.put {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.put)
		}
	}
}

// TestBounds refuses what is out of them, and changes nothing.
func TestBounds(t *testing.T) {
	b := newBench(t, nil)
	port := Port{Index: 16, Ifindex: 5}
	for name, err := range map[string]error{
		"port index": b.PutPort(port), "port device": b.PutPort(Port{Index: 3}), "forget port": b.ForgetPort(16),
		"vni 0": b.PutDomain(Domain{}), "vni 2^24": b.PutDomain(Domain{VNI: 1 << 24}),
		"peer index":   b.PutPeer(Peer{Index: 16, Addr: peerAddr(), Ifindex: 1, NextHop: remote4}),
		"peer address": b.PutPeer(Peer{Index: 3, Ifindex: 1, NextHop: remote4}),
		"peer hop":     b.PutPeer(Peer{Index: 3, Addr: peerAddr(), Ifindex: 1}),
		"forget peer":  b.ForgetPeer(16), "source": b.PutSource(testVNI, remote4, 16, 0),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := 0
	for vni := uint32(1); vni < 40; vni++ {
		if err := b.PutDomain(Domain{VNI: vni}); errors.Is(err, ErrFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if full != 39-15 { // one was there
		t.Errorf("%d VNIs did not fit", full)
	}
	if err := b.ForgetDomain(1); err != nil {
		t.Fatal(err)
	}
	if err := b.PutDomain(Domain{VNI: 100}); err != nil {
		t.Errorf("in the place of another: %v", err)
	}
}

// TestCountersForgotten starts a new owner of an index at zero.
func TestCountersForgotten(t *testing.T) {
	b := newBench(t, nil)
	b.run(b.objects.VtepdTap, known().frame(macB, macA), nil)
	want := Counters{RxPackets: 1, RxBytes: 142}
	if c := b.PortCounters(0); c != want {
		t.Errorf("port %+v", c)
	}
	if c := b.PeerCounters(0); c != (Counters{TxPackets: 1, TxBytes: 142}) {
		t.Errorf("peer %+v", c)
	}
	if c := b.VNICounters(testVNI); c != (Counters{1, 142, 1, 142}) {
		t.Errorf("vni %+v", c)
	}
	b.DelPort(0)
	b.DelPeer(0)
	b.DelDomain(testVNI)
	if b.PortCounters(0) != want || b.PeerCounters(0).TxPackets != 1 || b.VNICounters(testVNI) != (Counters{1, 142, 1, 142}) {
		t.Error("counters lost with the port, the peer or the VNI")
	}
	b.ForgetPort(0)
	b.ForgetPeer(0)
	b.ForgetDomain(testVNI)
	b.PutDomain(testDomain())
	if b.PortCounters(0) != (Counters{}) || b.PeerCounters(0) != (Counters{}) || b.VNICounters(testVNI) != (Counters{}) {
		t.Error("counters kept")
	}
}
