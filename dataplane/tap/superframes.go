package tap

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// SetSuperframes bounds the superframes that leave the host through the interface:
// see device.BoundSuperframes. A device that was found is left as it is.
func (d *Device) SetSuperframes(ipv4, ipv6 int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found != nil {
		return nil
	}
	if len(d.queues) == 0 {
		return fmt.Errorf("tap: %q: %w", d.name, ErrGone)
	}
	ns, err := deviceNetNS(d.queues[0].fd)
	if err != nil {
		return fmt.Errorf("tap: %q: %w", d.name, err)
	}
	defer unix.Close(ns)
	at := ns
	if device.IsOwnNetNS(ns) {
		at = -1
	}
	return d.changeLocked("superframes", func(h *netlink.Handle, link netlink.Link) error {
		return device.BoundSuperframes(h, link, at, ipv4, ipv6)
	})
}
