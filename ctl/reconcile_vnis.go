package ctl

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// vniChange is a VNI that comes or changes.
type vniChange struct {
	vni uint32
	// comes: there is no before.
	comes bool
	// before becomes wide, which has all of it, and wide becomes next.
	before, wide, next dataplane.VNIConfig
}

func (p *planner) lookAtVNIs() {
	list := slices.Concat(p.changes.VNIs, p.changes.Named)
	slices.Sort(list)
	if p.changes.Global {
		list = p.new.Declared()
	}
	if len(list) == 0 {
		return
	}
	room := p.new.VNIs.PeersFit(&p.old.VNIs)
	for _, n := range list {
		c := vniChange{vni: n, next: p.new.VNIConfig(n)}
		if !p.old.HasVNI(n) {
			c.comes, c.wide = true, c.next
		} else {
			c.before = p.old.VNIConfig(n)
			c.wide = widerVNI(c.before, c.next, room)
		}
		if c.comes || !reflect.DeepEqual(c.before, c.next) {
			p.vnis = append(p.vnis, c)
		}
	}
}

// widerVNI is before with what next adds and the switch may refuse: peers, and a group where there was none. All else waits, be it more or less: it is
// not refused. A peer that moves to another UDP port waits as well, since it would hear everything twice.
func widerVNI(before, next dataplane.VNIConfig, room bool) dataplane.VNIConfig {
	w := before
	for _, a := range next.Peers {
		if room && !slices.ContainsFunc(before.Peers, func(b netip.AddrPort) bool { return a.Addr() == b.Addr() }) {
			w.Peers = append(slices.Clip(w.Peers), a)
		}
	}
	switch {
	case before.Group.IsValid():
		if len(before.Peers)+len(before.Allow) == 0 {
			w.Policy = dataplane.Learn // as it is with a group alone, whatever the configuration says: the first peer must not shut out the rest
		}
	case before.Learning && !next.Learning: // it may be one on a port of its own, which no VNI that learns takes
	case len(w.Peers)+len(before.Allow) == 0 && len(next.Peers)+len(next.Allow) > 0: // with a group alone everybody may send
	default:
		w.Group, w.GroupTTL = next.Group, next.GroupTTL
	}
	if len(w.Peers) == len(next.Peers) && !slices.ContainsFunc(next.Peers, func(a netip.AddrPort) bool { return !slices.Contains(w.Peers, a) }) {
		w.Peers = next.Peers // they may come in another order
	}
	if len(w.Peers) == len(before.Peers) && w.Group == before.Group {
		return before
	}
	return w
}

// vnisWiden declares VNIs, and gives to others what they get and lack so far.
func (p *planner) vnisWiden() {
	for _, c := range p.vnis {
		switch {
		case c.comes:
			p.vniOp("add", c.vni,
				func() error { return atVNI(c.vni, p.sw.SetVNI(c.next)) },
				func() error { return p.sw.DelVNI(c.vni) })
		case !reflect.DeepEqual(c.before, c.wide):
			p.vniOp("set", c.vni,
				func() error { return atVNI(c.vni, p.sw.SetVNI(c.wide)) },
				func() error { return p.sw.SetVNI(c.before) })
		}
	}
}

// vnisNarrow brings VNIs into their final form. Another group may be refused, and comes before what is not.
func (p *planner) vnisNarrow() {
	joins := func(c vniChange) int {
		if c.next.Group.IsValid() && c.next.Group != c.wide.Group {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(p.vnis, func(a, b vniChange) int { return cmp.Compare(joins(a), joins(b)) })
	for _, c := range p.vnis {
		if !reflect.DeepEqual(c.wide, c.next) {
			p.vniOp("set", c.vni,
				func() error { return atVNI(c.vni, p.sw.SetVNI(c.next)) },
				func() error { return p.sw.SetVNI(c.wide) })
		}
	}
}

// atVNI says which VNI an error of the switch is about, so that the file's line can be named.
func atVNI(vni uint32, err error) error {
	if err == nil {
		return nil
	}
	return &model.Error{Path: fmt.Sprintf("vnis/%d", vni), Msg: err.Error(), Kind: err}
}

func (p *planner) vnisLeave() {
	for _, n := range p.changes.Undeclared {
		before := p.old.VNIConfig(n)
		p.vniOp("del", n,
			func() error { return gone(p.sw.DelVNI(n)) },
			func() error { return p.sw.SetVNI(before) })
	}
}
