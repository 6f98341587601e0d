package dataplane

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"vtepd/dataplane/underlay"
	"vtepd/fdb"
)

// peerBuckets is the size of the registry's hash table: a quarter of MaxPeers keeps chains short. A power of two.
const peerBuckets = MaxPeers / 4

// maxLearnedPeers is how many peers there may be for one more to be learned. The rest is for those that configuration names: otherwise, under
// policy Learn, spoofed sources could have the operator's own peers refused.
const maxLearnedPeers = MaxPeers / 4 * 3

// peer is a remote VTEP: one underlay address and UDP port. index, addr, dest, stats, family and group are written once; path but for its limit is
// paths.mu's, next the registry's.
type peer struct {
	index  uint32
	addr   netip.AddrPort
	dest   *underlay.Dest
	stats  counterSet // by worker
	path   path
	family int  // of addr
	group  bool // no VTEP but a multicast group, which datagrams are only sent to

	next atomic.Pointer[peer] // chain of the bucket

	// Under registry.mu: refs is how often configuration names it (flood lists, static entries). young, it was learned since the last reap: whoever did has
	// no entry for it yet.
	refs  int
	young bool
}

func (p *peer) place() fdb.Dest { return fdb.PeerDest(p.index) }

// linkLocal says whether the address of a peer means something on one link alone: members of an IPv6 group with link-local scope send from such.
func (p *peer) linkLocal() bool { return !p.group && underlay.Scoped(p.addr.Addr()) }

// withLink is the address of a peer with the interface that a link-local one is behind.
func (p *peer) withLink() netip.AddrPort {
	if i := p.dest.Interface(); i != 0 && p.linkLocal() {
		return netip.AddrPortFrom(p.addr.Addr().WithZone(strconv.Itoa(i)), p.addr.Port())
	}
	return p.addr
}

// registry knows every peer. Workers find peers in it without a lock and add learned ones under a short one; it is apart from the
// forwarding snapshot, so that a million spoofed sources cost no snapshots.
type registry struct {
	workers int
	seed    maphash.Seed
	buckets [peerBuckets]atomic.Pointer[peer]
	byIndex [MaxPeers]atomic.Pointer[peer]
	count   atomic.Int64
	version atomic.Uint64 // counts arrivals and departures
	// dports holds the UDP ports that peers listen on.
	dports portSet
	// link is the ifindex of the interface that peers with link-local addresses are behind, who speak to a group; 0: not known. Written under mu.
	link atomic.Int32

	// leaving are those that reap takes out, until recycle: only this knows the names of entries that a worker still made behind them.
	leaving atomic.Pointer[[]*peer]

	mu   sync.Mutex
	free []uint32 // indices that may be used again
	high uint32   // first index never used
}

func newRegistry(workers int) *registry {
	return &registry{workers: workers, seed: maphash.MakeSeed()}
}

func (r *registry) bucket(a netip.Addr) *atomic.Pointer[peer] {
	b := a.As16()
	return &r.buckets[maphash.Bytes(r.seed, b[:])%peerBuckets]
}

// find returns the peer of that address and port, or nil.
func (r *registry) find(a netip.AddrPort) *peer {
	for p := r.bucket(a.Addr()).Load(); p != nil; p = p.next.Load() {
		if p.addr == a {
			return p
		}
	}
	return nil
}

// at returns the peer of an index, or nil.
func (r *registry) at(index uint32) *peer {
	if index >= MaxPeers {
		return nil
	}
	return r.byIndex[index].Load()
}

// whose returns the peer that an entry with that index leads to, or led to as long as the peer is being let go, or nil.
func (r *registry) whose(index uint32) *peer {
	if p := r.at(index); p != nil {
		return p
	}
	if gone := r.leaving.Load(); gone != nil {
		for _, p := range *gone {
			if p.index == index {
				return p
			}
		}
	}
	return nil
}

// obtain returns the peer of that address and port, making it when there is none, and adds refs to its references. Without refs it is learned, and
// refused beyond maxLearnedPeers.
func (r *registry) obtain(a netip.AddrPort, refs int) (*peer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.find(a); p != nil {
		p.refs += refs
		return p, nil
	}
	var index uint32
	switch {
	case refs == 0 && r.count.Load() >= maxLearnedPeers:
		return nil, fmt.Errorf("peer %s: %d peers are known, and no more are learned: %w", a.Addr(), maxLearnedPeers, ErrLimit)
	case len(r.free) > 0:
		index = r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
	case r.high < MaxPeers:
		index = r.high
		r.high++
	default:
		return nil, fmt.Errorf("peer %s: the switch knows %d peers already: %w", a.Addr(), MaxPeers, ErrLimit)
	}
	p := &peer{index: index, addr: a, dest: underlay.NewDest(a), stats: newCounterSet(r.workers), family: familyOf(a.Addr()), group: a.Addr().IsMulticast(),
		refs: refs, young: refs == 0}
	if p.linkLocal() {
		p.dest.SetInterface(int(r.link.Load()))
	}
	r.byIndex[index].Store(p)
	head := r.bucket(a.Addr())
	p.next.Store(head.Load())
	head.Store(p)
	r.count.Add(1)
	r.version.Add(1)
	r.dports.add(a.Port())
	return p, nil
}

// onLink says which interface peers with link-local addresses are behind.
func (r *registry) onLink(ifindex int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link.Swap(int32(ifindex)) == int32(ifindex) {
		return
	}
	for i := range r.high {
		if p := r.byIndex[i].Load(); p != nil && p.linkLocal() {
			p.dest.SetInterface(ifindex)
		}
	}
}

// release takes refs back. The peer stays until reap finds it unused.
func (r *registry) release(p *peer, refs int) {
	r.mu.Lock()
	p.refs -= refs
	r.mu.Unlock()
}

// reap takes the peers out that configuration does not name and for which inUse says no, unless they were learned since the last time. Their indices stay reserved until the caller,
// having made sure that no worker can still name them, hands them to recycle.
func (r *registry) reap(inUse func(*peer) bool) []*peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var idle, gone []*peer
	for i := range r.high {
		p := r.byIndex[i].Load()
		if p == nil {
			continue
		}
		young := p.young
		p.young = false
		if !young && p.refs == 0 && !inUse(p) {
			idle = append(idle, p)
		}
	}
	if len(idle) == 0 {
		return nil
	}
	r.leaving.Store(&idle)
	for _, p := range idle {
		if inUse(p) { // by now
			continue
		}
		link := r.bucket(p.addr.Addr())
		for q := link.Load(); q != p; q = link.Load() {
			link = &q.next
		}
		// p keeps its own link: a reader standing on it still finds the rest of the chain.
		link.Store(p.next.Load())
		r.byIndex[p.index].Store(nil)
		r.count.Add(-1)
		r.version.Add(1)
		r.dports.remove(p.addr.Port())
		gone = append(gone, p)
	}
	return gone
}

// recycle makes indices usable again.
func (r *registry) recycle(gone []*peer) {
	r.leaving.Store(nil)
	r.mu.Lock()
	for _, p := range gone {
		r.free = append(r.free, p.index)
	}
	r.mu.Unlock()
}

// used lists the peers that something holds, by index: those without wait for reap, and are gone to whoever asks.
func (r *registry) used(inUse func(*peer) bool) []*peer {
	list := r.all()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(list, func(p *peer) bool { return p.refs == 0 && !p.young && !inUse(p) })
}

// since lists the known peers unless none came or went since a version, and tells the version it is of.
func (r *registry) since(version uint64) (uint64, []*peer) {
	now := r.version.Load()
	if now == version {
		return now, nil
	}
	return now, r.all()
}

// named lists the peers that configuration names, by index.
func (r *registry) named() []*peer {
	list := r.all()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(list, func(p *peer) bool { return p.refs == 0 })
}

// all lists the known peers by index.
func (r *registry) all() []*peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*peer
	for i := range r.high {
		if p := r.byIndex[i].Load(); p != nil {
			list = append(list, p)
		}
	}
	return list
}
