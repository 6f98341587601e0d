package ctl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"vtepd/ctl/model"
)

// ErrStopping is why a change was not made, or only in part: vtepd ends, and the switch is about to be closed.
var ErrStopping = errors.New("vtepd is stopping")

// Controller owns the desired state of one switch. Its methods may be called from any goroutine; changes take turns.
type Controller struct {
	sw      Switch
	log     *slog.Logger
	started time.Time
	// life is done when the switch is about to be closed.
	life context.Context

	// SocketByOption: the command line names the control socket, so that no file has a say in it. It is set before anybody else has the Controller.
	SocketByOption bool

	mu sync.Mutex
	// model is what the switch does now.
	model *model.Model
	// file is what the configuration file said when it was last read.
	file *model.Model

	// starting: nothing was there before, and what has been done is not undone when the rest fails.
	starting bool

	// progress counts what has been done, so that a long change is told from one that is stuck.
	progress atomic.Uint64
}

// New takes over a switch without VNIs and ports and brings it to m, which must be valid. The Controller keeps m: it must not be changed any more.
//
// Once life is done nothing is changed any more, from the next operation on: New and the methods return ErrStopping, and leave what they had done so far
// to the end of the switch, which takes all of it away at once.
func New(life context.Context, sw Switch, m *model.Model, log *slog.Logger) (*Controller, error) {
	c := Prepare(life, sw, m, log)
	if err := c.Start(); err != nil {
		return nil, err
	}
	return c, nil
}

// Prepare is New for who wants to see how far the start has come: the switch is as it was until Start, which is called once, before any other change.
func Prepare(life context.Context, sw Switch, m *model.Model, log *slog.Logger) *Controller {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	empty := model.New()
	empty.Global = m.Global
	return &Controller{sw: sw, log: log, started: time.Now(), life: life, model: empty, file: m}
}

// Start brings the switch to the model that the Controller was made with. When that fails, what was done so far is left to the end of the switch, as when life is
// done: to take ports off one by one would take away what a former process had left for them.
func (c *Controller) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	sw := c.sw
	c.sw, c.starting = starting{sw}, true
	defer func() { c.sw, c.starting = sw, false }()
	return c.moveTo(c.file, c.file.Since(c.model), nil)
}

// Progress is a number that grows while a change goes on.
func (c *Controller) Progress() uint64 { return c.progress.Load() }

// Model is the present desired state; it must not be changed.
func (c *Controller) Model() *model.Model {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.model
}

// Change edits a copy of the model and makes the switch follow. On an error nothing has changed. edit may keep nothing of the model.
func (c *Controller) Change(edit func(m *model.Model) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.change(edit, nil)
}

// change is Change for a caller that holds mu; static entries in exclusive must be new.
func (c *Controller) change(edit func(m *model.Model) error, exclusive map[model.StaticKey]bool) error {
	next := c.model.Clone()
	if err := edit(next); err != nil {
		return err
	}
	changes, err := c.settle(next)
	if err != nil {
		return err
	}
	return c.moveTo(next, changes, exclusive)
}

// settle brings an edited copy of the model into its normal form, checks it, and says what differs. Needs mu.
func (c *Controller) settle(next *model.Model) (model.Changes, error) {
	changes := next.Since(c.model)
	next.NormalizeSince(changes)
	return changes, next.CheckSince(c.model, changes)
}

// moveTo makes the switch follow to a valid model. Needs mu.
func (c *Controller) moveTo(next *model.Model, changes model.Changes, exclusive map[model.StaticKey]bool) error {
	p := planner{sw: c.sw, old: c.model, new: next, changes: changes, exclusive: exclusive}
	ops := p.plan()
	if err := c.run(ops); err != nil {
		return err
	}
	for _, op := range ops {
		c.log.Debug("changed", "op", op.Text)
	}
	c.model = next
	return nil
}

// Ping says whether the controller still takes turns: it returns when no change is under way, at the latest after d, and then with an error unless the
// change went on meanwhile.
func (c *Controller) Ping(d time.Duration) error {
	before := c.progress.Load()
	done := make(chan struct{})
	go func() {
		c.Model()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(d):
		if c.progress.Load() != before {
			return nil
		}
		return fmt.Errorf("a change has been under way for more than %s", d)
	}
}
