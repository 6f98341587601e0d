package dataplane

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vtepd/fdb"
)

// FDBPut makes a forwarding entry. Exactly one of Dst and Port says where; the VNI must be declared, and the port must carry it.
func (s *Switch) FDBPut(e FDBEntry, mode fdb.PutMode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	r := s.vnis[e.VNI]
	if r == nil {
		return fmt.Errorf("vni %d: %w", e.VNI, ErrNotFound)
	}
	if e.MAC.IsZero() || e.MAC.IsMulticast() {
		return fmt.Errorf("mac %s: a forwarding entry needs a unicast address: %w", e.MAC, ErrInvalid)
	}
	entry := fdb.Entry{VNI: e.VNI, MAC: e.MAC, State: e.State, Seen: s.now()}
	var p *peer
	switch {
	case e.Port != "" && e.Dst.IsValid():
		return fmt.Errorf("mac %s: port and dst exclude each other: %w", e.MAC, ErrInvalid)
	case e.Port != "":
		port := s.ports[e.Port]
		if port == nil {
			return fmt.Errorf("port %s: %w", e.Port, ErrNotFound)
		}
		if _, ok := port.published.tagFor(e.VNI); !ok {
			return fmt.Errorf("port %s: does not carry vni %d: %w", e.Port, e.VNI, ErrInvalid)
		}
		entry.Dest = port.published.place()
	default:
		a, err := s.peerAddress(e.Dst)
		if err != nil {
			return err
		}
		if p, err = s.peers.obtain(a, 1); err != nil {
			return err
		}
		entry.Dest = p.place()
	}
	old, had := s.fdb.Get(e.VNI, e.MAC, s.now())
	if err := s.fdb.Put(entry, mode, s.now()); err != nil {
		if p != nil {
			s.peers.release(p, 1)
		}
		return err
	}
	if had {
		defer s.carriedAsSaid()
	} else if e.State == fdb.Static {
		defer s.fast.staticPut()
	}
	// The new entry comes first: a peer that both have may send without a break.
	if p != nil {
		if e.State == fdb.Dynamic {
			s.peers.release(p, 1) // lives as long as the entry does
		} else {
			s.pin(r, p)
		}
	}
	if had {
		s.unpin(r, old)
	}
	s.sendersSettle()
	return nil
}

// pin notes a static entry toward a peer: the peer may send into the VNI. The reference was taken by obtain.
func (s *Switch) pin(r *vniRecord, p *peer) {
	if r.statics[p]++; r.statics[p] == 1 {
		s.sendersGrow(r)
	}
}

// unpin takes back what a former entry pinned, and the peer's right to send into the VNI with its last one.
func (s *Switch) unpin(r *vniRecord, old fdb.Entry) {
	if old.State == fdb.Dynamic || !old.Dest.IsPeer() {
		return
	}
	p := s.peers.at(old.Dest.Index())
	if p == nil || r.statics[p] == 0 {
		return
	}
	s.peers.release(p, 1)
	if r.statics[p]--; r.statics[p] == 0 {
		delete(r.statics, p)
		s.sendersShrink(r)
	}
}

// FDBDel removes a forwarding entry; with a valid dst only one that points there.
func (s *Switch) FDBDel(vni uint32, mac fdb.MAC, dst netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	r := s.vnis[vni]
	if r == nil {
		return fmt.Errorf("vni %d: %w", vni, ErrNotFound)
	}
	if dst.Addr().IsValid() {
		e, ok := s.fdb.Get(vni, mac, s.now())
		if !ok || !s.filterDest(e, FDBFilter{Dst: dst}) {
			return fmt.Errorf("mac %s vni %d dst %s: %w", mac, vni, dst.Addr(), ErrNotFound)
		}
	}
	old, err := s.fdb.Delete(vni, mac)
	if err != nil {
		return fmt.Errorf("mac %s vni %d: %w", mac, vni, ErrNotFound)
	}
	s.unpin(r, old)
	s.sendersSettle()
	s.carriedAsSaid()
	return nil
}

// FDBGet finds one forwarding entry.
func (s *Switch) FDBGet(vni uint32, mac fdb.MAC) (FDBEntry, error) {
	if s.current.Load().vnis.get(vni) == nil {
		return FDBEntry{}, fmt.Errorf("vni %d: %w", vni, ErrNotFound)
	}
	s.fast.freshAge(vni, mac)
	return s.FDBPeek(vni, mac)
}

// FDBPeek is FDBGet without asking the programs of the fast path first: an age may be some seconds old, and a station that they have just heard of is missing.
func (s *Switch) FDBPeek(vni uint32, mac fdb.MAC) (FDBEntry, error) {
	e, ok := s.fdb.Get(vni, mac, s.now())
	if !ok {
		return FDBEntry{}, fmt.Errorf("mac %s vni %d: %w", mac, vni, ErrNotFound)
	}
	return s.entry(e), nil
}

// FDBHistory lists where a MAC has been, oldest first.
func (s *Switch) FDBHistory(vni uint32, mac fdb.MAC) []Move {
	now := s.now()
	var list []Move
	for _, m := range s.fdb.History(vni, mac) {
		ago := max(now, m.At) - m.At // the clock may have turned since now was read
		list = append(list, Move{From: s.placeName(m.From), To: s.placeName(m.To), Ago: time.Duration(ago) * time.Second})
	}
	return list
}

// FDBDump lists the forwarding entries that a filter selects, by VNI and MAC. The destinations of the head-end replication lists are
// among them, as all-zero MACs.
func (s *Switch) FDBDump(f FDBFilter) []FDBEntry {
	if f.VNI != 0 && f.HasMAC {
		s.fast.freshAge(f.VNI, f.MAC)
	} else {
		s.fast.freshAges()
	}
	var list []FDBEntry
	now := s.now()
	s.fdb.Walk(now, func(e fdb.Entry) bool {
		if s.selects(e, f) {
			list = append(list, s.entry(e))
		}
		return true
	})
	list = append(list, s.floodEntries(f)...)
	slices.SortFunc(list, func(a, b FDBEntry) int {
		return cmp.Or(cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.MAC, b.MAC), a.Dst.Compare(b.Dst), cmp.Compare(a.Port, b.Port))
	})
	return list
}

func (s *Switch) floodEntries(f FDBFilter) []FDBEntry {
	if f.Port != "" || f.Dynamic || f.HasMAC && !f.MAC.IsZero() {
		return nil
	}
	var list []FDBEntry
	s.mu.Lock()
	defer s.mu.Unlock()
	for vni, r := range s.vnis {
		if f.VNI != 0 && f.VNI != vni {
			continue
		}
		for _, p := range r.destinations() {
			if matchAddress(p.addr, f.Dst) {
				list = append(list, FDBEntry{VNI: vni, Dst: p.addr, State: fdb.Static, Flood: true})
			}
		}
	}
	return list
}

// FDBFlush removes the entries that a filter selects, dynamic ones unless it says otherwise, and returns how many.
func (s *Switch) FDBFlush(f FDBFilter) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	if f.VNI != 0 && s.vnis[f.VNI] == nil {
		return 0, fmt.Errorf("vni %d: %w", f.VNI, ErrNotFound)
	}
	if f.Port != "" && s.ports[f.Port] == nil {
		return 0, fmt.Errorf("port %s: %w", f.Port, ErrNotFound)
	}
	if !f.Static && !f.Dynamic {
		f.Dynamic = true
	}
	// Entries are deleted one by one, and no group is flushed, so that each is counted and a static one lets go of its peer: a filter from outside selects few.
	var doomed []fdb.Entry
	s.fdb.Walk(s.now(), func(e fdb.Entry) bool {
		if s.selects(e, f) {
			doomed = append(doomed, e)
		}
		return true
	})
	n := 0
	for _, e := range doomed {
		if old, err := s.fdb.Delete(e.VNI, e.MAC); err == nil {
			n++
			if r := s.vnis[e.VNI]; r != nil {
				s.unpin(r, old)
			}
		}
	}
	s.sendersSettle()
	s.fast.catchUp()
	return n, nil
}

func (s *Switch) selects(e fdb.Entry, f FDBFilter) bool {
	if f.VNI != 0 && e.VNI != f.VNI || f.HasMAC && e.MAC != f.MAC {
		return false
	}
	if f.Static || f.Dynamic {
		if e.State == fdb.Dynamic && !f.Dynamic || e.State != fdb.Dynamic && !f.Static {
			return false
		}
	}
	return s.filterDest(e, f)
}

func (s *Switch) filterDest(e fdb.Entry, f FDBFilter) bool {
	if f.Port != "" {
		p := s.current.Load().port(e.Dest.Index())
		if !e.Dest.IsPort() || p == nil || p.config.Name != f.Port {
			return false
		}
	}
	if f.Dst.Addr().IsValid() {
		if !e.Dest.IsPeer() {
			return false
		}
		p := s.peers.at(e.Dest.Index())
		return p != nil && matchAddress(p.addr, f.Dst)
	}
	return true
}

// matchAddress compares with a filter whose zero address means any and whose zero port means any.
func matchAddress(a, filter netip.AddrPort) bool {
	if !filter.Addr().IsValid() {
		return true
	}
	return a.Addr() == filter.Addr().Unmap() && (filter.Port() == 0 || filter.Port() == a.Port())
}

// entry puts a table entry into the words of the outside.
func (s *Switch) entry(e fdb.Entry) FDBEntry {
	out := FDBEntry{VNI: e.VNI, MAC: e.MAC, State: e.State, Moves: e.Moves}
	if e.State == fdb.Dynamic {
		if now := s.now(); now > e.Seen {
			out.Age = time.Duration(now-e.Seen) * time.Second
		}
	}
	if e.Dest.IsPort() {
		out.Port = s.placeName(e.Dest)
	} else if p := s.peers.whose(e.Dest.Index()); p != nil {
		out.Dst = p.addr
	}
	return out
}

// placeName is the name of a port or the address of a peer; empty when it is gone.
func (s *Switch) placeName(d fdb.Dest) string {
	if d.IsPort() {
		if p := s.current.Load().port(d.Index()); p != nil {
			return p.config.Name
		}
		if p := s.leaving.Load(); p != nil && p.index == d.Index() {
			return p.config.Name
		}
		return ""
	}
	if p := s.peers.whose(d.Index()); p != nil {
		return p.addr.Addr().String()
	}
	return ""
}

// flushPortDynamic forgets what was learned at a port.
func (s *Switch) flushPortDynamic(p *port) {
	s.fdb.FlushDest(p.place(), fdb.FlushFilter{})
}

// learnedPeersPerTick bounds how many sources that nobody configured become peers a second.
const learnedPeersPerTick = 1024

// learnPeer finds or makes the peer of a source that the policy admits without naming it. Nil when there are too many already, or too many
// new ones this second: its frames are forwarded, its MACs are not learned. Workers call it.
//
// It is known by the port that it sent to: who sends to 8472 listens there too.
func (s *Switch) learnPeer(full netip.AddrPort) *peer {
	if p := s.peers.find(full); p != nil {
		return p
	}
	if !s.newPeers.take(s.tick.Load(), learnedPeersPerTick) {
		return nil
	}
	p, err := s.peers.obtain(full, 0)
	if err != nil {
		return nil
	}
	s.fast.poke()
	s.event(Event{Object: "peer", Action: "add", Peer: full, Reason: "learned"})
	return p
}
