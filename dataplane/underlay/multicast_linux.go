package underlay

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Join opens a receive socket for a multicast group (RFC 7348 section 4.2) on
// the interface that holds Config.Local, and joins the group there. A socket of
// its own is needed because the others are bound to the unicast address. It is
// for one worker to read, like any Receiver; datagrams of this host's own
// Transmitters do not come back.
func (s *Sockets) Join(group netip.Addr) (*Receiver, error) {
	group = group.Unmap()
	if !group.IsMulticast() || group.Is4() != s.cfg.Local.Is4() {
		return nil, fmt.Errorf("underlay: join %v: %w: need a multicast address of the family of %v",
			group, ErrConfig, s.cfg.Local)
	}
	c := s.cfg
	c.Local = group
	if group.Is6() && group.Zone() == "" && (group.IsLinkLocalMulticast() || group.IsInterfaceLocalMulticast()) {
		c.Local = group.WithZone(fmt.Sprint(interfaceOf(s.cfg.Local)))
	}
	r, err := openReceiver(&c, 0)
	if err != nil {
		return nil, err
	}
	if err := joinGroup(r.fd, s.cfg.Local, group); err != nil {
		r.close()
		return nil, fmt.Errorf("underlay: join %v on the interface of %v: %w", group, s.cfg.Local, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		r.close()
		return nil, unix.EBADF
	}
	s.groups = append(s.groups, r)
	return r, nil
}

// Leave closes a Receiver that Join gave. It must not be in use any more.
func (s *Sockets) Leave(r *Receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.groups, r)
	if i < 0 {
		return
	}
	s.groups = slices.Delete(s.groups, i, i+1)
	s.left.add(&r.count)
	r.close()
}

func joinGroup(fd int, local, group netip.Addr) error {
	if group.Is4() {
		mreq := unix.IPMreqn{Multiaddr: group.As4(), Address: local.As4()}
		if err := unix.SetsockoptIPMreqn(fd, unix.SOL_IP, unix.IP_ADD_MEMBERSHIP, &mreq); err != nil {
			return err
		}
		// Else the socket hears every group that anybody on this host joined.
		return set(fd, unix.SOL_IP, unix.IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL")
	}
	mreq := unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(interfaceOf(local))}
	return unix.SetsockoptIPv6Mreq(fd, unix.SOL_IPV6, unix.IPV6_ADD_MEMBERSHIP, &mreq)
}
