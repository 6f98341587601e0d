package dataplane

import (
	"fmt"
	"net"
	"net/netip"

	"vtepd/dataplane/device"
	"vtepd/dataplane/tap"
	"vtepd/encap"
)

// portDevice is what a port is made of. Its methods may be called from any goroutine; Close comes after the last use of every queue.
type portDevice interface {
	// Name is the name that it was opened by.
	Name() string
	// Caps is what was negotiated with the kernel when it was opened.
	Caps() device.Caps
	// Queues is how many queues are to be read, one by a worker each; at most the number of workers.
	Queues() int
	// Attr asks the kernel for the interface's state. The error is device.ErrGone when it was deleted.
	Attr() (device.Attr, error)
	SetMTU(bytes int) error
	SetMAC(mac net.HardwareAddr) error
	// SetAddresses adds what is in to and not in from, and removes what is in from and not in to.
	SetAddresses(from, to []netip.Prefix) error
	// Close removes the device, or gives it back as it was found.
	Close() error
}

// portQueue is what one worker reads a device from and writes to it by. It belongs to that worker.
type portQueue interface {
	// FD is the descriptor, for epoll.
	FD() int
	// Read takes one frame, which is then in buf[tap.Headroom:tap.Headroom+n], and never waits.
	Read(buf []byte) (n int, off encap.Offload, err error)
	// Write gives one frame to the kernel, made of parts, and never waits. It keeps none of them.
	Write(off encap.Offload, parts [][]byte) error
}

// openDevice makes or takes the device of a port, and gives one queue for each worker: where the device has fewer queues than there are workers,
// several share a descriptor.
func (s *Switch) openDevice(c *PortConfig) (portDevice, []portQueue, error) {
	switch c.Type {
	case PortTAP:
		dev, err := tap.Open(s.tapOptions(c))
		if err != nil {
			return nil, nil, err
		}
		queues := make([]portQueue, len(s.workers))
		for i := range queues {
			queues[i] = dev.Handle(i)
		}
		return dev, queues, nil
	}
	return nil, nil, fmt.Errorf("type %q: %w", c.Type, ErrInvalid)
}

// checkDevice says why openDevice would refuse, as far as that can be told without making anything.
func (s *Switch) checkDevice(c *PortConfig) error {
	return tap.Check(s.tapOptions(c))
}

// tapOptions is what a TAP port wants of the kernel.
func (s *Switch) tapOptions(c *PortConfig) tap.Options {
	return tap.Options{
		Name:      c.Name,
		Queues:    len(s.workers),
		Offload:   s.config.Offload,
		MTU:       c.MTU,
		MAC:       c.MAC,
		NetNS:     c.NetNS,
		Addresses: c.Addresses,
		Refuse:    s.config.refuseTAP,
	}
}
