package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// fakePrograms are programs that carry nothing: maps in memory, which judge what is written into them. It is what a mirror must never do that they look
// for: an entry that leads to an index whose owner it was not meant for.
type fakePrograms struct {
	t *testing.T

	mu        sync.Mutex
	closed    bool
	ports     map[uint32]xdp.Port
	domains   map[uint32]xdp.Domain
	peers     map[uint32]xdp.Peer
	sources   map[sourceKey]uint32
	entries   map[fdbKey]xdp.Entry
	attached  map[int]xdp.Hook
	underlays map[int]bool
	refuse    error // of AttachUnderlay
	refuseDel error // the next answer of DelEntries
	// refuseWalk is that of WalkEntries.
	refuseWalk error
	decap      xdp.Decap // its answer otherwise
	asked      int       // how often it was called
	room       int       // entries; 0: any number
	seats      int       // the same of sources
	admitted   int       // how often PutSources was called
	wrote      uint64    // entries written or removed
	slow       bool
	counters   map[uint32]xdp.Counters // of ports
	vnis       map[uint32]xdp.Counters
	clock      uint32
	guarded    []uint16
	vteps      []netip.Addr
	// refuseGuard is the answer of GuardAddresses. guarding is called while ports are guarded, before addresses are.
	refuseGuard error
	guarding    func()
	wrong       []string
	commits     int
	refusePin   error // of Commit and KeepPins
	unpinned    bool  // somebody removed pins, or Commit was refused
	former      *xdp.State
	// formerFilter is a descriptor, -1: none. refusePort is the answer of AttachPort.
	formerFilter int
	refusePort   error
	attaching    func() // called by AttachPort, with the lock held
	// serials of sources, and of every port and source that ever was: nothing may be named twice.
	serials map[sourceKey]uint32
	named   map[uint32]string
	// keepsSources: a VNI that leaves the fast path for a while, such as one that is captured, keeps its sources, which are followed meanwhile.
	keepsSources bool
	events       []xdp.LearnEvent
	ended        bool
	walked       func(nth, all int) // called by WalkEntries, before each entry
}

func newFakePrograms(t *testing.T) *fakePrograms {
	return &fakePrograms{
		t: t, ports: map[uint32]xdp.Port{}, domains: map[uint32]xdp.Domain{}, peers: map[uint32]xdp.Peer{}, sources: map[sourceKey]uint32{},
		entries: map[fdbKey]xdp.Entry{}, attached: map[int]xdp.Hook{}, underlays: map[int]bool{}, counters: map[uint32]xdp.Counters{}, vnis: map[uint32]xdp.Counters{}, clock: 5000,
		decap: xdp.Decap{Mode: "tcx"}, formerFilter: -1,
		serials: map[sourceKey]uint32{}, named: map[uint32]string{},
	}
}

func (f *fakePrograms) locked(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakePrograms) blame(format string, args ...any) {
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

func (f *fakePrograms) Close() error {
	f.locked(func() { f.closed = true; clear(f.attached) })
	return nil
}
func (f *fakePrograms) Abandon() error {
	f.locked(func() { f.closed = true })
	return nil
}
func (f *fakePrograms) Former() *xdp.State   { return f.former }
func (f *fakePrograms) FormerFilter(int) int { return f.formerFilter }
func (f *fakePrograms) SocketFilter() int    { return -1 }
func (f *fakePrograms) Now() uint32          { f.mu.Lock(); defer f.mu.Unlock(); return f.clock }
func (f *fakePrograms) Totals() xdp.Totals   { return xdp.Totals{} }

func (f *fakePrograms) Commit() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commits++
	f.unpinned = f.refusePin != nil
	return f.refusePin
}

func (f *fakePrograms) KeepPins() (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.unpinned || f.refusePin != nil {
		return false, f.refusePin
	}
	f.unpinned = false
	return true, nil
}

func (f *fakePrograms) AttachPort(ifindex int, at xdp.Hook, over int) error {
	if over >= 0 {
		unix.Close(over)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attaching != nil {
		f.attaching()
	}
	if f.refusePort == nil {
		f.attached[ifindex] = at
	}
	return f.refusePort
}

func (f *fakePrograms) DetachPort(ifindex int, heir func(link int) bool) error {
	if heir != nil {
		heir(-1)
	}
	f.locked(func() {
		for _, p := range f.ports {
			if p.Ifindex == ifindex {
				f.blame("detached from ifindex %d while port %d is in the maps", ifindex, p.Index)
			}
		}
		delete(f.attached, ifindex)
	})
	return nil
}

func (f *fakePrograms) AttachUnderlay(ifindex int) (xdp.Decap, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.refuse != nil {
		return xdp.Decap{}, f.refuse
	}
	f.underlays[ifindex] = true
	return f.decap, nil
}

func (f *fakePrograms) DetachUnderlay(ifindex int) error {
	f.locked(func() { delete(f.underlays, ifindex) })
	return nil
}

// leadsTo lists the entries toward a place.
func (f *fakePrograms) leadsTo(peer bool, index uint32) (list []fdbKey) {
	for k, e := range f.entries {
		if e.ToPeer == peer && e.Index == index {
			list = append(list, k)
		}
	}
	return list
}

func (f *fakePrograms) PutPort(p xdp.Port) error {
	f.locked(func() {
		if _, ok := f.attached[p.Ifindex]; !ok {
			f.blame("port %d comes before its program", p.Index)
		}
		f.ports[p.Index] = p
		f.name(p.Serial, fmt.Sprintf("port of ifindex %d", p.Ifindex))
		for _, k := range f.leadsTo(false, p.Index) {
			f.checkPlace(k)
		}
	})
	return nil
}

// checkPlace wants an entry to lead to the place that its MAC speaks of (madeFor), as long as the maps hold something there.
func (f *fakePrograms) checkPlace(k fdbKey) {
	e := f.entries[k]
	toPeer, number, ok := meantFor(k.mac)
	if !ok {
		return
	}
	if e.ToPeer {
		p, there := f.peers[e.Index]
		a := p.Addr.Addr().As16()
		if there && (!toPeer || int(a[15]) != number) {
			f.blame("%v leads to peer %d, which is %s", k, e.Index, p.Addr)
		}
		return
	}
	if p, there := f.ports[e.Index]; there && (toPeer || p.Ifindex != number) {
		f.blame("%v leads to port %d, which is ifindex %d", k, e.Index, p.Ifindex)
	}
}

// madeFor is a MAC that says where it lives: behind the port of an ifindex, or behind the peer whose address ends in number.
func madeFor(toPeer bool, number, n int) fdb.MAC {
	kind := 0x0a0000000000
	if toPeer {
		kind = 0x0e0000000000
	}
	return fdb.MAC(kind | number<<12 | n&0xfff)
}

func meantFor(m fdb.MAC) (toPeer bool, number int, ok bool) {
	kind := m >> 40
	return kind == 0x0e, int(m>>12) & 0xfffffff, kind == 0x0a || kind == 0x0e
}

func (f *fakePrograms) DelPort(index uint32) error {
	f.locked(func() { delete(f.ports, index) })
	return nil
}
func (f *fakePrograms) ForgetPort(index uint32) error {
	f.locked(func() { delete(f.ports, index); delete(f.counters, index) })
	return nil
}

func (f *fakePrograms) GuardPorts(ports []uint16) error {
	var meanwhile func()
	f.locked(func() { f.guarded, meanwhile = ports, f.guarding })
	if meanwhile != nil {
		meanwhile()
	}
	return nil
}

func (f *fakePrograms) GuardAddresses(vteps []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuseGuard != nil {
		return f.refuseGuard
	}
	f.vteps = slices.Clone(vteps)
	return nil
}

func (f *fakePrograms) PutDomain(d xdp.Domain) error {
	f.locked(func() {
		if _, had := f.domains[d.VNI]; !had && !f.keepsSources {
			for k := range f.sources {
				if k.vni == d.VNI {
					f.blame("VNI %d comes, and %s of a former one may send", d.VNI, k.addr)
				}
			}
		}
		f.domains[d.VNI] = d
	})
	return nil
}

func (f *fakePrograms) DelDomain(vni uint32) error {
	f.locked(func() {
		if c, ok := f.vnis[vni]; ok { // frames go on to the last moment
			c.RxPackets, c.RxBytes = c.RxPackets+1, c.RxBytes+100
			f.vnis[vni] = c
		}
		delete(f.domains, vni)
	})
	return nil
}

func (f *fakePrograms) ForgetDomain(vni uint32) error {
	f.locked(func() { delete(f.domains, vni); delete(f.vnis, vni) })
	return nil
}

func (f *fakePrograms) PutPeer(p xdp.Peer) error {
	f.locked(func() {
		if old, had := f.peers[p.Index]; had && old.Addr != p.Addr {
			f.blame("peer %d became %s without leaving as %s", p.Index, p.Addr, old.Addr)
		}
		if port := p.Addr.Port(); port != DefaultPort && !slices.Contains(f.guarded, port) {
			f.blame("peer %s comes before its UDP port is guarded", p.Addr)
		}
		if f.refuseGuard == nil && !slices.Contains(f.vteps, p.Addr.Addr()) {
			f.blame("peer %s comes before its address is guarded", p.Addr)
		}
		f.peers[p.Index] = p
		for _, k := range f.leadsTo(true, p.Index) {
			f.checkPlace(k)
		}
	})
	return nil
}

func (f *fakePrograms) DelPeer(index uint32) error {
	f.locked(func() { delete(f.peers, index) })
	return nil
}
func (f *fakePrograms) ForgetPeer(index uint32) error { return f.DelPeer(index) }

func (f *fakePrograms) PutSources(list []xdp.Source) (err error) {
	f.locked(func() {
		f.admitted++
		for _, s := range list {
			k := sourceKey{s.VNI, s.Addr}
			if _, had := f.sources[k]; !had && f.seats > 0 && len(f.sources) >= f.seats {
				err = xdp.ErrFull
				return
			}
			f.sources[k], f.serials[k] = s.Peer, s.Serial
			f.name(s.Serial, fmt.Sprintf("source %s", s.Addr))
		}
	})
	return err
}

// name wants a serial to belong to one port or source for ever.
func (f *fakePrograms) name(serial uint32, owner string) {
	if was, ok := f.named[serial]; serial == 0 || ok && was != owner {
		f.blame("serial %d of %s was that of %s", serial, owner, was)
	}
	f.named[serial] = owner
}

// tell has the programs tell of a source.
func (f *fakePrograms) tell(list ...xdp.LearnEvent) {
	f.locked(func() { f.events = append(f.events, list...) })
}

func (f *fakePrograms) EventsWaiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		f.blame("asked for events when closed")
	}
	return len(f.events) > 0
}

func (f *fakePrograms) ReadEvents(list []xdp.LearnEvent) (n int) {
	f.locked(func() {
		n = copy(list, f.events)
		f.events = f.events[n:]
	})
	return n
}

func (f *fakePrograms) WaitEvents() bool {
	for {
		f.mu.Lock()
		some, ended := len(f.events) > 0, f.ended
		f.mu.Unlock()
		if some || ended {
			return !ended
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *fakePrograms) EndEvents() { f.locked(func() { f.ended = true }) }

func (f *fakePrograms) DelSources(list ...xdp.SourceKey) error {
	f.locked(func() {
		for _, s := range list {
			delete(f.sources, sourceKey{s.VNI, s.Addr})
		}
	})
	return nil
}

func (f *fakePrograms) PutEntries(list []xdp.Entry) error {
	if f.slow && rand.IntN(4) == 0 {
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond) // so that more changes at once wait for a round
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range list {
		k := fdbKey{e.VNI, fdb.FromBytes(e.MAC[:])}
		if _, had := f.entries[k]; !had && f.room > 0 && len(f.entries) >= f.room {
			return xdp.ErrFull
		}
		f.entries[k] = e
		f.wrote++
		f.checkPlace(k)
	}
	return nil
}

func (f *fakePrograms) DelEntries(list ...xdp.EntryKey) (err error) {
	f.locked(func() {
		if err, f.refuseDel = f.refuseDel, nil; err != nil {
			return
		}
		for _, k := range list {
			delete(f.entries, fdbKey{k.VNI, fdb.FromBytes(k.MAC[:])})
			f.wrote++
		}
	})
	return err
}

func (f *fakePrograms) FindEntry(k xdp.EntryKey) (xdp.Entry, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.entries[fdbKey{k.VNI, fdb.FromBytes(k.MAC[:])}]
	return e, ok, nil
}

func (f *fakePrograms) WalkEntries(yield func(xdp.Entry) bool) error {
	var list []xdp.Entry
	var walked func(nth, all int)
	var refused error
	f.locked(func() {
		list, walked = slices.Collect(maps.Values(f.entries)), f.walked
		refused, f.refuseWalk = f.refuseWalk, nil
	})
	if refused != nil {
		return refused
	}
	for i, e := range list {
		if walked != nil {
			walked(i, len(list))
		}
		if !yield(e) {
			break
		}
	}
	return nil
}

func (f *fakePrograms) PortCounters(index uint32) xdp.Counters {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counters[index]
}
func (f *fakePrograms) PeerCounters(uint32) xdp.Counters { return xdp.Counters{} }

func (f *fakePrograms) VNICounters(vni uint32) xdp.Counters {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.vnis[vni]
}

// see is what a program does when a frame of an entry passes at a second.
func (f *fakePrograms) see(k fdbKey, second uint32) {
	f.locked(func() {
		if e, ok := f.entries[k]; ok {
			e.Seen = second
			f.entries[k] = e
		}
	})
}

// fakeScene is a scene whose fast path has fake programs.
func fakeScene(t *testing.T, remotes int, change func(*Config)) (*scene, *fakePrograms) {
	f := newFakePrograms(t)
	s := newScene(t, remotes, func(c *Config) {
		c.FastPath = FastPathOn
		c.openPrograms = func(xdp.Options) (programs, error) { return f, nil }
		if change != nil {
			change(c)
		}
	})
	return s, f
}

// equal holds the maps against the switch, once it has caught up: the forwarding entries, the ports, VNIs, peers and sources.
func (f *fakePrograms) equal(t *testing.T, s *Switch, when string) {
	t.Helper()
	s.fast.catchUp()
	// A key that waited for its index takes another round.
	for end := time.Now().Add(lab.Patience); ; time.Sleep(5 * time.Millisecond) {
		s.fast.catchUp()
		err := f.differs(s)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Errorf("%s: %v", when, err)
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.wrong {
		t.Errorf("%s: %s", when, w)
	}
	f.wrong = nil
}

func (f *fakePrograms) differs(s *Switch) error {
	want := make(map[fdbKey]fdb.Entry)
	s.fdb.Walk(0, func(e fdb.Entry) bool {
		want[fdbKey{e.VNI, e.MAC}] = e
		return true
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for k, e := range want {
		got, ok := f.entries[k]
		if !ok || destOf(got) != e.Dest || got.Sticky != (e.State == fdb.Sticky) || got.Static != (e.State == fdb.Static) {
			errs = append(errs, fmt.Errorf("%v: the map has %+v %v, the table %+v", k, got, ok, e))
		}
	}
	for k := range f.entries {
		if _, ok := want[k]; !ok {
			errs = append(errs, fmt.Errorf("%v: in the map alone", k))
		}
	}
	snap := s.current.Load()
	known := 0
	for _, p := range snap.ports {
		if p == nil {
			continue
		}
		known++
		if got, ok := f.ports[p.index]; !ok || got.Untagged != p.untagged || got.MaxFrame != p.maxFrame {
			errs = append(errs, fmt.Errorf("port %s: the map has %+v %v", p.config.Name, got, ok))
		}
	}
	if known != len(f.ports) || known != len(f.attached) {
		errs = append(errs, fmt.Errorf("%d ports, %d in the map, %d attached", known, len(f.ports), len(f.attached)))
	}
	domains := 0
	vniTree{}.diff(snap.vnis, func(_, d *domain) {
		domains++
		if _, ok := f.domains[d.vni]; !ok {
			errs = append(errs, fmt.Errorf("VNI %d is not in the map", d.vni))
		}
		for a, p := range d.members {
			if got, ok := f.sources[sourceKey{d.vni, a}]; !ok || got != p.index {
				errs = append(errs, fmt.Errorf("VNI %d: source %s is %d %v in the map, want %d", d.vni, a, got, ok, p.index))
			}
		}
	})
	if domains != len(f.domains) {
		errs = append(errs, fmt.Errorf("%d VNIs, %d in the map", domains, len(f.domains)))
	}
	for k, index := range f.sources {
		d, p := snap.vnis.get(k.vni), s.peers.at(index)
		if d == nil || p == nil || p.addr.Addr() != k.addr || d.members[k.addr] == nil && !d.admits(k.addr) {
			errs = append(errs, fmt.Errorf("source %v may send as peer %d", k, index))
		}
	}
	for index, got := range f.peers {
		if p := s.peers.at(index); p == nil || p.addr != got.Addr {
			errs = append(errs, fmt.Errorf("peer %d is %s in the map", index, got.Addr))
		}
	}
	if len(errs) > 5 {
		errs = append(errs[:5], fmt.Errorf("and %d more", len(errs)-5))
	}
	return errors.Join(errs...)
}
