package dataplane

import (
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"vtepd/fdb"
)

// Of several peers at one address, which cannot be told apart, what comes from there is the one's of the usual port, in whatever order they are listed. A static
// entry's destination comes after all of the flood list.
func TestPeersOfOneAddress(t *testing.T) {
	t.Parallel()
	log := new(lines)
	s := newScene(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(s.remotes[0].addr, port) }
	for i, c := range []struct {
		name          string
		flood, static []uint16
		want          uint16
		warns         int
	}{
		{"usual port first", []uint16{DefaultPort, 4790, 4791}, nil, DefaultPort, 2},
		{"usual port last", []uint16{4790, 4791, DefaultPort}, nil, DefaultPort, 2},
		{"others only", []uint16{4791, 4790}, nil, 4791, 1},
		{"static entries only", nil, []uint16{4799, 4790, 4795}, 4790, 0},
		{"static entries, one of the usual port", nil, []uint16{4799, 4780, DefaultPort}, DefaultPort, 0},
		{"static entry of the usual port, flood list of another", []uint16{4790}, []uint16{DefaultPort}, 4790, 0},
		{"one", []uint16{4790}, nil, 4790, 0},
	} {
		vni, warned := uint32(100+i), log.count("cannot be told apart")
		conf := VNIConfig{VNI: vni, Learning: true, Ageing: 300 * time.Second}
		for _, port := range c.flood {
			conf.Peers = append(conf.Peers, at(port))
		}
		for range 2 { // the second time says nothing new
			s.do(func() error { return s.SetVNI(conf) })
		}
		for n, port := range c.static {
			s.do(func() error {
				return s.FDBPut(FDBEntry{VNI: vni, MAC: fdb.MAC(station(50 + n)), Dst: at(port), State: fdb.Static}, fdb.Add)
			})
		}
		if len(c.flood) == 3 { // one after the other, the usual one last
			before := log.count("cannot be told apart")
			for i := range 3 {
				one := VNIConfig{VNI: vni + 500, Learning: true}
				for _, port := range []uint16{4790, 4791, DefaultPort}[:i+1] {
					one.Peers = append(one.Peers, at(port))
				}
				s.do(func() error { return s.SetVNI(one) })
			}
			if n := log.count("cannot be told apart") - before; n != 3 {
				t.Errorf("%s, one after the other: %d warnings, want 3", c.name, n)
			}
			s.do(func() error { return s.DelVNI(vni + 500) })
			warned += 3
		}
		s.port("p"+c.name[:1]+string(rune('0'+i)), vni)
		s.remotes[0].send(vni, frameOf(station(1), broadcast))
		s.rest()
		if got := s.entry(vni, station(1)).Dst; got != at(c.want) {
			t.Errorf("%s: learned at %s, want %s", c.name, got, at(c.want))
		}
		if n := log.count("cannot be told apart") - warned; n != c.warns {
			t.Errorf("%s: %d warnings, want %d", c.name, n, c.warns)
		}
	}
}

// However many sources turn up under policy Learn, there is room for the peers that the operator names.
func TestLearnedPeersLeaveRoom(t *testing.T) {
	r := newRegistry(1)
	addr := func(third byte, n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: third, 14: byte(n >> 8), 15: byte(n)}), DefaultPort)
	}
	for n := range maxLearnedPeers {
		if _, err := r.obtain(addr(1, n), 0); err != nil {
			t.Fatalf("learned peer %d: %v", n, err)
		}
	}
	if _, err := r.obtain(addr(1, maxLearnedPeers), 0); !errors.Is(err, ErrLimit) {
		t.Errorf("learned peer %d: error %v, want %v", maxLearnedPeers, err, ErrLimit)
	}
	for n := range MaxPeers - maxLearnedPeers {
		if _, err := r.obtain(addr(2, n), 1); err != nil {
			t.Fatalf("configured peer %d: %v", n, err)
		}
	}
	if _, err := r.obtain(addr(2, MaxPeers), 1); !errors.Is(err, ErrLimit) {
		t.Errorf("one configured peer too many: error %v, want %v", err, ErrLimit)
	}
	// One that was learned and is configured now is not one more.
	if p, err := r.obtain(addr(1, 0), 1); err != nil || p.refs != 1 {
		t.Errorf("a learned peer that is configured: %v, %v", p, err)
	}
	// What is let go makes room again for what is learned, once enough has.
	if young := r.reap(func(p *peer) bool { return p.index >= 100 }); len(young) != 0 {
		t.Errorf("%d peers let go that have just been learned", len(young))
	}
	gone := r.reap(func(p *peer) bool { return p.index >= 100 })
	r.recycle(gone)
	if len(gone) != 99 {
		t.Errorf("%d peers let go, want 99: all of the first 100 but the one that is configured", len(gone))
	}
	if _, err := r.obtain(addr(3, 0), 0); !errors.Is(err, ErrLimit) {
		t.Errorf("learned while configured peers fill the room: error %v, want %v", err, ErrLimit)
	}
	if _, err := r.obtain(addr(3, 0), 1); err != nil {
		t.Error(err)
	}
}
