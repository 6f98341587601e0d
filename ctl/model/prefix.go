package model

import (
	"fmt"
	"net/netip"
)

// ParsePrefix reads a prefix without host bits; a bare address is a prefix of one.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return ofHosts(s, netip.PrefixFrom(a, a.BitLen()))
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not a prefix: expected ADDRESS/BITS, such as 192.0.2.0/24", quote(s))
	}
	if p, err = plainPrefix(s, p); err != nil {
		return netip.Prefix{}, err
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("%s has host bits: write %s", quote(s), m)
	}
	return ofHosts(s, p)
}

// notOfHosts are the prefixes in which nothing is an address that another VTEP sends from.
var notOfHosts = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("127.0.0.0/8"), "holds loopback addresses, which no datagram from another host has: write the underlay addresses of VTEPs"},
	{netip.MustParsePrefix("::1/128"), "holds loopback addresses, which no datagram from another host has: write the underlay addresses of VTEPs"},
	{netip.MustParsePrefix("224.0.0.0/4"), "holds multicast groups, which nobody sends from: write the underlay addresses of VTEPs"},
	{netip.MustParsePrefix("ff00::/8"), "holds multicast groups, which nobody sends from: write the underlay addresses of VTEPs"},
	{netip.MustParsePrefix("fe80::/10"), "holds link-local addresses, which need an interface to be unique: write global or unique local ones"},
	{netip.MustParsePrefix("0.0.0.0/32"), "holds no address of a host: write 0.0.0.0/0 for every IPv4 address"},
	{netip.MustParsePrefix("::/128"), "holds no address of a host: write ::/0 for every IPv6 address"},
	{netip.MustParsePrefix("255.255.255.255/32"), "holds no address of a host: write the underlay addresses of VTEPs"},
}

// ofHosts refuses a prefix that admits nobody, for the reasons for which an address in it is no peer's. A wider one that has such addresses among others is as
// good as ever, and so is one of a family that local is not of: hosts share lists.
func ofHosts(s string, p netip.Prefix) (netip.Prefix, error) {
	for _, n := range notOfHosts {
		if n.prefix.Bits() <= p.Bits() && n.prefix.Contains(p.Addr()) {
			return netip.Prefix{}, fmt.Errorf("%s %s", quote(s), n.why)
		}
	}
	return p, nil
}

// plainPrefix turns a prefix of IPv4-mapped addresses into one of IPv4: sources and interfaces have plain addresses.
func plainPrefix(s string, p netip.Prefix) (netip.Prefix, error) {
	if !p.Addr().Is4In6() {
		return p, nil
	}
	const mapped = 96 // bits of ::ffff:0:0/96 (RFC 4291 section 2.5.5.2)
	if p.Bits() < mapped {
		return p, fmt.Errorf("%s is neither an IPv4 nor an IPv6 prefix: write the IPv4 one, such as 192.0.2.0/24", quote(s))
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped), nil
}

// ParseInterfaceAddr reads an address with its prefix length, as it is put on an interface.
func ParseInterfaceAddr(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" { // a zone takes in whatever follows, a length too
		return netip.Prefix{}, fmt.Errorf("%s has no prefix length: write %s/%d, or the length of its subnet", quote(s), s, a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not an address with prefix length, such as 198.51.100.1/24", quote(s))
	}
	if p, err = plainPrefix(s, p); err != nil {
		return netip.Prefix{}, err
	}
	if a := p.Addr(); a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Prefix{}, fmt.Errorf("%s is not the address of a host: write one, such as 198.51.100.1/24", quote(s))
	}
	// The kernel takes ::1 on the loopback interface alone (ipv6_add_addr, net/ipv6/addrconf.c), and 127.0.0.1 anywhere.
	if p.Addr() == netip.IPv6Loopback() {
		return netip.Prefix{}, fmt.Errorf("%s is the loopback address, which no other interface can have: write one of the segment, such as 2001:db8::1/64", quote(s))
	}
	return p, nil
}
