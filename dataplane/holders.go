package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// holdersTries bounds the questions for addresses that change while they are listed.
const holdersTries = 3

// holders lists the interfaces that have an address, by ifindex: mostly one, but nothing keeps a host from giving it to several.
func holders(h *netlink.Handle, a netip.Addr) (list []int, err error) {
	for range holdersTries {
		var addrs []netlink.Addr
		addrs, err = h.AddrList(nil, netlinkFamily(a))
		for _, held := range addrs {
			if addrOf(held.IP) == a {
				list = append(list, held.LinkIndex)
			}
		}
		// What an interrupted answer has is true; what it lacks may be there all the same.
		if len(list) > 0 && errors.Is(err, netlink.ErrDumpInterrupted) {
			err = nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

// netlinkFamily is the kernel's number of an address's family.
func netlinkFamily(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// holders lists the interfaces that have our local address of a family, those that are up first; nothing where we have none.
func (s *paths) holders(family int) ([]*netlink.LinkAttrs, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	local := s.local[family]
	if !local.IsValid() {
		return nil, nil
	}
	if s.netlink == nil {
		return nil, fmt.Errorf("look for %s: no netlink: %w", local, errors.ErrUnsupported)
	}
	indexes, err := holders(s.netlink, local)
	var list []*netlink.LinkAttrs
	for _, i := range indexes {
		l, e := s.netlink.LinkByIndex(i)
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
	return append(up, down...), err
}

// running says whether an interface is up and has a carrier.
func running(l *netlink.LinkAttrs) bool {
	const both = unix.IFF_UP | unix.IFF_RUNNING
	return l.RawFlags&both == both
}

// away says whether no interface has the local address of a family now.
func (s *paths) away(family int) bool {
	if !s.local[family].IsValid() {
		return false
	}
	list, err := s.holders(family)
	return err == nil && len(list) == 0
}

// awayText says that datagrams have no source address.
func awayText(local netip.Addr) string {
	return fmt.Sprintf("the own address %s is on no interface", local)
}

// carrier is the MTU of the interface that has the local address of a family, in bytes; Ethernet's when none has.
func (s *paths) carrier(family int) int {
	if list, _ := s.holders(family); len(list) > 0 && list[0].MTU > 0 {
		return list[0].MTU
	}
	return standardMTU
}

// underlayLink finds the interface that carries the first of the local addresses that is on one: its name and MTU in bytes, or nothing; which addresses are on
// none, and which on one that is down.
func (s *Switch) underlayLink() (name string, mtu int, away, down []netip.Addr) {
	for _, a := range s.config.Locals() {
		list, err := s.paths.holders(familyOf(a))
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
