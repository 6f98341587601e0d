package device

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// SetMTU sets an MTU in bytes. The kernel says no more than EINVAL of one that the interface does not take.
func SetMTU(h *netlink.Handle, link netlink.Link, mtu int) error {
	err := h.LinkSetMTU(link, mtu)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w: `ip -d link show` tells the minmtu and maxmtu of the interface", ErrOption, err)
	}
	return err
}
