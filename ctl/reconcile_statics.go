package ctl

import (
	"net/netip"
	"slices"

	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// statics are the static entries, as far as operations are planned for them.
type statics struct {
	// left are those that an operation deletes, put those that one puts.
	left, put map[model.StaticKey]bool
	// waiting are those that may have to be put.
	waiting []model.StaticKey
	// byPort are the old ones at each port, in order; nil until they are asked for.
	byPort map[string][]model.StaticKey
}

// staticsAt lists the old static entries at a port that are still there.
func (p *planner) staticsAt(name string) []model.StaticKey {
	s := &p.statics
	if s.byPort == nil {
		s.byPort = map[string][]model.StaticKey{}
		for _, k := range p.old.StaticKeys() {
			if e, _ := p.old.Statics.Get(k); e.Port != "" {
				s.byPort[e.Port] = append(s.byPort[e.Port], k)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(s.byPort[name]), func(k model.StaticKey) bool { return s.left[k] || s.put[k] })
}

// staticsLeave deletes what is not wanted any more.
func (p *planner) staticsLeave() {
	for _, k := range p.changes.Statics {
		if !p.new.Statics.Has(k) && !p.statics.left[k] {
			p.staticLeaves(k)
		}
	}
}

func (p *planner) staticLeaves(k model.StaticKey) {
	p.statics.left[k] = true
	p.statics.waiting = append(p.statics.waiting, k)
	before, _ := p.old.Statics.Get(k)
	p.staticOp("del", k,
		func() error { return gone(p.sw.FDBDel(k.VNI, k.MAC, netip.AddrPort{})) },
		func() error { return p.sw.FDBPut(staticEntry(k, before), fdb.Replace) })
}

// staticsCome puts static entries that are new, different or deleted with a port that is there again, as far as their ports are there by now.
func (p *planner) staticsCome() {
	keys := p.statics.waiting
	p.statics.waiting = nil
	slices.SortFunc(keys, model.CompareStatics)
	for _, k := range slices.Compact(keys) {
		next, wanted := p.new.Statics.Get(k)
		switch before, had := p.old.Statics.Get(k); {
		case !wanted, had && before == next && !p.statics.left[k], p.statics.put[k]:
		case next.Port != "" && !p.carries(next.Port, k.VNI):
			p.statics.waiting = append(p.statics.waiting, k)
		default:
			p.staticComes(k, next)
		}
	}
}

func (p *planner) staticComes(k model.StaticKey, next model.Static) {
	p.statics.put[k] = true
	before, had := p.old.Statics.Get(k)
	had = had && !p.statics.left[k]
	mode := fdb.Replace
	if p.exclusive[k] {
		mode = fdb.Add
	}
	var displaced *dataplane.FDBEntry
	p.staticOp("put", k,
		func() error {
			if e, err := p.sw.FDBPeek(k.VNI, k.MAC); err == nil && e.State == fdb.Dynamic {
				displaced = &e
			}
			return p.sw.FDBPut(staticEntry(k, next), mode)
		},
		func() error {
			switch {
			case had:
				return p.sw.FDBPut(staticEntry(k, before), fdb.Replace)
			case displaced != nil:
				return p.sw.FDBPut(*displaced, fdb.Replace)
			}
			return p.sw.FDBDel(k.VNI, k.MAC, netip.AddrPort{})
		})
}

func staticEntry(k model.StaticKey, s model.Static) dataplane.FDBEntry {
	return dataplane.FDBEntry{VNI: k.VNI, MAC: k.MAC, Dst: s.Dst, Port: s.Port, State: s.State}
}
