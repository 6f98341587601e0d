package device

import (
	"errors"
	"net"
)

// Errors that the packages of port devices wrap. The text around them names the
// device and the way out.
var (
	ErrOption = errors.New("bad option")
	ErrBusy   = errors.New("device is in use")
	ErrGone   = errors.New("device has been deleted")
	// ErrMissing: there is no such interface, and one is to be waited for.
	ErrMissing = errors.New("no such interface")
	// ErrNoIPv6: an interface takes no IPv6 address.
	ErrNoIPv6 = errors.New("no IPv6")
	// ErrNoNetNS: there is no network namespace of that name or path.
	ErrNoNetNS = errors.New("no such network namespace")
)

// Attr is the state of an interface as the kernel has it now.
type Attr struct {
	Name    string // somebody may have renamed it
	Ifindex int    // in its present namespace
	MTU     int    // bytes, Ethernet header not counted; of both ends of a pair the lesser
	MAC     net.HardwareAddr
	Master  int  // ifindex of the bridge or the like that it is in, 0: none
	Up      bool // set up by the administrator, and on a taken interface or a pair with carrier
	// Warning says what keeps a taken interface from serving a port well; "": nothing.
	Warning string
	// NetNS is the name of its namespace under /run/netns; "" in the namespace of
	// the calling thread, and where the namespace has no name.
	NetNS string
	// NetNSKey is the NetNSKey of that namespace, whatever it is called; of a pair "" where the other end is not where it was put.
	NetNSKey string
	// Away: in another namespace than that of the calling thread.
	Away bool
	// Peer is the name of the other end of a veth pair, where NetNS and MAC are
	// that end's too; "" on devices that have only one.
	Peer string
	// OtherMTU is the MTU of that end in bytes, whatever namespace it is in; 0 where there is none or it cannot be told.
	OtherMTU int
	// Whole: it is a taken veth whose other end is in another namespace, and TCP superframes pass to there uncut.
	Whole bool
	// PeerIndex is the ifindex of that end in its namespace; 0: there is none.
	PeerIndex int
	// XDP: the driver of a TAP, or of a pair's other end, runs a program, which sees nothing of what comes to the workload past that driver.
	XDP bool
}

// Caps says what was negotiated with the kernel.
type Caps struct {
	// VnetHdr: frames carry an encap.Offload, and checksums may be unfinished in
	// both directions.
	VnetHdr bool
	// TSO4, TSO6: superframes of TCP segments, in both directions.
	TSO4, TSO6 bool
	// ECN: superframes whose first segment carries CWR come uncut.
	ECN bool
	// USO: superframes of UDP datagrams, in both directions.
	USO bool
	// Sink: the host's own stack does not see what the interface receives. A TAP
	// device has no need of it.
	Sink bool
	// MultiQueue: the device has, or could have, more than one queue.
	MultiQueue bool
	// Reason says why something asked for is not there; "" when all is.
	Reason string
}
