package model

import (
	"fmt"
	"net/netip"
	"strings"
)

// ParseAddr reads an IP address without zone; IPv4-mapped ones become IPv4.
func ParseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		if ap, perr := netip.ParseAddrPort(s); perr == nil {
			return netip.Addr{}, fmt.Errorf("%s has a UDP port, which has no place here: write %s", quote(s), ap.Addr())
		}
		return netip.Addr{}, noAddr(s)
	}
	if a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s has a zone: only addresses that are valid on every interface can be used", quote(s))
	}
	return a.Unmap(), nil
}

// noAddr says why a text is no IP address, and what was nearly written.
func noAddr(s string) error {
	if inner, ok := bracketed(s); ok {
		return fmt.Errorf("%s has brackets, which are for an address with a UDP port: write %s", quote(s), inner)
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return fmt.Errorf("%s has a prefix length, and an address has none: write %s", quote(s), p.Addr())
	}
	if plain := strings.TrimSpace(s); plain != s {
		if _, err := netip.ParseAddr(plain); err == nil {
			return fmt.Errorf("%s has white space around it: write %s", quote(s), plain)
		}
	}
	return fmt.Errorf("%s is not an IP address: write one, such as 192.0.2.1 or 2001:db8::1", quote(s))
}

// bracketed is the address in the brackets of s.
func bracketed(s string) (netip.Addr, bool) {
	inner, opens := strings.CutPrefix(s, "[")
	inner, closes := strings.CutSuffix(inner, "]")
	a, err := netip.ParseAddr(inner)
	return a, opens && closes && err == nil
}

// ParsePeer reads the underlay address of a peer, with or without a UDP port (192.0.2.2, 192.0.2.2:4790, [2001:db8::2]:4790). Port 0 stands for none.
func ParsePeer(s string) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil && (ap.Port() == 0 || !paddedPort(s)) {
		if ap.Port() == 0 {
			return netip.AddrPort{}, fmt.Errorf("%s: 0 is not a UDP port: leave it away, or write 1 to 65535", quote(s))
		}
		a, err := ParseAddr(ap.Addr().String())
		return netip.AddrPortFrom(a, ap.Port()), err
	}
	if host, port, ok := cutPort(s); ok {
		if _, err := ParsePort(port); err != nil {
			return netip.AddrPort{}, fmt.Errorf("%s: the UDP port behind %s: %w", quote(s), host, err)
		}
	}
	a, err := ParseAddr(s)
	return netip.AddrPortFrom(a, 0), err
}

// paddedPort says whether a UDP port that package netip has read begins with a zero.
func paddedPort(s string) bool { return s[strings.LastIndexByte(s, ':')+1] == '0' }

// cutPort parts an address from what stands where a UDP port would.
func cutPort(s string) (host netip.Addr, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return host, "", false
	}
	if a, brackets := bracketed(s[:i]); brackets {
		return a, s[i+1:], true
	}
	a, err := netip.ParseAddr(s[:i])
	return a, s[i+1:], err == nil && a.Is4()
}
