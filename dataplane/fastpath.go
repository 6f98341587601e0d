package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
	"vtepd/dataplane/xdp"
	"vtepd/fdb"
)

// FastPathMode says whether eBPF programs may carry known traffic past user space.
type FastPathMode uint8

const (
	// FastPathOff: every frame passes user space.
	FastPathOff FastPathMode = iota
	// FastPathAuto uses the fast path where the kernel lets it, and says why not where it does not.
	FastPathAuto
	// FastPathOn is FastPathAuto, but what the kernel refuses is an error.
	FastPathOn
)

func (m FastPathMode) String() string {
	return [...]string{"off", "auto", "on"}[m]
}

// fastPathPoll is how often what no announcement tells of is looked at: interfaces of ports, routes, rules.
const fastPathPoll = 2 * time.Second

// reasonOff is why nothing is carried when nobody wants it.
const reasonOff = "switched off: every frame passes user space"

// fastPath keeps the eBPF programs and their maps in step with the switch. User space decides everything: what is carried past it is what it has
// decided before, and the maps are a copy of its state (mirror). One goroutine makes every change to them.
//
// It may be waited for by whoever holds Switch.mu, and never takes that itself.
type fastPath struct {
	s   *Switch
	log *slog.Logger

	wake  chan struct{} // there is something to mirror
	calls chan func()   // run by the goroutine between two rounds
	ended chan struct{} // closed when the goroutine has ended

	// following: there are maps that follow the state. Read by whoever changes the state.
	following atomic.Bool
	// recheckPeers has the next round look at all of them again.
	recheckPeers atomic.Bool
	stale        stalePorts
	full         atomic.Bool // the forwarding table evicts, or is about to
	dirty        dirtySet
	asked        atomic.Uint64 // tickets of those who wait for a round

	mu     sync.Mutex
	turned sync.Cond // on served, and on following becoming false
	served uint64    // every ticket up to it has had a whole round

	sums  [numSums]atomic.Uint64 // of frames, over the life of the switch
	heard heard

	// hears is held by whoever learns from events; hearing is what workers hear by, nil without programs.
	hears   sync.Mutex
	hearing atomic.Pointer[hearing]
	crowd   crowd

	// Only the goroutine uses these.
	mode   FastPathMode
	mirror *mirror         // nil: not active
	reason string          // why it is not active
	pins   string          // where the programs are to be pinned; empty: nowhere
	noPins string          // why they are not
	lost   map[string]bool // refusals that were logged
	// abandoned: the switch ends without a TakeOver that may still come.
	abandoned atomic.Bool
	// configured: TakeOver was called, so what a former process left is of no more use.
	configured bool
}

func newFastPath(s *Switch) *fastPath {
	f := &fastPath{
		s:      s,
		log:    s.log,
		wake:   make(chan struct{}, 1),
		calls:  make(chan func()),
		ended:  make(chan struct{}),
		reason: reasonOff,
		lost:   make(map[string]bool),
		dirty:  dirtySet{most: max(dirtyLeast, s.config.MaxMACs)},
	}
	f.turned.L = &f.mu
	return f
}

// start begins the goroutine, in the network namespace of the calling thread: interfaces are named by index there.
func (f *fastPath) start(ctx context.Context) error {
	ns, err := device.OpenNetNS(device.OwnNetNS)
	if err != nil {
		return fmt.Errorf("fast path: %w", err)
	}
	entered := make(chan error, 1)
	f.s.running.Go(func() { f.run(ctx, ns, entered) })
	return <-entered
}

// run is the goroutine: it follows until the switch closes, and then takes everything back.
func (f *fastPath) run(ctx context.Context, ns int, entered chan<- error) {
	// Never unlocked: the thread is in a namespace of its own and ends with the goroutine.
	runtime.LockOSThread()
	err := device.Enter(ns)
	unix.Close(ns)
	entered <- err
	defer close(f.ended)
	if err != nil {
		return
	}
	defer f.end()
	poll := time.NewTicker(fastPathPoll)
	defer poll.Stop()
	for {
		var ages <-chan time.Time
		var routes <-chan struct{}
		if m := f.mirror; m != nil {
			ages, routes = m.ageTimer.C, m.routes.changed
		}
		select {
		case <-ctx.Done():
			return
		case call := <-f.calls:
			call()
		case <-f.wake:
			f.round()
		case <-ages:
			f.mirror.readAges(func() bool { return f.meanwhile(ctx) })
			if f.mirror != nil {
				f.mirror.collect()
			}
		case <-routes:
			began := time.Now()
			f.mirror.look()
			f.round()
			if f.mirror != nil {
				f.mirror.routes.looked(began, time.Now())
			}
		case <-poll.C:
			if f.mirror != nil {
				f.mirror.poll()
				f.round()
			}
			if f.mirror != nil {
				f.keepPins()
			}
		}
	}
}

// meanwhile serves one of those who wait while the ages of very many entries are read; false when that is to end.
func (f *fastPath) meanwhile(ctx context.Context) bool {
	m := f.mirror
	select {
	case <-ctx.Done():
		return false
	case call := <-f.calls:
		call()
	case <-f.wake:
		f.round()
	default:
	}
	return f.mirror == m
}

// round brings the maps up to the state and lets those go on who waited for it.
func (f *fastPath) round() {
	if f.mirror == nil {
		return
	}
	ticket := f.asked.Load()
	if f.recheckPeers.Swap(false) {
		f.mirror.recheckPeers = true
	}
	f.mirror.round()
	f.mu.Lock()
	f.served = ticket
	f.mu.Unlock()
	f.turned.Broadcast()
}

// poke says that the state has changed. It never waits.
func (f *fastPath) poke() {
	if !f.following.Load() {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// fdbChanged is told of every change of the forwarding table, under its lock.
func (f *fastPath) fdbChanged(e *fdb.Event) {
	if f.following.Load() {
		if e.Full {
			f.full.Store(true)
		}
		f.dirty.note(e)
		f.poke()
	}
}

// portChanged says that the interface of a port is not what it was.
func (f *fastPath) portChanged(p *port) {
	if !f.following.Load() {
		return
	}
	f.stale.add(p.index)
	f.poke()
}

// peersChanged says that the way to a peer is not what it was.
func (f *fastPath) peersChanged() {
	f.recheckPeers.Store(true)
	f.poke()
}

// catchUp returns when the maps say at least what the state said when it was called. Without a fast path there is nothing to wait for.
func (f *fastPath) catchUp() {
	if !f.following.Load() {
		return
	}
	ticket := f.asked.Add(1)
	f.poke()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.served < ticket && f.following.Load() {
		f.turned.Wait()
	}
}

// do has the goroutine run a call between two rounds, and waits for it; false when the switch is closed.
func (f *fastPath) do(call func()) bool {
	done := make(chan struct{})
	select {
	case f.calls <- func() { defer close(done); call() }:
		<-done
		return true
	case <-f.ended:
		return false
	}
}

// with is do for a call that needs maps: false as well when there are none.
func (f *fastPath) with(call func(m *mirror)) (did bool) {
	if !f.following.Load() {
		return false
	}
	f.do(func() {
		if f.mirror != nil {
			call(f.mirror)
			did = true
		}
	})
	return did
}

// set changes the mode. With FastPathOn an error says what is missing, and nothing has changed.
func (f *fastPath) set(mode FastPathMode) (err error) {
	if !f.do(func() { err = f.turn(mode) }) {
		return ErrClosed
	}
	return err
}

// turn is set on the goroutine.
func (f *fastPath) turn(mode FastPathMode) error {
	if mode == FastPathOff {
		f.mode = mode
		f.turnOff(reasonOff)
		return nil
	}
	if f.mirror == nil {
		err := remedy(f.turnOn(), nil)
		if err != nil && mode == FastPathOn {
			return fmt.Errorf("fastpath on: %w: %w: mend it, or write fastpath: auto", ErrHost, err)
		}
		if err != nil {
			f.mode, f.reason = mode, err.Error()
			f.logOnce(f.reason)
			return nil
		}
	}
	f.mode = mode
	return nil
}

// logOnce tells a reason for going without, one time each.
func (f *fastPath) logOnce(reason string) {
	if f.lost[reason] {
		return
	}
	f.lost[reason] = true
	f.log.Warn("fast path off: every frame passes user space", "reason", reason)
}

// turnOn loads programs and maps and brings them up to the state. On an error nothing of them remains.
func (f *fastPath) turnOn() error {
	e, err := f.open()
	if err != nil {
		return err
	}
	m, err := newMirror(f.s, e)
	if err != nil {
		_ = e.Abandon() // nothing is attached yet, and the first error says what happened
		return err
	}
	f.mirror, f.reason = m, ""
	f.hearing.Store(m.hearing)
	go m.hearing.run()
	// From here on every change of the state is noted; what was before is read whole.
	f.dirty.all()
	f.following.Store(true)
	f.round()
	if f.configured {
		f.pinned(m.takeOver())
	}
	return nil
}

// open loads the programs, pinned where that is possible.
func (f *fastPath) open() (programs, error) {
	o := f.s.programOptions()
	f.pins, f.noPins = o.PinDir, f.s.config.PinReason
	e, err := f.s.config.openPrograms(o)
	if err == nil || o.PinDir == "" {
		return e, err
	}
	// Is it the pins? Without them everything works but outliving the process.
	pinned := err
	o.PinDir = ""
	if e, err = f.s.config.openPrograms(o); err != nil {
		return nil, err
	}
	f.pins, f.noPins = "", pinned.Error()
	f.log.Warn("fast path goes with vtepd: nothing is pinned", "reason", pinned)
	return e, nil
}

// pinned is told whether everything is pinned that is to be, and says when that changes.
func (f *fastPath) pinned(err error) {
	if f.pins == "" {
		return // there is a reason already
	}
	was := f.noPins
	if err == nil {
		if f.noPins = ""; was != "" {
			f.log.Info("fast path outlives vtepd again", "pins", f.pins)
		}
		return
	}
	if f.noPins = err.Error(); f.noPins != was {
		f.log.Warn("fast path goes with vtepd: not everything is pinned", "reason", err)
	}
}

// keepPins sees to it that what is pinned stays so.
func (f *fastPath) keepPins() {
	if f.pins == "" {
		return
	}
	renewed, err := f.mirror.e.KeepPins()
	switch {
	case err == nil && !renewed:
		return
	case err == nil && f.noPins == "":
		f.log.Warn("fast path: pins were removed, and are made anew", "pins", f.pins)
	}
	f.pinned(err)
}

// turnOff lets user space take over: it has the whole state, and gets every frame from here on.
func (f *fastPath) turnOff(reason string) {
	m := f.mirror
	if m == nil {
		f.reason = reason
		return
	}
	m.stop()
	m.hearing.stop()
	if err := m.e.Close(); err != nil {
		f.log.Warn("closing the fast path", "error", err)
	}
	if f.pins != "" {
		f.removePinRoot(f.pins)
	}
	f.forget(reason)
}

// removePinRoot removes what holds a pin directory that was removed, unless another vtepd has pins there.
func (f *fastPath) removePinRoot(dir string) { _ = os.Remove(filepath.Dir(dir)) }

// forget is the end of a mirror whose programs are closed.
func (f *fastPath) forget(reason string) {
	f.mirror, f.reason = nil, reason
	f.following.Store(false)
	f.crowd.closed.Store(false)
	f.crowd.wanted.Store(false)
	f.mu.Lock()
	f.served = max(f.served, f.asked.Load()) // under the lock: whoever looked at following before it changed waits on turned by now
	f.mu.Unlock()
	f.turned.Broadcast()
	f.dirty.clear()
}

// programOptions is what the programs are loaded with.
func (s *Switch) programOptions() xdp.Options {
	c := &s.config
	// The ports of our own sockets: the kernel learns a path MTU from ICMP errors only where a socket has the port that they quote.
	var ports [families][]uint16
	for i, u := range s.sockets {
		if u != nil {
			ports[i] = u.SourcePorts()
			ports[i] = ports[i][:min(len(ports[i]), fastSourcePorts)]
		}
	}
	return xdp.Options{
		SourcePortList:  ports[0],
		SourcePortList6: ports[1],
		PinDir:          c.PinDir,
		Name:            c.PinDir,
		Locals:          c.Locals(),
		Ports:           c.Ports(),
		VRF:             c.VRF != "",
		SourcePorts:     c.SourcePorts,
		MaxEntries:      c.MaxMACs + fastStatics,
		MaxPorts:        MaxPorts,
		MaxPeers:        MaxPeers,
		MaxDomains:      fastDomains,
		MaxSources:      fastSources,
		Log:             s.log,
		Decap:           c.fastDecap,
		Refuse:          c.refusePrograms,
	}
}

// Sizes of the maps beside those that the switch bounds anyway. What finds no room takes user space.
const (
	// fastSourcePorts bounds the source ports for each address family.
	fastSourcePorts = 64
	// fastStatics is the room for static entries beside the dynamic ones.
	fastStatics = 1 << 16
	// fastDomains is the room for VNIs.
	fastDomains = 1 << 16
	// fastSources is the room for pairs of VNI and peer that may send into it.
	fastSources = 1 << 18
)
