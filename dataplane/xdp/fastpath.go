package xdp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// FastPath is the loaded programs and their maps. Its methods may be called from any goroutine.
type FastPath struct {
	options Options
	log     *slog.Logger
	objects programsObjects
	sources map[bool]netip.Addr // own address by family; key: IPv6
	events  *events
	sign    sign   // of life
	pins    *pins  // nil: nothing is pinned
	noXDP   string // why there is no XDP program; empty: there is

	mu        sync.Mutex
	closed    bool
	ports     map[uint32]Port   // as put, by index
	domains   map[uint32]uint32 // VNI to slot in vni_counters
	gone      map[uint32]bool   // VNIs of domains that the programs do not know any more
	free      []uint32          // slots once used
	guarded   guarded
	vteps     map[netip.Addr]struct{} // that the programs know
	attached  map[place]*attachment
	refused   map[int]refusal // by ifindex
	former    *ebpf.Program   // socket filter of a former process; nil: not asked for yet
	useless   map[string]bool // pins of a former process that were told of, and do not go
	asked     bool            // Commit was called
	committed bool            // the present maps are pinned
	cell      *cell           // nil: nothing is joined in one
	noCell    refusal
	lost      uint64 // frames in cells that are closed

	epoch epoch // has a lock of its own
}

// Open loads the programs with fresh maps and attaches nothing. What a former process left pinned stays at work until it is replaced.
// Errors wrap ErrUnsupported, ErrLocked or ErrInvalid where these apply.
func Open(o Options) (_ *FastPath, err error) {
	o.setDefaults()
	f := newFastPath(o)
	if missing := append(missingCapabilities(), o.Refuse.Privileges...); len(missing) > 0 {
		return nil, fmt.Errorf("this process lacks %s: start it as root, or add that to AmbientCapabilities= and CapabilityBoundingSet= of its unit", strings.Join(missing, " and "))
	}
	if err := needDescriptors(); err != nil {
		return nil, err
	}
	capabilities := o.Refuse.probe()
	for _, c := range []Capability{capabilities.BPF, capabilities.TCX, capabilities.BTF, capabilities.RedirectNeigh, capabilities.RedirectPeer} {
		if !c.On {
			return nil, fmt.Errorf("%s: %w: %s", c.Name, ErrUnsupported, c.Reason)
		}
	}
	settings, err := o.settings(&capabilities)
	if err != nil {
		return nil, err
	}
	if o.PinDir != "" {
		if f.pins, err = openPins(o.PinDir); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				f.pins.leave()
				f.pins.close()
			}
		}()
	}
	if err := f.load(settings, &capabilities.XDP); err != nil {
		return nil, err
	}
	if err := f.setEpoch(0); err != nil { // zero is no epoch
		f.objects.Close()
		return nil, err
	}
	if !capabilities.FlowCache.On {
		f.log.Info("fast path without flow cache", "reason", capabilities.FlowCache.Reason)
	}
	if err := f.giveSign(); err != nil {
		f.objects.Close()
		return nil, err
	}
	if f.events, err = openEvents(f.objects.Events); err != nil {
		_ = f.sign.close()
		f.objects.Close()
		return nil, err
	}
	return f, nil
}

// newFastPath is one whose programs are not loaded.
func newFastPath(o Options) *FastPath {
	f := &FastPath{
		options:  o,
		log:      o.Log,
		sources:  make(map[bool]netip.Addr),
		ports:    make(map[uint32]Port),
		domains:  make(map[uint32]uint32),
		gone:     make(map[uint32]bool),
		attached: make(map[place]*attachment),
		refused:  make(map[int]refusal),
		useless:  make(map[string]bool),
		vteps:    make(map[netip.Addr]struct{}),
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	for _, a := range o.Locals {
		a = a.Unmap()
		if _, ok := f.sources[a.Is6()]; !ok {
			f.sources[a.Is6()] = a
		}
	}
	return f
}

// load loads everything. What XDP does, tcx does as well: without the one, the other goes alone.
func (f *FastPath) load(settings programsSettings, xdp *Capability) error {
	if f.noXDP = xdp.Reason; xdp.On {
		if err := f.loadWith(settings, true); err == nil || !errors.Is(err, errBare) {
			return err
		} else {
			f.noXDP = err.Error()
		}
	}
	return f.loadWith(settings, false)
}

// errBare: it was the XDP program that was refused.
var errBare = errors.New("load the XDP program")

func (f *FastPath) loadWith(settings programsSettings, xdp bool) error {
	spec, err := loadPrograms()
	if err != nil {
		return fmt.Errorf("programs: %w", err)
	}
	o := &f.options
	for name, n := range map[string]int{
		"fdb": o.MaxEntries, "ports": o.MaxPorts, "devices": o.MaxPorts, "vid_to_vni": maxVIDs, "vni_to_vid": maxVIDs,
		"domains": o.MaxDomains, "peers": o.MaxPeers, "sources": o.MaxSources, "vteps": o.MaxPeers + len(settings.Local4),
		"port_counters": o.MaxPorts, "peer_counters": o.MaxPeers, "vni_counters": o.MaxDomains,
	} {
		spec.Maps[name].MaxEntries = uint32(n)
	}
	if err := spec.Variables["settings"].Set(settings); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	o.Refuse.spoil(spec)
	if !xdp {
		spec.Programs[bareProgram] = nothing.Copy()
	}
	inherited := make(map[string]*ebpf.Map)
	if f.pins != nil {
		if m := f.pins.order(spec.Maps[orderPin]); m != nil {
			defer m.Close()
			inherited[orderPin] = m
		}
	}
	if err := spec.LoadAndAssign(&f.objects, &ebpf.CollectionOptions{Cache: kernelTypes(), MapReplacements: inherited}); err != nil {
		// The text of a VerifierError is the end of its log; the whole is thousands of lines.
		err = fmt.Errorf("load programs: %w", err)
		if xdp && strings.Contains(err.Error(), bareProgram) {
			err = fmt.Errorf("%w: %w", errBare, err)
		}
		return err
	}
	return nil
}

// bareProgram is the XDP program's name, and nothing what stands in its place where there is no XDP: it is never attached.
const bareProgram = "vtepd_bare"

var nothing = ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}, License: "MIT"}

// SocketFilter is the descriptor of slow_only, for SO_ATTACH_BPF on a packet socket of a port. It lives as long as the FastPath; the
// filter on the socket lives as long as the socket.
func (f *FastPath) SocketFilter() int { return f.objects.SlowOnly.FD() }

// Close detaches everything and removes the pins, those of a former process included.
func (f *FastPath) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	var errs []error
	errs = append(errs, f.detachAll())
	if f.pins != nil {
		// A former process's pair that nothing has taken up leads nowhere once its programs are off.
		errs = append(errs, f.pins.remove(), removeCell(f.options.Name))
	}
	errs = append(errs, f.release())
	return errors.Join(errs...)
}

// Abandon closes the descriptors and leaves pins and attachments, as the end of the process would. A pin directory without anything in it goes.
func (f *FastPath) Abandon() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	var errs []error
	for _, a := range f.attached {
		errs = append(errs, a.link.Close())
	}
	if f.pins != nil {
		f.pins.leave()
	}
	errs = append(errs, f.release())
	return errors.Join(errs...)
}

// release closes what is open. Needs mu.
func (f *FastPath) release() error {
	f.closed = true
	f.former.Close()
	errs := []error{f.sign.close(), f.events.close(), f.objects.Close()}
	if f.pins != nil {
		errs = append(errs, f.pins.close())
	}
	return errors.Join(errs...)
}

// Now is the programs' clock: seconds of CLOCK_MONOTONIC_COARSE, which stands still while the machine is suspended.
func (f *FastPath) Now() uint32 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		return 0 // cannot happen: the clock exists since 2.6.32
	}
	return uint32(ts.Sec)
}

// mapError names ErrFull.
func mapError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("%s: %w", what, ErrFull)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// forget deletes a key that may be absent.
func forget(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

var _ io.Closer = (*FastPath)(nil)
