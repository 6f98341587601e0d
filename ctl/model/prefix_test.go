package model

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParsePrefixes(t *testing.T) {
	for _, c := range []struct {
		parse func(string) (netip.Prefix, error)
		text  string
		want  string // the prefix, or words of the error
	}{
		{ParsePrefix, "192.0.2.0/24", "192.0.2.0/24"},
		{ParsePrefix, "192.0.2.7", "192.0.2.7/32"},
		{ParsePrefix, "2001:db8::/32", "2001:db8::/32"},
		{ParsePrefix, "::ffff:192.0.2.0/120", "192.0.2.0/24"},
		{ParsePrefix, "::ffff:192.0.2.7", "192.0.2.7/32"},
		{ParsePrefix, "::ffff:0.0.0.0/80", "neither an IPv4 nor an IPv6 prefix"},
		{ParsePrefix, "::ffff:192.0.2.7/120", "host bits: write 192.0.2.0/24"},
		{ParsePrefix, "192.0.2.7/24", "host bits: write 192.0.2.0/24"},
		{ParsePrefix, "fe80::1%eth0/64", "not a prefix"},
		{ParsePrefix, "0.0.0.0/0", "0.0.0.0/0"},
		{ParsePrefix, "::/0", "::/0"},
		{ParsePrefix, "126.0.0.0/7", "126.0.0.0/7"},
		{ParsePrefix, "127.0.0.0/8", "holds loopback addresses, which no datagram from another host has"},
		{ParsePrefix, "127.0.0.1", "holds loopback addresses"},
		{ParsePrefix, "::1/128", "holds loopback addresses"},
		{ParsePrefix, "::ffff:127.0.0.0/104", "holds loopback addresses"},
		{ParsePrefix, "224.0.0.0/4", "holds multicast groups"},
		{ParsePrefix, "239.1.1.1", "holds multicast groups"},
		{ParsePrefix, "ff00::/8", "holds multicast groups"},
		{ParsePrefix, "fe80::/64", "holds link-local addresses"},
		{ParsePrefix, "0.0.0.0", "holds no address of a host: write 0.0.0.0/0 for every IPv4 address"},
		{ParsePrefix, "::/128", "holds no address of a host: write ::/0 for every IPv6 address"},
		{ParsePrefix, "255.255.255.255/32", "holds no address of a host"},
		{ParseInterfaceAddr, "198.51.100.1/24", "198.51.100.1/24"},
		{ParseInterfaceAddr, "2001:db8::1/64", "2001:db8::1/64"},
		{ParseInterfaceAddr, "::ffff:198.51.100.1/120", "198.51.100.1/24"},
		{ParseInterfaceAddr, "198.51.100.1", "has no prefix length: write 198.51.100.1/32"},
		{ParseInterfaceAddr, "fe80::1%eth0/64", "not an address with prefix length"},
		{ParseInterfaceAddr, "0.0.0.0/0", "not the address of a host"},
		{ParseInterfaceAddr, "::/0", "not the address of a host"},
		{ParseInterfaceAddr, "224.0.0.1/24", "not the address of a host"},
		{ParseInterfaceAddr, "ff02::1/64", "not the address of a host"},
		{ParseInterfaceAddr, "::1/128", "is the loopback address"},
		{ParseInterfaceAddr, "::1/64", "is the loopback address"},
		{ParseInterfaceAddr, "127.0.0.5/8", "127.0.0.5/8"},
		{ParseInterfaceAddr, "255.255.255.255/32", "not the address of a host"},
		{ParseInterfaceAddr, "198.51.100.1/33", "not an address with prefix length"},
	} {
		p, err := c.parse(c.text)
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
}
