package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"vtepd/dataplane/device"
	"vtepd/dataplane/netdev"
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
	// SetMAC sets the address of the interface, or of the workload's end of a pair; nil: the one without a wish.
	SetMAC(mac net.HardwareAddr) error
	// SetAddresses adds what is in to and not in from, and removes what is in from and not in to.
	SetAddresses(from, to []netip.Prefix) error
	// Close removes the device, or gives it back as it was found.
	Close() error
}

// portQueue is what one worker reads a device from and writes to it by, frame by frame. It belongs to that worker. Packet sockets, which take batches,
// are served apart (posts.go).
type portQueue interface {
	// FD is the descriptor, for epoll.
	FD() int
	// Read takes one frame, which is then in buf[tap.Headroom:tap.Headroom+n], and never waits.
	Read(buf []byte) (n int, off encap.Offload, err error)
	// Write gives one frame to the kernel, made of parts, and never waits. It keeps none of them.
	Write(off encap.Offload, parts [][]byte) error
}

// openLink makes or takes the device of a port, with one queue for each worker: where the device has fewer queues than there are workers, several share
// a descriptor. The error is device.ErrMissing where an interface is to be waited for.
func (s *Switch) openLink(c *PortConfig) (l *link, err error) {
	defer func() { err = remedy(err, c.privileges()) }()
	l = &link{}
	err = s.atHome(func() error {
		switch c.Type {
		case PortTAP:
			return l.openTAP(s.tapOptions(c), len(s.workers))
		case PortNetdev:
			dev, err := netdev.Open(s.netdevOptions(c))
			return l.openPackets(dev, err, len(s.workers))
		case PortVeth:
			dev, err := netdev.OpenVeth(s.vethOptions(c))
			return l.openPackets(dev, err, len(s.workers))
		}
		return fmt.Errorf("type %q: %w", c.Type, ErrInvalid)
	})
	if err != nil {
		return nil, err
	}
	if c.follows() {
		l.given = s.autoMTU(c)
	}
	l.caps = l.dev.Caps()
	s.serials++
	l.serial = s.serials
	l.coalesce = encap.Caps{TCP4: l.caps.TSO4, TCP6: l.caps.TSO6, UDP: l.caps.USO, ECN: l.caps.ECN}
	if a, err := l.dev.Attr(); err == nil {
		l.mtu, l.workload = a.MTU, cmp.Or(a.OtherMTU, a.MTU)
	}
	return l, nil
}

func (l *link) openTAP(o tap.Options, workers int) error {
	dev, err := tap.Open(o)
	if err != nil {
		return err
	}
	l.dev = dev
	for i := range workers {
		l.queues = append(l.queues, dev.Handle(i))
	}
	return nil
}

func (l *link) openPackets(dev *netdev.Device, err error, workers int) error {
	if err != nil {
		return err
	}
	l.dev = dev
	for i := range workers {
		l.packets = append(l.packets, dev.Handle(i))
	}
	return nil
}

// checkDevice says why openLink would refuse, as far as that can be told without making anything. What is made of the ports that leave does not stand in
// the way. Needs mu.
func (s *Switch) checkDevice(c *PortConfig, leaving []string) error {
	err := s.atHome(func() error {
		switch c.Type {
		case PortNetdev:
			o := s.netdevOptions(c)
			o.Going = s.going(leaving, "")
			return netdev.Check(o)
		case PortVeth:
			o := s.vethOptions(c)
			o.Going, o.GoingThere = s.going(leaving, ""), s.going(leaving, c.NetNS)
			return netdev.CheckVeth(o)
		}
		o := s.tapOptions(c)
		o.Going = s.going(leaving, c.NetNS)
		return tap.Check(o)
	})
	return remedy(err, c.privileges())
}

// checkKind refuses what a kind of port does not have, and fills in what it has by default.
func (s *Switch) checkKind(c *PortConfig) error {
	switch c.Type {
	case PortTAP:
		if c.IfName != "" {
			return errors.New("ifname: a TAP has one end only, called as the port; type veth has two")
		}
	case PortNetdev:
		switch {
		case c.IfName != "":
			return errors.New("ifname: the port is called as the interface it takes; type veth has two ends")
		case c.NetNS != "":
			return errors.New("netns: an interface is taken where vtepd runs; type veth puts one end elsewhere")
		case len(c.Addresses) > 0:
			return errors.New("addresses: the host does not hear what arrives at an interface that is a port; give them to the workload")
		}
	case PortVeth:
		if c.IfName == "" && c.NetNS != "" {
			c.IfName = netdev.DefaultIfName
		}
		if c.IfName == "" {
			return errors.New("ifname: required without netns: the name of the workload's end")
		}
	default:
		return fmt.Errorf("type %q: this switch has %q, %q and %q", c.Type, PortTAP, PortNetdev, PortVeth)
	}
	return nil
}

// kernelDrops counts frames that the kernel had no room for on their way to us, where the device can tell.
func (l *link) kernelDrops() uint64 {
	if d, ok := l.dev.(*netdev.Device); ok {
		return d.Drops()
	}
	return 0
}

// atHome runs f on a thread in the switch's own network namespace. Interfaces are named there, whichever namespace the caller's thread is in.
func (s *Switch) atHome(f func() error) error {
	if device.IsOwnNetNS(s.home) {
		return f()
	}
	return device.Within(s.home, f)
}

// netdevOptions is what a netdev port wants of the interface.
func (s *Switch) netdevOptions(c *PortConfig) netdev.Options {
	return netdev.Options{
		Name:     c.Name,
		Queues:   len(s.workers),
		Offload:  s.config.Offload,
		MTU:      s.wantedMTU(c),
		Carry:    s.autoMTU(c),
		MAC:      c.MAC,
		Former:   s.fast.formerFilter,
		Instance: s.config.Instance,
		Refuse:   s.config.refuseNetdev,
	}
}

// vethOptions is what a veth port wants of the kernel.
func (s *Switch) vethOptions(c *PortConfig) netdev.VethOptions {
	return netdev.VethOptions{Options: s.netdevOptions(c), NetNS: c.NetNS, IfName: c.IfName, Addresses: c.Addresses}
}

// tapOptions is what a TAP port wants of the kernel.
func (s *Switch) tapOptions(c *PortConfig) tap.Options {
	return tap.Options{
		Name:      c.Name,
		Queues:    len(s.workers),
		Offload:   s.config.Offload,
		MTU:       s.wantedMTU(c),
		MAC:       c.MAC,
		NetNS:     c.NetNS,
		Addresses: c.Addresses,
		Refuse:    s.config.refuseTAP,
	}
}
