package underlay

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Join opens a receive socket for a multicast group (RFC 7348 section 4.2) and
// joins the group on the interface of an index; 0 is the one that holds
// Config.Local. A port of 0 means Config.Port. A socket of its own is needed
// because the others are bound to the unicast address, and one for each group
// keeps within net.ipv4.igmp_max_memberships, which the kernel counts by socket.
//
// The Receiver is for one worker to read, and for one alone: the kernel gives
// every socket that hears a group its own copy. With a Receiver of that worker
// given, it reads into that one's memory instead of 4 MiB of its own.
//
// Datagrams of this host's own Transmitters do not come back.
func (s *Sockets) Join(group netip.AddrPort, ifindex int, with *Receiver) (*Receiver, error) {
	a := group.Addr().Unmap()
	if !a.IsMulticast() || a.Is4() != s.cfg.Local.Is4() {
		return nil, fmt.Errorf("underlay: join %v: %w: need a multicast address of the family of %v",
			a, ErrConfig, s.cfg.Local)
	}
	if ifindex == 0 {
		ifindex = interfaceOf(s.cfg.Local)
	}
	c := s.cfg
	c.Local = a
	if a.Is6() && a.Zone() == "" && (a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast()) {
		c.Local = a.WithZone(fmt.Sprint(ifindex))
	}
	if group.Port() != 0 {
		c.Port = group.Port()
	}
	r, err := openReceiver(&c, memberOfGroup, with)
	if err != nil {
		return nil, err
	}
	if err := joinGroup(r.fd, s.cfg.Local, a, ifindex); err != nil {
		r.close()
		return nil, fmt.Errorf("underlay: join %v: %w", a, explainJoin(err, a))
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

// InterfaceIndex is the index of an interface in the network namespace of the
// sockets, whichever namespace the calling thread is in; 0: there is none.
func (s *Sockets) InterfaceIndex(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	r, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(s.receivers[0].fd, unix.SIOCGIFINDEX, r) != nil {
		return 0
	}
	return int(r.Uint32())
}

func joinGroup(fd int, local, group netip.Addr, ifindex int) error {
	if group.Is4() {
		mreq := unix.IPMreqn{Multiaddr: group.As4(), Address: local.As4(), Ifindex: int32(ifindex)}
		if err := unix.SetsockoptIPMreqn(fd, unix.SOL_IP, unix.IP_ADD_MEMBERSHIP, &mreq); err != nil {
			return err
		}
		// Else the socket hears every group that anybody on this host joined.
		return set(fd, unix.SOL_IP, unix.IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL")
	}
	mreq := unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifindex)}
	return unix.SetsockoptIPv6Mreq(fd, unix.SOL_IPV6, unix.IPV6_ADD_MEMBERSHIP, &mreq)
}

// explainJoin turns an error of joining into one that says what to do.
func explainJoin(err error, group netip.Addr) error {
	switch {
	case err == unix.ENOBUFS && group.Is4():
		return fmt.Errorf("%w: the kernel allows a socket no more groups: raise it with `sysctl -w net.ipv4.igmp_max_memberships=20` (its default) or more", err)
	case err == unix.ENOMEM && group.Is6(), err == unix.ENOBUFS:
		return fmt.Errorf("%w: the kernel allows a socket no more memory for options: raise it with `sysctl -w net.core.optmem_max=131072`", err)
	case err == unix.ENODEV:
		return fmt.Errorf("%w: the interface is not there, or has no multicast: see `ip link`", err)
	}
	return err
}

// pktinfoSlot is the room of an IP_PKTINFO (12 bytes of data) or IPV6_PKTINFO
// (20) entry, in bytes.
const pktinfoSlot = cmsgHeader + 24

// putInterface writes the entry that says through which interface a message to
// a scoped destination leaves, or nothing. IPv4 takes the source address from it too, and
// would else choose one of the interface's own; over IPv6 the unspecified one
// leaves it to the socket.
//
//	struct in_pktinfo (ip(7))             struct in6_pktinfo (RFC 3542 section 6)
//	 0         4          8       12       0              16        20
//	+---------+----------+-------+        +--------------+---------+
//	| ifindex | spec_dst | addr  |        | addr         | ifindex |
//	+---------+----------+-------+        +--------------+---------+
func putInterface(b []byte, d *Dest, local netip.Addr) int {
	ifindex := d.ifindex.Load()
	if ifindex == 0 {
		return 0
	}
	clear(b[:pktinfoSlot])
	data := b[cmsgHeader:]
	if d.nameLen == unix.SizeofSockaddrInet4 {
		binary.NativeEndian.PutUint32(data, ifindex)
		source := local.As4()
		copy(data[4:], source[:])
		return putCmsg(b, unix.SOL_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
	}
	binary.NativeEndian.PutUint32(data[16:], ifindex)
	return putCmsg(b, unix.SOL_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
}
