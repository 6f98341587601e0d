package device

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// DriverXDP says whether an XDP program is on a device that is run by its driver. One that the kernel runs itself (XDP_FLAGS_SKB_MODE) sees a frame however it
// came to the device.
func DriverXDP(link netlink.Link) bool {
	x := link.Attrs().Xdp
	return x != nil && x.Attached && x.AttachMode != nl.XDP_ATTACHED_SKB
}
