package dataplane

import (
	"net/netip"

	"vtepd/dataplane/underlay"
)

// families is how many address families there are: IPv4 is number 0, IPv6 number 1.
const families = 2

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// underlays are the sockets by address family; nil where the switch has no address of one.
type underlays [families]*underlay.Sockets

// openUnderlays opens the sockets of every local address.
func openUnderlays(c *Config) (underlays, error) {
	var all underlays
	for _, local := range c.Locals() {
		u, err := underlay.Open(underlay.Config{
			Local:         local,
			Port:          c.DstPort,
			Receivers:     c.Workers,
			Offload:       c.Offload,
			TTL:           DefaultTTL,
			ZeroChecksum6: c.UDP6ZeroChecksumRx,
			Refuse:        c.refuseUnderlay,
		})
		if err != nil {
			all.Close()
			return underlays{}, err
		}
		all[familyOf(local)] = u
	}
	return all, nil
}

// open lists the sockets that there are.
func (u underlays) open() []*underlay.Sockets {
	var list []*underlay.Sockets
	for _, s := range u {
		if s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (u underlays) Close() {
	for _, s := range u.open() {
		s.Close()
	}
}

// Locals lists our underlay addresses, the first one first.
func (c *Config) Locals() []netip.Addr {
	if c.OtherLocal.IsValid() {
		return []netip.Addr{c.Local, c.OtherLocal}
	}
	return []netip.Addr{c.Local}
}

// localOf is our underlay address of a family, or the zero Addr.
func (c *Config) localOf(family int) netip.Addr {
	for _, a := range c.Locals() {
		if familyOf(a) == family {
			return a
		}
	}
	return netip.Addr{}
}

// isLocal says whether an underlay address is ours. Workers call it.
func (s *Switch) isLocal(a netip.Addr) bool { return a == s.config.Local || a == s.config.OtherLocal }
