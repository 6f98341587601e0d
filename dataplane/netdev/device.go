package netdev

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// Device is an interface that was taken, with its packet sockets.
type Device struct {
	name    string
	ifindex int
	home    string // device.KeyOfNetNS of the namespace that the sockets were made in
	caps    device.Caps
	found   found
	setMTU  bool
	setMAC  bool
	pair    *pair // nil: the interface was there before
	carry   int
	mtu     atomic.Int32 // what superframes without virtio-net header are cut to, as of the last Attr
	refuse  Refuse

	mu      sync.Mutex // keeps a descriptor from being closed under a call
	sockets []int
	queues  []*Queue
	claim   int // descriptor; -1: none
	sink    *sink
	lost    uint64 // frames, see Drops
	closed  bool
}

// Open takes the interface of that name. On failure it is as it was. The error is ErrMissing when there is no such interface, ErrUnfit when it
// cannot be taken as it is, and ErrBusy when it is taken already.
func Open(o Options) (*Device, error) {
	if err := o.normalise(); err != nil {
		return nil, err
	}
	d, err := take(&o, nil, -1)
	if err != nil {
		return nil, fmt.Errorf("netdev: take %q: %w", o.Name, err)
	}
	return d, nil
}

// Check says why Open would refuse, as far as that can be told without taking anything. That an interface is not there yet is no reason.
func Check(o Options) error {
	if err := o.normalise(); err != nil {
		return err
	}
	h, err := device.HandleIn(-1)
	if err != nil {
		return fmt.Errorf("netdev: look for %q: %w", o.Name, err)
	}
	defer h.Close()
	link, err := h.LinkByName(o.Name)
	switch {
	case isGone(err):
		return nil
	case err != nil:
		return fmt.Errorf("netdev: look for %q: %w", o.Name, err)
	case slices.Contains(o.Going, link.Attrs().Index):
		return nil
	}
	if err := mayTake(h, link); err != nil {
		return fmt.Errorf("netdev: take %q: %w", o.Name, err)
	}
	return nil
}

// take makes a device of an interface of the calling thread's namespace. held is the claim on it, which it takes over in any case; -1: none yet.
func take(o *Options, p *pair, held int) (_ *Device, err error) {
	defer func() {
		if err != nil && held >= 0 {
			unix.Close(held)
		}
	}()
	h, err := device.HandleIn(-1)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	link, err := h.LinkByName(o.Name)
	if isGone(err) {
		return nil, errAwaited
	}
	if err != nil {
		return nil, err
	}
	if err := mayTake(h, link); err != nil {
		return nil, err
	}
	if held < 0 {
		if held, err = o.claim(link.Attrs().Index); err != nil {
			return nil, err
		}
		// Until it was claimed it may have been another's port, and not yet given back.
		if link, err = h.LinkByIndex(link.Attrs().Index); isGone(err) {
			return nil, errAwaited
		} else if err != nil {
			return nil, err
		}
	}
	a := link.Attrs()
	d := &Device{
		name: o.Name, ifindex: a.Index, home: device.KeyOfOwnNetNS(), pair: p, refuse: o.Refuse, claim: -1,
		setMTU: o.MTU != 0, setMAC: o.MAC != nil, carry: o.Carry,
	}
	addrs, err := device.SettledAddresses(h, link)
	if err != nil {
		return nil, err
	}
	d.found = foundAt(link, addrs)
	d.claim, held = held, -1
	defer func() {
		if err != nil {
			if err = errors.Join(err, d.undo(h, link)); p == nil && d.vanished(h) {
				err = errAwaited
			}
		}
	}()
	former := -1
	if o.Former != nil {
		former = o.Former(d.ifindex)
	}
	// The sink comes first: nothing that the interface receives from here on is for the host's stack.
	if former < 0 {
		d.sinkOn()
	}
	if err := d.shape(h, link, o); err != nil {
		return nil, err
	}
	d.cutTo(cmp.Or(o.MTU, a.MTU))
	if err := d.openQueues(o); err != nil {
		return nil, err
	}
	if err := d.listen(former); err != nil {
		return nil, err
	}
	return d, nil
}

// cutTo follows the interface's MTU.
func (d *Device) cutTo(mtu int) {
	if d.carry != 0 {
		mtu = min(mtu, d.carry)
	}
	d.mtu.Store(int32(mtu))
}

// claim marks an interface as taken.
func (o *Options) claim(ifindex int) (fd int, err error) {
	if o.Refuse.Claim {
		return -1, nil
	}
	return device.Claim(ifindex)
}

// sinkOn shuts the host's stack out, as well as that can be had.
func (d *Device) sinkOn() {
	s, reason, err := newSink(d.ifindex, d.refuse)
	if err != nil {
		d.lack(fmt.Sprintf("the host's own stack sees what arrives too: %v", err))
		return
	}
	d.sink = s
	d.caps.Sink = true
	d.lack(reason)
}

// lack notes a capability that is not there.
func (d *Device) lack(reason string) {
	switch {
	case reason == "":
	case d.caps.Reason == "":
		d.caps.Reason = reason
	default:
		d.caps.Reason += "; " + reason
	}
}

// openQueues opens the packet sockets, as many as asked for, or one, which hear nothing before listen.
func (d *Device) openQueues(o *Options) error {
	fd, err := d.openSocket(o)
	if err != nil {
		return err
	}
	vnet, uso := false, false
	if !o.Offload {
		d.lack("switched off by configuration")
	} else if err := setVnetHdr(fd, o.Refuse); err != nil {
		d.lack("no virtio-net header: " + err.Error())
	} else {
		vnet = true
		if uso = knowsUSO(fd, o.Refuse); !uso {
			d.lack("no UDP segmentation offload (PACKET_VNET_HDR_SZ, Linux 6.6, stands for it)")
		}
	}
	// A kernel without the option shows what the host sends, and the queue leaves that out.
	own := ignoreOutgoing(fd, o.Refuse) != nil
	if err := bindSocket(fd, d.ifindex); err != nil {
		return err
	}
	if o.Queues > 1 {
		if own, err = d.fanOut(o, fd, vnet); err != nil {
			d.closeSockets(1)
			own = ignoreOutgoing(fd, o.Refuse) != nil
			d.lack("one queue only: " + err.Error())
		}
	}
	d.caps.VnetHdr, d.caps.TSO4, d.caps.TSO6, d.caps.ECN, d.caps.USO = vnet, vnet, vnet, vnet, uso
	d.caps.MultiQueue = len(d.sockets) > 1
	if own {
		d.lack("what the host itself sends on the interface is copied here and left out: no PACKET_IGNORE_OUTGOING (Linux 4.20, 6.6 with several queues)")
	}
	for _, fd := range d.sockets {
		d.queues = append(d.queues, newQueue(fd, vnet, own, &d.mtu))
	}
	return promiscuous(d.sockets[0], d.ifindex)
}

// listen lets frames in, all that arrive or those that the filter of a former process keeps.
func (d *Device) listen(former int) error {
	if former >= 0 {
		var err error
		for _, fd := range d.sockets {
			err = errors.Join(err, setFilter(fd, former))
		}
		if err == nil {
			d.caps.Sink = true
			return nil
		}
		d.sinkOn()
		d.lack(fmt.Sprintf("known traffic paused: the filter of a former process: %v", err))
	}
	for _, fd := range d.sockets {
		if err := listen(fd); err != nil {
			return err
		}
	}
	return nil
}

func (d *Device) openSocket(o *Options) (int, error) {
	fd, err := openSocket(o.Buffer)
	if err == nil {
		d.sockets = append(d.sockets, fd)
	}
	return fd, err
}

// fanOut gives every further queue a socket of its own and spreads the flows over them.
func (d *Device) fanOut(o *Options, first int, vnet bool) (own bool, err error) {
	group, own, err := newFanout(first, o.Refuse)
	if err != nil {
		return false, err
	}
	for range o.Queues - 1 {
		fd, err := d.openSocket(o)
		if err != nil {
			return own, err
		}
		if vnet {
			if err := setVnetHdr(fd, o.Refuse); err != nil {
				return own, err
			}
		}
		if err := errors.Join(bindSocket(fd, d.ifindex), joinFanout(fd, group)); err != nil {
			return own, err
		}
	}
	return own, nil
}

// closeSockets closes all sockets from the i-th on.
func (d *Device) closeSockets(from int) {
	for _, fd := range d.sockets[from:] {
		unix.Close(fd)
	}
	d.sockets = d.sockets[:from]
}

// Name is the name that Open was given. See Attr for the present one.
func (d *Device) Name() string { return d.name }

// kind begins the device's errors, in the word that a port of its kind has as type.
func (d *Device) kind() string {
	if d.pair != nil {
		return "veth"
	}
	return "netdev"
}

// Caps is what was negotiated.
func (d *Device) Caps() device.Caps { return d.caps }

// Queues is the number of queues to be read: as many as asked for, or one.
func (d *Device) Queues() int { return len(d.queues) }

// Handle is what the i-th worker writes to: its own queue, or, where the device has fewer queues than there are workers, one more Queue on a
// descriptor it shares. The kernel takes writes from several threads on one descriptor; the Queue around it is for one.
func (d *Device) Handle(i int) *Queue {
	if i < len(d.queues) {
		return d.queues[i]
	}
	shared := d.queues[i%len(d.queues)]
	return newQueue(shared.fd, shared.vnet, shared.checkOwn, &d.mtu)
}

// Drops counts the frames that the kernel threw away because a queue was full.
func (d *Device) Drops() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		for _, fd := range d.sockets {
			d.lost += lostFrames(fd) // the kernel's count starts anew with every question
		}
	}
	return d.lost
}

// SetFilter has an eBPF program of type socket filter decide which frames the queues get: as many bytes as it returns, 0 for none. -1 takes the
// filter away. A new program replaces the one before without a gap.
func (d *Device) SetFilter(progFD int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("%s: %q: filter: %w", d.kind(), d.name, ErrGone)
	}
	for _, fd := range d.sockets {
		if err := setFilter(fd, progFD); err != nil {
			return fmt.Errorf("%s: %q: %w", d.kind(), d.name, err)
		}
	}
	return nil
}

// SetSink says whether the sink drops what has been given to the queues. Who switches it off has a program at the ingress hook that does the same.
func (d *Device) SetSink(on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || on == (d.sink != nil) {
		return nil
	}
	err := d.inNetNS(func() (err error) {
		if on {
			d.sink, _, err = newSink(d.ifindex, d.refuse)
			return err
		}
		s := d.sink
		d.sink = nil
		return s.close()
	})
	if err != nil {
		return fmt.Errorf("%s: %q: sink: %w", d.kind(), d.name, err)
	}
	return nil
}

// LendSink is a descriptor of the tcx link that is the sink, for who puts a program into its place and then switches the sink off; -1 where there is none.
// It belongs to the caller.
func (d *Device) LendSink() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.sink == nil {
		return -1
	}
	return d.sink.lend()
}

// InheritSink is SetSink(true) for who gives up the tcx link that it had at the ingress hook: the program there becomes the sink's, also before the sink
// was switched off. The descriptor of the link stays the caller's.
func (d *Device) InheritSink(tcx int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("%s: %q: sink: closed", d.kind(), d.name)
	}
	if d.sink != nil {
		if err := d.sink.takeBack(); err != nil {
			return fmt.Errorf("%s: %q: sink: %w", d.kind(), d.name, err)
		}
		return nil
	}
	s, err := inheritSink(d.ifindex, tcx, d.refuse)
	if err != nil {
		return fmt.Errorf("%s: %q: sink: %w", d.kind(), d.name, err)
	}
	d.sink = s
	return nil
}

// Shut says whether the sink is on.
func (d *Device) Shut() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sink != nil
}

// inNetNS runs f on a thread in the namespace of the device. The caller holds the lock.
func (d *Device) inNetNS(f func() error) error {
	if d.home != "" && d.home == device.KeyOfOwnNetNS() { // which takes no descriptor
		return f()
	}
	ns, err := socketNetNS(d.sockets[0])
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	if device.IsOwnNetNS(ns) {
		return f()
	}
	return device.Within(ns, f)
}

// Close gives the interface back as it was found, or removes a pair. No Queue may be in use any more. An interface that is gone already is no error.
func (d *Device) Close() error {
	return d.end(d.undo, func() error { return errors.Join(d.pair.removeAway(), d.letGo()) })
}

// end calls one of two functions for the last time that the device is used: away when the interface is gone or in another namespace, and here otherwise.
func (d *Device) end(here func(h *netlink.Handle, link netlink.Link) error, away func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	// Room for what it takes to give the interface back, where descriptors have run out.
	d.closeSockets(1)
	d.sink.spare()
	there := false
	err := d.inNetNS(func() error {
		there = true
		h, link, err := d.linkIn(-1)
		if errors.Is(err, ErrGone) || err == nil && d.elsewhere() {
			if err == nil {
				h.Close()
			}
			return away()
		}
		if err != nil {
			return errors.Join(err, d.letGo())
		}
		defer h.Close()
		return here(h, link)
	})
	if !there {
		err = errors.Join(err, d.letGo())
	}
	d.closed = true
	if err != nil {
		return fmt.Errorf("%s: close %q: %w", d.kind(), d.name, err)
	}
	return nil
}

// elsewhere says whether the sockets lost their interface: one of the same index would be another.
func (d *Device) elsewhere() bool {
	_, err := boundTo(d.sockets[0])
	return err != nil
}

// undo gives the interface back. The sink goes last: until then nothing that arrives is the host's.
func (d *Device) undo(h *netlink.Handle, link netlink.Link) error {
	for _, fd := range d.sockets {
		unix.Close(fd)
	}
	d.sockets = nil
	var err error
	if d.pair != nil && d.pair.made {
		err = h.LinkDel(link)
	} else {
		err = d.giveBack(h, link)
	}
	if err != nil && d.vanished(h) {
		err = d.pair.removeAway()
	}
	return errors.Join(err, d.letGo())
}

// letGo closes everything that holds the interface.
func (d *Device) letGo() (err error) {
	d.closeSockets(0)
	if d.sink != nil {
		err = d.sink.detach()
		d.sink = nil
	}
	if d.claim >= 0 {
		unix.Close(d.claim)
		d.claim = -1
	}
	return err
}
