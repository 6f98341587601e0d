package underlay

import (
	"net/netip"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dest is a destination in the form the kernel takes it: a raw socket address,
// built once. Two datagrams go to the same peer exactly when their *Dest is the
// same pointer, so keep one for each peer. A Dest never changes and may be
// shared by all workers. Only the interface of one that Scoped is true for may
// change.
type Dest struct {
	name    *byte // points at v4 or v6
	nameLen uint32
	hash    uint32 // spreads destinations over the lane table
	addr    netip.AddrPort
	scoped  bool
	// ifindex is where datagrams to what is scoped leave; 0: as the sockets and
	// routes say.
	ifindex atomic.Uint32
	v4      unix.RawSockaddrInet4
	v6      unix.RawSockaddrInet6
}

var destSerial atomic.Uint32

// NewDest builds a destination. IPv4-mapped IPv6 addresses count as IPv4. A
// zone that names no interface of this host leaves the scope open, and the
// socket's own then decides.
func NewDest(a netip.AddrPort) *Dest {
	d := &Dest{
		addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port()),
		hash: destSerial.Add(1) * 0x9e3779b1,
	}
	ip := d.addr.Addr()
	d.scoped = Scoped(ip)
	if ip.Is4() {
		d.v4.Family = unix.AF_INET
		d.v4.Port = networkOrder(a.Port())
		d.v4.Addr = ip.As4()
		d.name = (*byte)(unsafe.Pointer(&d.v4))
		d.nameLen = unix.SizeofSockaddrInet4
		return d
	}
	d.v6.Family = unix.AF_INET6
	d.v6.Port = networkOrder(a.Port())
	d.v6.Addr = ip.As16()
	d.v6.Scope_id, _ = scopeID(ip)
	d.name = (*byte)(unsafe.Pointer(&d.v6))
	d.nameLen = unix.SizeofSockaddrInet6
	return d
}

// AddrPort is the destination as it was given, IPv4-mapped addresses unmapped.
func (d *Dest) AddrPort() netip.AddrPort { return d.addr }

// Scoped says whether an address says nothing without an interface: a group,
// and a link-local address of IPv6 (RFC 4007 section 5), which the kernel would
// look for behind the first interface that has any.
func Scoped(a netip.Addr) bool {
	return a.IsMulticast() || a.Is6() && a.IsLinkLocalUnicast()
}

// SetInterface makes datagrams to what is Scoped leave through the interface of
// an index; 0 leaves the choice to the sockets, for a group the one that holds
// Config.Local. Other destinations follow the routing table whatever is set.
// Safe from any goroutine; a batch that is being flushed may go either way.
func (d *Dest) SetInterface(ifindex int) { d.ifindex.Store(uint32(ifindex)) }

// Interface is the index that SetInterface was told last; 0: none.
func (d *Dest) Interface() int { return int(d.ifindex.Load()) }

// networkOrder gives the value whose bytes in memory are p in network order,
// and back, whatever the machine's order is.
func networkOrder(p uint16) uint16 {
	b := [2]byte{byte(p >> 8), byte(p)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// sourceOf reads a raw socket address that the kernel filled in. The zero
// AddrPort stands for an address family this package does not use.
func sourceOf(sa *unix.RawSockaddrInet6) netip.AddrPort {
	switch sa.Family {
	case unix.AF_INET:
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), networkOrder(sa4.Port))
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), networkOrder(sa.Port))
	}
	return netip.AddrPort{}
}
