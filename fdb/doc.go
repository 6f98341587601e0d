// Package fdb is the forwarding table of a learning switch: it maps (VNI, MAC)
// to the port or the peer behind which the MAC lives, ages what it learned, and
// keeps its bounds under attack.
//
// It knows nothing about sockets, interfaces, files or clocks. Ports and peers
// are opaque numbers ([Dest]), time comes in as an argument ([Tick]), and it
// starts no goroutine. Frames whose destination is a group address are not its
// business, nor is the all-zero address of a flood list.
//
// # Words
//
//   - entry: what the caller sees, one (VNI, MAC) and its destination.
//   - record: the 32 bytes that hold an entry. A record never moves while its
//     entry lives; it is used again for another entry later.
//   - group: all entries of one VNI, one destination and one state. A flush
//     takes whole groups, so that it costs nothing per entry.
//   - index: buckets of words that lead from a hash to a record.
//   - dead: entries of a group that was flushed. They are invisible at once;
//     their records are taken back later, a few at a time.
//
// # Who may call what
//
// Every method may be called from any goroutine at any time. Lookup, Get, Walk
// and Touch never take the lock; of these only Touch writes, by one
// compare-and-swap. Learn takes the lock only for an
// address that is new, moved, expired or flushed; for a known one it writes
// only when the tick has turned since its last frame, by one compare-and-swap.
// All other methods take it, those that do much work in slices.
//
// # Bounds
//
// Dynamic entries are bounded for the table, for a VNI and for a destination;
// static and sticky ones for the table. Where a new dynamic entry reaches a
// bound, another one makes room, chosen so that whoever floods the table
// floods himself out (see evict.go). No call does work in proportion to
// the number of entries, except Walk, Sweep with its budget, and the lowering
// of a limit, which evicts at once what is above it.
package fdb
