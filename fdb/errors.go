package fdb

import "errors"

// Errors of this package. They are wrapped with the numbers of the case; test
// with [errors.Is].
var (
	ErrExists     = errors.New("fdb: entry exists")                 // Put with Add, and the key has an entry
	ErrNotFound   = errors.New("fdb: no such entry")                // Delete
	ErrFull       = errors.New("fdb: no room for the entry")        // Put: a limit is reached and nothing may be evicted
	ErrUnknownVNI = errors.New("fdb: unknown vni")                  // Put: SetVNI was never called for it
	ErrVNI        = errors.New("fdb: vni out of range 1..16777215") // SetVNI
	ErrEntry      = errors.New("fdb: entry that cannot be stored")  // Put: MAC, destination or state is not valid
	ErrMAC        = errors.New("fdb: not an Ethernet address")      // ParseMAC
)
