package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// holdersTries bounds the questions for addresses that change while they are listed.
const holdersTries = 3

// What keeps an address that an interface lists from being used.
const (
	// Duplicate address detection (RFC 4862 section 5.4), in the words of ip-address(8).
	tentative = "tentative"
	dadFailed = "dadfailed"
	// elsewhere: the interface is in a VRF, and the underlay is in another or in none; or the other way round.
	elsewhere = "elsewhere"
)

// holding is who has an address.
type holding struct {
	// ifindexes are of interfaces: mostly one, but nothing keeps a host from giving an address to several. Where a route of type local makes the host hear a
	// whole prefix, it is that of the route.
	ifindexes []int
	flaw      string // one of the above; "": no interface has it, or one may use it
}

// whoHas finds out who has an address in a VRF.
func whoHas(h *netlink.Handle, in vrf, a netip.Addr) (at holding, err error) {
	for range holdersTries {
		var addrs []netlink.Addr
		addrs, err = h.AddrList(nil, netlinkFamily(a))
		for _, held := range addrs {
			switch {
			case addrOf(held.IP) != a:
			case held.Flags&unix.IFA_F_DADFAILED != 0:
				at.flaw = dadFailed
			case held.Flags&unix.IFA_F_TENTATIVE != 0 && held.Flags&unix.IFA_F_OPTIMISTIC == 0:
				at.flaw = tentative
			case in.lacks(h, held.LinkIndex):
				at.flaw = cmp.Or(at.flaw, elsewhere)
			default:
				at.ifindexes = append(at.ifindexes, held.LinkIndex)
			}
		}
		// What an interrupted answer has is true; what it lacks may be there all the same.
		if len(at.ifindexes) > 0 && errors.Is(err, netlink.ErrDumpInterrupted) {
			err = nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if len(at.ifindexes) > 0 {
		at.flaw = ""
	} else if err == nil && (at.flaw == "" || at.flaw == elsewhere) {
		routes, err := h.RouteGetWithOptions(a.AsSlice(), &netlink.RouteGetOptions{OifIndex: in.index, FIBMatch: true})
		// The kernel's own route belongs to an address, which is just being taken away then: it goes first.
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL && routes[0].Protocol != unix.RTPROT_KERNEL {
			at.ifindexes, at.flaw = []int{routes[0].LinkIndex}, ""
		}
	}
	return at, err
}

// netlinkFamily is the kernel's number of an address's family.
func netlinkFamily(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// holders lists the interfaces that have our local address of a family, those that are up first; nothing where we have none. flaw is that of holding.
func (s *paths) holders(family int) (list []*netlink.LinkAttrs, flaw string, err error) {
	local := s.local[family]
	if !local.IsValid() {
		return nil, "", nil
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.who == nil {
		return nil, "", fmt.Errorf("look for %s: no netlink: %w", local, errors.ErrUnsupported)
	}
	at, err := whoHas(s.who, s.vrf, local)
	for _, i := range at.ifindexes {
		l, e := s.who.LinkByIndex(i)
		var gone netlink.LinkNotFoundError
		switch {
		case e == nil:
			list = append(list, l.Attrs())
		case !errors.As(e, &gone):
			err = e
		}
	}
	if err != nil {
		err = fmt.Errorf("look for %s: %w", local, err)
	}
	up := slices.DeleteFunc(slices.Clone(list), func(l *netlink.LinkAttrs) bool { return !running(l) })
	down := slices.DeleteFunc(list, running)
	return append(up, down...), at.flaw, err
}

// running says whether an interface is up and has a carrier.
func running(l *netlink.LinkAttrs) bool {
	const both = unix.IFF_UP | unix.IFF_RUNNING
	return l.RawFlags&both == both
}

// away says why datagrams have no source address in a family now; "": they have, or it cannot be found out.
func (s *paths) away(family int) string {
	list, flaw, err := s.holders(family)
	if !s.local[family].IsValid() || err != nil || len(list) > 0 {
		return ""
	}
	return awayText(s.vrf.name, s.local[family], flaw)
}

// awayText says that datagrams have no source address; in is the VRF that it should be in.
func awayText(in string, local netip.Addr, flaw string) string {
	switch flaw {
	case dadFailed:
		return fmt.Sprintf("the own address %s is not used, for another host has it (dadfailed)", local)
	case tentative:
		return fmt.Sprintf("the own address %s is not used until it is known that no other host has it (tentative)", local)
	}
	return fmt.Sprintf("the own address %s is %s", local, absent(in, flaw))
}

// absent says of an address that no interface has it where it is looked for.
func absent(in, flaw string) string {
	switch {
	case in != "":
		return "on no interface of the VRF " + in
	case flaw == elsewhere:
		return "on no interface that is in no VRF"
	}
	return "on no interface"
}

// carrier is the MTU of the interface that has the local address of a family, in bytes; Ethernet's when none has, and when it is the loopback device's or the VRF's own.
func (s *paths) carrier(family int) int {
	list, _, _ := s.holders(family)
	if len(list) > 0 && list[0].MTU > 0 && list[0].RawFlags&unix.IFF_LOOPBACK == 0 && list[0].Index != s.vrf.index {
		return list[0].MTU
	}
	return standardMTU
}

// underlayLink finds the interface that carries the first of the local addresses that is on one: its name and MTU in bytes, or nothing; which addresses are on
// none, and which on one that is down.
func (s *Switch) underlayLink() (name string, mtu int, away, down []netip.Addr) {
	for _, a := range s.config.Locals() {
		list, _, err := s.paths.holders(familyOf(a))
		if len(list) == 0 {
			if err == nil { // else nothing is known of it
				away = append(away, a)
			}
			continue
		}
		if !running(list[0]) {
			down = append(down, a)
		}
		if name == "" {
			name, mtu = list[0].Name, list[0].MTU
		}
	}
	return name, mtu, away, down
}
