package tap

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// SetSuperframes bounds what TCP over IPv4 and over IPv6 puts into one superframe
// for the interface, in bytes with the Ethernet header; 0 is the kernel's own
// bound.
//
// The bound holds for those who send, and only they ask for it: a superframe that
// another interface made, of 64 KiB, would be cut to single frames in software
// before this one (gso_features_check of net/core/dev.c). So there is none where
// the interface is in a bridge or its host forwards, nor on a device that was
// found. It is to be asked for again from time to time, since both may change.
func (d *Device) SetSuperframes(ipv4, ipv6 int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found != nil {
		return nil
	}
	forwards, err := d.forwards()
	if err != nil {
		return fmt.Errorf("tap: %q: superframes: %w", d.name, err)
	}
	return d.changeLocked("superframes", func(h *netlink.Handle, link netlink.Link) error {
		a := link.Attrs()
		if forwards || a.MasterIndex != 0 || ipv4 == 0 {
			ipv4, ipv6 = device.Superframe, device.Superframe
		}
		if a.GSOIPv4MaxSize == 0 { // before Linux 6.3 there is one bound for both
			ipv6 = ipv4
		}
		if a.GSOMaxSize != uint32(ipv6) {
			// This sets the other one too (netif_set_gso_max_size).
			if err := h.LinkSetGSOMaxSize(link, ipv6); err != nil {
				return err
			}
		} else if a.GSOIPv4MaxSize == uint32(ipv4) {
			return nil
		}
		if a.GSOIPv4MaxSize == 0 {
			return nil
		}
		return h.LinkSetGSOIPv4MaxSize(link, ipv4)
	})
}

// forwards says whether the host that the interface is of forwards. Needs the lock.
func (d *Device) forwards() (bool, error) {
	if len(d.queues) == 0 {
		return false, ErrGone
	}
	ns, err := deviceNetNS(d.queues[0].fd)
	if err != nil {
		return false, err
	}
	defer unix.Close(ns)
	if device.IsOwnNetNS(ns) {
		return device.Forwards(-1)
	}
	return device.Forwards(ns)
}
