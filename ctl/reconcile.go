package ctl

import (
	"errors"
	"fmt"
	"net/netip"
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

	vnis  []vniChange
	ports []*portChange // by name
	// contested are the VNIs that some ports come to and others leave.
	contested map[uint32]bool
	// lost are the addresses that ports lose.
	lost    map[netip.Addr]bool
	devices devices
	statics statics
	ops     []Op
}

// plan lists the operations from one model to another in an order in which each finds what it needs, and in which a change that is refused has taken
// nothing away meanwhile, be it for a moment: undoing brings neither lost frames nor learned entries back. What only widens comes first, then what may be
// refused, and what narrows or destroys last; whom a port may not meet by isolation is decided when all have left, who gives up an address has by then, and the next one gets it. Devices whose names or MACs others need are the exception, and their replacements are checked before the first goes.
// A VNI that some ports come to and others leave is left first, once nothing can be refused any more.
func (p *planner) plan() []Op {
	p.look()
	p.fastPath()
	p.vnisWiden()
	p.devicesChecked()
	p.portsCome()
	p.portsWiden()
	p.portsReshape()
	p.staticsCome()
	p.devicesChange()
	p.staticsCome() // at ports made anew
	p.portsPart()
	p.portsNarrow()
	p.staticsCome() // where a port has just moved to
	p.vnisNarrow()
	p.staticsLeave()
	p.portsLeave()
	p.portsComplete()
	p.vnisLeave()
	return p.ops
}

// look finds out what there is to do.
func (p *planner) look() {
	p.lookAtVNIs()
	p.lookAtPorts()
	p.lookAtDevices()
	p.statics = statics{left: map[model.StaticKey]bool{}, put: map[model.StaticKey]bool{}, waiting: slices.Clone(p.changes.Statics)}
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

// ErrNotUndone is why a change that failed has left something: an operation before the one that failed could not be undone.
var ErrNotUndone = errors.New("could not be undone")

// run does the operations in order. When one fails, those before it are undone in reverse, and the error is returned; what could not be undone is
// joined to it: see notUndone. When the switch is about to be closed, nothing is done or undone any more; a start that fails undoes nothing, either.
func (c *Controller) run(ops []Op) error {
	if len(ops) < 2 {
		return c.runAll(ops)
	}
	return c.sw.Together(func() error { return c.runAll(ops) })
}

func (c *Controller) runAll(ops []Op) error {
	for i, op := range ops {
		if c.life.Err() != nil {
			return ErrStopping
		}
		c.progress.Add(1)
		err := op.do()
		if err == nil {
			continue
		}
		for _, done := range slices.Backward(ops[:i]) {
			if c.starting || c.life.Err() != nil {
				break
			}
			c.progress.Add(1)
			if uerr := done.undo(); uerr != nil {
				err = notUndone(err, done.Text, uerr)
			}
		}
		return &opError{&ops[i], err}
	}
	return nil
}

// gone is the error of an operation that deletes, and none where there was nothing: something that could not be undone may have left less than the model has, and to
// delete it and make it again is how that is mended.
func gone(err error) error {
	if errors.Is(err, dataplane.ErrNotFound) || errors.Is(err, fdb.ErrNotFound) {
		return nil
	}
	return err
}

// notUndone is an error of a change with what of it could not be undone. It stays about the place that it was about: what is told with a line of the file, or with a
// field, is the text of a model.Error, and must have both.
func notUndone(err error, op string, undo error) error {
	e := model.Error{Msg: fmt.Sprintf("%v; and %s could not be undone: %v", err, op, undo), Kind: fmt.Errorf("%w: %w: %w", ErrNotUndone, err, undo)}
	var located *model.Error
	if errors.As(err, &located) {
		e.Path = located.Path
	}
	return &e
}
