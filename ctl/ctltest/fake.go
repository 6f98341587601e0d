// Package ctltest has a switch for the tests of the control side. It keeps what it is told and moves no frame.
package ctltest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
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

	mu      sync.Mutex
	fail    func(op string) error
	watch   func(op string)
	ops     []string
	vnis    map[uint32]dataplane.VNIConfig
	ports   map[string]dataplane.PortConfig
	entries map[key]dataplane.FDBEntry
	drops   []dataplane.Drop
	history map[key][]dataplane.Move
	subs    map[chan dataplane.Event]struct{}
	closed  bool
	taken   bool
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
func (s *Switch) AddPort(c dataplane.PortConfig) error {
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
	if err := s.done("add port %s", c.Name); err != nil {
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

// VNIs lists the VNIs.
func (s *Switch) VNIs() []dataplane.VNIInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []dataplane.VNIInfo
	for _, n := range slices.Sorted(maps.Keys(s.vnis)) {
		macs := 0
		for k := range s.entries {
			if k.vni == n {
				macs++
			}
		}
		info := dataplane.VNIInfo{Config: s.vnis[n], MACs: macs}
		if info.Config.Group.IsValid() {
			info.GroupInterface = "eth0"
		}
		info.FastPath, info.FastPathReason = s.fastPath("")
		list = append(list, info)
	}
	return list
}

// Ports lists the ports, all of them up but for netdevs, whose interfaces are missing.
func (s *Switch) Ports() []dataplane.PortInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []dataplane.PortInfo
	for i, n := range slices.Sorted(maps.Keys(s.ports)) {
		c := s.ports[n]
		info := dataplane.PortInfo{
			Config: c, State: dataplane.PortUp, Ifname: n, Ifindex: 10 + i, MTU: cmp.Or(c.MTU, 1450), MAC: c.MAC, NetNS: c.NetNS, Queues: 2,
			Offload: []string{"vnet-hdr", "tso4", "tso6"}, OffloadReason: "uso: the kernel is older than 6.2",
		}
		except := ""
		if c.NetNS != "" {
			except = "its TAP lives in namespace " + c.NetNS + ", where the programs cannot reach it: use type veth"
		}
		info.FastPath, info.FastPathReason = s.fastPath(except)
		if c.Type == dataplane.PortNetdev {
			info = dataplane.PortInfo{Config: c, State: dataplane.PortMissing, Reason: "no such interface", KernelDrops: 3, FastPathReason: "its interface is missing"}
		} else if info.MAC == nil {
			info.MAC = net.HardwareAddr{2, 0, 0, 0, 1, byte(i)}
		}
		for _, e := range s.entries {
			if e.Port == n && e.State == fdb.Dynamic {
				info.MACs++
			}
		}
		list = append(list, info)
	}
	return list
}

// Peers lists the peers of the flood lists.
func (s *Switch) Peers() []dataplane.PeerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	vnis := map[netip.AddrPort][]uint32{}
	for _, n := range slices.Sorted(maps.Keys(s.vnis)) {
		for _, p := range s.vnis[n].Peers {
			vnis[p] = append(vnis[p], n)
		}
	}
	for _, e := range s.entries {
		if e.Dst.IsValid() {
			vnis[e.Dst] = append([]uint32(nil), vnis[e.Dst]...)
		}
	}
	var list []dataplane.PeerInfo
	for _, p := range slices.SortedFunc(maps.Keys(vnis), netip.AddrPort.Compare) {
		info := dataplane.PeerInfo{Addr: p, VNIs: vnis[p], PMTU: 1500, RouteMTU: 1500, Inside: 1450}
		if len(list) == 1 {
			info.PMTU, info.Inside = 1400, 1350
		}
		for _, e := range s.entries {
			if e.Dst == p && e.State == fdb.Dynamic {
				info.MACs++
			}
		}
		list = append(list, info)
	}
	return list
}

// count makes counters of a number, all different.
func count(n uint64) dataplane.Counters {
	return dataplane.Counters{RxPackets: n, RxBytes: 100 * n, TxPackets: n + 1, TxBytes: 100*n + 100, RxDropped: n + 2, TxDropped: n + 3}
}

// PortStats invents counters.
func (s *Switch) PortStats() []dataplane.PortStats {
	var list []dataplane.PortStats
	for i, p := range s.Ports() {
		list = append(list, dataplane.PortStats{Port: p.Config.Name, Counters: count(uint64(10 + i))})
	}
	return list
}

// PeerStats invents counters.
func (s *Switch) PeerStats() []dataplane.PeerStats {
	var list []dataplane.PeerStats
	for i, p := range s.Peers() {
		list = append(list, dataplane.PeerStats{Peer: p.Addr, Counters: count(uint64(20 + i))})
	}
	return list
}

// VNIStats invents counters.
func (s *Switch) VNIStats() []dataplane.VNIStats {
	var list []dataplane.VNIStats
	for i, v := range s.VNIs() {
		list = append(list, dataplane.VNIStats{VNI: v.Config.VNI, Counters: count(uint64(30 + i))})
	}
	return list
}

// Drops lists what Drop was given.
func (s *Switch) Drops() []dataplane.Drop {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.drops)
}

// Status invents a status.
func (s *Switch) Status() dataplane.Status {
	ports, vnis, peers := len(s.Ports()), len(s.VNIs()), len(s.Peers())
	s.mu.Lock()
	defer s.mu.Unlock()
	st := dataplane.Status{
		Local: s.Config.Local, Locals: s.Config.Locals(), DstPort: s.Config.DstPort, Listen: s.Config.Ports(), SourcePorts: [2]uint16{49152, 65535}, Workers: 2, UnderlayInterface: "eth0", UnderlayMTU: 1500,
		Offload: []dataplane.Capability{
			{Name: "udp-gso", On: true}, {Name: "udp-gro", On: true},
			{Name: "tap-uso", Reason: "port tap0: the kernel is older than 6.2"},
		},
		ReceiveBuffer: 8 << 20, KernelDrops: 5, Totals: dataplane.Totals{Received: 100, Forwarded: 97, Dropped: 3},
		FDB:   fdb.Stats{Learned: 7, Moved: 1, Expired: 2, Evicted: 3, Refused: 4},
		Ports: ports, VNIs: vnis, Peers: peers,
		TooBigAnswered: 2, TooBigSilenced: 1, MSSClamped: 4,
		CPULatency: dataplane.CPULatencyInfo{Held: true, Bound: 2 * time.Microsecond},
	}
	st.FastPath.Mode = s.Config.FastPath
	if st.FastPath.Active, st.FastPath.Reason = s.fastPath(""); st.FastPath.Active {
		st.FastPath = dataplane.FastPathInfo{
			Mode: s.Config.FastPath, Active: true, Pins: "/sys/fs/bpf/vtepd/run-vtepd-vtepd.sock", NoFlowCache: "real-time kernel (#1 SMP PREEMPT_RT)", Encap: 60, Decap: 20, Local: 3, Punted: map[string]uint64{"unknown_source": 4, "not_ip": 9}, Heard: 5, Outdated: 1,
			Attachments: []dataplane.FastPathAttachment{
				{Interface: "eth0", Ifindex: 2, Kind: "tcx", Reason: "xdp: eth0 (veth) carries superframes whole, which XDP would end"},
				{Interface: "tap0", Ifindex: 10, Port: "tap0", Kind: "tcx"},
			},
		}
	}
	for _, e := range s.entries {
		if e.State == fdb.Dynamic {
			st.FDB.Dynamic++
		} else {
			st.FDB.Static++
		}
	}
	return st
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
			out.Evidence, out.Fits, out.Inside, out.Ports, out.Clamped = dataplane.EvidenceEcho, 1400, 1350, map[string]int{"tap0": 1450}, false
		}
		return out, nil
	}
	return dataplane.PathProbe{}, fmt.Errorf("peer %s: %w", peer, dataplane.ErrNotFound)
}
