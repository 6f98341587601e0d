package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// found is how the interface was when it was taken, to give it back so.
type found struct {
	mtu      int
	mac      net.HardwareAddr
	up       bool
	addrs    []netlink.Addr  // set by somebody, not by the kernel or a router
	features map[string]bool // what had to be switched
}

func foundAt(link netlink.Link, addrs []netlink.Addr) found {
	a := link.Attrs()
	return found{mtu: a.MTU, mac: a.HardwareAddr, up: a.RawFlags&unix.IFF_UP != 0, addrs: addrs}
}

// mayTake says why an interface cannot be a port.
func mayTake(h *netlink.Handle, link netlink.Link) error {
	a := link.Attrs()
	unfit := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrUnfit, fmt.Sprintf(format, args...))
	}
	switch {
	case a.Flags&net.FlagLoopback != 0:
		return unfit("it is the loopback interface: name another one")
	case a.EncapType != "ether":
		return unfit("it carries no Ethernet frames (link type %q): name another one", a.EncapType)
	case link.Type() == "vrf":
		return unfit("it is a VRF, which only routes: name an interface of it")
	case a.MasterIndex != 0:
		return unfit("it belongs to %s: `ip link set %s nomaster` first", masterOf(h, a), a.Name)
	}
	return nil
}

// masterOf describes what an enslaved interface belongs to.
func masterOf(h *netlink.Handle, a *netlink.LinkAttrs) string {
	if m, err := h.LinkByIndex(a.MasterIndex); err == nil {
		return fmt.Sprintf("the %s %q", m.Type(), m.Attrs().Name)
	}
	return fmt.Sprintf("interface %d", a.MasterIndex)
}

// warning says what keeps an interface from serving a port well, though it may be one; "": nothing.
func warning(h *netlink.Handle, link netlink.Link) string {
	a := link.Attrs()
	if a.MasterIndex != 0 {
		return fmt.Sprintf("it was put into %s, which hears nothing of it yet sends there: `ip link set %s nomaster`", masterOf(h, a), a.Name)
	}
	const ownOnly = "hears unicast frames to its own MAC alone, so that stations behind it are cut off: use "
	const passthru = "of another mode than passthru " + ownOnly + "that mode, or the interface below"
	switch l := link.(type) {
	case *netlink.Macvlan:
		if l.Mode != netlink.MACVLAN_MODE_PASSTHRU {
			return "a macvlan " + passthru
		}
	case *netlink.Macvtap:
		if l.Mode != netlink.MACVLAN_MODE_PASSTHRU {
			return "a macvtap " + passthru
		}
	case *netlink.IPVlan:
		return "an ipvlan " + ownOnly + "the interface below"
	}
	return ""
}

// handle opens rtnetlink in the namespace of the device, and finds the interface. The caller holds the lock and closes the handle.
func (d *Device) handle() (*netlink.Handle, netlink.Link, error) {
	if d.closed {
		return nil, nil, ErrGone
	}
	if _, err := boundTo(d.sockets[0]); err != nil {
		return nil, nil, err
	}
	ns, err := socketNetNS(d.sockets[0])
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(ns)
	if device.IsOwnNetNS(ns) {
		h, link, err := d.linkIn(-1)
		return h, link, err
	}
	return d.linkIn(ns)
}

// linkIn finds the interface in a namespace; -1 is that of the calling thread.
func (d *Device) linkIn(ns int) (*netlink.Handle, netlink.Link, error) {
	h, err := device.HandleIn(ns)
	if err != nil {
		return nil, nil, err
	}
	link, err := h.LinkByIndex(d.ifindex)
	if isGone(err) {
		err = ErrGone // between the question to the socket and this one
	}
	if err != nil {
		h.Close()
		return nil, nil, err
	}
	return h, link, nil
}

// isGone: rtnetlink found no interface.
func isGone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}

// vanished says whether the interface is not in the namespace of h any more.
func (d *Device) vanished(h *netlink.Handle) bool {
	_, err := h.LinkByIndex(d.ifindex)
	return isGone(err)
}

// change does something to the interface.
func (d *Device) change(what string, f func(h *netlink.Handle, link netlink.Link) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, link, err := d.handle()
	if err == nil {
		err = f(h, link)
		h.Close()
	}
	if err != nil {
		return fmt.Errorf("%s: %q: %s: %w", d.kind(), d.name, what, err)
	}
	return nil
}

// Attr asks the kernel. The error is ErrGone when the interface was deleted or moved to another namespace.
func (d *Device) Attr() (device.Attr, error) {
	var attr device.Attr
	err := d.change("ask", func(h *netlink.Handle, link netlink.Link) error {
		a := link.Attrs()
		attr = device.Attr{
			Name: a.Name, Ifindex: a.Index, MTU: a.MTU, MAC: a.HardwareAddr,
			// Without carrier the kernel takes frames, throws them away and says nothing (noop_enqueue).
			Up: a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0,
		}
		attr.Warning = warning(h, link)
		if d.pair != nil {
			d.pair.describe(h, link, &attr)
		}
		if d.describeOther(link, &attr); attr.OtherMTU > 0 {
			attr.MTU = min(attr.MTU, attr.OtherMTU)
		}
		d.cutTo(attr.MTU)
		return nil
	})
	return attr, err
}

// SetMTU sets the MTU in bytes, Ethernet header not counted; 0 is that found. Both ends of a pair get it.
func (d *Device) SetMTU(mtu int) error {
	return d.change(fmt.Sprintf("mtu %d", mtu), func(h *netlink.Handle, link netlink.Link) error {
		if mtu == 0 {
			mtu = d.found.mtu
		}
		if err := device.SetMTU(h, link, mtu); err != nil {
			return err
		}
		d.setMTU = true
		if d.pair != nil {
			err := d.pair.peer(h, link, func(h *netlink.Handle, peer netlink.Link) error { return device.SetMTU(h, peer, mtu) })
			if err != nil {
				return errors.Join(err, device.SetMTU(h, link, link.Attrs().MTU))
			}
		}
		d.cutTo(mtu)
		return nil
	})
}

// SetSuperframes bounds the superframes that the workload sends through its end of a pair that vtepd made: see device.BoundSuperframes. What was found is left
// as it is.
func (d *Device) SetSuperframes(ipv4, ipv6 int) error {
	if d.pair == nil || !d.pair.made {
		return nil
	}
	return d.change("superframes", func(h *netlink.Handle, link netlink.Link) error {
		return d.pair.peerIn(h, link, func(ns int, h *netlink.Handle, peer netlink.Link) error {
			return device.BoundSuperframes(h, peer, ns, ipv4, ipv6)
		})
	})
}

// SetMAC sets the interface's own address, or that of the pair's peer end. nil is the one that it was found with, and a random one for a pair.
func (d *Device) SetMAC(mac net.HardwareAddr) error {
	switch {
	case mac == nil && d.pair == nil:
		mac = d.found.mac
	case mac == nil:
		mac = device.RandomMAC()
	}
	if err := device.CheckMAC(mac); err != nil {
		return fmt.Errorf("%s: %q: %w: %w", d.kind(), d.name, ErrOption, err)
	}
	return d.change(fmt.Sprintf("mac %v", mac), func(h *netlink.Handle, link netlink.Link) error {
		if d.pair == nil {
			d.setMAC = true
			return h.LinkSetHardwareAddr(link, mac)
		}
		return d.pair.peer(h, link, func(h *netlink.Handle, peer netlink.Link) error {
			err := h.LinkSetHardwareAddr(peer, mac)
			if err == nil {
				d.pair.mac = mac
			}
			return err
		})
	})
}

// SetAddresses adds what is in new and not in old to the pair's peer end, then removes what is in old and not in new. An interface that was found
// takes none: the host would not hear who answers.
func (d *Device) SetAddresses(old, new []netip.Prefix) error {
	return d.change("addresses", func(h *netlink.Handle, link netlink.Link) error {
		if d.pair == nil {
			return fmt.Errorf("%w: the host does not hear what arrives here", ErrOption)
		}
		return d.pair.peer(h, link, func(h *netlink.Handle, peer netlink.Link) error {
			added, err := device.AddAddresses(h, peer, device.Without(new, old))
			if err != nil {
				return errors.Join(err, device.RemoveAddresses(h, peer, added))
			}
			return device.RemoveAddresses(h, peer, device.Without(old, new))
		})
	})
}

// shape gives the interface what the options ask for, and what receiving whole frames takes.
func (d *Device) shape(h *netlink.Handle, link netlink.Link, o *Options) error {
	// Frames that the hardware joined (LRO) cannot be cut again; dev_disable_lro does the same for bridges.
	features, err := switchFeatures(link.Attrs().Name, map[string]bool{"rx-lro": false})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	d.found.features = features
	if o.MTU != 0 && o.MTU != d.found.mtu {
		if err := device.SetMTU(h, link, o.MTU); err != nil {
			return fmt.Errorf("mtu %d: %w", o.MTU, err)
		}
	}
	if o.MAC != nil {
		if err := device.SetMAC(h, link, o.MAC); err != nil {
			return fmt.Errorf("mac %v: %w", o.MAC, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return nil
}

// giveBack makes the interface what it was. The caller holds the lock, or is alone with the device.
func (d *Device) giveBack(h *netlink.Handle, link netlink.Link) error {
	return d.found.giveBack(h, link, d.setMAC, d.setMTU)
}

// giveBack is the device's; mac and mtu say whether these were set.
func (f *found) giveBack(h *netlink.Handle, link netlink.Link, mac, mtu bool) error {
	now := link.Attrs()
	var errs []error
	if len(f.features) > 0 {
		_, err := switchFeatures(now.Name, f.features)
		errs = append(errs, err)
	}
	if !f.up && now.Flags&net.FlagUp != 0 {
		errs = append(errs, h.LinkSetDown(link))
	}
	if mac {
		errs = append(errs, h.LinkSetHardwareAddr(link, f.mac))
	}
	// After the MAC, of which the kernel makes a link-local address once the MTU is enough for IPv6 again.
	if mtu && now.MTU != f.mtu {
		errs = append(errs, h.LinkSetMTU(link, f.mtu))
	}
	// IPv6 addresses go with LinkSetDown, and with an MTU below 1280.
	for _, a := range f.addrs {
		if err := h.AddrAdd(link, &a); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("restore %v: %w", a.IPNet, err))
		}
	}
	return errors.Join(errs...)
}
