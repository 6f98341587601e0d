package underlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Errors that [Open] wraps. The text around them names the address, the holder
// and the way out.
var (
	ErrPortInUse = errors.New("port is in use")
	ErrNoAddress = errors.New("address is not on this host")
	ErrConfig    = errors.New("bad underlay configuration")
)

// BindError says which address and port cannot be had.
type BindError struct {
	At  netip.AddrPort
	Err error
}

func (e *BindError) Error() string { return fmt.Sprintf("underlay: bind %v: %v", e.At, e.Err) }
func (e *BindError) Unwrap() error { return e.Err }

// Defaults and bounds of [Config].
const (
	// DefaultPort is the VXLAN port that IANA assigned (RFC 7348 section 8).
	DefaultPort = 4789
	// DefaultSourcePorts is the number of transmit sockets. Every socket in use
	// costs a batch one system call, and 16 paths are more than most fabrics
	// have between two hosts.
	DefaultSourcePorts = 16
	// MaxSourcePorts bounds the pool: the lane key has 12 bits for a socket, one
	// of which tells the checksum-less twin.
	MaxSourcePorts = 1024
	// DefaultReceiveBuffer in bytes: 8 MiB holds about 3,600 datagrams of 1450
	// bytes at the kernel's own accounting of 2304 bytes each, which is 30 ms of
	// 1.4 Gb/s, longer than a worker is ever kept from its core.
	DefaultReceiveBuffer = 8 << 20
	// transmitBuffer in bytes. A GSO message of 64 KiB is charged about 70 KiB
	// until the NIC has sent it; 8 MiB let a full batch wait in the device queue.
	transmitBuffer = 8 << 20

	// FirstSource and LastSource are the dynamic range of RFC 6335, which RFC
	// 7348 section 5 recommends for sources.
	FirstSource = 49152
	LastSource  = 65535
	// MaxPorts bounds the ports listened on.
	MaxPorts = 32
)

// Refuse makes the package behave as a kernel that lacks an offload would. It
// is there so that the ways without offload can be tested everywhere.
type Refuse struct {
	GSO, GRO bool
}

// Config says where the underlay is and how it is to be used.
type Config struct {
	// Local is the source address of what is sent and the address listened on.
	// Required, and never the unspecified address: a peer must see the address
	// it knows. A link-local IPv6 address needs its zone (fe80::1%eth0).
	Local netip.Addr
	// VRF is the device of the VRF that Local is in (Documentation/networking/vrf.rst of the kernel); "": it is in none. The interface of a group
	// has to be said then, to Join and by Dest.SetInterface.
	VRF string
	// Port is the UDP port listened on. 0: DefaultPort.
	Port uint16
	// MorePorts are further ports listened on, none of them Port and none twice.
	MorePorts []uint16
	// Receivers is the number of receive sockets for each port, one a worker. 0:
	// one.
	Receivers int
	// SourcePorts is the size of the transmit pool. 0: DefaultSourcePorts. There
	// are fewer where the range below has no room for them.
	SourcePorts int
	// SourceRange is the first and the last source port of what is sent; the ports
	// listened on are left out. Zeros: FirstSource and LastSource.
	SourceRange [2]uint16
	// FlowLabels gives the flows of one socket IPv6 flow labels of their own. Their
	// datagrams do not share messages then. Without, each socket has one label,
	// which costs nothing.
	FlowLabels bool
	// Offload asks for UDP_SEGMENT and UDP_GRO where the kernel has them.
	Offload bool
	// ReceiveBuffer in bytes for each receive socket. 0: DefaultReceiveBuffer.
	ReceiveBuffer int
	// TTL of the outer header where a Class does not say otherwise. 0: 64.
	TTL uint8
	// ZeroChecksum6 lets IPv6 datagrams without a UDP checksum in (RFC 6935,
	// RFC 6936). The kernel drops them otherwise.
	ZeroChecksum6 bool
	// Refuse is for tests.
	Refuse Refuse
}

// Caps says what was negotiated with the kernel.
type Caps struct {
	// GSO: equal-sized datagrams to one peer leave in one message.
	GSO bool
	// GRO: datagrams of one flow may arrive in one message.
	GRO bool
	// MaxSegments is the number of datagrams one message may carry: 1 without
	// GSO, else 64, or 128 since Linux 6.9.
	MaxSegments int
	// ReceiveBuffer in bytes that each receive socket really got. The kernel
	// charges its own overhead on top and doubles the figure internally.
	ReceiveBuffer int
	// FlowLabel: flows of one socket have IPv6 flow labels of their own;
	// FlowLabelReason says why not although it was asked for.
	FlowLabel       bool
	FlowLabelReason string
	// Reason says why something asked for is not there; "" when all is.
	Reason string
}

// normalise fills the defaults in and refuses what cannot work.
func (c *Config) normalise() error {
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.Receivers == 0 {
		c.Receivers = 1
	}
	if c.SourcePorts == 0 {
		c.SourcePorts = DefaultSourcePorts
	}
	if c.SourceRange == [2]uint16{} {
		c.SourceRange = [2]uint16{FirstSource, LastSource}
	}
	if c.ReceiveBuffer == 0 {
		c.ReceiveBuffer = DefaultReceiveBuffer
	}
	if c.TTL == 0 {
		c.TTL = 64
	}
	c.Local = c.Local.Unmap()
	switch {
	case !c.Local.IsValid() || c.Local.IsUnspecified():
		return fmt.Errorf("underlay: local %v: %w: need one address of this host", c.Local, ErrConfig)
	case c.Local.IsMulticast():
		return fmt.Errorf("underlay: local %v: %w: a multicast address cannot be a source", c.Local, ErrConfig)
	case c.Local.IsLinkLocalUnicast() && c.Local.Is6() && c.Local.Zone() == "":
		return fmt.Errorf("underlay: local %v: %w: a link-local address needs its interface: %v%%eth0",
			c.Local, ErrConfig, c.Local)
	case c.Receivers < 0:
		return fmt.Errorf("underlay: receivers %d: %w: must not be negative", c.Receivers, ErrConfig)
	case c.SourcePorts < 0 || c.SourcePorts > MaxSourcePorts:
		return fmt.Errorf("underlay: source ports %d: %w: must be 1 to %d", c.SourcePorts, ErrConfig, MaxSourcePorts)
	case c.SourceRange[0] == 0 || c.SourceRange[0] > c.SourceRange[1]:
		return fmt.Errorf("underlay: source ports %d to %d: %w: no range", c.SourceRange[0], c.SourceRange[1], ErrConfig)
	case 1+len(c.MorePorts) > MaxPorts:
		return fmt.Errorf("underlay: %d ports to listen on: %w: at most %d", 1+len(c.MorePorts), ErrConfig, MaxPorts)
	case c.ReceiveBuffer < 0:
		return fmt.Errorf("underlay: receive buffer %d: %w: must not be negative", c.ReceiveBuffer, ErrConfig)
	}
	if c.Local.Zone() != "" {
		if _, err := scopeID(c.Local); err != nil {
			return fmt.Errorf("underlay: local %v: %w: %w", c.Local, ErrConfig, err)
		}
	}
	return nil
}

// ports lists the ports listened on, Port first.
func (c *Config) ports() []uint16 { return append([]uint16{c.Port}, c.MorePorts...) }

// scopeID is the interface index behind an IPv6 zone, which may also be written
// as a number.
func scopeID(a netip.Addr) (uint32, error) {
	zone := a.Zone()
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w", zone, err)
	}
	return uint32(ifi.Index), nil
}
