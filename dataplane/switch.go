package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
	"vtepd/encap"
	"vtepd/fdb"
)

// housekeeping is how often the forwarding table is swept, the clock tick turns and unused peers are looked for.
const housekeeping = time.Second

// Bounds of the records looked at in one housekeeping round: a table of any size passes in sweepRounds, since the fast path goes by an
// expired entry until it is found.
const (
	sweepLeast  = 1 << 15
	sweepRounds = 8
)

// closeAtOnce is how many devices of ports are closed at the same time when the switch ends: mostly that waits for the kernel, where many can.
const closeAtOnce = 16

// bornAt is the tick at which a switch begins: what a former process saw lies before it.
const bornAt = 1 << 24

// Switch is one virtual switch with its underlay. Its methods may be called from any goroutine; each either does all it says or
// returns an error and has changed nothing.
type Switch struct {
	config  Config
	log     *slog.Logger
	sockets underlays
	fdb     *fdb.Table
	fast    *fastPath
	peers   *registry
	workers []*worker
	hub     hub
	storms  *storms
	// captures are those that go on.
	captures captures
	started  time.Time
	home     int    // descriptor of the network namespace that the switch was made in
	seed     uint64 // of the inner flow hash

	// tick is the table's clock: seconds since bornAt before started.
	tick atomic.Uint32

	// paths knows what the underlay carries to each peer, heard what it answered to our datagrams.
	paths *paths
	heard answers

	// portLinks names the ports whose interfaces are in vtepd's own namespace, by ifindex (int to string): a route over one leads into the overlay.
	portLinks sync.Map

	// probes are the answers of peers to probes, asked who waits for them by identifier (chan uint32), doctors how many paths are being probed.
	// probeSource is the source MAC of ours.
	probes      chan probeAnswer
	asked       sync.Map
	doctors     atomic.Int32
	probeSource uint64

	// newPeers bounds how many sources become peers a second.
	newPeers tickBudget

	// current is what the workers forward by.
	current atomic.Pointer[snapshot]
	// leaving is a port that current has no more while the forwarding table still has entries of it: only this knows its name then.
	leaving atomic.Pointer[port]

	mu sync.Mutex // serialises control
	// listening: the underlay is read. Config.HoldUnderlay keeps that back until TakeOver.
	listening bool
	closed    bool
	vnis      map[uint32]*vniRecord
	ports     map[string]*portRecord
	groups    map[netip.AddrPort]*group
	// groupLinks are the interfaces that groups are joined on, by family.
	groupLinks [families]groupLink
	serials    uint32
	// together counts the calls of Together that go.
	together int
	senders  senders
	stop     context.CancelFunc
	running  sync.WaitGroup

	latency atomic.Pointer[CPULatencyInfo]

	bulk bulk
}

// vniRecord is what control remembers of a VNI beside its published domain.
type vniRecord struct {
	config VNIConfig // with defaults filled in and the peers' ports resolved
	stats  counterSet
	flood  []*peer
	group  *group // nil: none
	// inside is the MTU that the ways to all its peers leave for packets inside, in bytes; 0: there is none to go by.
	inside int
	// keptTag is what an inner tag takes that the VNI keeps, in bytes; 0 when it keeps none.
	keptTag int
	// statics counts the static entries toward each peer: their destinations may send.
	statics map[*peer]int
	storm   *stormGuard
}

// portRecord is what control remembers of a port beside its published form.
type portRecord struct {
	published *port
	state     PortState
	// retry is when a missing device is made again, and wait how long the next time.
	retry time.Time
	wait  time.Duration
	attr  PortInfo // what the kernel last said
	// here is the ifindex of the interface while it is in vtepd's own namespace, 0: it is not.
	here int
	// master is the ifindex of the bridge or the like that the interface is in, 0: none.
	master int
	// xdp: the driver of the workload's interface runs a program.
	xdp bool
	// whole: superframes from peers may be put into it as they are.
	whole bool
	// lastMAC is what neighbours know a device by that is there, or has vanished; not of one that is taken.
	lastMAC net.HardwareAddr
	// warned is what the port was last said to exceed, and by what, both in bytes: its MTU and that of the underlay.
	warned struct{ mtu, most int }
	// why a device is missing.
	why string
	// unrest bounds what the log says of it.
	unrest unrest
	// kernelDrops are those of the devices before the present one.
	kernelDrops uint64
}

// New opens the underlay and starts the workers. The switch has no VNI and no port yet.
func New(c Config) (_ *Switch, err error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	var opened []func() // what closes what is open, until the switch can be closed
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(opened) {
				f()
			}
		}
	}()
	defer func() { err = remedy(err, c.privileges()) }()
	in, err := findVRF(c.VRF)
	if err != nil {
		return nil, err
	}
	sockets, err := openUnderlays(&c)
	if err != nil {
		return nil, err
	}
	opened = append(opened, sockets.Close)
	paths, err := newPaths(in, c.Locals())
	if err != nil {
		c.Log.Warn("no word of the underlay's routes: path MTUs are learned by sending", "reason", err)
	}
	opened = append(opened, paths.close)
	told, err := subscribe()
	if err != nil {
		c.Log.Warn("no announcements of the underlay's routes, asking instead", "every", pathPoll, "reason", err)
	}
	opened = append(opened, told.close)
	s := &Switch{
		config:  c,
		log:     c.Log,
		sockets: sockets,
		paths:   paths,
		probes:  make(chan probeAnswer, maxProbes),
		// locally administered, of one station (IEEE 802-2014 8.2)
		probeSource: rand.Uint64()&(encap.MACMask&^(1<<40)) | 1<<41,
		peers:       newRegistry(c.Workers),
		started:     time.Now(),
		seed:        rand.Uint64(),
		vnis:        make(map[uint32]*vniRecord),
		senders:     make(senders),
		ports:       make(map[string]*portRecord),
		groups:      make(map[netip.AddrPort]*group),
		storms:      newStorms(),
		listening:   !c.HoldUnderlay,
	}
	for _, port := range c.Ports() {
		s.peers.dports.add(port)
	}
	s.sayFewSources()
	s.sayNoLabels()
	s.tick.Store(bornAt)
	s.latency.Store(&CPULatencyInfo{})
	s.fast = newFastPath(s)
	s.fdb = fdb.New(fdb.Config{MaxDynamic: c.MaxMACs, Notify: s.fdbEvent})
	s.current.Store(&snapshot{generation: firstGeneration})
	if s.home, err = device.OpenNetNS(device.OwnNetNS); err != nil {
		return nil, err
	}
	opened = append(opened, func() { unix.Close(s.home) })

	// Workers hold a processor each while they run; control must find one too.
	if n := c.Workers + 2; runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
	for i := range c.Workers {
		w, err := newWorker(s, i)
		if err != nil {
			return nil, fmt.Errorf("worker %d: %w", i, err)
		}
		opened = append(opened, w.close)
		s.workers = append(s.workers, w)
	}
	opened = nil
	if err := s.launch(told); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// launch starts what runs until the switch is closed.
func (s *Switch) launch(told *announcements) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	for _, w := range s.workers {
		s.running.Go(w.run)
	}
	s.running.Go(func() { s.keepHouse(ctx) })
	s.running.Go(func() { s.watchLinks(ctx) })
	s.running.Go(func() { s.watchPaths(ctx, told) })
	s.running.Go(func() { s.takeAnswers(ctx) })
	for _, u := range s.sockets.open() {
		s.running.Go(func() { s.watchErrors(ctx, u) })
	}
	if err := s.fast.start(ctx); err != nil {
		return err
	}
	if err := s.fast.set(s.config.FastPath); err != nil {
		return &ConfigError{Field: "FastPath", error: err}
	}
	s.running.Go(func() { s.watchLatency(ctx) })
	return nil
}

func (c *Config) complete() error {
	if !c.Local.IsValid() || c.Local.IsUnspecified() || c.Local.IsMulticast() {
		return fmt.Errorf("local address %s: needs a unicast address of this host: %w", c.Local, ErrInvalid)
	}
	c.Local, c.OtherLocal = c.Local.Unmap(), c.OtherLocal.Unmap()
	if o := c.OtherLocal; o.IsValid() && (o.IsUnspecified() || o.IsMulticast() || o.Is4() == c.Local.Is4()) {
		return fmt.Errorf("local addresses %s and %s: need one unicast address of each family: %w", c.Local, o, ErrInvalid)
	}
	if c.DstPort == 0 {
		c.DstPort = DefaultPort
	}
	if err := c.completePorts(); err != nil {
		return err
	}
	if c.Workers == 0 {
		c.Workers = min(runtime.NumCPU(), MaxWorkers)
	}
	if c.Workers < 0 || c.Workers > MaxWorkers {
		return fmt.Errorf("workers %d: must be 0..%d: %w", c.Workers, MaxWorkers, ErrInvalid)
	}
	if c.MaxMACs == 0 {
		c.MaxMACs = DefaultMaxMACs
	}
	if c.MaxMACs < 0 {
		return fmt.Errorf("max-macs %d: must be positive: %w", c.MaxMACs, ErrInvalid)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.openPrograms == nil {
		c.openPrograms = loadPrograms
	}
	return nil
}

// Close stops the workers and removes every device that the switch made.
func (s *Switch) Close() error {
	if err := s.halt(); err != nil {
		return err
	}
	err := s.closePorts()
	s.release()
	return err
}

// closePorts gives the interfaces of all ports back, and returns the first error.
func (s *Switch) closePorts() error {
	var (
		closing sync.WaitGroup
		failed  sync.Once
		first   error
	)
	room := make(chan struct{}, closeAtOnce)
	for _, r := range s.ports {
		if r.published.link == nil {
			continue
		}
		dev := r.published.link.dev
		room <- struct{}{}
		closing.Go(func() {
			if err := dev.Close(); err != nil {
				failed.Do(func() { first = err })
			}
			<-room
		})
	}
	closing.Wait()
	return first
}

// halt ends everything that runs.
func (s *Switch) halt() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.mu.Unlock()

	s.stop()
	for _, w := range s.workers {
		w.wake()
	}
	s.running.Wait()
	return nil
}

// release closes what is open beside the devices of ports.
func (s *Switch) release() {
	for _, w := range s.workers {
		w.close()
	}
	s.sockets.Close()
	s.paths.close()
	unix.Close(s.home)
	s.hub.close()
	s.captures.close()
}

// now is the table's clock.
func (s *Switch) now() fdb.Tick { return fdb.Tick(s.tick.Load()) }

// second is what tick is to be. Whoever turns the clock may wait for mu, and tick stands still as long.
func (s *Switch) second() uint32 { return bornAt + uint32(time.Since(s.started)/time.Second) }

// publish makes next what the workers forward by. Needs mu.
func (s *Switch) publish(next snapshot) {
	next.generation = s.current.Load().generation + 1
	s.current.Store(&next)
	s.fast.poke()
}

// Together makes several changes, of which none has to be carried as it says before the last is made: the fast path follows when it returns, and not after
// each of a hundred thousand, and so do the rights to send that static entries give. do calls the methods of the switch, and its error is returned.
func (s *Switch) Together(do func() error) error {
	s.holdTogether(1)
	defer s.fast.catchUp()
	defer s.holdTogether(-1)
	return do()
}

func (s *Switch) holdTogether(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.together += n
	if n < 0 && !s.closed {
		s.sendersFollow()
	}
}

// carriedAsSaid returns when the fast path follows what was changed, unless more is to come. What must be out of its reach before it is taken apart waits by
// settle. Needs mu.
func (s *Switch) carriedAsSaid() {
	if s.together == 0 {
		s.fast.catchUp()
	}
}

// settle returns when no worker is inside a batch that began before the last publication, nobody learns by an older state from what the programs told, and
// the fast path follows it: then nothing that only older
// snapshots name can be reached any more. A worker is inside a batch for microseconds.
func (s *Switch) settle() {
	s.fast.catchUp()
	s.learnsNothingOlder()
}

// learnsNothingOlder is settle for what is only learned from: what the programs tell is judged by the published state, whether they follow it yet or not.
func (s *Switch) learnsNothingOlder() {
	s.fast.heardNothingOlder()
	g := s.current.Load().generation
	for _, w := range s.workers {
		for {
			seen := w.inside.Load()
			if seen == outside || seen >= g {
				break
			}
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// keepHouse turns the clock, ages the table, lets go of learned peers that nothing points to, and tells of storms.
func (s *Switch) keepHouse(ctx context.Context) {
	t := time.NewTicker(housekeeping)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.tick.Store(s.second())
		s.sweep()
		s.reapPeers()
		s.followStorms()
		s.logDegraded()
		s.reportICMP()
	}
}

// sweep looks for expired entries in the next part of the table.
func (s *Switch) sweep() {
	s.fdb.Sweep(s.now(), max(sweepLeast, (s.fdb.Records()+sweepRounds-1)/sweepRounds))
}

// leadsTo says whether a forwarding entry points to a peer.
func (s *Switch) leadsTo(p *peer) bool { return s.fdb.CountDest(p.place()) > 0 }

// usedPeers lists the peers that configuration or an entry names, by index. reapPeers comes once a second, and whoever took one away looks for it at once.
func (s *Switch) usedPeers() []*peer { return s.peers.used(s.leadsTo) }

// reapPeers frees what learned sources left behind once their last MAC has aged out.
func (s *Switch) reapPeers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendersFollow()
	gone := s.peers.reap(s.leadsTo)
	if len(gone) == 0 {
		return
	}
	// A worker that found the peer before may still learn a MAC behind it: wait those batches out, then forget such MACs.
	s.publish(*s.current.Load())
	s.settle()
	for _, p := range gone {
		s.fdb.FlushDest(p.place(), fdb.FlushFilter{States: fdb.AllStates})
		if !p.group {
			s.event(Event{Object: "peer", Action: "del", Peer: p.addr})
		}
	}
	indices := make(map[uint16]bool, len(gone))
	for _, p := range gone {
		indices[uint16(p.index)] = true
	}
	s.forgetDrops(func(_, peer uint16) bool { return indices[peer] })
	s.peers.recycle(gone)
}

// reportICMP tells what the underlay's routers and hosts answered to our datagrams since the last time, each answer once.
func (s *Switch) reportICMP() {
	for e, n := range s.heard.take() {
		reason := e.Errno.Error()
		if e.MTU > 0 {
			reason += fmt.Sprintf(", path MTU %d bytes", e.MTU)
		}
		if e.From.IsValid() {
			reason += ", said " + e.From.String()
		}
		s.event(Event{Object: "peer", Action: "error", Peer: e.Dest, Reason: reason, Count: n})
	}
}

// logDegraded says once what the kernel took back at run time.
func (s *Switch) logDegraded() {
	for _, u := range s.sockets.open() {
		for n := len(u.Degraded()); n > 0; n-- {
			d := <-u.Degraded()
			s.log.Warn("underlay offload lost", "what", d.What, "reason", d.Reason)
		}
	}
}
