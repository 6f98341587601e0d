package device

import (
	"bytes"
	"net"

	"github.com/vishvananda/netlink"
)

// SetMAC gives an interface an address that it does not have yet: with the one that it has, too, the kernel would forget all neighbours behind it
// (NETDEV_CHANGEADDR), and a workload would ask for them again while nobody answers.
func SetMAC(h *netlink.Handle, link netlink.Link, mac net.HardwareAddr) error {
	if bytes.Equal(link.Attrs().HardwareAddr, mac) {
		return nil
	}
	return h.LinkSetHardwareAddr(link, mac)
}
