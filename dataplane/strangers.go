package dataplane

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"vtepd/encap"
	"vtepd/fdb"
)

// MaxStrangers is how many senders are remembered whose datagrams were refused.
const MaxStrangers = 16

// Stranger is a sender on the underlay whose datagrams are dropped because nobody declared the VNI (UnknownVNI), or said that it may send into it
// (UnknownPeer): most often a host whose configuration differs from this one's.
type Stranger struct {
	Reason Reason
	Source netip.Addr
	VNI    uint32
	Count  uint64        // datagrams since it is remembered
	Age    time.Duration // since the last of them, in whole seconds
}

// strangers are those that a worker refused last. Only who is refused pays for the lock: no frame that is admitted comes here.
type strangers struct {
	mu   sync.Mutex
	list [MaxStrangers]stranger
}

type stranger struct {
	strangerKey
	count uint64 // 0: nobody is here
	last  fdb.Tick
}

type strangerKey struct {
	reason Reason
	source netip.Addr
	vni    uint32
}

// note remembers who sent a datagram that was refused, in the place of the one that has been quiet for the longest time. Other reasons are not about who
// sends.
func (s *strangers) note(reason Reason, source netip.Addr, header encap.VXLAN, now fdb.Tick) {
	if reason != UnknownVNI && reason != UnknownPeer {
		return
	}
	key := strangerKey{reason, source, header.VNI()}
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := &s.list[0]
	for i := range s.list {
		e := &s.list[i]
		if e.count != 0 && e.strangerKey == key {
			e.count++
			e.last = now
			return
		}
		if oldest.count != 0 && (e.count == 0 || e.last < oldest.last) {
			oldest = e
		}
	}
	*oldest = stranger{key, 1, now}
}

// sum adds the worker's to into.
func (s *strangers) sum(into map[strangerKey]stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.list {
		if e.count == 0 {
			continue
		}
		sum := into[e.strangerKey]
		into[e.strangerKey] = stranger{e.strangerKey, sum.count + e.count, max(sum.last, e.last)}
	}
}

// Strangers lists who was refused of late, the last one first; not those that would be let in by now. What many send, or one under many addresses, leaves
// room for MaxStrangers.
func (s *Switch) Strangers() []Stranger {
	sums := make(map[strangerKey]stranger)
	for _, w := range s.workers {
		w.strangers.sum(sums)
	}
	snap, now := s.current.Load(), s.now()
	var list []Stranger
	for k, e := range sums {
		d := snap.vnis.get(k.vni)
		if k.reason == UnknownVNI && d != nil || k.reason == UnknownPeer && (d == nil || d.members[k.source] != nil || d.admits(k.source)) {
			continue
		}
		age := time.Duration(max(now, e.last)-e.last) * time.Second
		list = append(list, Stranger{Reason: k.reason, Source: k.source, VNI: k.vni, Count: e.count, Age: age})
	}
	slices.SortFunc(list, func(a, b Stranger) int {
		return cmp.Or(cmp.Compare(a.Age, b.Age), cmp.Compare(b.Count, a.Count), a.Source.Compare(b.Source), cmp.Compare(a.VNI, b.VNI))
	})
	return list[:min(len(list), MaxStrangers)]
}
