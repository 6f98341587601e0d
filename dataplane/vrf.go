package dataplane

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// vrfKind is the kernel's word for the device of a VRF (IFLA_INFO_KIND).
const vrfKind = "vrf"

// vrf is what the underlay is in: a device, and the interfaces that it is the master of, with addresses and routes of their own
// (Documentation/networking/vrf.rst). The zero value is none, which has the interfaces that are in no VRF.
type vrf struct {
	name  string
	index int
}

// findVRF looks a VRF up in the namespace of the calling thread; "" is none.
func findVRF(name string) (vrf, error) {
	if name == "" {
		return vrf{}, nil
	}
	v, err := lookUpVRF(name)
	if err != nil {
		return vrf{}, &ConfigError{Field: "VRF", error: fmt.Errorf("vrf %s: %w", name, err)}
	}
	return v, nil
}

func lookUpVRF(name string) (vrf, error) {
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return vrf{}, fmt.Errorf("%w: there is no such interface: `ip vrf show` lists those that are", ErrHost)
	case err != nil:
		return vrf{}, err
	case l.Type() != vrfKind:
		return vrf{}, fmt.Errorf("%w: that interface is no VRF (%s): `ip vrf show` lists those that are", ErrHost, l.Type())
	}
	return vrf{l.Attrs().Name, l.Attrs().Index}, nil
}

// lacks says whether an interface is surely not in it.
func (v vrf) lacks(h *netlink.Handle, ifindex int) bool {
	l, err := h.LinkByIndex(ifindex)
	if err != nil {
		return false // gone, which those who ask next find out
	}
	master := l.Attrs().MasterIndex
	switch {
	case ifindex == v.index || master != 0 && master == v.index:
		return false
	case v.index != 0 || l.Type() == vrfKind:
		return true
	case master == 0:
		return false
	}
	m, err := h.LinkByIndex(master) // or it is a bridge's, or a bond's
	return err == nil && m.Type() == vrfKind
}
