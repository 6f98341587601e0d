package dataplane

import (
	"sync/atomic"
)

// ledgerSlots is the number of distinct (reason, port, VNI, peer) lines that one worker keeps apart. A hostile sender can make many;
// past the bound only the reason is kept. A power of two.
const ledgerSlots = 1024

// ledgerProbes bounds the search for a line.
const ledgerProbes = 8

// noIndex marks an unknown port or peer in a line.
const noIndex = 0xffff

// ledgerKey packs reason (8 bits), port index (16), peer index (16) and VNI (24). Reason is never 0, so no key is 0.
type ledgerKey uint64

func makeLedgerKey(r Reason, port, peer uint16, vni uint32) ledgerKey {
	return ledgerKey(r)<<56 | ledgerKey(port)<<40 | ledgerKey(peer)<<24 | ledgerKey(vni&MaxVNI)
}

func (k ledgerKey) reason() Reason { return Reason(k >> 56) }
func (k ledgerKey) port() uint16   { return uint16(k >> 40) }
func (k ledgerKey) peer() uint16   { return uint16(k >> 24) }
func (k ledgerKey) vni() uint32    { return uint32(k) & MaxVNI }

// ledger is one worker's account of dropped frames: that worker adds to it, and control takes the names of ports and peers that are gone out of it.
// Counts stay, so that the sum of a reason never goes back.
type ledger struct {
	lines [ledgerSlots]struct {
		key   atomic.Uint64
		count atomic.Uint64
	}
	rest [numReasons]atomic.Uint64
}

func (l *ledger) add(k ledgerKey, packets uint64) {
	h := uint64(k) * 0x9e3779b97f4a7c15 >> 54
	for i := range uint64(ledgerProbes) {
		line := &l.lines[(h+i)%ledgerSlots]
		switch line.key.Load() {
		case uint64(k):
			line.count.Add(packets)
			return
		case 0:
			// The count goes first: a reader that sees the key sees its count.
			line.count.Store(packets)
			line.key.Store(uint64(k))
			return
		}
	}
	l.rest[k.reason()].Add(packets)
}

// forget takes ports and peers out of the lines that name them: their indices are about to name others. What was counted stays with the reason and
// the VNI. No frame of theirs may be under way any more, so the worker adds to none of these lines; Switch.mu keeps readers away.
//
// The room it makes ends a search of the worker sooner, which may then begin a second line of a key: sum adds them up.
func (l *ledger) forget(gone func(port, peer uint16) bool) {
	kept := make(map[ledgerKey]int)
	for i := range l.lines {
		line := &l.lines[i]
		k := ledgerKey(line.key.Load())
		if k == 0 {
			continue
		}
		if !gone(k.port(), k.peer()) {
			kept[k] = i
			continue
		}
		k = makeLedgerKey(k.reason(), noIndex, noIndex, k.vni())
		if to, ok := kept[k]; ok {
			l.lines[to].count.Add(line.count.Load())
			line.key.Store(0)
			continue
		}
		line.key.Store(uint64(k))
		kept[k] = i
	}
}

// sum adds the worker's lines to into.
func (l *ledger) sum(into map[ledgerKey]uint64) {
	for i := range l.lines {
		if k := l.lines[i].key.Load(); k != 0 {
			into[ledgerKey(k)] += l.lines[i].count.Load()
		}
	}
	for r := range l.rest {
		if n := l.rest[r].Load(); n != 0 {
			into[makeLedgerKey(Reason(r), noIndex, noIndex, 0)] += n
		}
	}
}
