package device

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
)

// Superframe is how large a superframe the kernel makes for a device that says
// nothing else, in bytes: GSO_LEGACY_MAX_SIZE of <linux/netdevice.h>.
const Superframe = 65536

// BoundSuperframes bounds what TCP over IPv4 and over IPv6 puts into one superframe
// for an interface that stands in namespace ns (-1: the present one), in bytes with
// the Ethernet header; 0 is the kernel's own bound.
//
// The bound holds for those who send, and only they ask for it: a superframe that
// another interface made, of 64 KiB, would be cut to single frames in software
// before this one (gso_features_check of net/core/dev.c). So there is none where
// the interface is in a bridge or its host forwards. It is to be asked for again
// from time to time, since both may change.
func BoundSuperframes(h *netlink.Handle, link netlink.Link, ns int, ipv4, ipv6 int) error {
	forwards, err := forwards(ns)
	if err != nil {
		return err
	}
	a := link.Attrs()
	if forwards || a.MasterIndex != 0 || ipv4 == 0 {
		ipv4, ipv6 = Superframe, Superframe
	}
	return SetSuperframes(h, link, ipv4, ipv6)
}

// SetSuperframes sets the bounds of an interface, in bytes, where they are others.
func SetSuperframes(h *netlink.Handle, link netlink.Link, ipv4, ipv6 int) error {
	a := link.Attrs()
	apart := a.GSOIPv4MaxSize != 0 // before Linux 6.3 there is one bound for both
	if !apart {
		ipv6 = ipv4
	}
	if a.GSOMaxSize == uint32(ipv6) && (!apart || a.GSOIPv4MaxSize == uint32(ipv4)) {
		return nil
	}
	// This sets the other one too (netif_set_gso_max_size).
	if err := h.LinkSetGSOMaxSize(link, ipv6); err != nil || !apart {
		return err
	}
	return h.LinkSetGSOIPv4MaxSize(link, ipv4)
}

// forwards says whether the host of a namespace passes IP packets of others on.
// (That one interface alone does, against what holds for all, is not looked for.)
func forwards(ns int) (yes bool, err error) {
	err = Within(ns, func() error {
		for _, name := range []string{"/proc/sys/net/ipv4/conf/all/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"} {
			value, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // a kernel without IPv6
			}
			if err != nil {
				return fmt.Errorf("does the host forward: %w", err)
			}
			yes = yes || !bytes.Equal(bytes.TrimSpace(value), []byte("0"))
		}
		return nil
	})
	return yes, err
}
