package device

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// MaxQueues is MAX_TAP_QUEUES of drivers/net/tun.c, and PACKET_FANOUT_MAX before
// Linux 5.12.
const MaxQueues = 256

// Options are those that every kind of port device has; what a kind does not have
// is left zero.
type Options struct {
	Name      string
	Queues    int
	MTU       int // bytes, Ethernet header not counted
	MAC       net.HardwareAddr
	NetNS     string // name under /run/netns, or absolute path
	Addresses []netip.Prefix
}

// Check says what is wrong with them; the error is ErrOption.
func (o *Options) Check() error {
	if err := CheckName(o.Name); err != nil {
		return err
	}
	switch {
	case o.Queues < 1 || o.Queues > MaxQueues:
		return BadOption(o.Name, "%d queues: must be 1 to %d", o.Queues, MaxQueues)
	case o.MTU < 0:
		return BadOption(o.Name, "mtu %d must not be negative", o.MTU)
	}
	if o.MAC != nil {
		if err := CheckMAC(o.MAC); err != nil {
			return BadOption(o.Name, "%v", err)
		}
	}
	for _, p := range o.Addresses {
		if !p.IsValid() {
			return BadOption(o.Name, "address %v is not an address with a prefix length", p)
		}
	}
	if o.NetNS != "" && !filepath.IsAbs(o.NetNS) && (strings.Contains(o.NetNS, "/") || o.NetNS == "." || o.NetNS == "..") {
		return BadOption(o.Name, "netns %q is neither a name nor an absolute path", o.NetNS)
	}
	return nil
}

// BadOption is an ErrOption about a device.
func BadOption(name, format string, args ...any) error {
	return fmt.Errorf("%q: %w: %s", name, ErrOption, fmt.Sprintf(format, args...))
}
