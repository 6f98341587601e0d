package tap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// Attr is the state of the interface as the kernel has it now.
type Attr = device.Attr

// place is where the interface is now.
type place struct {
	h     *netlink.Handle
	link  netlink.Link
	netns string
	key   string // NetNSKey
	away  bool
}

// findTries bounds how often find asks again for an interface that was renamed or moved between its questions.
const findTries = 5

// find asks the kernel, through the queue's descriptor, for the interface's
// present name and namespace. The caller holds the lock and closes the handle.
// Only the descriptor can tell that the device is gone (ErrGone): a name that is
// not there any more may be that of before a rename.
func (d *Device) find() (p place, err error) {
	if len(d.queues) == 0 {
		return place{}, ErrGone
	}
	for range findTries {
		var missing netlink.LinkNotFoundError
		if p, err = d.look(); !errors.As(err, &missing) {
			return p, err
		}
	}
	return place{}, err
}

// gone says whether the device was deleted. The caller holds the lock.
func (d *Device) gone() bool {
	p, err := d.find()
	if err == nil {
		p.h.Close()
	}
	return errors.Is(err, ErrGone)
}

// look is one try of find; netlink.LinkNotFoundError when what the descriptor
// told did not hold until it was used.
func (d *Device) look() (place, error) {
	fd := d.queues[0].fd
	name, err := attachedName(fd)
	if err != nil {
		return place{}, err
	}
	ns, err := deviceNetNS(fd)
	if err != nil {
		return place{}, err
	}
	defer unix.Close(ns)
	var p place
	at := ns
	if device.IsOwnNetNS(ns) {
		at = -1 // also without the right to enter namespaces
	} else {
		p.key, p.away = device.KeyOfNetNS(ns), true
		p.netns = d.netNSName(p.key)
	}
	if p.h, err = device.HandleIn(at); err != nil {
		return place{}, err
	}
	if p.link, err = p.h.LinkByName(name); err != nil {
		p.h.Close()
		return place{}, err
	}
	return p, nil
}

// netNSName names the namespace of a key. The name that was asked for comes first:
// to look for it among all would cost each of a thousand ports a thousand questions.
func (d *Device) netNSName(key string) string {
	if word := device.NetNSWord(d.netns); d.netns != "" && !filepath.IsAbs(word) && device.NetNSKey(d.netns) == key {
		return word
	}
	return device.NetNSByKey(key)
}

// change does something to the interface wherever it is.
func (d *Device) change(what string, f func(h *netlink.Handle, link netlink.Link) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changeLocked(what, f)
}

func (d *Device) changeLocked(what string, f func(h *netlink.Handle, link netlink.Link) error) error {
	p, err := d.find()
	if err == nil {
		err = f(p.h, p.link)
		p.h.Close()
	}
	if err != nil {
		return fmt.Errorf("tap: %q: %s: %w", d.name, what, err)
	}
	return nil
}

// Attr asks the kernel. The error is ErrGone when the device was deleted.
func (d *Device) Attr() (Attr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.find()
	if err != nil {
		return Attr{}, fmt.Errorf("tap: %q: %w", d.name, err)
	}
	defer p.h.Close()
	a := p.link.Attrs()
	return Attr{
		Name:     a.Name,
		Ifindex:  a.Index,
		MTU:      a.MTU,
		MAC:      a.HardwareAddr,
		Master:   a.MasterIndex,
		Up:       a.Flags&net.FlagUp != 0,
		NetNS:    p.netns,
		NetNSKey: p.key,
		Away:     p.away,
		XDP:      device.DriverXDP(p.link),
	}, nil
}

// SetMTU sets the MTU in bytes, Ethernet header not counted.
func (d *Device) SetMTU(mtu int) error {
	return d.change(fmt.Sprintf("mtu %d", mtu), func(h *netlink.Handle, link netlink.Link) error {
		return device.SetMTU(h, link, mtu)
	})
}

// SetMAC sets the interface's own address. nil is the one that it was found with, or a random one.
func (d *Device) SetMAC(mac net.HardwareAddr) error {
	switch {
	case mac == nil && d.found != nil:
		mac = d.found.mac
	case mac == nil:
		mac = device.RandomMAC()
	}
	if err := device.CheckMAC(mac); err != nil {
		return fmt.Errorf("tap: %q: %w: %w", d.name, ErrOption, err)
	}
	return d.change(fmt.Sprintf("mac %v", mac), func(h *netlink.Handle, link netlink.Link) error {
		return h.LinkSetHardwareAddr(link, mac)
	})
}

// SetAddresses adds what is in new and not in old, then removes what is in old
// and not in new. Other addresses of the interface are not touched. What is
// there already, or gone already, is no error; when an address cannot be added,
// those added before it are taken back.
func (d *Device) SetAddresses(old, new []netip.Prefix) error {
	return d.change("addresses", func(h *netlink.Handle, link netlink.Link) error {
		added, err := device.AddAddresses(h, link, device.Without(new, old))
		if err != nil {
			return errors.Join(err, device.RemoveAddresses(h, link, added))
		}
		if d.found != nil {
			d.found.added = append(d.found.added, added...)
		}
		return device.RemoveAddresses(h, link, device.Without(old, new))
	})
}

// configure gives a new device what the options ask for, and sets it up last.
func configure(h *netlink.Handle, link netlink.Link, o *Options) error {
	if err := shape(h, link, o); err != nil {
		return err
	}
	if _, err := device.AddAddresses(h, link, o.Addresses); err != nil {
		return err
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return nil
}

// shape sets what is not an address.
func shape(h *netlink.Handle, link netlink.Link, o *Options) error {
	if err := h.LinkSetTxQLen(link, o.TxQueueLen); err != nil {
		return fmt.Errorf("txqueuelen %d: %w", o.TxQueueLen, err)
	}
	if o.MTU != 0 {
		if err := device.SetMTU(h, link, o.MTU); err != nil {
			return fmt.Errorf("mtu %d: %w", o.MTU, err)
		}
	}
	if o.MAC != nil {
		if err := device.SetMAC(h, link, o.MAC); err != nil {
			return fmt.Errorf("mac %v: %w", o.MAC, err)
		}
	}
	return nil
}
