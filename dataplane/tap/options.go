package tap

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
	ErrOption   = device.ErrOption
	ErrBusy     = device.ErrBusy
	ErrNotTAP   = errors.New("not a TAP device")
	ErrGone     = device.ErrGone
	ErrOffload  = errors.New("frame needs an offload that the device does not have")
	ErrParts    = errors.New("frame has too many parts")
	ErrTooShort = errors.New("buffer is too short for the frame")
)

// Bounds and defaults of Options.
const (
	// DefaultTxQueueLen is the number of frames the kernel holds for one queue
	// before it drops. The tun driver's own 500 are 2 ms of the 250,000 small
	// packets a second that one core reads; 1000 are 4 ms, which is as long as a
	// worker may be kept from its core by the other threads of a small host. More
	// only adds latency: 1000 superframes are 64 MB already.
	DefaultTxQueueLen = 1000
)

// Options say what device is wanted.
type Options struct {
	// Name of the interface, at most 15 bytes. Required.
	Name string
	// Queues wanted, one a worker. 0: one. See Device.Queues for what was got.
	Queues int
	// Offload asks for the virtio-net header and all offloads the kernel has.
	// Otherwise frames come and go plain: finished and no longer than the MTU.
	Offload bool
	// MTU in bytes, Ethernet header not counted. 0: the kernel's choice.
	MTU int
	// MAC of the interface. nil: the kernel's random one.
	MAC net.HardwareAddr
	// NetNS is the namespace the interface lives in: a name under /run/netns or
	// an absolute path. Empty: the present one.
	NetNS string
	// Addresses to give to the interface.
	Addresses []netip.Prefix
	// TxQueueLen in frames. 0: DefaultTxQueueLen.
	TxQueueLen int
	// Going are the indices of interfaces, in the namespace of the device, that will be gone before it is
	// made and do not stand in its way. Only Check asks for them.
	Going []int
	// Refuse is for tests.
	Refuse Refuse
}

// Refuse makes Open behave as on a kernel that lacks something, so that every
// rung of the negotiation can be tested everywhere.
type Refuse struct {
	VnetHdr    bool // IFF_VNET_HDR
	Checksum   bool // TUN_F_CSUM, without which nothing else is possible
	TSO        bool // TUN_F_TSO4, TUN_F_TSO6
	ECN        bool // TUN_F_TSO_ECN
	USO        bool // TUN_F_USO4, TUN_F_USO6 (before Linux 6.2)
	GSOWrite   bool // a correct superframe is EINVAL (Linux 6.6.44 and its like)
	MultiQueue bool // IFF_MULTI_QUEUE
}

// Caps says what was negotiated with the kernel.
type Caps = device.Caps

func (o *Options) normalise() error {
	if o.Queues == 0 {
		o.Queues = 1
	}
	if o.TxQueueLen == 0 {
		o.TxQueueLen = DefaultTxQueueLen
	}
	all := device.Options{Name: o.Name, Queues: o.Queues, MTU: o.MTU, MAC: o.MAC, NetNS: o.NetNS, Addresses: o.Addresses}
	err := all.Check()
	if err == nil && o.TxQueueLen < 0 {
		err = device.BadOption(o.Name, "txqueuelen %d must not be negative", o.TxQueueLen)
	}
	if err != nil {
		return fmt.Errorf("tap: %w", err)
	}
	return nil
}
