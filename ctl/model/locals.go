package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vtepd/dataplane"
)

// Locals lists the underlay addresses, the first one first; none while they are not known.
func (g *Global) Locals() []netip.Addr {
	var list []netip.Addr
	for _, a := range []netip.Addr{g.Local, g.OtherLocal} {
		if a.IsValid() {
			list = append(list, a)
		}
	}
	return list
}

// LocalsText is Locals in words: "192.0.2.1 and 2001:db8::1".
func (g *Global) LocalsText() string {
	var words []string
	for _, a := range g.Locals() {
		words = append(words, a.String())
	}
	return strings.Join(words, " and ")
}

// SetLocals takes the addresses in the order given: one, or one of each family.
func (g *Global) SetLocals(list []netip.Addr) error {
	switch {
	case len(list) == 0:
		return Invalid("local", "an empty list: write an address of this host")
	case len(list) > 2:
		return Invalid("local/"+list[2].String(), "%d addresses: there is room for one of each family, IPv4 and IPv6", len(list))
	case len(list) == 2 && list[0].Is4() == list[1].Is4():
		return Invalid("local/"+list[1].String(), "%s and %s are both %s: there is room for one of each family", list[0], list[1], family(list[0]))
	}
	g.Local, g.OtherLocal = list[0], netip.Addr{}
	if len(list) == 2 {
		g.OtherLocal = list[1]
	}
	return nil
}

// local checks one underlay address of this host.
func (v *validation) local(a netip.Addr) {
	switch {
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		v.add(Invalid("local", "%s is not the address of a host: write an address of this host", a))
	case a.IsLoopback():
		v.add(Invalid("local", "%s is a loopback address, which no other host reaches: write an address of this host", a))
	case a.Is6() && a.IsLinkLocalUnicast():
		v.add(Invalid("local", "%s is link-local, which needs an interface to be unique: write a global or unique local address", a))
	}
}

// listen checks the UDP ports listened on and sent from.
func (v *validation) listen() {
	g := &v.m.Global
	ports := append([]uint16{g.DstPort}, g.Listen...)
	for i, p := range g.Listen {
		if slices.Contains(g.Listen[:i], p) {
			v.add(Invalid(fmt.Sprintf("listen/%d", p), "listen: port %d is listed twice: leave one away", p))
		}
	}
	if len(ports) > dataplane.MaxListen {
		v.add(Invalid("listen", "%d ports to listen on, dstport included, are more than the %d that a switch takes", len(ports), dataplane.MaxListen))
	}
	if r := g.SourcePorts; r != [2]uint16{} && int(r[1]-r[0]) < len(ports) {
		for p := r[0]; slices.Contains(ports, p); p++ {
			if p == r[1] {
				v.add(Invalid("source-ports", "source-ports %d-%d: vtepd listens on all of them: write a wider range", r[0], r[1]))
				break
			}
		}
	}
}

// listens says whether what is sent to a UDP port of this host is heard.
func (m *Model) listens(port uint16) bool {
	return port == m.Global.DstPort || slices.Contains(m.Global.Listen, port)
}

// Unheard says at which of two paths it lies that no datagram from an address gets to a UDP port of this host; port 0 is DstPort.
func (m *Model) Unheard(addrPath string, a netip.Addr, portPath string, port uint16) error {
	flaw := (&validation{m: m}).flawOf(a)
	if a == m.Global.Local || a == m.Global.OtherLocal || a.Is6() && a.IsLinkLocalUnicast() {
		flaw = "" // who forges one may send by it
	}
	if flaw != "" {
		return Invalid(addrPath, "peer %s %s", a, flaw)
	}
	heard := port == 0 || m.listens(port)
	for _, c := range m.VNIs.All() {
		heard = heard || c.Group.IsValid() && c.Group.Port() == port
	}
	if !heard {
		return Invalid(portPath, "UDP port %d is not listened on: expected dstport (%d) or one of listen", port, m.Global.DstPort)
	}
	return nil
}

// reaches says whether there is an underlay address of the family of a, or may be.
func (g *Global) reaches(a netip.Addr) bool {
	known := false
	for _, l := range [...]netip.Addr{g.Local, g.OtherLocal} {
		if l.IsValid() {
			if known = true; l.Is4() == a.Is4() {
				return true
			}
		}
	}
	return !known
}
