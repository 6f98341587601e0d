// Package ctltest has a switch for the tests of the control side. It keeps what it is told and moves no frame.
package ctltest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"vtepd/dataplane"
	"vtepd/fdb"
)

// Switch is a ctl.Switch in memory. It refuses what the real one refuses, and what Fail says.
type Switch struct {
	Config dataplane.Config

	mu        sync.Mutex
	fail      func(op string) error
	watch     func(op string)
	ops       []string
	vnis      map[uint32]dataplane.VNIConfig
	ports     map[string]dataplane.PortConfig
	entries   map[key]dataplane.FDBEntry
	drops     []dataplane.Drop
	unknown   []dataplane.Stranger
	history   map[key][]dataplane.Move
	subs      map[chan dataplane.Event]struct{}
	closed    bool
	taken     bool
	abandoned bool
}

type key struct {
	vni uint32
	mac fdb.MAC
}

// New is a switch without VNIs and ports.
func New(c dataplane.Config) *Switch {
	if c.DstPort == 0 {
		c.DstPort = dataplane.DefaultPort
	}
	return &Switch{
		Config: c, vnis: map[uint32]dataplane.VNIConfig{}, ports: map[string]dataplane.PortConfig{}, entries: map[key]dataplane.FDBEntry{},
		history: map[key][]dataplane.Move{}, subs: map[chan dataplane.Event]struct{}{},
	}
}

// Fail makes operations fail for which f returns an error. Operations are named as in Ops; nil fails none.
func (s *Switch) Fail(f func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// Watch calls f before every operation that may take place, with the state that frames have met until then: f must not call the switch; nil ends it.
func (s *Switch) Watch(f func(op string, m Moment)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = nil
	if f == nil {
		return
	}
	s.watch = func(op string) {
		f(op, Moment{maps.Clone(s.vnis), maps.Clone(s.ports), s.sorted()})
	}
}

// Moment is what the switch does at a moment.
type Moment struct {
	VNIs    map[uint32]dataplane.VNIConfig
	Ports   map[string]dataplane.PortConfig
	Entries []dataplane.FDBEntry
}

// Ops returns the operations that succeeded since the last call: "set vni 42", "add port tap0", "put 42 02:00:00:00:00:01".
func (s *Switch) Ops() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := s.ops
	s.ops = nil
	return ops
}

// State is everything that operations change, comparable with reflect.DeepEqual.
func (s *Switch) State() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := ""
	for _, n := range slices.Sorted(maps.Keys(s.vnis)) {
		text += fmt.Sprintf("%+v\n", s.vnis[n])
	}
	for _, n := range slices.Sorted(maps.Keys(s.ports)) {
		text += fmt.Sprintf("%+v\n", s.ports[n])
	}
	for _, e := range s.sorted() {
		text += fmt.Sprintf("%+v\n", e)
	}
	return text
}

// Learn puts a dynamic entry, as a frame would.
func (s *Switch) Learn(e dataplane.FDBEntry, moves ...dataplane.Move) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.State = fdb.Dynamic
	s.entries[key{e.VNI, e.MAC}] = e
	s.history[key{e.VNI, e.MAC}] = moves
}

// Drop adds a line to the drop ledger.
func (s *Switch) Drop(d dataplane.Drop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops = append(s.drops, d)
}

// Refuse adds a sender that was refused.
func (s *Switch) Refuse(who dataplane.Stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = append(s.unknown, who)
}

// Send delivers an event to every subscriber that has room.
func (s *Switch) Send(e dataplane.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subs {
		select {
		case c <- e:
		default:
		}
	}
}

// Subscribers counts the open subscriptions.
func (s *Switch) Subscribers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs)
}

// done records an operation, or refuses it.
func (s *Switch) done(format string, a ...any) error {
	op := fmt.Sprintf(format, a...)
	if s.closed {
		return dataplane.ErrClosed
	}
	if s.watch != nil {
		s.watch(op)
	}
	if s.fail != nil {
		if err := s.fail(op); err != nil {
			return err
		}
	}
	s.ops = append(s.ops, op)
	return nil
}

// SetVNI adds or changes a VNI.
func (s *Switch) SetVNI(c dataplane.VNIConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Group.IsValid() && c.Learning && !slices.Contains(s.Config.Ports(), c.Group.Port()) {
		return fmt.Errorf("vni %d: group %s: %w", c.VNI, c.Group, dataplane.ErrInvalid)
	}
	if err := s.done("set vni %d", c.VNI); err != nil {
		return err
	}
	if c.Group.IsValid() && len(c.Peers) == 0 && len(c.Allow) == 0 {
		c.Policy = dataplane.Learn
	}
	before := s.vnis[c.VNI]
	s.vnis[c.VNI] = c
	s.forget(before, c)
	return nil
}

// forget does what narrowing costs for good: what was learned behind a peer that left, and what there is no room for any more.
func (s *Switch) forget(before, now dataplane.VNIConfig) {
	if len(s.history) == 0 {
		return // nothing was learned, and benchmarks have many entries
	}
	learned := 0
	for _, e := range s.sorted() {
		if e.VNI != now.VNI || e.State != fdb.Dynamic {
			continue
		}
		left := slices.Contains(before.Peers, e.Dst) && !slices.Contains(now.Peers, e.Dst)
		if left || now.MaxMACs > 0 && learned == now.MaxMACs {
			delete(s.entries, key{e.VNI, e.MAC})
			continue
		}
		learned++
	}
}

// DelVNI removes a VNI that no port carries, with its entries.
func (s *Switch) DelVNI(vni uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.vnis[vni]; !ok {
		return dataplane.ErrNotFound
	}
	for _, p := range s.ports {
		if carries(p, vni) {
			return dataplane.ErrInUse
		}
	}
	if err := s.done("del vni %d", vni); err != nil {
		return err
	}
	delete(s.vnis, vni)
	maps.DeleteFunc(s.entries, func(k key, _ dataplane.FDBEntry) bool { return k.vni == vni })
	return nil
}

func carries(p dataplane.PortConfig, vni uint32) bool {
	return p.Untagged == vni || slices.ContainsFunc(p.Tagged, func(m dataplane.VIDMap) bool { return m.VNI == vni })
}

// Together does it.
func (s *Switch) Together(do func() error) error { return do() }

// SetFastPath changes the mode.
func (s *Switch) SetFastPath(mode dataplane.FastPathMode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.done("fastpath %s", mode); err != nil {
		return err
	}
	s.Config.FastPath = mode
	return nil
}

// ClearTheWay finds nothing to remove, either.
func (s *Switch) ClearTheWay([]dataplane.PortConfig) {}

// RemoveLeftPairs finds nothing to remove: the ports of this switch are no interfaces.
func (s *Switch) RemoveLeftPairs([]dataplane.PortConfig) {}

// TakeOver notes that the first configuration is complete.
func (s *Switch) TakeOver() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = true
	return nil
}

// TakenOver says whether TakeOver was called.
func (s *Switch) TakenOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// fastPath is as if the host could all of it.
func (s *Switch) fastPath(except string) (on bool, reason string) {
	if s.Config.FastPath == dataplane.FastPathOff {
		return false, "switched off: every frame passes user space"
	}
	return except == "", except
}

// CheckPort refuses what Fail says of "check port NAME", and names that are taken; it is no operation.
func (s *Switch) CheckPort(c dataplane.PortConfig, leaving ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return dataplane.ErrClosed
	}
	op := "check port " + c.Name
	if s.watch != nil {
		s.watch(op)
	}
	if s.fail != nil {
		if err := s.fail(op); err != nil {
			return err
		}
	}
	if err := s.known(c); err != nil {
		return err
	}
	return s.free(c, leaving)
}

// free refuses names that others have. A netdev port takes an interface of that name, which stays when the port leaves.
func (s *Switch) free(c dataplane.PortConfig, leaving []string) error {
	if c.Type == dataplane.PortNetdev {
		return nil
	}
	for _, i := range c.Interfaces() {
		if i.Name == "lo" {
			return fmt.Errorf("port %s: lo: %w", c.Name, dataplane.ErrUnfit)
		}
		for _, p := range s.ports {
			if !slices.Contains(p.Interfaces(), i) || p.Type != dataplane.PortNetdev && slices.Contains(leaving, p.Name) {
				continue
			}
			return fmt.Errorf("port %s: %s is of port %s: %w", c.Name, i.Name, p.Name, dataplane.ErrUnfit)
		}
	}
	return nil
}

// AddPort adds a port to VNIs that are there.
func (s *Switch) AddPort(c dataplane.PortConfig) error { return s.addPort(c, nil) }

// AwaitPort is AddPort, which Fail does not make fail for a namespace that is not there.
func (s *Switch) AwaitPort(c dataplane.PortConfig) error { return s.addPort(c, dataplane.ErrNoNetNS) }

func (s *Switch) addPort(c dataplane.PortConfig, but error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.ports[c.Name]; ok {
		return dataplane.ErrExists
	}
	if err := s.known(c); err != nil {
		return err
	}
	if err := s.free(c, nil); err != nil {
		return err
	}
	if err := s.done("add port %s", c.Name); err != nil && !errors.Is(err, but) {
		return err
	}
	s.ports[c.Name] = c
	return nil
}

func (s *Switch) known(c dataplane.PortConfig) error {
	all := c.Tagged
	if c.Untagged != 0 {
		all = append(slices.Clip(all), dataplane.VIDMap{VID: c.NativeVID, VNI: c.Untagged})
	}
	vids, vnis := map[uint16]bool{}, map[uint32]bool{}
	for _, m := range all {
		if _, ok := s.vnis[m.VNI]; !ok {
			return fmt.Errorf("vni %d: %w", m.VNI, dataplane.ErrNotFound)
		}
		if vids[m.VID] || vnis[m.VNI] {
			return fmt.Errorf("port %s: vid %d or vni %d twice: %w", c.Name, m.VID, m.VNI, dataplane.ErrInvalid)
		}
		vids[m.VID], vnis[m.VNI] = true, true
	}
	return nil
}

// SetPort changes a port; its type and namespace cannot change.
func (s *Switch) SetPort(c dataplane.PortConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.ports[c.Name]
	if !ok {
		return dataplane.ErrNotFound
	}
	if old.NetNS != c.NetNS || old.Type != c.Type || old.IfName != c.IfName {
		return dataplane.ErrInvalid
	}
	if err := s.known(c); err != nil {
		return err
	}
	if err := s.done("set port %s", c.Name); err != nil {
		return err
	}
	s.ports[c.Name] = c
	maps.DeleteFunc(s.entries, func(k key, e dataplane.FDBEntry) bool { return e.Port == c.Name && !carries(c, k.vni) })
	return nil
}

// DelPort removes a port with its entries.
func (s *Switch) DelPort(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.ports[name]; !ok {
		return dataplane.ErrNotFound
	}
	if err := s.done("del port %s", name); err != nil {
		return err
	}
	delete(s.ports, name)
	maps.DeleteFunc(s.entries, func(_ key, e dataplane.FDBEntry) bool { return e.Port == name })
	return nil
}

// FDBPut makes an entry.
func (s *Switch) FDBPut(e dataplane.FDBEntry, mode fdb.PutMode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.vnis[e.VNI]; !ok {
		return dataplane.ErrNotFound
	}
	if e.Port != "" {
		if p, ok := s.ports[e.Port]; !ok || !carries(p, e.VNI) {
			return dataplane.ErrNotFound
		}
	}
	k := key{e.VNI, e.MAC}
	if _, ok := s.entries[k]; ok && mode == fdb.Add {
		return fdb.ErrExists
	}
	if err := s.done("put %d %s", e.VNI, e.MAC); err != nil {
		return err
	}
	s.entries[k] = e
	return nil
}

// FDBDel removes an entry.
func (s *Switch) FDBDel(vni uint32, mac fdb.MAC, dst netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key{vni, mac}]
	if !ok || dst.IsValid() && e.Dst != dst {
		return dataplane.ErrNotFound
	}
	if err := s.done("del %d %s", vni, mac); err != nil {
		return err
	}
	delete(s.entries, key{vni, mac})
	return nil
}

// FDBPeek is FDBGet.
func (s *Switch) FDBPeek(vni uint32, mac fdb.MAC) (dataplane.FDBEntry, error) {
	return s.FDBGet(vni, mac)
}

// FDBGet finds an entry.
func (s *Switch) FDBGet(vni uint32, mac fdb.MAC) (dataplane.FDBEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key{vni, mac}]
	if !ok {
		return e, dataplane.ErrNotFound
	}
	return e, nil
}

func (s *Switch) sorted() []dataplane.FDBEntry {
	return slices.SortedFunc(maps.Values(s.entries), compare)
}

func compare(a, b dataplane.FDBEntry) int {
	return cmp.Or(cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.MAC, b.MAC), a.Dst.Compare(b.Dst))
}

func selects(f dataplane.FDBFilter, e dataplane.FDBEntry) bool {
	if f.Static || f.Dynamic {
		if e.State == fdb.Dynamic && !f.Dynamic || e.State != fdb.Dynamic && !f.Static {
			return false
		}
	}
	return (f.VNI == 0 || f.VNI == e.VNI) && (!f.HasMAC || f.MAC == e.MAC) && (f.Port == "" || f.Port == e.Port) &&
		(!f.Dst.IsValid() || f.Dst.Addr() == e.Dst.Addr() && (f.Dst.Port() == 0 || f.Dst.Port() == e.Dst.Port()))
}

// FDBDump lists entries, the flood lists included.
func (s *Switch) FDBDump(f dataplane.FDBFilter) []dataplane.FDBEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.sorted()
	for _, v := range s.vnis {
		dests := slices.Clone(v.Peers)
		if v.Group.IsValid() {
			dests = append(dests, v.Group)
		}
		for _, p := range dests {
			list = append(list, dataplane.FDBEntry{VNI: v.VNI, Dst: p, State: fdb.Static, Flood: true})
		}
	}
	slices.SortFunc(list, compare)
	return slices.DeleteFunc(list, func(e dataplane.FDBEntry) bool { return !selects(f, e) })
}

// FDBFlush removes entries.
func (s *Switch) FDBFlush(f dataplane.FDBFilter) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.Static && !f.Dynamic {
		f.Dynamic = true
	}
	if err := s.done("flush"); err != nil {
		return 0, err
	}
	n := len(s.entries)
	maps.DeleteFunc(s.entries, func(_ key, e dataplane.FDBEntry) bool { return selects(f, e) })
	return n - len(s.entries), nil
}

// FDBHistory lists the moves that Learn was given.
func (s *Switch) FDBHistory(vni uint32, mac fdb.MAC) []dataplane.Move {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history[key{vni, mac}]
}

// Subscribe streams what Send is given.
func (s *Switch) Subscribe(buffer int) (<-chan dataplane.Event, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan dataplane.Event, buffer)
	s.subs[c] = struct{}{}
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.subs[c]; ok {
			delete(s.subs, c)
			close(c)
		}
	}
}

// Close refuses everything from now on.
func (s *Switch) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Abandon is Close, and notes that it was.
func (s *Switch) Abandon() error {
	s.mu.Lock()
	s.abandoned = true
	s.mu.Unlock()
	return s.Close()
}

// Abandoned says whether Abandon was called.
func (s *Switch) Abandoned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.abandoned
}

// Time is the time of events in tests.
var Time = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

// ProbePath invents what a path carries: all to peers with an even last byte, and 1400 bytes to the others, which nobody says.
func (s *Switch) ProbePath(_ context.Context, peer netip.Addr) (dataplane.PathProbe, error) {
	for _, p := range s.Peers() {
		if p.Addr.Addr() != peer {
			continue
		}
		out := dataplane.PathProbe{Peer: p.Addr, VNI: 42, Evidence: dataplane.EvidenceProbe, Fits: 1500, Tried: 1500, Known: 1500, Learned: 1500, Inside: 1450, Clamped: true}
		if b := peer.AsSlice(); b[len(b)-1]%2 != 0 {
			out.Evidence, out.Fits, out.Inside, out.Ports, out.Clamped = dataplane.EvidenceEcho, 1400, 1350, map[string]dataplane.PortMTU{"tap0": {MTU: 1450, Follows: true}}, false
		}
		return out, nil
	}
	return dataplane.PathProbe{}, fmt.Errorf("peer %s: %w", peer, dataplane.ErrNotFound)
}
