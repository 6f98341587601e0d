package ctl

import (
	"net/netip"
	"slices"

	"vtepd/dataplane"
)

// lookForAddresses finds the addresses that ports lose. Another port that gets one waits for it until all have left that are to: two with one address would find each
// other (RFC 4862 section 5.4), and the later one could not use it until somebody gave it anew.
func (p *planner) lookForAddresses() {
	p.lost = map[netip.Addr]bool{}
	lose := func(before dataplane.PortConfig, next []netip.Prefix) {
		for _, a := range before.Addresses {
			if !hasAddr(next, a.Addr()) {
				p.lost[a.Addr()] = true
			}
		}
	}
	for _, name := range p.changes.PortsGone {
		lose(p.old.PortConfig(name), nil)
	}
	for _, c := range p.ports {
		lose(c.before, c.next.Addresses)
	}
}

// addressesSoFar are the addresses of a port until portsComplete.
func (p *planner) addressesSoFar(c *portChange) []netip.Prefix {
	waits := func(a netip.Prefix) bool { return p.lost[a.Addr()] && !hasAddr(c.before.Addresses, a.Addr()) }
	if !slices.ContainsFunc(c.next.Addresses, waits) {
		return c.next.Addresses
	}
	left := slices.DeleteFunc(slices.Clone(c.next.Addresses), waits)
	if len(left) == 0 {
		return nil // as in a model
	}
	return left
}

func hasAddr(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(b netip.Prefix) bool { return a == b.Addr() })
}
