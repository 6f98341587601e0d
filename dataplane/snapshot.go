package dataplane

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"vtepd/dataplane/device"
	"vtepd/dataplane/netdev"
	"vtepd/dataplane/underlay"
	"vtepd/encap"
	"vtepd/fdb"
)

// snapshot is everything a worker needs to forward, immutable once published. A change makes a new one that shares what did not change.
type snapshot struct {
	ports []*port // by index; nil where there is none
	vnis  vniTree
	// groups by slot; nil where there is none.
	groups []*membership
	// generation counts publications, from firstGeneration; see Switch.settle.
	generation uint64
}

// firstGeneration leaves 0 and 1 to mean "in no batch" and "entering one" in worker.inside.
const firstGeneration = 2

// port returns the port of an index, or nil.
func (s *snapshot) port(index uint32) *port {
	if int(index) < len(s.ports) {
		return s.ports[index]
	}
	return nil
}

// membership returns the membership in a slot, or nil.
func (s *snapshot) membership(slot int32) *membership {
	if int(slot) < len(s.groups) {
		return s.groups[slot]
	}
	return nil
}

// port is a port as the workers see it: immutable but for its counters. Changing a port publishes a new one that shares link and stats.
type port struct {
	index uint32
	link  *link
	stats counterSet // by worker

	untagged  uint32            // VNI of untagged frames; 0: none allowed
	nativeVID uint16            // also means untagged when tagged so
	vids      *[4096]uint32     // VID to VNI; nil on ports that are no trunk
	tags      map[uint32]uint16 // VNI to VID, for egress; nil on ports that are no trunk
	maxFrame  int               // bytes of the largest frame it takes, untagged: MTU and Ethernet header
	mss       MSSClamp          // MSSDefault: as the VNI says
	gbp       encap.GBP         // of its frames
	gbpDrop   *gbpSet           // what it does not get; nil: gets all
	isolated  bool

	config PortConfig
}

// link is the device behind a port. It outlives the port's snapshots and is replaced when the device had to be made again.
type link struct {
	dev portDevice
	// queues holds one handle a worker: where the device has fewer queues than there are workers, several handles share a descriptor.
	queues []portQueue
	// packets holds the packet sockets where the device has such; queues is nil then.
	packets []*netdev.Queue
	// down: the interface is known to carry nothing. Packet sockets are not told, TAPs are.
	down atomic.Bool
	// mtu of the interface, as it was last seen, and given, the last one that it got because it follows the underlay (0: it does not); bytes. For
	// control alone.
	mtu, given int
	// behind: it did not take the last one.
	behind bool
	// workload is the MTU of the end whose addresses a port has, as it was last seen, in bytes.
	workload int
	// coalesce is what the device takes joined from us; caps what it negotiated.
	coalesce encap.Caps
	caps     device.Caps
	// serial tells incarnations of the same port index apart in epoll events.
	serial uint32
}

// fd is the descriptor that a worker reads the device by.
func (l *link) fd(worker int) int {
	if l.packets != nil {
		return l.packets[worker].FD()
	}
	return l.queues[worker].FD()
}

func (p *port) place() fdb.Dest { return fdb.PortDest(p.index) }

// tagFor says how a VNI looks on the port's wire: the VID, 0 for untagged; not ok when the port does not carry the VNI.
func (p *port) tagFor(vni uint32) (vid uint16, ok bool) {
	if p.untagged == vni {
		return 0, true
	}
	vid, ok = p.tags[vni]
	return vid, ok
}

// domain is one VNI as the workers see it: immutable but for its counters.
type domain struct {
	vni   uint32
	stats counterSet // by worker

	learning   bool // from peers
	keepTags   bool
	strictBits bool
	spoofGuard bool
	clamp      clamping // of frames that open TCP connections
	mss        MSSClamp
	gbp        bool
	gpe        bool
	gbpDrop    *gbpSet // what may not enter; nil: all may
	ecn        encap.ECNMode

	noFlood    FloodKinds
	floodPeers []*peer
	floodPorts []member
	storm      *stormGuard // nil: what is flooded has no bound

	// members are the sources that policy Strict admits by name: flood list and destinations of static entries.
	members map[netip.Addr]*peer
	policy  Policy
	allow   []netip.Prefix

	// header is the VXLAN header but for the frame's group policy ID; class is the outer header when nothing is inherited; its ECN bits are empty.
	header      encap.VXLANHeader
	class       underlay.Class
	noChecksum  [families]bool // datagrams to peers of a family leave without UDP checksum
	inheritTTL  bool
	inheritDSCP bool
	// groupTTL is that of datagrams to a group; 0: as the others.
	groupTTL uint8

	config VNIConfig
}

// member is a port that carries the VNI, by index, and its tag there (0: untagged).
type member struct {
	port uint32
	vid  uint16
}

// vniTree maps 24-bit VNIs to domains: three levels of 256, immutable. Setting one copies three nodes of 2 KiB and shares the rest, so that
// publishing does not cost more with ten thousand VNIs than with one; finding is three dependent loads.
type vniTree struct {
	root *vniNode2
}

type (
	vniNode0 [256]*domain
	vniNode1 [256]*vniNode0
	vniNode2 [256]*vniNode1
)

func (t vniTree) get(vni uint32) *domain {
	if t.root == nil || vni > MaxVNI {
		return nil
	}
	n1 := t.root[vni>>16]
	if n1 == nil {
		return nil
	}
	n0 := n1[vni>>8&0xff]
	if n0 == nil {
		return nil
	}
	return n0[vni&0xff]
}

// with returns a tree in which vni is d; d nil removes it.
func (t vniTree) with(vni uint32, d *domain) vniTree {
	n2, n1, n0 := new(vniNode2), new(vniNode1), new(vniNode0)
	if t.root != nil {
		*n2 = *t.root
	}
	if old := n2[vni>>16]; old != nil {
		*n1 = *old
	}
	if old := n1[vni>>8&0xff]; old != nil {
		*n0 = *old
	}
	n0[vni&0xff] = d
	n1[vni>>8&0xff] = n0
	n2[vni>>16] = n1
	// Else VNIs that come and go would leave a node each, wherever they are, up to all 65,536 of them.
	if d == nil && *n0 == (vniNode0{}) {
		if n1[vni>>8&0xff] = nil; *n1 == (vniNode1{}) {
			n2[vni>>16] = nil
		}
	}
	return vniTree{n2}
}

// admits says whether a source that is no member may send into the domain.
func (d *domain) admits(source netip.Addr) bool {
	if d.policy == Learn {
		return true
	}
	for _, p := range d.allow {
		if p.Contains(source) {
			return true
		}
	}
	return false
}

// hears says whether a source may send into the domain, by name or not.
func (d *domain) hears(source netip.Addr) bool { return d.members[source] != nil || d.admits(source) }

// admitsMore says whether there may be a source that may send into d and not into next.
func (d *domain) admitsMore(next *domain) bool {
	if next.policy == Learn {
		return false
	}
	if d.policy == Learn || !slices.Equal(d.allow, next.allow) {
		return true
	}
	for a := range d.members {
		if next.members[a] == nil {
			return true
		}
	}
	return false
}

// ticks converts an ageing time to the table's seconds, rounded up; 0 is for ever.
func ticks(d time.Duration) fdb.Tick {
	return fdb.Tick((d + time.Second - 1) / time.Second)
}
