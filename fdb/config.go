package fdb

// Limits of a table.
const (
	// DefaultMaxDynamic is Config.MaxDynamic when that is zero.
	DefaultMaxDynamic = 1 << 18
	// DefaultMaxStatic is Config.MaxStatic when that is zero.
	DefaultMaxStatic = 1 << 20
	// MaxLimit bounds Config.MaxDynamic and Config.MaxStatic, each: what is
	// above is cut to it. Their sum, and one more, must fit the 23 bits of a
	// group's number (record.go).
	MaxLimit = 1<<22 - 1
	// HistoryLen is the number of moves remembered for an entry.
	HistoryLen = 8
	// DefaultMaxHistories is Config.MaxHistories when that is zero.
	DefaultMaxHistories = 4096
)

// Config says how large a table may become. Memory is taken as entries come,
// not before.
type Config struct {
	// MaxDynamic bounds the dynamic entries; 0 means DefaultMaxDynamic.
	MaxDynamic int
	// MaxStatic bounds the static and sticky entries; 0 means DefaultMaxStatic.
	MaxStatic int
	// MaxHistories bounds the entries whose moves are remembered; 0 means
	// DefaultMaxHistories. About 150 bytes each. When there are more moved
	// entries, the one that has not moved for longest is forgotten first.
	MaxHistories int
	// Seed makes the positions of entries unpredictable. 0 takes one from
	// crypto/rand, which is what a service wants; a test wants a fixed one.
	Seed uint64
	// Notify, when set, is told of every change, in order. It is called with
	// the lock of the table held, often from a worker in the middle of a
	// batch: it must not block, and must not call the table.
	Notify func(Event)
}

// VNIConfig is what a VNI has of its own.
type VNIConfig struct {
	// Ageing is for how long a dynamic entry outlives the last frame from its
	// address: it is gone when more than Ageing ticks have passed. 0: forever.
	Ageing Tick
	// MaxDynamic bounds the dynamic entries of the VNI. 0: only the bound of the table.
	MaxDynamic int
}

// StateSet is a set of states. The empty set stands for {Dynamic}, so that a
// filter that does not speak of states takes dynamic entries only.
type StateSet uint8

// The states as sets, to be joined with |.
const (
	DynamicSet StateSet = 1 << Dynamic
	StaticSet  StateSet = 1 << Static
	StickySet  StateSet = 1 << Sticky
	AllStates           = DynamicSet | StaticSet | StickySet
)

// Has reports whether s is in the set.
func (set StateSet) Has(s State) bool {
	if set == 0 {
		set = DynamicSet
	}
	return set>>s&1 != 0
}

// FlushFilter chooses what a flush removes: entries that fit all its fields.
type FlushFilter struct {
	VNI    uint32   // 0: any
	Dest   Dest     // None: any
	States StateSet // empty: Dynamic only
}

// Stats are the counters of a table since New, and its size now.
type Stats struct {
	Dynamic int // dynamic entries, those expired and not yet swept included
	Static  int // static and sticky entries
	Dead    int // flushed entries whose room Sweep or the next Learn takes back

	Learned uint64 // dynamic entries made by Learn
	Moved   uint64 // entries that changed their destination
	Expired uint64
	Evicted uint64
	Deleted uint64
	Flushed uint64 // entries, not events
	Refused uint64 // Learn for a VNI that is not known or without room; bad addresses and None are not counted
}
