package fdb

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	macA = MAC(0x02000000000a)
	macB = MAC(0x02000000000b)
)

func newTable(tb testing.TB, c Config, ageing Tick) *Table {
	tb.Helper()
	if c.Seed == 0 {
		c.Seed = 1
	}
	t := New(c)
	mustSetVNI(tb, t, 1, VNIConfig{Ageing: ageing})
	return t
}

func mustPut(tb testing.TB, t *Table, e Entry, now Tick) {
	tb.Helper()
	if err := t.Put(e, Replace, now); err != nil {
		tb.Fatal(err)
	}
}

func TestAgeing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ageing Tick
		seen   []Tick // received frames
		now    Tick
		found  bool
	}{
		{"fresh", 10, []Tick{100}, 100, true},
		{"at its time", 10, []Tick{100}, 110, true},
		{"past its time", 10, []Tick{100}, 111, false},
		{"refreshed", 10, []Tick{100, 105}, 115, true},
		{"refreshed and past", 10, []Tick{100, 105}, 116, false},
		{"expired and learned anew", 10, []Tick{100, 150}, 155, true},
		{"never", 0, []Tick{0}, 1<<32 - 1, true},
		{"longest", 1<<32 - 1, []Tick{0}, 1<<32 - 1, true},
		{"clock went back", 10, []Tick{100}, 50, true},
		{"older frame does not make older", 10, []Tick{100, 95}, 110, true},
	} {
		for _, sweep := range []bool{false, true} {
			table := newTable(t, Config{}, tt.ageing)
			for _, at := range tt.seen {
				table.Learn(1, macA, PortDest(1), at)
			}
			if sweep {
				expired := table.Sweep(tt.now, 0)
				if want := map[bool]int{true: 0, false: 1}[tt.found]; expired != want || table.Count(1) != 1-want {
					t.Errorf("%s: sweep %d, count %d", tt.name, expired, table.Count(1))
				}
			}
			// Looking up does not refresh: the second time is as the first.
			for range 2 {
				if _, ok := table.Lookup(1, macA, tt.now); ok != tt.found {
					t.Errorf("%s, sweep %v: found %v", tt.name, sweep, ok)
				}
			}
		}
	}
}

func TestAgeingChange(t *testing.T) {
	table := newTable(t, Config{}, 300)
	mustSetVNI(t, table, 2, VNIConfig{Ageing: 300})
	table.Learn(1, macA, PortDest(1), 0)
	table.Learn(2, macA, PortDest(1), 0)
	mustSetVNI(t, table, 1, VNIConfig{Ageing: 10})
	_, ok1 := table.Lookup(1, macA, 11)
	_, ok2 := table.Lookup(2, macA, 11)
	if ok1 || !ok2 {
		t.Errorf("vni 1 %v, vni 2 %v; want the first alone to be gone", ok1, ok2)
	}
	mustSetVNI(t, table, 1, VNIConfig{})
	if _, ok := table.Lookup(1, macA, 1<<31); !ok {
		t.Error("not found though the VNI no longer ages")
	}
}

func TestStaticAndSticky(t *testing.T) {
	here, there := PortDest(1), PeerDest(1)
	for _, tt := range []struct {
		state State
		want  Verdict
	}{{Static, Elsewhere}, {Sticky, Held}} {
		table := newTable(t, Config{}, 10)
		mustPut(t, table, Entry{VNI: 1, MAC: macA, Dest: here, State: tt.state}, 0)
		if v := table.Learn(1, macA, there, 5); v != tt.want {
			t.Errorf("%v: learned elsewhere: %v, want %v", tt.state, v, tt.want)
		}
		if v := table.Learn(1, macA, here, 6); v != Known {
			t.Errorf("%v: learned here: %v", tt.state, v)
		}
		n := table.Sweep(1e6, 0) + table.Flush(FlushFilter{}) + table.FlushDest(here, FlushFilter{}) + table.FlushVNI(1, FlushFilter{States: DynamicSet})
		e, ok := table.Get(1, macA, 1e6)
		if want := (Entry{VNI: 1, MAC: macA, Dest: here, State: tt.state}); n != 0 || !ok || e != want {
			t.Errorf("%v: after ageing and flushes of dynamic entries: %d gone, %+v, %v", tt.state, n, e, ok)
		}
		if n := table.FlushDest(here, FlushFilter{States: AllStates &^ (1 << tt.state)}); n != 0 {
			t.Errorf("%v: a flush of the other states took it", tt.state)
		}
		if n := table.FlushDest(here, FlushFilter{States: 1 << tt.state}); n != 1 {
			t.Errorf("%v: flush of its state took %d", tt.state, n)
		}
		if v := table.Learn(1, macA, there, 7); v != Learned {
			t.Errorf("%v: learned after the flush: %v", tt.state, v)
		}
	}
}

func TestPut(t *testing.T) {
	dyn := Entry{VNI: 1, MAC: macA, Dest: PortDest(1)}
	static := Entry{VNI: 1, MAC: macA, Dest: PortDest(1), State: Static}
	group := Entry{VNI: 1, MAC: macA | macGroupBit, Dest: PortDest(1)}
	for _, tt := range []struct {
		name string
		old  *Entry
		e    Entry
		mode PutMode
		now  Tick
		want error
	}{
		{"add", nil, static, Add, 0, nil},
		{"replace nothing", nil, static, Replace, 0, nil},
		{"add on dynamic", &dyn, static, Add, 0, ErrExists},
		{"add on static", &static, static, Add, 0, ErrExists},
		{"add on expired", &dyn, static, Add, 100, nil},
		{"static for dynamic", &dyn, static, Replace, 0, nil},
		{"dynamic for static", &static, dyn, Replace, 0, nil},
		{"the same", &static, static, Replace, 0, nil},
		{"unknown vni", nil, Entry{VNI: 2, MAC: macA, Dest: PortDest(1)}, Add, 0, ErrUnknownVNI},
		{"vni beyond 24 bits", nil, Entry{VNI: 1<<24 | 1, MAC: macA, Dest: PortDest(1)}, Add, 0, ErrUnknownVNI},
		{"zero mac", nil, Entry{VNI: 1, Dest: PortDest(1)}, Add, 0, ErrEntry},
		{"long mac", nil, Entry{VNI: 1, MAC: 1<<48 | macA, Dest: PortDest(1)}, Add, 0, ErrEntry},
		{"no destination", nil, Entry{VNI: 1, MAC: macA}, Add, 0, ErrEntry},
		{"no such state", nil, Entry{VNI: 1, MAC: macA, Dest: PortDest(1), State: 3}, Add, 0, ErrEntry},
		{"dynamic group address", nil, group, Add, 0, ErrEntry},
		{"static group address", nil, Entry{VNI: 1, MAC: group.MAC, Dest: PortDest(1), State: Static}, Add, 0, nil},
	} {
		table := newTable(t, Config{}, 10)
		if tt.old != nil {
			mustPut(t, table, *tt.old, 0)
		}
		before, had := table.Get(tt.e.VNI, tt.e.MAC, tt.now)
		err := table.Put(tt.e, tt.mode, tt.now)
		if !isErr(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		after, has := table.Get(tt.e.VNI, tt.e.MAC, tt.now)
		want, wantHas := tt.e, true
		want.Seen = tt.now
		if tt.want != nil {
			want, wantHas = before, had
		}
		if after != want || has != wantHas {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.name, after, has, want, wantHas)
		}
	}
}

func TestStaticLimit(t *testing.T) {
	table := newTable(t, Config{MaxStatic: 2, MaxDynamic: 2}, 10)
	mustPut(t, table, Entry{VNI: 1, MAC: 1, Dest: PortDest(1), State: Static}, 0)
	mustPut(t, table, Entry{VNI: 1, MAC: 2, Dest: PortDest(1), State: Sticky}, 0)
	table.Learn(1, macA, PortDest(1), 0)
	for _, mac := range []MAC{macA, macB} {
		if err := table.Put(Entry{VNI: 1, MAC: mac, Dest: PortDest(1), State: Static}, Replace, 0); !isErr(err, ErrFull) {
			t.Errorf("third static entry %v: %v, want ErrFull", mac, err)
		}
	}
	if e, ok := table.Get(1, macA, 0); !ok || e.State != Dynamic {
		t.Errorf("the refused put changed %+v, %v", e, ok)
	}
	// One static entry for another takes no more room.
	mustPut(t, table, Entry{VNI: 1, MAC: 1, Dest: PortDest(2), State: Sticky}, 0)
}

func TestMovesAndHistory(t *testing.T) {
	table := newTable(t, Config{MaxHistories: 2}, 10)
	table.Learn(1, macA, PortDest(0), 0)
	if e, _ := table.Get(1, macA, 0); e.Moves != 0 || table.History(1, macA) != nil {
		t.Errorf("an entry that never moved has %+v, %v", e, table.History(1, macA))
	}
	var want []Move
	for i := range uint32(HistoryLen + 3) {
		if v := table.Learn(1, macA, PortDest(i+1), Tick(i)); v != Moved {
			t.Fatalf("move %d: %v", i, v)
		}
		want = append(want, Move{PortDest(i), PortDest(i + 1), Tick(i)})
	}
	if diff := cmp.Diff(want[3:], table.History(1, macA)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if e, _ := table.Get(1, macA, 11); e.Moves != HistoryLen+3 {
		t.Errorf("%d moves, want %d", e.Moves, HistoryLen+3)
	}
	// The oldest history is forgotten for the third, not the count of moves.
	for _, mac := range []MAC{macB, macB + 1} {
		table.Learn(1, mac, PortDest(0), 11)
		table.Learn(1, mac, PortDest(1), 11)
	}
	e, _ := table.Get(1, macA, 11)
	if a, b := table.History(1, macA), table.History(1, macB+1); a != nil || len(b) != 1 || e.Moves != HistoryLen+3 {
		t.Errorf("histories %v, %v; moves %d", a, b, e.Moves)
	}
	// An entry that went and comes again has not moved.
	if _, err := table.Delete(1, macA); err != nil {
		t.Fatal(err)
	}
	table.Learn(1, macA, PortDest(0), 11)
	if e, _ := table.Get(1, macA, 11); e.Moves != 0 {
		t.Errorf("the new entry has %d moves", e.Moves)
	}
}

func TestMovesSaturate(t *testing.T) {
	table := newTable(t, Config{}, 0)
	table.Learn(1, macA, PortDest(0), 0)
	r := table.record(1)
	r.ver.Store(r.ver.Load()&^movesMask | movesMask - 1)
	for i := range uint32(3) {
		table.Learn(1, macA, PortDest(i+1), 0)
		if e, _ := table.Get(1, macA, 0); e.Moves != movesMask {
			t.Fatalf("%d moves, want %d", e.Moves, movesMask)
		}
	}
}

func TestLearnRefused(t *testing.T) {
	table := newTable(t, Config{}, 10)
	for _, tt := range []struct {
		vni uint32
		mac MAC
		d   Dest
	}{
		{2, macA, PortDest(1)},
		{0, macA, PortDest(1)},
		{1<<24 | 1, macA, PortDest(1)},
		{1, 0, PortDest(1)},
		{1, macA | macGroupBit, PortDest(1)},
		{1, macMask, PortDest(1)},
		{1, 1<<48 | macA, PortDest(1)},
		{1, macA, None},
		{1, macA, 7},
		{1, macA, 1 << 31},
	} {
		if v := table.Learn(tt.vni, tt.mac, tt.d, 0); v != Refused {
			t.Errorf("%+v: %v", tt, v)
		}
		if _, ok := table.Lookup(tt.vni, tt.mac, 0); ok {
			t.Errorf("%+v: found", tt)
		}
	}
	if s := table.Stats(); s.Dynamic != 0 || s.Learned != 0 {
		t.Errorf("%+v", s)
	}
	for _, vni := range []uint32{0, 1 << 24, 1<<32 - 1} {
		if err := table.SetVNI(vni, VNIConfig{}); !isErr(err, ErrVNI) {
			t.Errorf("SetVNI(%d): %v", vni, err)
		}
	}
}

func TestNewSeeds(t *testing.T) {
	a, b := New(Config{}), New(Config{})
	if a.seed == b.seed {
		t.Error("two tables with seeds from the system have the same")
	}
	if c, d := New(Config{Seed: 7}), New(Config{Seed: 7}); c.seed != d.seed || c.seed == New(Config{Seed: 8}).seed {
		t.Error("a given seed does not decide alone")
	}
}

func TestEvents(t *testing.T) {
	var got []Event
	table := newTable(t, Config{MaxDynamic: 2, Notify: func(e Event) { got = append(got, e) }}, 10)
	a := Entry{VNI: 1, MAC: macA, Dest: PortDest(1)}
	table.Learn(1, macA, PortDest(1), 0)
	table.Learn(1, macA, PortDest(1), 1) // a refresh is no event
	table.Learn(1, macA, PeerDest(2), 2)
	mustPut(t, table, Entry{VNI: 1, MAC: macA, Dest: PeerDest(2), State: Static}, 3)
	table.Delete(1, macA)
	for i := range MAC(3) {
		table.Learn(1, macB+i, PortDest(1), 4)
	}
	table.Flush(FlushFilter{})
	table.Learn(1, macA, PortDest(1), 5)
	table.Sweep(16, 0)

	at := func(e Entry, d Dest, s State, seen Tick, moves uint32) Entry {
		e.Dest, e.State, e.Seen, e.Moves = d, s, seen, moves
		return e
	}
	b := func(i MAC) Entry { return Entry{VNI: 1, MAC: macB + i, Dest: PortDest(1), Seen: 4} }
	want := []Event{
		{Added, a, None, 1, false},
		{EntryMoved, at(a, PeerDest(2), Dynamic, 2, 1), PortDest(1), 1, false},
		{Changed, at(a, PeerDest(2), Static, 3, 1), None, 1, false},
		{Deleted, at(a, PeerDest(2), Static, 3, 1), None, 1, false},
		{Added, b(0), None, 1, false},
		{Added, b(1), None, 1, true},
		{Evicted, b(0), None, 1, false},
		{Added, b(2), None, 1, true},
		{Flushed, Entry{VNI: 1, Dest: PortDest(1)}, None, 2, false},
		{Added, at(a, PortDest(1), Dynamic, 5, 0), None, 1, false},
		{Expired, at(a, PortDest(1), Dynamic, 5, 0), None, 1, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	wantStats := Stats{Learned: 5, Moved: 1, Expired: 1, Evicted: 1, Deleted: 1, Flushed: 2}
	if diff := cmp.Diff(wantStats, table.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

// TestEventFull: who makes the last room of any limit go says so, and so does whoever makes another go for his own.
func TestEventFull(t *testing.T) {
	for name, limit := range map[string]func(*Table){
		"table":       func(*Table) {},
		"vni":         func(table *Table) { mustSetVNI(t, table, 1, VNIConfig{MaxDynamic: 3}) },
		"destination": func(table *Table) { table.SetDestLimit(PeerDest(2), 3) },
	} {
		var full []bool
		c := Config{Notify: func(e Event) {
			if e.Kind == Added || e.Kind == EntryMoved {
				full = append(full, e.Full)
			} else if e.Full {
				t.Errorf("%s: full by %+v", name, e)
			}
		}}
		if c.MaxDynamic = 1000; name == "table" {
			c.MaxDynamic = 3
		}
		table := newTable(t, c, 0)
		limit(table)
		mustPut(t, table, Entry{VNI: 1, MAC: macA, Dest: PeerDest(2), State: Static}, 0) // has no part in it
		table.Learn(1, macB, PortDest(1), 0)
		table.Learn(1, macB+1, PeerDest(2), 0)
		table.Learn(1, macB, PeerDest(2), 1)
		table.Learn(1, macB+2, PeerDest(2), 2)
		table.Learn(1, macB+3, PeerDest(2), 3)
		if want := []bool{false, false, false, false, true, true}; !slices.Equal(full, want) {
			t.Errorf("%s: full after each change: %v, want %v", name, full, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Dynamic.String(), "dynamic"}, {Static.String(), "static"}, {Sticky.String(), "sticky"}, {State(9).String(), "state(9)"},
		{Known.String(), "known"}, {Refused.String(), "refused"}, {Verdict(99).String(), "verdict(99)"},
		{Added.String(), "added"}, {EntryMoved.String(), "moved"}, {Flushed.String(), "flushed"}, {EventKind(99).String(), "event(99)"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
