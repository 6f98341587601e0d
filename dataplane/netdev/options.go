package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"vtepd/dataplane/device"
)

// Errors that this package wraps. The text around them names the device and the
// way out.
var (
	ErrOption  = device.ErrOption
	ErrBusy    = device.ErrBusy
	ErrGone    = device.ErrGone
	ErrMissing = device.ErrMissing
	// ErrUnfit: an interface of that name exists, and cannot be taken as it is.
	ErrUnfit = errors.New("interface cannot be a port")
	// errAwaited: there is no such interface, or there was one until it was taken.
	errAwaited = fmt.Errorf("%w here; it is taken as soon as there is one", ErrMissing)
)

// Bounds and defaults of Options.
const (
	// DefaultBuffer in bytes bounds what the kernel holds for one queue. The kernel
	// doubles it for its overhead, and counts a small frame as 768 bytes and a
	// superframe as some 68 KiB: 21,000 small frames, 80 ms of what one core reads,
	// or 240 superframes.
	DefaultBuffer = 8 << 20
)

// Options say which interface is wanted, and how.
type Options struct {
	// Name of the interface, at most 15 bytes. Required.
	Name string
	// Queues wanted, one a worker. 0: one. See Device.Queues for what was got.
	Queues int
	// Offload asks for the virtio-net header. Without it superframes from the
	// interface are told by their length and unfinished checksum, and frames to it
	// have to be finished and no longer than its MTU.
	Offload bool
	// MTU in bytes, Ethernet header not counted. 0: as found.
	MTU int
	// Carry is an MTU in bytes: without virtio-net header a superframe does not say
	// what it is to be cut to, and is cut to this, or the interface's MTU when that is
	// less. 0: the interface's MTU.
	Carry int
	// MAC of the interface. nil: as found.
	MAC net.HardwareAddr
	// Buffer of each queue in bytes. 0: DefaultBuffer.
	Buffer int
	// Former names the filter that the queues begin with on an interface, by its index there, as SetFilter would; -1: none. With one the sink stays
	// off: a program that outlived its process shuts the host's stack out, and forwards what the filter leaves to it. nil: there is no such thing.
	Former func(ifindex int) (progFD int)
	// Going are the indices of interfaces that will be gone before the device is made, and do not stand in its way. Only Check and CheckVeth ask for them.
	Going []int
	// Instance tells pairs of several processes of one host apart, and is the same for a process and its successor. "": they are not told apart.
	Instance string
	// Refuse is for tests.
	Refuse Refuse
}

// Refuse makes Open behave as on a kernel that lacks something, so that every
// rung of the ladder can be tested everywhere.
type Refuse struct {
	VnetHdr        bool // PACKET_VNET_HDR
	USO            bool // superframes of UDP datagrams (before Linux 6.2)
	Fanout         bool // PACKET_FANOUT
	IgnoreOutgoing bool // PACKET_IGNORE_OUTGOING and its PACKET_FANOUT flag (before Linux 4.20 and 6.2)
	TCX            bool // the tcx hook (before Linux 6.6)
	ClsBPF         bool // cls_bpf at a clsact qdisc
	Claim          bool // the abstract socket that marks an interface as taken
}

func (o *Options) normalise() error {
	o.complete()
	if err := o.check("", nil); err != nil {
		return fmt.Errorf("netdev: %w", err)
	}
	return nil
}

func (o *Options) complete() {
	if o.Queues == 0 {
		o.Queues = 1
	}
	if o.Buffer == 0 {
		o.Buffer = DefaultBuffer
	}
}

// check looks at the options, with those that a pair has beside them.
func (o *Options) check(netns string, addresses []netip.Prefix) error {
	all := device.Options{Name: o.Name, Queues: o.Queues, MTU: o.MTU, MAC: o.MAC, NetNS: netns, Addresses: addresses}
	err := all.Check()
	if err == nil && o.Buffer < 0 {
		err = device.BadOption(o.Name, "buffer %d must not be negative", o.Buffer)
	}
	return err
}
