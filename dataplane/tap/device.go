package tap

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// Device is a TAP device with its queues.
type Device struct {
	name  string
	netns string // as in Options
	caps  Caps
	found *snapshot // of a device that was there before; nil: ours

	claim int // descriptor, see device.Claim; -1: none, for a device in another namespace

	mu     sync.Mutex // keeps a descriptor from being closed under an ioctl(2)
	queues []*Queue
	closed bool
}

// Open makes the device, or takes over a persistent TAP of that name, gives it
// its namespace, addresses and MTU, and sets it up. On failure nothing remains
// of it, and a device that was found is as it was.
//
// A device that is in use is waited for, device.ForkTime long: a child of this
// process may still hold what was closed.
func Open(o Options) (*Device, error) {
	d, err := open(o)
	if !errors.Is(err, ErrBusy) {
		return d, err
	}
	device.AwaitForks()
	for end := time.Now().Add(device.ForkTime); ; time.Sleep(device.ForkTime / 20) {
		d, err := open(o)
		if !errors.Is(err, ErrBusy) || time.Now().After(end) {
			return d, err
		}
	}
}

func open(o Options) (*Device, error) {
	var d *Device
	err := byName(&o, func(h *netlink.Handle, found netlink.Link, home int) (err error) {
		if found == nil {
			d, err = create(o, h, home)
		} else {
			d, err = takeOver(o, h, found, home)
		}
		if err != nil || home >= 0 {
			return err
		}
		if err = d.claimIt(); err != nil {
			return errors.Join(fmt.Errorf("tap: open %q: %w", o.Name, err), d.Close())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Check says why Open would refuse, as far as that can be told without making
// anything: options that make no sense, no such namespace, or something in it
// that has the name already.
func Check(o Options) error {
	return byName(&o, func(_ *netlink.Handle, found netlink.Link, home int) error {
		if found == nil || slices.Contains(o.Going, found.Attrs().Index) {
			if err := device.CheckNew(home, o.Addresses); err != nil {
				return fmt.Errorf("tap: open %q: %w", o.Name, err)
			}
			return nil
		}
		if _, err := mayTakeOver(found); err != nil {
			return fmt.Errorf("tap: open %q: %w", o.Name, err)
		}
		return nil
	})
}

// claimIt keeps packet sockets of other vtepds off: they would forward every frame a second time. A claim in another namespace would keep that one alive
// after its deletion, and there is none.
func (d *Device) claimIt() error {
	link, err := netlink.LinkByName(d.name)
	if err == nil {
		d.claim, err = device.Claim(link.Attrs().Index)
	}
	return err
}

// byName completes the options and calls f with what has the name in the namespace
// where the device is to be; nil when nothing has. home is -1 for the present
// namespace.
func byName(o *Options, f func(h *netlink.Handle, found netlink.Link, home int) error) error {
	if err := o.normalise(); err != nil {
		return err
	}
	home := -1
	if o.NetNS != "" {
		fd, err := device.OpenNetNS(o.NetNS)
		if err != nil {
			return fmt.Errorf("tap: open %q: %w", o.Name, err)
		}
		defer unix.Close(fd)
		home = fd
	}
	h, err := device.HandleIn(home)
	if err != nil {
		return fmt.Errorf("tap: open %q: %w", o.Name, err)
	}
	defer h.Close()

	link, err := h.LinkByName(o.Name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		link = nil
	case err != nil:
		return fmt.Errorf("tap: look for %q: %w", o.Name, err)
	}
	return f(h, link, home)
}

// create makes a new device. One that is to live in another namespace is made
// here under a passing name, since its own may be taken here and free there,
// and is renamed after the move. Opening /dev/net/tun in the other namespace
// would do too, but such a descriptor keeps the namespace alive after its
// deletion, and the device with it, where nobody can see it.
func create(o Options, h *netlink.Handle, target int) (_ *Device, err error) {
	passing := o.Name
	if target >= 0 {
		passing = device.PassingName()
	}
	d := &Device{name: o.Name, netns: o.NetNS, claim: -1}
	defer func() {
		if err != nil {
			d.closeQueues() // the device goes with its last queue
			err = fmt.Errorf("tap: open %q: %w", o.Name, err)
		}
	}()
	if err = d.attachNew(passing, &o); err != nil {
		return nil, err
	}
	if target >= 0 {
		if err = device.Move(passing, target, h, o.Name); err != nil {
			return nil, err
		}
	}
	link, err := h.LinkByName(o.Name)
	if err != nil {
		return nil, err
	}
	if err = configure(h, link, &o); err != nil {
		return nil, err
	}
	return d, nil
}

// attachNew creates the device with all its queues, with the best the kernel
// has to offer. A single queue is made without IFF_MULTI_QUEUE, with which the
// kernel would set up 256 transmit queues and as many qdiscs for it.
func (d *Device) attachNew(name string, o *Options) error {
	reason := ""
	multi := o.Queues > 1
	if o.Offload {
		err := d.attachVnet(name, o, multi, true)
		if err != nil && multi && errors.Is(err, unix.EINVAL) && !errors.Is(err, errHeader) {
			// IFF_MULTI_QUEUE is refused, or IFF_VNET_HDR is; the second try tells.
			if e := d.attachVnet(name, o, false, true); e == nil {
				d.caps.Reason = join(d.caps.Reason, "one queue only: IFF_MULTI_QUEUE refused")
				return nil
			}
		}
		if err == nil || fatal(err) {
			return err
		}
		reason = "no virtio-net header: " + err.Error()
	} else {
		reason = "switched off by configuration"
	}
	err := d.attachPlain(name, o, multi, false)
	if err != nil && multi && !fatal(err) {
		if e := d.attachPlain(name, o, false, false); e == nil {
			reason = join(reason, "one queue only: IFF_MULTI_QUEUE refused")
			err = nil
		}
	}
	d.caps.Reason = reason
	return err
}

// errHeader marks a failure after the device was there: not a matter of queues.
var errHeader = errors.New("virtio-net header")

// fatal tells the errors that a plainer device would meet as well.
func fatal(err error) bool {
	return errors.Is(err, ErrBusy) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) ||
		errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// attachVnet opens the queues with virtio-net header and offloads. fresh: the
// device must not exist yet, and is down. On failure no queue is left.
func (d *Device) attachVnet(name string, o *Options, multi, fresh bool) (err error) {
	defer func() {
		if err != nil {
			d.closeQueues()
		}
	}()
	n := 1
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if multi {
		n = o.Queues
		flags |= unix.IFF_MULTI_QUEUE
	}
	var mask int
	var reason string
	for i := range n {
		fd, err := openTun()
		if err != nil {
			return err
		}
		d.queues = append(d.queues, newQueue(fd, true))
		f := flags
		if fresh && i == 0 {
			f |= unix.IFF_TUN_EXCL // a name that appeared meanwhile is somebody's
		}
		if err := attach(fd, name, f, o.Refuse); err != nil {
			return explainAttach(err, name, i)
		}
		if i > 0 {
			if err := setOffload(fd, mask, o.Refuse); err != nil {
				return fmt.Errorf("%w: queue %d: TUNSETOFFLOAD %#x: %w", errHeader, i, mask, err)
			}
			continue
		}
		if err := resetHeader(fd); err != nil {
			return fmt.Errorf("%w: %w", errHeader, err)
		}
		if mask, reason, err = climbDown(fd, o.Refuse); err != nil {
			return fmt.Errorf("%w: %w", errHeader, err)
		}
		if fresh && mask&unix.TUN_F_TSO4 != 0 && probeSuperframe(fd, o.Refuse) != nil {
			reason = "no segmentation offload: this kernel refuses superframes with EINVAL (a fault of the Linux 6.6.44 era)"
			mask = unix.TUN_F_CSUM
			if err := setOffload(fd, mask, o.Refuse); err != nil {
				return fmt.Errorf("%w: TUNSETOFFLOAD %#x: %w", errHeader, mask, err)
			}
		}
	}
	d.caps = capsOf(mask)
	d.caps.MultiQueue = multi
	d.caps.Reason = reason
	return nil
}

// closeQueues detaches all; a device that is not persistent goes with the last.
func (d *Device) closeQueues() {
	for _, q := range d.queues {
		unix.Close(q.fd)
		q.fd = -1
	}
	d.queues = nil
}

// Name is the name that Open was given. See Attr for the present one.
func (d *Device) Name() string { return d.name }

// Caps is what was negotiated.
func (d *Device) Caps() Caps { return d.caps }

// Queues is the number of queues: as many as asked for, or one, and none once it
// is closed.
func (d *Device) Queues() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queues)
}

// Queue is the i-th queue.
func (d *Device) Queue(i int) *Queue { return d.queues[i] }

// Close removes the device, or gives one that was found back as it was. No
// Queue may be in use any more. A device that is gone already is no error.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var err error
	if d.found != nil {
		if err = d.giveBack(); err != nil && d.gone() {
			err = nil
		}
	}
	d.closeQueues()
	if d.claim >= 0 {
		unix.Close(d.claim)
	}
	if err != nil {
		return fmt.Errorf("tap: close %q: %w", d.name, err)
	}
	return nil
}
