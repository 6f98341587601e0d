package daemon

import (
	"fmt"
	"net"
	"net/netip"
)

// firstAddress is the address that the underlay takes from an interface: its first global IPv4 one, else its first global IPv6 one.
func firstAddress(name string) (netip.Addr, error) {
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
