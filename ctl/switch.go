package ctl

import (
	"context"
	"net/netip"

	"vtepd/dataplane"
	"vtepd/fdb"
)

// Switch is what the control side needs of the data plane; *dataplane.Switch is one. Each method either does all it says, or returns an error that
// wraps one of the sentinels of package dataplane or fdb and has changed nothing.
type Switch interface {
	SetVNI(c dataplane.VNIConfig) error
	DelVNI(vni uint32) error
	CheckPort(c dataplane.PortConfig, leaving ...string) error
	AddPort(c dataplane.PortConfig) error
	// AwaitPort is AddPort, but takes a port whose network namespace is not there as missing.
	AwaitPort(c dataplane.PortConfig) error
	SetPort(c dataplane.PortConfig) error
	DelPort(name string) error

	FDBPut(e dataplane.FDBEntry, mode fdb.PutMode) error
	FDBDel(vni uint32, mac fdb.MAC, dst netip.AddrPort) error
	FDBGet(vni uint32, mac fdb.MAC) (dataplane.FDBEntry, error)
	FDBPeek(vni uint32, mac fdb.MAC) (dataplane.FDBEntry, error)
	FDBDump(f dataplane.FDBFilter) []dataplane.FDBEntry
	FDBFlush(f dataplane.FDBFilter) (int, error)
	FDBHistory(vni uint32, mac fdb.MAC) []dataplane.Move

	// Together makes several changes, of which frames need to know when it returns. It returns the error of do.
	Together(do func() error) error

	// SetFastPath changes the mode of the fast path.
	SetFastPath(mode dataplane.FastPathMode) error

	VNIs() []dataplane.VNIInfo
	Ports() []dataplane.PortInfo
	Peers() []dataplane.PeerInfo
	PortStats() []dataplane.PortStats
	PeerStats() []dataplane.PeerStats
	VNIStats() []dataplane.VNIStats
	Drops() []dataplane.Drop
	Strangers() []dataplane.Stranger
	Status() dataplane.Status
	ProbePath(ctx context.Context, peer netip.Addr) (dataplane.PathProbe, error)
	Trace(q dataplane.TraceQuery) (dataplane.Trace, error)

	Subscribe(buffer int) (events <-chan dataplane.Event, cancel func())
	// Capture returns when the capture ends.
	Capture(ctx context.Context, f dataplane.CaptureFilter, w dataplane.CaptureWriter) error
}
