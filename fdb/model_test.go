package fdb

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// model is a forwarding table as one would write it without a thought for
// speed. It does not know which entry of a group the clock algorithm evicts: it
// learns that from the event, and checks that it was a right one.
type model struct {
	t         *testing.T
	table     *Table
	op        string
	now       Tick
	maxDyn    int
	maxStatic int
	entries   map[mkey]*mentry // expired ones too, until an event says they are gone
	vnis      map[uint32]VNIConfig
	limits    map[Dest]int

	// What the running operation wants to make room for.
	forVNI  uint32
	forDest Dest

	events map[EventKind]int
	want   map[EventKind]int
	gone   []Entry // expired or evicted since learn began
}

type mkey struct {
	vni uint32
	mac MAC
}

type mentry struct {
	Entry
	moves []Move
}

var (
	// Two that agree in the lower 16 bits, which alone are in a record's key.
	modelVNIs  = []uint32{1, 0x010001, 0x020001, 77, MaxVNI}
	modelDests = []Dest{PortDest(0), PortDest(1), PeerDest(0), PeerDest(1), PeerDest(MaxIndex)}
)

const modelMACs = 20

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, maxDyn: 24, maxStatic: 7, now: 1000,
		entries: map[mkey]*mentry{}, vnis: map[uint32]VNIConfig{}, limits: map[Dest]int{},
		events: map[EventKind]int{}, want: map[EventKind]int{},
	}
	m.table = New(Config{MaxDynamic: m.maxDyn, MaxStatic: m.maxStatic, MaxHistories: 1000, Seed: seed, Notify: m.notify})
	return m
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s: %s", m.op, fmt.Sprintf(format, args...))
}

func (m *model) expired(e *mentry) bool {
	a := m.vnis[e.VNI].Ageing
	return e.State == Dynamic && a != 0 && m.now > e.Seen && m.now-e.Seen > a
}

// live returns the entry of a key, nil when it is not there or expired.
func (m *model) live(vni uint32, mac MAC) *mentry {
	if e := m.entries[mkey{vni, mac}]; e != nil && !m.expired(e) {
		return e
	}
	return nil
}

// count counts the entries that f chooses.
func (m *model) count(f func(*mentry) bool) (n int) {
	for _, e := range m.entries {
		if f(e) {
			n++
		}
	}
	return n
}

func (m *model) dynamic(vni uint32, d Dest) int {
	return m.count(func(e *mentry) bool {
		return e.State == Dynamic && (vni == 0 || e.VNI == vni) && (d == None || e.Dest == d)
	})
}

func (m *model) notify(ev Event) {
	m.events[ev.Kind]++
	k := mkey{ev.Entry.VNI, ev.Entry.MAC}
	switch ev.Kind {
	case Expired:
		e := m.entries[k]
		if e == nil || !m.expired(e) || e.Entry != ev.Entry {
			m.fatalf("expired %+v, model has %+v at %d", ev.Entry, e, m.now)
		}
		delete(m.entries, k)
		m.gone = append(m.gone, ev.Entry)
	case Evicted:
		e := m.entries[k]
		if e == nil || e.State != Dynamic || e.Entry != ev.Entry {
			m.fatalf("evicted %+v, model has %+v", ev.Entry, e)
		}
		if !m.fair(e) {
			m.fatalf("evicted %+v, which is not of the right group, for vni %d %v", ev.Entry, m.forVNI, m.forDest)
		}
		delete(m.entries, k)
		m.gone = append(m.gone, ev.Entry)
	}
}

// fair reports whether the group of a victim is one that had to give, with the
// counts before it did.
func (m *model) fair(e *mentry) bool {
	most := func(n int, of func(vni uint32, d Dest) int, vnis []uint32, dests []Dest) bool {
		for _, v := range vnis {
			for _, d := range dests {
				if of(v, d) > n {
					return false
				}
			}
		}
		return true
	}
	largestVNI := most(m.dynamic(e.VNI, e.Dest), m.dynamic, modelVNIs, []Dest{e.Dest})
	if l := m.limits[m.forDest]; l > 0 && m.dynamic(0, m.forDest) >= l && e.Dest == m.forDest && largestVNI {
		return true
	}
	inVNI := m.dynamic(e.VNI, e.Dest)
	if l := m.vnis[m.forVNI].MaxDynamic; l > 0 && m.dynamic(m.forVNI, None) >= l && e.VNI == m.forVNI &&
		most(inVNI, m.dynamic, []uint32{m.forVNI}, modelDests) &&
		(e.Dest == m.forDest || m.dynamic(m.forVNI, m.forDest) < inVNI || m.forDest == None) {
		return true
	}
	all := m.dynamic(0, e.Dest)
	return m.dynamic(0, None) >= m.maxDyn && largestVNI &&
		most(all, m.dynamic, []uint32{0}, modelDests) &&
		(e.Dest == m.forDest || m.dynamic(0, m.forDest) < all)
}

func (m *model) set(e Entry, moves []Move) {
	m.entries[mkey{e.VNI, e.MAC}] = &mentry{e, moves}
}

func (m *model) moveTo(e *mentry, d Dest) {
	if e.Dest != d {
		e.moves = append(e.moves, Move{e.Dest, d, m.now})
		e.Dest = d
		e.Moves++
		m.want[EntryMoved]++
	} else {
		m.want[Changed]++
	}
	e.Seen = m.now
}

func (m *model) learn(vni uint32, mac MAC, d Dest) {
	m.op = fmt.Sprintf("learn vni %d %v %v at %d", vni, mac, d, m.now)
	m.forVNI, m.forDest = vni, d
	e := m.live(vni, mac)
	want := Learned
	_, known := m.vnis[vni]
	switch {
	case !known, mac == 0, mac&macGroupBit != 0, d == None:
		want = Refused
	case e == nil:
	case e.Dest == d && e.State == Dynamic && m.now > e.Seen:
		want = Refreshed
	case e.Dest == d:
		want = Known
	case e.State == Static:
		want = Elsewhere
	case e.State == Sticky:
		want = Held
	default:
		want = Moved
	}
	foreseen, leave := m.table.Foresee(vni, mac, d, m.now)
	if foreseen != want {
		m.fatalf("%v foreseen, want %v", foreseen, want)
	}
	m.gone = nil
	if got := m.table.Learn(vni, mac, d, m.now); got != want {
		m.fatalf("%v, want %v", got, want)
	}
	// What had expired at the same place before is nobody's room.
	m.gone = slices.DeleteFunc(m.gone, func(e Entry) bool { return e.VNI == vni && e.MAC == mac })
	if !slices.Equal(m.gone, leave) {
		m.fatalf("%v: %+v made room, and %+v were foreseen", want, m.gone, leave)
	}
	switch want {
	case Learned:
		m.set(Entry{VNI: vni, MAC: mac, Dest: d, Seen: m.now}, nil)
		m.want[Added]++
	case Refreshed:
		e.Seen = m.now
	case Moved:
		m.moveTo(e, d)
	}
}

// touch is learning at a tick that may be past, which makes and moves nothing.
func (m *model) touch(vni uint32, mac MAC, d Dest, seen Tick) {
	m.op = fmt.Sprintf("touch vni %d %v %v at %d, now %d", vni, mac, d, seen, m.now)
	e := m.entries[mkey{vni, mac}] // swept or not
	want := e != nil && d != None && e.Dest == d && e.State == Dynamic && seen > e.Seen
	if want {
		a := m.vnis[vni].Ageing
		want = a == 0 || seen-e.Seen <= a
	}
	if got := m.table.Touch(vni, mac, d, seen); got != want {
		m.fatalf("%v, want %v", got, want)
	}
	if want {
		e.Seen = seen
	}
}

func (m *model) put(e Entry, mode PutMode) {
	m.op = fmt.Sprintf("put %+v mode %d at %d", e, mode, m.now)
	m.forVNI, m.forDest = e.VNI, e.Dest
	old := m.live(e.VNI, e.MAC)
	statics := m.count(func(e *mentry) bool { return e.State != Dynamic })
	var want error
	_, known := m.vnis[e.VNI]
	switch {
	case e.MAC == 0, e.Dest == None, e.State > Sticky, e.State == Dynamic && e.MAC&macGroupBit != 0:
		want = ErrEntry
	case !known:
		want = ErrUnknownVNI
	case old != nil && mode == Add:
		want = ErrExists
	case e.State != Dynamic && (old == nil || old.State == Dynamic) && statics >= m.maxStatic:
		want = ErrFull
	}
	err := m.table.Put(e, mode, m.now)
	if !isErr(err, want) {
		m.fatalf("%v, want %v", err, want)
	}
	if err != nil {
		return
	}
	switch {
	case old == nil:
		e.Seen, e.Moves = m.now, 0
		m.set(e, nil)
		m.want[Added]++
	case old.Dest == e.Dest && old.State == e.State:
		old.Seen = max(old.Seen, m.now)
	default:
		old.State = e.State
		m.moveTo(old, e.Dest)
	}
}

func (m *model) delete(vni uint32, mac MAC) {
	m.op = fmt.Sprintf("delete vni %d %v at %d", vni, mac, m.now)
	k := mkey{vni, mac}
	want := m.entries[k]
	got, err := m.table.Delete(vni, mac)
	if want == nil {
		if !isErr(err, ErrNotFound) {
			m.fatalf("%+v, %v; want ErrNotFound", got, err)
		}
		return
	}
	if err != nil || got != want.Entry {
		m.fatalf("%+v, %v; want %+v", got, err, want.Entry)
	}
	delete(m.entries, k)
	m.want[Deleted]++
}

func (m *model) flush(how byte, f FlushFilter) {
	m.op = fmt.Sprintf("flush %d %+v at %d", how%4, f, m.now)
	var got int
	switch how % 4 {
	case 0:
		got = m.table.Flush(f)
	case 1:
		got = m.table.FlushVNI(f.VNI, FlushFilter{VNI: 5, Dest: f.Dest, States: f.States})
		if f.VNI == 0 {
			f.VNI = 1 << 30 // none
		}
	case 2:
		got = m.table.FlushDest(f.Dest, FlushFilter{VNI: f.VNI, Dest: PeerDest(99), States: f.States})
		if f.Dest == None {
			f.VNI = 1 << 30
		}
	case 3:
		got = m.table.DelVNI(f.VNI)
		if _, known := m.vnis[f.VNI]; !known {
			f.VNI = 1 << 30
		}
		delete(m.vnis, f.VNI)
		f = FlushFilter{VNI: f.VNI, States: AllStates}
	}
	want := 0
	if f.States == 0 {
		f.States = DynamicSet
	}
	for k, e := range m.entries {
		if (f.VNI == 0 || e.VNI == f.VNI) && (f.Dest == None || e.Dest == f.Dest) && f.States&(1<<e.State) != 0 {
			delete(m.entries, k)
			want++
		}
	}
	if got != want {
		m.fatalf("flushed %d, want %d", got, want)
	}
}

func (m *model) setVNI(vni uint32, c VNIConfig) {
	m.op = fmt.Sprintf("set vni %d %+v", vni, c)
	m.forVNI, m.forDest = vni, None
	m.vnis[vni] = c
	if err := m.table.SetVNI(vni, c); err != nil {
		m.fatalf("%v", err)
	}
	if c.MaxDynamic > 0 && m.dynamic(vni, None) > c.MaxDynamic {
		m.fatalf("%d dynamic entries left", m.dynamic(vni, None))
	}
}

func (m *model) setLimit(d Dest, n int) {
	m.op = fmt.Sprintf("limit %v to %d", d, n)
	m.forVNI, m.forDest = 0, d
	m.limits[d] = n
	m.table.SetDestLimit(d, n)
	if n > 0 && m.dynamic(0, d) > n {
		m.fatalf("%d dynamic entries left", m.dynamic(0, d))
	}
}

func (m *model) sweep(budget int) {
	m.op = fmt.Sprintf("sweep %d at %d", budget, m.now)
	before := m.count(m.expired)
	got := m.table.Sweep(m.now, budget)
	if left := m.count(m.expired); before-left != got || budget <= 0 && left != 0 {
		m.fatalf("returned %d; %d expired before, %d left", got, before, left)
	}
	if s := m.table.Stats(); budget <= 0 && s.Dead != 0 {
		m.fatalf("%d dead left", s.Dead)
	}
}

// lookup asks for one key in all ways.
func (m *model) lookup(vni uint32, mac MAC) {
	m.op = fmt.Sprintf("lookup vni %d %v at %d", vni, mac, m.now)
	e := m.live(vni, mac)
	d, ok := m.table.Lookup(vni, mac, m.now)
	got, ok2 := m.table.Get(vni, mac, m.now)
	if ok != (e != nil) || ok2 != ok {
		m.fatalf("found %v, %v; want %+v", ok, ok2, e)
	}
	if e == nil {
		if d != None || got != (Entry{}) {
			m.fatalf("not found, and %v, %+v", d, got)
		}
		return
	}
	if d != e.Dest || got != e.Entry {
		m.fatalf("%v, %+v; want %+v", d, got, e.Entry)
	}
	hist := e.moves[max(0, len(e.moves)-HistoryLen):]
	if diff := gocmp.Diff(hist, m.table.History(vni, mac)); diff != "" && len(hist) > 0 {
		m.fatalf("history (-want +got):\n%s", diff)
	}
}

// compare holds the whole table against the model.
func (m *model) compare() {
	m.t.Helper()
	var got, want []Entry
	m.table.Walk(m.now, func(e Entry) bool { got = append(got, e); return true })
	stats := m.table.Stats()
	statics := 0
	for _, e := range m.entries {
		if e.State != Dynamic {
			statics++
		}
		if !m.expired(e) {
			want = append(want, e.Entry)
		}
	}
	less := func(a, b Entry) int { return cmp.Or(cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.MAC, b.MAC)) }
	slices.SortFunc(got, less)
	slices.SortFunc(want, less)
	if diff := gocmp.Diff(want, got); diff != "" {
		m.fatalf("walk (-want +got):\n%s", diff)
	}
	if stats.Static != statics || stats.Dynamic != len(m.entries)-statics || stats.Dynamic > m.maxDyn || stats.Static > m.maxStatic {
		m.fatalf("stats %+v, want %d entries, %d of them static", stats, len(m.entries), statics)
	}
	for _, v := range modelVNIs {
		if n := m.count(func(e *mentry) bool { return e.VNI == v }); m.table.Count(v) != n {
			m.fatalf("count of vni %d: %d, want %d", v, m.table.Count(v), n)
		}
		if l := m.vnis[v].MaxDynamic; l > 0 && m.dynamic(v, None) > l {
			m.fatalf("vni %d has %d, limit %d", v, m.dynamic(v, None), l)
		}
	}
	for _, d := range modelDests {
		if n := m.count(func(e *mentry) bool { return e.Dest == d }); m.table.CountDest(d) != n {
			m.fatalf("count of %v: %d, want %d", d, m.table.CountDest(d), n)
		}
		if l := m.limits[d]; l > 0 && m.dynamic(0, d) > l {
			m.fatalf("%v has %d, limit %d", d, m.dynamic(0, d), l)
		}
	}
	for k, n := range m.want {
		if m.events[k] != n {
			m.fatalf("%d events %v, want %d", m.events[k], k, n)
		}
	}
}

// checkInside checks what must hold between the parts of the table.
func (m *model) checkInside() {
	m.t.Helper()
	if err := m.table.verify(); err != nil {
		m.fatalf("%v", err)
	}
}

// run reads operations from a string of bytes.
func (m *model) run(ops []byte) {
	take := func() byte {
		if len(ops) == 0 {
			return 0
		}
		b := ops[0]
		ops = ops[1:]
		return b
	}
	vni := func() uint32 { return modelVNIs[int(take())%len(modelVNIs)] }
	mac := func() MAC {
		b := take()
		switch {
		case b == 255:
			return 0
		case b == 254:
			return macGroupBit | 5
		}
		return 0x020000000000 | MAC(b%modelMACs)
	}
	dest := func() Dest {
		if b := take(); b != 255 {
			return modelDests[int(b)%len(modelDests)]
		}
		return None
	}
	for _, v := range modelVNIs[:3] {
		m.setVNI(v, VNIConfig{Ageing: 5})
	}
	for n := 0; len(ops) > 0; n++ {
		switch op := take(); op % 32 {
		default:
			m.learn(vni(), mac(), dest())
		case 15:
			m.touch(vni(), mac(), dest(), m.now-Tick(take()%8))
		case 16, 17, 18:
			m.lookup(vni(), mac())
		case 19, 20:
			b := take()
			m.put(Entry{VNI: vni(), MAC: mac(), Dest: dest(), State: State(b >> 1 & 3), Seen: 5, Moves: 9}, PutMode(b&1))
		case 21, 22:
			m.delete(vni(), mac())
		case 23:
			b := take()
			f := FlushFilter{VNI: vni(), Dest: dest(), States: StateSet(b >> 2 & 7)}
			if b&1 != 0 {
				f.VNI = 0
			}
			if b&2 != 0 {
				f.Dest = None
			}
			m.flush(b>>5, f)
		case 24, 25:
			b := take()
			m.setVNI(vni(), VNIConfig{Ageing: Tick(b & 7), MaxDynamic: int(b >> 3 & 15)})
		case 26:
			if d := dest(); d != None {
				m.setLimit(d, int(take()%8))
			}
		case 27:
			m.sweep(int(take() % 32))
		case 28, 29, 30:
			m.now += Tick(take() % 4)
		case 31:
			if b := take(); b%8 == 0 {
				m.now -= 2 // a clock that goes back is to be tolerated
			}
		}
		if n%16 == 0 {
			m.compare()
		}
		if n%128 == 0 {
			m.checkInside() // reads the whole index
		}
	}
	m.compare()
	m.sweep(0)
	m.compare()
	m.checkInside()
}

func TestModel(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		ops := make([]byte, 4000)
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		newModel(t, seed+1).run(ops)
	}
}

func FuzzOps(f *testing.F) {
	f.Add([]byte{})
	r := rand.New(rand.NewPCG(9, 9))
	for n := 64; n <= 1024; n *= 4 {
		ops := make([]byte, n)
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 1<<14 {
			return
		}
		newModel(t, 1).run(ops)
	})
}
