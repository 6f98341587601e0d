package dataplane

import (
	"net/netip"

	"vtepd/dataplane/xdp"
)

// programs is what the fast path needs of the eBPF programs and their maps; *xdp.FastPath is that. One goroutine calls it, but for events.
type programs interface {
	Close() error
	Abandon() error

	Former() *xdp.State
	FormerFilter(ifindex int) int
	Commit() error
	KeepPins() (renewed bool, err error)
	AttachPort(ifindex int, at xdp.Hook, over int) error
	DetachPort(ifindex int, heir func(link int) bool) error
	AttachUnderlay(ifindex int) (xdp.Decap, error)
	DetachUnderlay(ifindex int) error
	SocketFilter() int

	PutPort(xdp.Port) error
	DelPort(index uint32) error
	ForgetPort(index uint32) error
	GuardPorts([]uint16) error
	GuardAddresses([]netip.Addr) error
	PutDomain(xdp.Domain) error
	DelDomain(vni uint32) error
	ForgetDomain(vni uint32) error
	PutPeer(xdp.Peer) error
	DelPeer(index uint32) error
	ForgetPeer(index uint32) error
	PutSources([]xdp.Source) error
	DelSources(...xdp.SourceKey) error
	PutEntries([]xdp.Entry) error
	DelEntries(...xdp.EntryKey) error
	FindEntry(xdp.EntryKey) (e xdp.Entry, ok bool, err error)
	WalkEntries(func(xdp.Entry) bool) error

	// Any goroutine may call these, see xdp.FastPath.
	EventsWaiting() bool
	ReadEvents([]xdp.LearnEvent) int
	WaitEvents() bool
	EndEvents()

	Now() uint32
	PortCounters(index uint32) xdp.Counters
	PeerCounters(index uint32) xdp.Counters
	VNICounters(vni uint32) xdp.Counters
	Totals() xdp.Totals
}

var _ programs = (*xdp.FastPath)(nil)

// loadPrograms is Config.openPrograms outside of tests.
func loadPrograms(o xdp.Options) (programs, error) {
	p, err := xdp.Open(o)
	if err != nil {
		return nil, err
	}
	return p, nil
}
