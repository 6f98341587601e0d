package ctl

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"vtepd/ctl/model"
)

// FirstAddress is the address that the underlay takes from an interface: its first global IPv4 one, else its first global IPv6 one.
func FirstAddress(name string) (netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("interface %s does not exist: see `ip link`, or set local", name)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("interface %s: %w", name, err)
	}
	var six netip.Addr
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		ip = ip.Unmap()
		if !ok || !ip.IsGlobalUnicast() {
			continue
		}
		if ip.Is4() {
			return ip, nil
		}
		if !six.IsValid() {
			six = ip
		}
	}
	if !six.IsValid() {
		return six, fmt.Errorf("interface %s has no address that other hosts can reach: add one with `ip address add`, or set local", name)
	}
	return six, nil
}

// hasAddress says whether an interface has an address now.
func hasAddress(name string, a netip.Addr) bool {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return false
	}
	addrs, _ := i.Addrs()
	return slices.ContainsFunc(addrs, func(has net.Addr) bool {
		p, err := netip.ParsePrefix(has.String())
		return err == nil && p.Addr() == a
	})
}

// warnOfInterface says that the interface which the file names has another address instead of the one that was taken from it: no reload follows it there.
// Needs mu.
func (c *Controller) warnOfInterface(file *model.Global) {
	now := c.model.Global.Local
	if file.Interface == "" || hasAddress(file.Interface, now) {
		return
	}
	if a, err := FirstAddress(file.Interface); err == nil {
		c.log.Warn("interface has another underlay address now: restart vtepd to use it", "interface", file.Interface, "local", now, "has", a)
	}
}
