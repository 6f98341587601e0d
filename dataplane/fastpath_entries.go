package dataplane

import (
	"math/rand/v2"
	"slices"
	"time"

	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// nowhere is an index that no port has.
const nowhere = MaxPorts

// entryBatch is how many entries one system call writes or removes.
const entryBatch = 1024

// Bounds of how often the whole table is compared because the maps lack entries.
const (
	compareLeast = time.Second
	// compareShare is the least rest after a comparison, in multiples of what it took.
	compareShare = 4
	// compareMost is how many entries it brings then.
	compareMost = 32768
	// fullRetry is the least time between two tries to find room in the map for all entries.
	fullRetry = 10 * time.Second
)

// Bounds of how often the ages are read that the programs keep: a quarter of the shortest ageing time, so that no entry in use expires, and agesEvicting
// where entries are evicted or are about to be, so that those go that are not in use.
const (
	agesLeast    = 250 * time.Millisecond
	agesMost     = 30 * time.Second
	agesEvicting = time.Second
	// agesShare bounds what reading them may take of the time then: one part in so many.
	agesShare = 20
	// agesPause is how many of them are read before what waits has its turn.
	agesPause = 4096
	// agesFresh is how old an age may be that is shown.
	agesFresh = time.Second
)

// entriesFollow makes the maps say of what changed in the forwarding table what the table says of it now.
func (m *mirror) entriesFollow(c changes) {
	began := time.Now()
	m.behind = m.behind || c.behind
	if c.whole {
		m.compare(true)
	} else {
		if len(c.flushes) > 0 {
			m.sweep(c.flushes)
		}
		m.follow(c.keys)
		m.follow(c.news)
		if m.lacking() && time.Since(m.compared) > m.compareNext {
			m.compare(false)
		}
	}
	m.judgeFull()
	m.entriesTook = time.Since(began)
}

// lacking says whether the maps lack entries that the table has.
func (m *mirror) lacking() bool { return m.noRoom || m.behind }

// judgeFull leaves what comes from new sources to user space where that the maps do not know a source does not say that the table does not, or would learn it.
func (m *mirror) judgeFull() {
	if full := m.lacking() || m.s.fast.heard.incomplete.Load(); full != m.full {
		m.full = full
		m.placeDomains()
	}
}

// compare makes the maps say what the table says, and writes only where they differ: mostly that is little, and to write costs more than to look. Unless it is to be
// complete, not all that the maps lack comes at once.
func (m *mirror) compare(complete bool) {
	m.compared = time.Now()
	m.noRoom, m.behind = false, false
	m.keys, m.differ = m.keys[:0], m.differ[:0]
	err := m.e.WalkEntries(func(e xdp.Entry) bool {
		k := fdbKey{e.VNI, fdb.FromBytes(e.MAC[:])}
		m.keys = append(m.keys, k)
		if !m.agrees(k, &e) {
			m.differ = append(m.differ, k)
		}
		return true
	})
	if err != nil {
		m.log.Warn("fast path: reading the forwarding map", "error", err)
		m.behind = true
	}
	m.follow(m.differ) // first what is to go, for the room
	slices.SortFunc(m.keys, fdbKey.compare)
	m.differ = m.differ[:0]
	m.s.fdb.Walk(0, func(e fdb.Entry) bool {
		k := fdbKey{e.VNI, e.MAC}
		if _, there := slices.BinarySearchFunc(m.keys, k, fdbKey.compare); !there {
			m.differ = append(m.differ, k)
		}
		return true
	})
	if n := len(m.differ); n > compareMost && !complete {
		// From anywhere on, so that those of a flood, which come in place of each other, do not keep another from its turn.
		at := rand.IntN(n)
		end := min(at+compareMost, n)
		m.follow(m.differ[at:end])
		m.follow(m.differ[:compareMost-(end-at)])
		m.behind = true
	} else {
		m.follow(m.differ)
	}
	m.keys, m.differ = shrunk(m.keys[:0]), shrunk(m.differ[:0])
	m.rest(time.Since(m.compared))
}

// rest sets when to compare again, after a comparison that took so long.
func (m *mirror) rest(took time.Duration) {
	m.compareNext = compareShare * took
	if m.noRoom {
		m.compareNext = max(m.compareNext, fullRetry)
	} else {
		m.compareNext = max(m.compareNext, compareLeast)
		if m.toldNoRoom && !m.behind {
			m.log.Info("fast path: every entry has found room")
			m.toldNoRoom = false
		}
	}
	m.compared = m.compared.Add(took)
}

// agrees says whether an entry of the map is what the table says of its key. When it was seen last is readAges's.
func (m *mirror) agrees(k fdbKey, is *xdp.Entry) bool {
	e, ok := m.s.fdb.Get(k.vni, k.mac, 0)
	if !ok || !m.stands(e.Dest) {
		return false
	}
	want := m.mapEntry(e)
	if want.Seen = is.Seen; want != *is {
		return false
	}
	m.noteSource(e)
	return true
}

// sweep looks at every entry of the map that a flush may have taken.
func (m *mirror) sweep(flushes []flushKey) {
	m.keys = m.keys[:0]
	err := m.e.WalkEntries(func(e xdp.Entry) bool {
		k := fdbKey{e.VNI, fdb.FromBytes(e.MAC[:])}
		dest := destOf(e)
		for _, f := range flushes {
			if (f.vni == 0 || f.vni == e.VNI) && (f.dest == fdb.None || f.dest == dest) {
				m.keys = append(m.keys, k)
				break
			}
		}
		return true
	})
	if err != nil {
		m.log.Warn("fast path: reading the forwarding map", "error", err)
		m.behind = true // what stays is found by comparing
	}
	m.follow(m.keys)
	m.keys = shrunk(m.keys[:0])
}

// destOf is where an entry of the map leads, in the table's words.
func destOf(e xdp.Entry) fdb.Dest {
	if e.ToPeer {
		return fdb.PeerDest(e.Index)
	}
	return fdb.PortDest(e.Index)
}

// follow writes what the table says of some keys into the map, or takes them out. Whether an entry has expired is the table's business, which says so:
// asked at tick 0, it tells of every entry that is there.
func (m *mirror) follow(keys []fdbKey) {
	for _, k := range keys {
		e, ok := m.s.fdb.Get(k.vni, k.mac, 0)
		if ok && !m.stands(e.Dest) {
			m.s.fast.dirty.again(k)
			m.s.fast.poke()
			ok = e.State == fdb.Static
			e.Dest = fdb.PortDest(nowhere) // holds against others already
		}
		if !ok || k.mac.IsMulticast() {
			m.dropEntry(k)
			continue
		}
		m.batch = append(m.batch, m.mapEntry(e))
		m.noteSource(e)
		if len(m.batch) == entryBatch {
			m.writeEntries()
		}
	}
	m.writeEntries()
}

// stands says that what the maps hold under the index of a place, if anything, is the place that the table means.
func (m *mirror) stands(d fdb.Dest) bool {
	i := d.Index()
	if d.IsPort() {
		mp := m.ports[i]
		if mp == nil || !mp.on {
			return true
		}
		p := m.s.current.Load().port(i)
		return p != nil && p.owner() == mp.p.owner()
	}
	mp := m.peers[i]
	return mp == nil || !mp.on || m.s.peers.at(i) == mp.p
}

func (m *mirror) mapEntry(e fdb.Entry) xdp.Entry {
	out := xdp.Entry{VNI: e.VNI, ToPeer: e.Dest.IsPeer(), Index: e.Dest.Index(), Static: e.State == fdb.Static, Sticky: e.State == fdb.Sticky, Seen: m.toClock(e.Seen)}
	e.MAC.PutBytes(out.MAC[:])
	return out
}

// toClock and toTick convert between the table's seconds and the programs'. They are exact inverses while nothing is cut off, so that an entry that the
// programs did not see keeps its age.
func (m *mirror) toClock(t fdb.Tick) uint32 { return uint32(max(int64(t)+m.offset, 0)) }

func (m *mirror) toTick(clock uint32) fdb.Tick {
	return min(fdb.Tick(max(int64(clock)-m.offset, 0)), m.s.now())
}

// writeEntries ends a batch. What is to go goes first: that makes room, and a key that is in both lists has come back.
func (m *mirror) writeEntries() {
	if len(m.drops) > 0 {
		if err := m.e.DelEntries(m.drops...); err != nil {
			m.log.Warn("fast path: forgetting entries", "error", err)
			m.behind = true // what stays is found by comparing
		}
		m.drops = m.drops[:0]
	}
	list := m.batch
	m.batch = m.batch[:0]
	if len(list) == 0 || m.e.PutEntries(list) == nil {
		return
	}
	// One by one, so that what is in the map is known: an entry that finds no room takes user space.
	for i := range list {
		err := m.e.PutEntries(list[i : i+1])
		if err == nil {
			continue
		}
		m.noRoom = true
		if err := m.e.DelEntries(xdp.EntryKey{VNI: list[i].VNI, MAC: list[i].MAC}); err != nil {
			m.log.Warn("fast path: forgetting an entry", "vni", list[i].VNI, "mac", fdb.FromBytes(list[i].MAC[:]), "error", err)
			m.behind = true
		}
		if !m.toldNoRoom {
			m.log.Warn("fast path: an entry finds no room, frames to it pass user space, and those of new sources", "error", err, "retry_every", fullRetry)
			m.toldNoRoom = true
		}
	}
}

// dropEntry takes a key out with the next batch. The later word stands.
func (m *mirror) dropEntry(k fdbKey) {
	for i := range m.batch {
		if m.batch[i].VNI == k.vni && fdb.FromBytes(m.batch[i].MAC[:]) == k.mac {
			m.batch = append(m.batch[:i], m.batch[i+1:]...)
			break
		}
	}
	out := xdp.EntryKey{VNI: k.vni}
	k.mac.PutBytes(out.MAC[:])
	if m.drops = append(m.drops, out); len(m.drops) == entryBatch {
		m.writeEntries()
	}
}

// readAges tells the table what the programs have seen. Every agesPause entries it calls meanwhile, unless that is nil, and ends when that says false.
func (m *mirror) readAges(meanwhile func() bool) {
	began, paused, n := time.Now(), time.Duration(0), 0
	m.s.fast.full.Store(false)
	err := m.e.WalkEntries(func(e xdp.Entry) bool {
		m.readAge(&e) // whose place may be another's since the last pause: to that, which came later, it says nothing new
		if n++; meanwhile == nil || n%agesPause != 0 {
			return true
		}
		pause := time.Now()
		defer func() { paused += time.Since(pause) }()
		return meanwhile()
	})
	if m.s.fast.mirror != m {
		return // taken down meanwhile
	}
	if err != nil {
		m.log.Warn("fast path: reading ages", "error", err)
	}
	m.agesRead, m.agesTook = began, time.Since(began)-paused
	m.shortest, m.evicting = 0, false
	for _, md := range m.domains {
		if a := md.d.config.Ageing; a > 0 && (m.shortest == 0 || a < m.shortest) {
			m.shortest = a
		}
	}
	m.armAges()
}

// readAge tells the table when the programs have seen an entry.
func (m *mirror) readAge(e *xdp.Entry) {
	if !e.Static {
		m.s.fdb.Touch(e.VNI, fdb.FromBytes(e.MAC[:]), destOf(*e), m.toTick(e.Seen))
	}
}

// armAges sets when the ages are read next.
func (m *mirror) armAges() {
	next := agesMost
	if m.shortest > 0 {
		next = min(next, max(m.shortest/4, agesLeast))
	}
	if m.evicting {
		next = min(next, max(agesEvicting, agesShare*m.agesTook))
	}
	m.ageTimer.Reset(time.Until(m.agesRead.Add(next)))
}

// agesFollow has ages read soon where the table is going to evict entries: it goes by what it knows of their use.
func (m *mirror) agesFollow() {
	if !m.evicting && m.s.fast.full.Load() {
		m.evicting = true
		m.armAges()
	}
}

// freshAges has ages read that are to be shown, unless that was just done.
func (f *fastPath) freshAges() { f.agesWithin(agesFresh) }

// freshAge is freshAges for one entry, which does not take the time of all.
func (f *fastPath) freshAge(vni uint32, mac fdb.MAC) {
	f.with(func(m *mirror) {
		m.hearing.hear()
		k := xdp.EntryKey{VNI: vni}
		mac.PutBytes(k.MAC[:])
		e, ok, err := m.e.FindEntry(k)
		if err != nil {
			m.log.Warn("fast path: reading an age", "error", err)
		}
		if ok {
			m.readAge(&e)
		}
	})
}

// agesWithin has ages read unless that was done so long ago at most, or takes so long itself that whoever asks for many VNIs would ask for ever.
func (f *fastPath) agesWithin(d time.Duration) {
	f.with(func(m *mirror) {
		m.hearing.hear()
		if time.Since(m.agesRead) > max(d, 4*m.agesTook) {
			m.readAges(nil)
		}
	})
}

// agesBefore has ages read before entries expire sooner, or fewer are allowed: what is in use is not to go.
func (f *fastPath) agesBefore(was, is time.Duration, mostWas, most int) {
	if is > 0 && (was <= 0 || is < was) {
		f.agesWithin(min(agesFresh, is/8))
	} else if most > 0 && (mostWas <= 0 || most < mostWas) {
		f.agesWithin(agesFresh)
	}
}
