package device

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Without gives what is in a and not in b.
func Without(a, b []netip.Prefix) (rest []netip.Prefix) {
next:
	for _, p := range a {
		for _, q := range b {
			if p == q {
				continue next
			}
		}
		rest = append(rest, p)
	}
	return rest
}

// KernelAddr is a prefix as rtnetlink wants it.
func KernelAddr(p netip.Prefix) *netlink.Addr {
	ip := p.Addr().Unmap()
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(p.Bits(), ip.BitLen())}}
}

const ipv6IsOff = "IPv6 is off on the interface: see `sysctl net.ipv6.conf.all.disable_ipv6 net.ipv6.conf.default.disable_ipv6` in its namespace"

// CheckNew says why an interface that is yet to be made could not have some addresses, as far as its namespace tells; ns is that, or -1 for the calling
// thread's.
func CheckNew(ns int, all []netip.Prefix) error {
	i := slices.IndexFunc(all, func(p netip.Prefix) bool { return p.Addr().Is6() })
	if i < 0 {
		return nil
	}
	return Within(ns, func() error {
		off, err := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6")
		if err != nil || strings.TrimSpace(string(off)) == "0" {
			return nil // what cannot be read is left to the attempt
		}
		return fmt.Errorf("add %v: %w: "+ipv6IsOff, all[i], ErrNoIPv6)
	})
}

// AddAddresses gives back those that were not there before.
func AddAddresses(h *netlink.Handle, link netlink.Link, all []netip.Prefix) (added []netip.Prefix, err error) {
	for _, p := range all {
		switch err := h.AddrAdd(link, KernelAddr(p)); {
		case err == nil:
			added = append(added, p)
		case !errors.Is(err, unix.EEXIST):
			return added, fmt.Errorf("add %v: %w", p, explainAddress(h, link, p, err))
		}
	}
	return added, nil
}

// MinMTU6 is the least MTU of IPv6 (RFC 8200 section 5). An interface with less has no IPv6 at all.
const MinMTU6 = 1280

// explainAddress turns an error of adding an address into one that says what to do.
func explainAddress(h *netlink.Handle, link netlink.Link, p netip.Prefix, err error) error {
	if p.Addr().Is4() {
		return err
	}
	// The caller may have changed the MTU since it asked for the link.
	now, ierr := h.LinkByIndex(link.Attrs().Index)
	switch {
	case ierr == nil && now.Attrs().MTU < MinMTU6:
		return fmt.Errorf("%w: IPv6 needs an MTU of %d and the interface has %d: raise mtu, or leave the address away (%w)", ErrOption, MinMTU6, now.Attrs().MTU, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (%w): "+ipv6IsOff, ErrNoIPv6, err)
	}
	return err
}

// KernelFlags are for the kernel to set on an address, not for us to ask for.
const KernelFlags = unix.IFA_F_SECONDARY | unix.IFA_F_PERMANENT | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

// RemoveAddresses takes addresses away, and no others: with the first IPv4
// address of a subnet the kernel removes all the later ones of that subnet too
// (net.ipv4.conf.*.promote_secondaries is 0 by default), so those come back.
func RemoveAddresses(h *netlink.Handle, link netlink.Link, all []netip.Prefix) error {
	if len(all) == 0 {
		return nil
	}
	before, err := listAddresses(h, link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range all {
		if err := h.AddrDel(link, KernelAddr(p)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("remove %v: %w", p, err))
		}
	}
	for _, a := range before {
		if slices.ContainsFunc(all, func(p netip.Prefix) bool { return a.Equal(*KernelAddr(p)) }) {
			continue
		}
		a.Flags &^= KernelFlags
		if err := h.AddrAdd(link, &a); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("restore %v: %w", a.IPNet, err))
		}
	}
	return errors.Join(errs...)
}

// SettledAddresses lists the addresses that stay for ever, save the link-local one
// that the kernel makes by itself.
func SettledAddresses(h *netlink.Handle, link netlink.Link) (settled []netlink.Addr, err error) {
	all, err := listAddresses(h, link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	own := madeOf(link.Attrs().HardwareAddr)
	for _, a := range all {
		if a.Flags&unix.IFA_F_PERMANENT == 0 || a.IP.IsLinkLocalUnicast() && (a.Flags&unix.IFA_F_STABLE_PRIVACY != 0 || a.IP.Equal(own)) {
			continue
		}
		a.Flags &^= KernelFlags
		settled = append(settled, a)
	}
	return settled, nil
}

// listTries bounds the questions for addresses. The kernel tells of those of all
// interfaces, and whatever happens to any of them meanwhile spoils the answer
// (NLM_F_DUMP_INTR): with hundreds of interfaces that come one after the other,
// many answers in a row.
const listTries = 100

func listAddresses(h *netlink.Handle, link netlink.Link, family int) (all []netlink.Addr, err error) {
	for range listTries {
		if all, err = h.AddrList(link, family); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return all, nil
}

// madeOf is the link-local address of a MAC (RFC 4291 appendix A); nil when there is none.
func madeOf(mac net.HardwareAddr) net.IP {
	if len(mac) != 6 {
		return nil
	}
	return net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}
}
