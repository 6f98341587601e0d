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

	do, undo func() error
}

// planner works out the operations from one model to another.
type planner struct {
	sw       Switch
	old, new *model.Model
	// exclusive holds the static entries that must not replace anything.
	exclusive map[model.StaticKey]bool
	ops       []Op
}

// plan lists the operations from one model to another in an order in which each finds what it needs: static entries leave, VNIs come and change, ports
// leave, ports come and change, static entries come, VNIs leave.
func (p *planner) plan() []Op {
	gone := p.goingPorts()
	p.staticsLeave(gone)
	p.vnisCome()
	p.portsLeave(gone)
	p.portsCome(gone)
	p.staticsCome(gone)
	p.vnisLeave()
	return p.ops
}

func (p *planner) add(text string, do, undo func() error) {
	p.ops = append(p.ops, Op{Text: text, do: do, undo: undo})
}

// goingPorts are the ports whose device leaves: those deleted, and those that must be made anew because their type or namespace changes.
func (p *planner) goingPorts() map[string]bool {
	gone := map[string]bool{}
	for name, o := range p.old.Ports {
		n := p.new.Ports[name]
		if n == nil || n.Type != o.Type || n.NetNS != o.NetNS {
			gone[name] = true
		}
	}
	return gone
}

func (p *planner) vnisCome() {
	sameDefaults := reflect.DeepEqual(p.old.Global, p.new.Global)
	had := p.old.DeclaredSet()
	for _, n := range p.new.Declared() {
		next := p.new.VNIConfig(n)
		if _, ok := had[n]; !ok {
			p.add(fmt.Sprintf("vni add %d", n),
				func() error { return p.sw.SetVNI(next) },
				func() error { return p.sw.DelVNI(n) })
			continue
		}
		// The pointer alone says that nothing changed: values are never written into.
		if sameDefaults && p.old.VNIs[n] == p.new.VNIs[n] {
			continue
		}
		if before := p.old.VNIConfig(n); !reflect.DeepEqual(before, next) {
			p.add(fmt.Sprintf("vni set %d", n),
				func() error { return p.sw.SetVNI(next) },
				func() error { return p.sw.SetVNI(before) })
		}
	}
}

func (p *planner) vnisLeave() {
	has := p.new.DeclaredSet()
	for _, n := range p.old.Declared() {
		if _, ok := has[n]; ok {
			continue
		}
		before := p.old.VNIConfig(n)
		p.add(fmt.Sprintf("vni del %d", n),
			func() error { return p.sw.DelVNI(n) },
			func() error { return p.sw.SetVNI(before) })
	}
}

func (p *planner) portsLeave(gone map[string]bool) {
	for _, name := range slices.SortedFunc(maps.Keys(gone), model.CompareNames) {
		before := p.old.PortConfig(name)
		p.add("port del "+name,
			func() error { return p.sw.DelPort(name) },
			func() error { return p.sw.AddPort(before) })
	}
}

func (p *planner) portsCome(gone map[string]bool) {
	sameVLANs := maps.Equal(p.old.VLANs, p.new.VLANs)
	for _, name := range p.new.PortNames() {
		if p.old.Ports[name] == nil || gone[name] {
			next := p.new.PortConfig(name)
			p.add("port add "+name,
				func() error { return p.sw.AddPort(next) },
				func() error { return p.sw.DelPort(name) })
			continue
		}
		if sameVLANs && p.old.Ports[name] == p.new.Ports[name] {
			continue
		}
		before, next := p.old.PortConfig(name), p.new.PortConfig(name)
		if !reflect.DeepEqual(before, next) {
			p.add("port set "+name,
				func() error { return p.sw.SetPort(next) },
				func() error { return p.sw.SetPort(before) })
		}
	}
}

// staticsLeave deletes what is not wanted any more, and what is at a port that leaves: the port would take it along, and undoing must bring it back.
func (p *planner) staticsLeave(gone map[string]bool) {
	for _, k := range p.old.StaticKeys() {
		before := p.old.Statics[k]
		if _, stays := p.new.Statics[k]; stays && !gone[before.Port] {
			continue
		}
		p.add(fmt.Sprintf("fdb del %s vni %d", k.MAC, k.VNI),
			func() error {
				err := p.sw.FDBDel(k.VNI, k.MAC, netip.AddrPort{})
				if errors.Is(err, dataplane.ErrNotFound) || errors.Is(err, fdb.ErrNotFound) {
					return nil
				}
				return err
			},
			func() error { return p.sw.FDBPut(staticEntry(k, before), fdb.Replace) })
	}
}

func (p *planner) staticsCome(gone map[string]bool) {
	for _, k := range p.new.StaticKeys() {
		next := p.new.Statics[k]
		before, had := p.old.Statics[k]
		had = had && !gone[before.Port]
		if had && before == next {
			continue
		}
		mode := fdb.Replace
		if p.exclusive[k] {
			mode = fdb.Add
		}
		var displaced *dataplane.FDBEntry
		p.add(fmt.Sprintf("fdb put %s vni %d", k.MAC, k.VNI),
			func() error {
				if e, err := p.sw.FDBGet(k.VNI, k.MAC); err == nil && e.State == fdb.Dynamic {
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
func run(ops []Op) error {
	for i, op := range ops {
		err := op.do()
		if err == nil {
			continue
		}
		for _, done := range slices.Backward(ops[:i]) {
			if uerr := done.undo(); uerr != nil {
				err = fmt.Errorf("%w; and %s could not be undone: %w", err, done.Text, uerr)
			}
		}
		return err
	}
	return nil
}
