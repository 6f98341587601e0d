package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"vtepd/dataplane/device"
	"vtepd/encap"
	"vtepd/fdb"
)

// minMTU and maxMTU bound a port's MTU: IPv4's minimum (RFC 791) and what a TAP device takes.
const (
	minMTU = 68
	maxMTU = 65521
)

// maxVID is the largest VLAN ID; 4095 is reserved (802.1Q-2018 table 9-2).
const maxVID = 4094

// AddPort makes the port's device, or takes the interface, and connects it. On failure nothing of it remains. An interface that is to be taken and is not
// there makes a port that is missing, and no failure.
func (s *Switch) AddPort(c PortConfig) error { return s.addPort(c, false) }

// AwaitPort is AddPort for when nobody can be told to make a network namespace first: one that is not there makes a port that is missing as well.
func (s *Switch) AwaitPort(c PortConfig) error { return s.addPort(c, true) }

func (s *Switch) addPort(c PortConfig, awaitNetNS bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.ports[c.Name] != nil {
		return fmt.Errorf("port %s: %w", c.Name, ErrExists)
	}
	c = c.clone()
	if err := s.checkPort(&c); err != nil {
		return err
	}
	if err := s.checkUnderlay(&c); err != nil {
		return fmt.Errorf("port %s: %w", c.Name, err)
	}
	index, err := s.freePortIndex()
	if err != nil {
		return fmt.Errorf("port %s: %w", c.Name, err)
	}
	r := &portRecord{state: PortUp}
	l, err := s.openLink(&c)
	if errors.Is(err, device.ErrMissing) || awaitNetNS && errors.Is(err, device.ErrNoNetNS) {
		r.state, r.why, err = PortMissing, err.Error(), nil
	}
	if err != nil {
		return fmt.Errorf("port %s: %w", c.Name, err)
	}
	p := newPort(index, c, l, newCounterSet(len(s.workers)))
	r.published = p
	s.ports[c.Name] = r
	s.fdb.SetDestLimit(p.place(), c.MaxMACs)
	s.publishPort(r, nil)
	if err := s.watchQueues(p); err != nil {
		s.removePort(r)
		s.abandonLink(p.link)
		return fmt.Errorf("port %s: %w", c.Name, err)
	}
	s.logAdded(r)
	s.refreshPort(r)
	s.fitPort(r)
	s.event(Event{Object: "port", Action: "add", Port: c.Name})
	return nil
}

// logAdded says what came of a new port.
func (s *Switch) logAdded(r *portRecord) {
	c, l := &r.published.config, r.published.link
	log := s.log.With("port", c.Name)
	switch {
	case l == nil && c.Type == PortNetdev:
		log.Info("port added, its interface is missing: it is taken as soon as it is there")
		return
	case l == nil:
		log.Warn("port added, its network namespace is missing: it comes up as soon as that is there", "reason", r.why)
		return
	}
	if l.caps.Reason != "" {
		log = log.With("without", l.caps.Reason)
	}
	log.Info("port added", "queues", l.dev.Queues(), "mtu", l.mtu, "offload", strings.Join(capsWords(l.caps), ","))
}

// SetPort changes the VLANs, MTU, MAC, addresses and limits of a port in place. Type and namespace cannot change.
func (s *Switch) SetPort(c PortConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	r := s.ports[c.Name]
	if r == nil {
		return fmt.Errorf("port %s: %w", c.Name, ErrNotFound)
	}
	old := r.published
	c = c.clone()
	if err := s.checkPort(&c); err != nil {
		return err
	}
	if c.Type != old.config.Type || c.NetNS != old.config.NetNS || c.IfName != old.config.IfName {
		return fmt.Errorf("port %s: type, netns and ifname cannot be changed in place, delete and add it: %w", c.Name, ErrInvalid)
	}
	if old.link != nil {
		if err := s.reconfigure(old.link, &old.config, &c); err != nil {
			return fmt.Errorf("port %s: %w", c.Name, err)
		}
	}
	if c.MAC == nil && old.config.MAC != nil {
		r.lastMAC = nil // nor does the next device get it
	}
	p := newPort(old.index, c, old.link, old.stats)
	r.published = p
	s.fast.agesBefore(0, 0, old.config.MaxMACs, c.MaxMACs)
	s.fdb.SetDestLimit(p.place(), c.MaxMACs)
	s.publishPort(r, old)
	// Entries of VNIs that the port carries no longer point nowhere.
	s.settle()
	for vni := range vnisOf(old) {
		if _, ok := p.tagFor(vni); !ok {
			s.fdb.Flush(fdb.FlushFilter{VNI: vni, Dest: p.place(), States: fdb.AllStates})
		}
	}
	s.refreshPort(r)
	s.fitPort(r)
	s.event(Event{Object: "port", Action: "change", Port: c.Name})
	return nil
}

// reconfigure makes the device match to. When a step fails those before it are undone. Needs mu.
func (s *Switch) reconfigure(l *link, from, to *PortConfig) error {
	dev := l.dev
	fromMTU, toMTU := from.MTU, s.wantedMTU(to)
	if from.follows() {
		fromMTU = l.given
	}
	var before device.Attr
	var undo []func() error
	steps := []struct {
		differ    bool
		do, undo  func() error
		operation string
	}{
		{fromMTU != toMTU, func() error { return dev.SetMTU(toMTU) }, func() error { return mtuAgain(dev, from, fromMTU, toMTU, &before) }, "mtu"},
		{!slices.Equal(from.MAC, to.MAC), func() error { return dev.SetMAC(to.MAC) }, func() error { return dev.SetMAC(before.MAC) }, "mac"},
		{!slices.Equal(from.Addresses, to.Addresses), func() error { return dev.SetAddresses(from.Addresses, to.Addresses) },
			func() error { return dev.SetAddresses(to.Addresses, from.Addresses) }, "addresses"},
	}
	for _, step := range steps {
		if !step.differ {
			continue
		}
		var err error
		if len(undo) == 0 {
			before, err = dev.Attr()
		}
		if err == nil {
			err = step.do()
		}
		if err != nil {
			for _, u := range slices.Backward(undo) {
				_ = u() // the device is as it was, or gone: the first error says what happened
			}
			return fmt.Errorf("set %s: %w", step.operation, remedy(err, to.privileges()))
		}
		undo = append(undo, step.undo)
	}
	l.given = 0
	if to.follows() {
		l.given = toMTU
	}
	if a, err := dev.Attr(); err == nil {
		l.mtu = a.MTU
	}
	return nil
}

// mtuAgain gives a device back the MTU that it had, which a workload may have changed, and the IPv6 addresses that the kernel took with a smaller one, refused. A netdev
// port gets what it was configured with, 0 for what was found: of an interface that is an end of a pair before has the lesser MTU of both.
func mtuAgain(dev portDevice, c *PortConfig, configured, refused int, before *device.Attr) error {
	if c.Type == PortNetdev {
		return dev.SetMTU(configured)
	}
	err := dev.SetMTU(before.MTU)
	if lost := c.addresses6(); err == nil && len(lost) > 0 && refused < encap.IPv6MinMTU && before.MTU >= encap.IPv6MinMTU {
		err = dev.SetAddresses(nil, lost)
	}
	return err
}

// DelPort disconnects a port and removes its device and its forwarding entries.
func (s *Switch) DelPort(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	r := s.ports[name]
	if r == nil {
		return fmt.Errorf("port %s: %w", name, ErrNotFound)
	}
	s.removePort(r)
	s.closeLink(r.published.link)
	s.log.Info("port removed", "port", name)
	s.event(Event{Object: "port", Action: "del", Port: name})
	return nil
}

// removePort takes a port out; its device is to be closed next.
func (s *Switch) removePort(r *portRecord) {
	p := r.published
	s.place(r, 0)
	delete(s.ports, p.config.Name)
	s.leaving.Store(p)
	s.unpublishPort(p)
	s.settle()
	s.fdb.FlushDest(p.place(), fdb.FlushFilter{States: fdb.AllStates})
	s.leaving.Store(nil)
	s.fdb.SetDestLimit(p.place(), 0)
	s.forgetDrops(func(port, _ uint16) bool { return uint32(port) == p.index })
}

// closeLink takes a device from the workers, who no longer see it, and removes it.
func (s *Switch) closeLink(l *link) {
	if l == nil {
		return
	}
	s.unwatch(l)
	if err := l.dev.Close(); err != nil {
		s.log.Warn("closing a device", "port", l.dev.Name(), "error", err)
	}
}

// abandonLink is closeLink for a device that did not become a port's.
func (s *Switch) abandonLink(l *link) {
	s.unwatch(l)
	s.abandon(l.dev)
}

func (s *Switch) unwatch(l *link) {
	for _, w := range s.workers {
		w.unwatch(l)
	}
}

func (c PortConfig) clone() PortConfig {
	c.Tagged = slices.Clone(c.Tagged)
	c.MAC = slices.Clone(c.MAC)
	c.Addresses = slices.Clone(c.Addresses)
	c.GBPDrop = slices.Clone(c.GBPDrop)
	return c
}

// checkPort refuses what cannot be. A port may carry no VNI: it does while it goes from one to another, or waits for others to leave its own.
func (s *Switch) checkPort(c *PortConfig) error {
	fail := func(format string, args ...any) error {
		return invalidError{fmt.Errorf("port %s: %w", c.Name, fmt.Errorf(format, args...))}
	}
	if err := s.checkKind(c); err != nil {
		return fail("%w", err)
	}
	if err := c.MSSClamp.check(); err != nil {
		return fmt.Errorf("port %s: %w", c.Name, err)
	}
	if c.StormControl != nil {
		if err := c.StormControl.check(); err != nil {
			return fmt.Errorf("port %s: %w", c.Name, err)
		}
	}
	if err := checkGBPRanges(c.GBPDrop); err != nil {
		return fail("%w", err)
	}
	seen := map[uint32]bool{}
	vids := map[uint16]bool{}
	add := func(vid uint16, vni uint32) error {
		if s.vnis[vni] == nil {
			return fmt.Errorf("port %s: vni %d: %w", c.Name, vni, ErrNotFound)
		}
		if seen[vni] {
			return fail("vni %d is carried twice", vni)
		}
		seen[vni] = true
		if vid == 0 {
			return nil
		}
		if vid > maxVID {
			return fail("vid %d: must be 1..%d", vid, maxVID)
		}
		if vids[vid] {
			return fail("vid %d is mapped twice", vid)
		}
		vids[vid] = true
		return nil
	}
	if c.Untagged != 0 {
		if err := add(c.NativeVID, c.Untagged); err != nil {
			return err
		}
	} else if c.NativeVID != 0 {
		return fail("native vid %d names no VNI", c.NativeVID)
	}
	for _, m := range c.Tagged {
		if m.VID == 0 {
			return fail("vid 0 is no VLAN (802.1Q: priority tag)")
		}
		if err := add(m.VID, m.VNI); err != nil {
			return err
		}
	}
	if c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU) {
		return fail("mtu %d: must be %d..%d bytes", c.MTU, minMTU, maxMTU)
	}
	if c.MAC != nil && (len(c.MAC) != 6 || c.MAC[0]&1 != 0 || slices.Equal(c.MAC, make(net.HardwareAddr, 6))) {
		return fail("mac %s: must be a unicast Ethernet address", c.MAC)
	}
	if c.MaxMACs < 0 {
		return fail("max-macs %d: must not be negative", c.MaxMACs)
	}
	return nil
}

func (s *Switch) freePortIndex() (uint32, error) {
	ports := s.current.Load().ports
	for i, p := range ports {
		if p == nil {
			return uint32(i), nil
		}
	}
	if len(ports) >= MaxPorts {
		return 0, fmt.Errorf("the switch has %d ports: %w", MaxPorts, ErrLimit)
	}
	return uint32(len(ports)), nil
}

// newPort is a port as the workers see it. l is nil while there is no device.
func newPort(index uint32, c PortConfig, l *link, stats counterSet) *port {
	mtu := c.MTU
	if l != nil && l.mtu != 0 {
		mtu = l.mtu // whatever was asked for, it is the interface that takes frames or does not
	}
	p := &port{
		index:     index,
		link:      l,
		stats:     stats,
		untagged:  c.Untagged,
		nativeVID: c.NativeVID,
		maxFrame:  mtu + encap.EthernetLen,
		gbp:       encap.NewGBP(c.GBPID),
		gbpDrop:   newGBPSet(c.GBPDrop),
		mss:       c.MSSClamp,
		isolated:  c.Isolated,
		config:    c,
	}
	if len(c.Tagged) > 0 {
		p.vids = new([4096]uint32)
		p.tags = make(map[uint32]uint16, len(c.Tagged))
		for _, m := range c.Tagged {
			p.vids[m.VID] = m.VNI
			p.tags[m.VNI] = m.VID
		}
	}
	return p
}

// vnisOf lists the VNIs that a port carries.
func vnisOf(p *port) map[uint32]bool {
	set := make(map[uint32]bool, len(p.tags)+1)
	if p.untagged != 0 {
		set[p.untagged] = true
	}
	for vni := range p.tags {
		set[vni] = true
	}
	return set
}

// publishPort makes the workers see the record's port, and the VNIs that it carries or carried (old may be nil). Needs mu.
func (s *Switch) publishPort(r *portRecord, old *port) {
	p := r.published
	next := *s.current.Load()
	next.ports = slices.Clone(next.ports)
	for len(next.ports) <= int(p.index) {
		next.ports = append(next.ports, nil)
	}
	next.ports[p.index] = p
	changed := vnisOf(p)
	if old != nil {
		maps.Copy(changed, vnisOf(old))
	}
	for vni := range changed {
		next.vnis = next.vnis.with(vni, s.buildDomain(s.vnis[vni]))
	}
	s.publish(next)
}

// unpublishPort hides a port that s.ports no longer names. Needs mu.
func (s *Switch) unpublishPort(p *port) {
	next := *s.current.Load()
	next.ports = slices.Clone(next.ports)
	next.ports[p.index] = nil
	for vni := range vnisOf(p) {
		next.vnis = next.vnis.with(vni, s.buildDomain(s.vnis[vni]))
	}
	s.publish(next)
}

// CheckPort says why AddPort would refuse to make the device of a port once others have left, as far as that can be told without making it. Whether the
// switch has a port of that name does not matter: it is for who would make a port anew, which leaves then itself.
func (s *Switch) CheckPort(c PortConfig, leaving ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	c = c.clone()
	if err := s.checkPort(&c); err != nil {
		return err
	}
	if err := s.checkUnderlay(&c); err != nil {
		return fmt.Errorf("port %s: %w", c.Name, err)
	}
	if err := s.checkDevice(&c, leaving); err != nil {
		return fmt.Errorf("port %s: %w", c.Name, err)
	}
	return nil
}

// watchQueues lets each worker that has a queue of its own read it.
func (s *Switch) watchQueues(p *port) error {
	if p.link == nil {
		return nil
	}
	for i := range p.link.dev.Queues() {
		if err := s.workers[i].watchPort(p.link, p.index); err != nil {
			return err
		}
	}
	return nil
}

// Ports lists the ports by name.
func (s *Switch) Ports() []PortInfo {
	s.mu.Lock()
	fast := s.fast.places()
	s.mu.Unlock()
	list := []PortInfo{}
	s.eachPort(func(r *portRecord) {
		s.refreshPort(r)
		p := r.published
		info := r.attr
		info.Config, info.State = p.config, r.state
		info.MACs = s.fdb.CountDest(p.place())
		info.FastPath, info.FastPathReason = fast.port(p)
		info.Reason, info.KernelDrops = r.why, r.kernelDrops
		if p.link != nil {
			info.KernelDrops += p.link.kernelDrops()
			info.Queues = p.link.dev.Queues()
			info.Offload = capsWords(p.link.caps)
			info.OffloadReason = p.link.caps.Reason
		}
		list = append(list, info)
	})
	return list
}

func capsWords(c device.Caps) []string {
	words := []string{}
	for _, w := range []struct {
		on   bool
		word string
	}{{c.VnetHdr, "vnet-hdr"}, {c.TSO4, "tso4"}, {c.TSO6, "tso6"}, {c.ECN, "tso-ecn"}, {c.USO, "uso"}, {c.Sink, "sink"}, {c.MultiQueue, "multi-queue"}} {
		if w.on {
			words = append(words, w.word)
		}
	}
	return words
}

// retryFirst and retryMost bound the waits between attempts to make a vanished device again.
const (
	retryFirst = time.Second
	retryMost  = 30 * time.Second
)
