package tap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// snapshot is how a persistent device was found, to give it back so.
type snapshot struct {
	mtu    int
	mac    net.HardwareAddr
	up     bool
	txqlen int
	addrs  []netlink.Addr // set by somebody, not by the kernel or a router
	added  []netip.Prefix // what we gave it, at whatever time, and was not there before
}

// takeOver uses a persistent TAP that somebody made before (`ip tuntap add`).
// It stays after Close. target is the namespace it was found in, -1 the present
// one.
func takeOver(o Options, h *netlink.Handle, link netlink.Link, target int) (_ *Device, err error) {
	d := &Device{name: o.Name, netns: o.NetNS, claim: -1}
	defer func() {
		if err != nil {
			err = fmt.Errorf("tap: open %q: %w", o.Name, err)
		}
	}()
	tun, err := mayTakeOver(link)
	if err != nil {
		return nil, err
	}
	a := link.Attrs()
	d.found = &snapshot{mtu: a.MTU, mac: a.HardwareAddr, up: a.Flags&net.FlagUp != 0, txqlen: a.TxQLen}
	if d.found.addrs, err = device.SettledAddresses(h, link); err != nil {
		return nil, err
	}
	multi := tun.Flags&netlink.TUNTAP_MULTI_QUEUE != 0
	err = device.Within(target, func() error { return d.attachFound(&o, multi) })
	if err != nil {
		return nil, err
	}
	if err = d.configureFound(h, link, &o); err != nil {
		err = errors.Join(err, d.giveBack())
		d.closeQueues()
		return nil, err
	}
	return d, nil
}

// mayTakeOver refuses what is no TAP, or somebody's.
func mayTakeOver(link netlink.Link) (*netlink.Tuntap, error) {
	tun, ok := link.(*netlink.Tuntap)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: an interface of kind %q has that name: choose another name for the port",
			ErrNotTAP, link.Type())
	case tun.Mode != netlink.TUNTAP_MODE_TAP:
		return nil, fmt.Errorf("%w: a TUN device (layer 3) has that name: choose another", ErrNotTAP)
	case tun.Queues+tun.DisabledQueues > 0 || tun.NonPersist:
		// Further queues of a multi-queue device could be attached, and would take
		// a share of the other process's frames.
		return nil, busy(link.Attrs().Name)
	}
	return tun, nil
}

// attachFound attaches as many queues as the device was made for. The only
// queue of a device may replace its flags (TUN_FEATURES of tun_set_iff), so that
// the header can be switched on now; IFF_MULTI_QUEUE must be as it was.
//
// Whether the kernel takes superframes cannot be tried here without a frame
// reaching the stack, as the interface may be up: EINVAL of Write tells.
func (d *Device) attachFound(o *Options, multi bool) error {
	reason := "switched off by configuration"
	if o.Offload {
		err := d.attachVnet(o.Name, o, multi, false)
		if err == nil {
			d.oneQueueOnly(o, multi)
			return nil
		}
		if fatal(err) {
			return err
		}
		reason = "no virtio-net header: " + err.Error()
	}
	if err := d.attachPlain(o.Name, o, multi, true); err != nil {
		return err
	}
	d.caps.Reason = reason
	d.oneQueueOnly(o, multi)
	return nil
}

func (d *Device) oneQueueOnly(o *Options, multi bool) {
	if o.Queues > 1 && !multi {
		d.caps.Reason = join(d.caps.Reason, "one queue only: the device was made without multi_queue")
	}
}

func (d *Device) configureFound(h *netlink.Handle, link netlink.Link, o *Options) error {
	err := shape(h, link, o)
	if err == nil {
		d.found.added, err = device.AddAddresses(h, link, o.Addresses)
	}
	if err == nil {
		err = h.LinkSetUp(link)
	}
	return err
}

// giveBack restores the snapshot, wherever the device is now. The caller holds
// the lock, or is alone with the device.
func (d *Device) giveBack() error {
	s := d.found
	var errs []error
	if d.caps.VnetHdr {
		// Offloads outlive the queue, and the next owner may not know the header.
		errs = append(errs, setOffload(d.queues[0].fd, 0, Refuse{}))
	}
	errs = append(errs, d.changeLocked("give back", func(h *netlink.Handle, link netlink.Link) error {
		errs := []error{device.RemoveAddresses(h, link, s.added)}
		if !s.up {
			errs = append(errs, h.LinkSetDown(link))
		}
		errs = append(errs,
			h.LinkSetHardwareAddr(link, s.mac),
			// After the MAC, of which the kernel makes a link-local address once the MTU is enough for IPv6 again.
			h.LinkSetMTU(link, s.mtu),
			h.LinkSetTxQLen(link, s.txqlen))
		// IPv6 addresses go with LinkSetDown, and with an MTU below 1280.
		for _, a := range s.addrs {
			if err := h.AddrAdd(link, &a); err != nil && !errors.Is(err, unix.EEXIST) {
				errs = append(errs, fmt.Errorf("restore %v: %w", a.IPNet, err))
			}
		}
		return errors.Join(errs...)
	}))
	return errors.Join(errs...)
}
