package ctl

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// Op is one operation on the switch on the way from one model to another.
type Op struct {
	// Text says what it does, in the words of vtepctl: "port add tap0".
	Text string

	// What it is about: a vni, whose number is in key, a port, or an fdb entry.
	object string
	key    model.StaticKey
	port   string

	do, undo func() error
}

// opError is an operation that failed.
type opError struct {
	op  *Op
	err error
}

func (e *opError) Error() string { return e.err.Error() }
func (e *opError) Unwrap() error { return e.err }

// planner works out the operations from one model to another.
type planner struct {
	sw       Switch
	old, new *model.Model
	changes  model.Changes // from old to new
	// exclusive holds the static entries that must not replace anything.
	exclusive map[model.StaticKey]bool
	// left are the static entries that an operation deletes.
	left map[model.StaticKey]bool
	// byPort are the old static entries at each port, in order; nil until they are asked for.
	byPort map[string][]model.StaticKey
	ops    []Op
}

// plan lists the operations from one model to another in an order in which each finds what it needs, and in which what may fail comes before what
// destroys: VNIs and ports come and change, static entries come, and only then static entries, ports and VNIs leave. A port that must be made anew is
// the exception: its device leaves first, because the new one has its name.
func (p *planner) plan() []Op {
	p.fastPath()
	p.vnisCome()
	p.portsCome()
	p.portsAnew()
	p.staticsCome()
	p.staticsLeave()
	p.portsLeave()
	p.vnisLeave()
	return p.ops
}

func (p *planner) vniOp(verb string, n uint32, do, undo func() error) {
	p.ops = append(p.ops, Op{Text: fmt.Sprintf("vni %s %d", verb, n), object: "vni", key: model.StaticKey{VNI: n}, do: do, undo: undo})
}

func (p *planner) portOp(verb, name string, do, undo func() error) {
	p.ops = append(p.ops, Op{Text: "port " + verb + " " + name, object: "port", port: name, do: do, undo: undo})
}

func (p *planner) staticOp(verb string, k model.StaticKey, do, undo func() error) {
	p.ops = append(p.ops, Op{Text: fmt.Sprintf("fdb %s %s vni %d", verb, k.MAC, k.VNI), object: "fdb", key: k, do: do, undo: undo})
}

// fastPath comes first: the host may refuse it, and then nothing has been taken away yet.
func (p *planner) fastPath() {
	before, next := p.old.Global.FastPath, p.new.Global.FastPath
	if before == next {
		return
	}
	p.ops = append(p.ops, Op{
		Text: "set fastpath " + string(next), object: "set",
		do: func() error {
			if err := p.sw.SetFastPath(next.Mode()); err != nil {
				return &model.Error{Path: "fastpath", Msg: err.Error(), Kind: err}
			}
			return nil
		},
		undo: func() error { return p.sw.SetFastPath(before.Mode()) },
	})
}

func (p *planner) vnisCome() {
	list := slices.Concat(p.changes.VNIs, p.changes.Named)
	slices.Sort(list)
	if p.changes.Global {
		list = p.new.Declared()
	}
	if len(list) == 0 {
		return
	}
	had := p.old.DeclaredSet()
	for _, n := range list {
		next := p.new.VNIConfig(n)
		if _, ok := had[n]; !ok {
			p.vniOp("add", n,
				func() error { return p.sw.SetVNI(next) },
				func() error { return p.sw.DelVNI(n) })
			continue
		}
		if before := p.old.VNIConfig(n); !reflect.DeepEqual(before, next) {
			p.vniOp("set", n,
				func() error { return p.sw.SetVNI(next) },
				func() error { return p.sw.SetVNI(before) })
		}
	}
}

func (p *planner) vnisLeave() {
	if !p.changes.Undeclared {
		return
	}
	has := p.new.DeclaredSet()
	for _, n := range p.old.Declared() {
		if _, ok := has[n]; ok {
			continue
		}
		before := p.old.VNIConfig(n)
		p.vniOp("del", n,
			func() error { return p.sw.DelVNI(n) },
			func() error { return p.sw.SetVNI(before) })
	}
}

// anew says that a port's device must be made again: its type, its namespace or the name of its other end changes.
func anew(before, next *model.Port) bool {
	return before.Type != next.Type || before.NetNS != next.NetNS || before.IfName != next.IfName
}

// staticsAt lists the old static entries at a port.
func (p *planner) staticsAt(name string) []model.StaticKey {
	if p.byPort == nil {
		p.byPort = map[string][]model.StaticKey{}
		for _, k := range p.old.StaticKeys() {
			if s, _ := p.old.Statics.Get(k); s.Port != "" {
				p.byPort[s.Port] = append(p.byPort[s.Port], k)
			}
		}
	}
	return p.byPort[name]
}

// portsCome adds and changes ports. The switch forgets the entries of a VNI that a port leaves, so static ones are deleted before: whatever undoes the change
// brings them back behind it.
func (p *planner) portsCome() {
	names := p.changes.Ports
	if p.changes.VLANs {
		names = p.new.PortNames()
	}
	for _, name := range names {
		o, n := p.old.Ports[name], p.new.Ports[name]
		switch {
		case o == nil:
			next := p.new.PortConfig(name)
			p.portOp("add", name,
				func() error { return atPort(name, p.sw.AddPort(next)) },
				func() error { return p.sw.DelPort(name) })
		case anew(o, n):
		default:
			before, next := p.old.PortConfig(name), p.new.PortConfig(name)
			if !reflect.DeepEqual(before, next) {
				stays := p.new.PortVNIs(n)
				for _, k := range p.staticsAt(name) {
					if !slices.Contains(stays, k.VNI) {
						p.staticLeaves(k)
					}
				}
				p.portOp("set", name,
					func() error { return atPort(name, p.sw.SetPort(next)) },
					func() error { return p.sw.SetPort(before) })
			}
		}
	}
}

// atPort says which port an error of the switch is about, so that the file's line can be named.
func atPort(name string, err error) error {
	var located *model.Error
	if err == nil || errors.As(err, &located) {
		return err
	}
	return &model.Error{Path: "ports/" + name, Msg: err.Error(), Kind: err}
}

// portsAnew makes ports again whose type or namespace changes. Undoing makes the old port again: with another device, so the likely mistakes, a
// namespace that does not exist and one where the name is taken, are looked for before anything is taken away.
func (p *planner) portsAnew() {
	names := slices.DeleteFunc(slices.Clone(p.changes.Ports), func(name string) bool {
		o := p.old.Ports[name]
		return o == nil || !anew(o, p.new.Ports[name])
	})
	for _, name := range names {
		before, next := p.old.PortConfig(name), p.new.PortConfig(name)
		p.portOp("check", name,
			func() error {
				if err := checkNetNS(next); err != nil {
					return err
				}
				return atPort(name, p.sw.CheckPort(next, name))
			},
			func() error { return nil })
		for _, k := range p.staticsAt(name) {
			p.staticLeaves(k)
		}
		p.portOp("del", name,
			func() error { return p.sw.DelPort(name) },
			func() error { return p.sw.AddPort(before) })
		p.portOp("add", name,
			func() error { return atPort(name, p.sw.AddPort(next)) },
			func() error { return p.sw.DelPort(name) })
	}
}

func (p *planner) portsLeave() {
	for _, name := range p.changes.PortsGone {
		before := p.old.PortConfig(name)
		p.portOp("del", name,
			func() error { return p.sw.DelPort(name) },
			func() error { return p.sw.AddPort(before) })
	}
}

// staticsLeave deletes what is not wanted any more.
func (p *planner) staticsLeave() {
	for _, k := range p.changes.Statics {
		if !p.new.Statics.Has(k) && !p.left[k] {
			p.staticLeaves(k)
		}
	}
}

func (p *planner) staticLeaves(k model.StaticKey) {
	if p.left == nil {
		p.left = map[model.StaticKey]bool{}
	}
	p.left[k] = true
	before, _ := p.old.Statics.Get(k)
	p.staticOp("del", k,
		func() error {
			err := p.sw.FDBDel(k.VNI, k.MAC, netip.AddrPort{})
			if errors.Is(err, dataplane.ErrNotFound) || errors.Is(err, fdb.ErrNotFound) {
				return nil
			}
			return err
		},
		func() error { return p.sw.FDBPut(staticEntry(k, before), fdb.Replace) })
}

// staticsCome puts static entries that are new or different, and those of ports made anew.
func (p *planner) staticsCome() {
	keys := slices.AppendSeq(slices.Clone(p.changes.Statics), maps.Keys(p.left))
	slices.SortFunc(keys, model.CompareStatics)
	for _, k := range slices.Compact(keys) {
		next, wanted := p.new.Statics.Get(k)
		before, had := p.old.Statics.Get(k)
		had = had && !p.left[k]
		if !wanted || had && before == next {
			continue
		}
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
}

func staticEntry(k model.StaticKey, s model.Static) dataplane.FDBEntry {
	return dataplane.FDBEntry{VNI: k.VNI, MAC: k.MAC, Dst: s.Dst, Port: s.Port, State: s.State}
}

// run does the operations in order. When one fails, those before it are undone in reverse, and the error is returned; what could not be undone is
// joined to it.
func (c *Controller) run(ops []Op) error {
	for i, op := range ops {
		c.progress.Add(1)
		err := op.do()
		if err == nil {
			continue
		}
		for _, done := range slices.Backward(ops[:i]) {
			c.progress.Add(1)
			if uerr := done.undo(); uerr != nil {
				err = fmt.Errorf("%w; and %s could not be undone: %w", err, done.Text, uerr)
			}
		}
		return &opError{&ops[i], err}
	}
	return nil
}
