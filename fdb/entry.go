package fdb

import "fmt"

// State says how an entry came to be and what may end it.
type State uint8

const (
	// Dynamic entries were learned, or added to age like learned ones. They
	// age, move, and may be evicted.
	Dynamic State = iota
	// Static entries stay until they are deleted. A frame with their source
	// address from another place is to be dropped.
	Static
	// Sticky entries stay until they are deleted and do not move. A frame with
	// their source address from another place is forwarded all the same.
	Sticky

	numStates = 3
)

// String returns "dynamic", "static" or "sticky", the words of the command line.
func (s State) String() string {
	switch s {
	case Dynamic:
		return "dynamic"
	case Static:
		return "static"
	case Sticky:
		return "sticky"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Tick is a time in seconds since a moment that the caller chose. It should
// not decrease; where it does, an entry seen in the future has age zero.
type Tick uint32

// VNI bounds, RFC 7348 section 5: 24 bits. Zero belongs to no segment here.
const (
	MinVNI = 1
	MaxVNI = 1<<24 - 1
)

// Entry is a copy of one entry of the table.
type Entry struct {
	VNI   uint32
	MAC   MAC
	Dest  Dest
	State State
	Seen  Tick   // when a frame from MAC was last received; for Static and Sticky when the entry was put
	Moves uint32 // changes of Dest since the entry exists; stays at 16777215 (24 bits) once there
}

// Move is one change of destination of an entry.
type Move struct {
	From, To Dest
	At       Tick
}

// Verdict is what became of the source address of a frame.
type Verdict uint8

const (
	// Known: the entry is there and right, and nothing was written.
	Known Verdict = iota
	// Refreshed: the entry is there and right, and its age was set to zero. At
	// most once a tick for each entry.
	Refreshed
	// Learned: the entry is new.
	Learned
	// Moved: a dynamic entry pointed elsewhere and now points here.
	Moved
	// Elsewhere: a static entry of another place has this address. Nothing
	// changed; the frame is to be dropped.
	Elsewhere
	// Held: a sticky entry of another place has this address. Nothing changed;
	// the frame is to be forwarded.
	Held
	// Refused: the address was not learned. The VNI is not known, the address
	// is zero or a group address, the destination is None, or there is no room
	// and nothing that may be evicted.
	Refused
)

var verdictNames = [...]string{"known", "refreshed", "learned", "moved", "elsewhere", "held", "refused"}

// String returns the name of the verdict in lower case.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// PutMode says what [Table.Put] does when the key has an entry already.
type PutMode uint8

const (
	// Add refuses with [ErrExists], whatever the state of the entry that is
	// there, as `bridge fdb add` (NLM_F_CREATE|NLM_F_EXCL) does.
	Add PutMode = iota
	// Replace takes its place, as `bridge fdb replace` (NLM_F_CREATE|NLM_F_REPLACE) does.
	Replace
)

// EventKind says what an [Event] reports.
type EventKind uint8

const (
	// Added: Entry is new in the table.
	Added EventKind = iota
	// Changed: Put with Replace gave Entry another state at the same Dest.
	Changed
	// EntryMoved: Entry points to Entry.Dest and pointed to From before.
	EntryMoved
	// Expired: Entry was not seen for the ageing time of its VNI.
	Expired
	// Evicted: Entry gave its room to another.
	Evicted
	// Deleted: Entry was deleted by [Table.Delete].
	Deleted
	// Flushed: all Count entries with the VNI, Dest and State of Entry are
	// gone at once; Entry.MAC is zero. One event stands for them all.
	Flushed
)

var eventNames = [...]string{"added", "changed", "moved", "expired", "evicted", "deleted", "flushed"}

// String returns the name of the kind in lower case.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Event is one change of the table, as given to [Config.Notify]. The age of an
// entry coming back to zero is no change.
type Event struct {
	Kind  EventKind
	Entry Entry
	From  Dest // EntryMoved: where the entry pointed before
	Count int  // entries concerned: 1, or for Flushed any number
	// Full: Added or EntryMoved has reached a limit of its destination, its VNI or the
	// table, and the next entry there costs another its place.
	Full bool
}
