package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/underlay"
	"vtepd/encap"
)

// path is what is known of the way to a peer.
type path struct {
	// limit is the size of the largest inner frame that it carries, in bytes, Ethernet header included; 0: not known. Workers read it with one load.
	limit atomic.Int32

	// The rest is under paths.mu.

	asked bool
	// mtu is the kernel's word for the packets of the underlay, in bytes: route, interface, and what ICMP taught it. base is mtu without what
	// ICMP taught. 0: there is no route.
	mtu, base int
	// carried is the last base of a way that led over the underlay, in bytes; 0: there never was one.
	carried int
	// via is the ifindex of the interface that the route leads over, of this namespace; 0: there is no route.
	via int
	// why says what the kernel has against a way to it; "": nothing.
	why string
	// heard is an ICMP error's word that the kernel does not share, for as long as it does not: of several paths to a peer the kernel is
	// asked about one only. until is when it is forgotten.
	heard int
	until time.Time
}

// maxFrame is the size of the largest inner frame that the path to the peer carries, in bytes, Ethernet header included; 0 when it is not known.
// Any goroutine may ask, and the answer changes with the underlay.
func (p *peer) maxFrame() int { return int(p.path.limit.Load()) }

// current is the path MTU in bytes, outer IP header included; 0: not known. Needs paths.mu.
func (p *path) current() int {
	if p.heard != 0 && (p.mtu == 0 || p.heard < p.mtu) {
		return p.heard
	}
	return p.mtu
}

// paths knows how large the datagrams to each peer may be. The kernel is the authority: it hears the routers' ICMP errors, checks them against its
// sockets, keeps them for net.ipv4.route.mtu_expires, and knows routes and interfaces. We ask it whenever something may have changed, and tell the workers,
// so that a frame is judged before it is sent and its sender told at once.
type paths struct {
	// vrf is what local is in.
	vrf vrf
	// By address family. Packets leave from local; expires is how long an ICMP error is believed, and least is the size in bytes below which none makes
	// a path.
	local   [families]netip.Addr
	expires [families]time.Duration
	least   [families]int

	// who asks who has an address of ours, under asking: nobody waits for it while thousands of peers are asked about. Nil: the kernel cannot be asked.
	asking sync.Mutex
	who    *netlink.Handle

	mu      sync.Mutex
	netlink *netlink.Handle // nil: the kernel cannot be asked
	links   map[int]int     // MTU by interface index, of the present round
	// turns counts the changes of what routes and interfaces say.
	turns int
}

// Settings of the kernel (ip-sysctl.rst) and what they are where they cannot be read.
const (
	defaultExpires = 600 * time.Second // net.ipv4.route.mtu_expires, net.ipv6.route.mtu_expires
	defaultLeast4  = 552               // net.ipv4.route.min_pmtu, bytes
)

// localExpires is how long the kernel's refusal of a datagram is believed against its own word about the route. It says so again when it is asked again,
// and it may have been about an interface that has another MTU by now.
const localExpires = 10 * time.Second

// newPaths is for the network namespace of the calling thread.
func newPaths(in vrf, locals []netip.Addr) (*paths, error) {
	s := &paths{vrf: in, least: [families]int{defaultLeast4, encap.IPv6MinMTU}}
	for _, local := range locals {
		s.local[familyOf(local)] = local
	}
	if n, ok := sysctl("net/ipv4/route/min_pmtu"); ok {
		s.least[0] = n
	}
	for i, family := range [families]string{"ipv4", "ipv6"} {
		s.expires[i] = defaultExpires
		if n, ok := sysctl("net/" + family + "/route/mtu_expires"); ok {
			s.expires[i] = time.Duration(n) * time.Second
		}
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return s, fmt.Errorf("netlink: %w", err)
	}
	s.netlink = h
	if s.who, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return s, fmt.Errorf("netlink: %w", err)
	}
	return s, nil
}

func (s *paths) close() {
	s.asking.Lock()
	defer s.asking.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range []**netlink.Handle{&s.netlink, &s.who} {
		if *h != nil {
			(*h).Close()
			*h = nil
		}
	}
}

// pathChange is a path MTU that is not what it was. Both are bytes, outer IP header included.
type pathChange struct {
	peer     *peer
	from, to int
	router   netip.Addr // who said so; zero: the routing table did
}

// refresh asks the kernel about peers and returns those whose path is known now and was known to be another before.
func (s *paths) refresh(peers []*peer) []pathChange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refreshLocked(peers)
}

func (s *paths) refreshLocked(peers []*peer) (changes []pathChange) {
	s.links = nil
	now := time.Now()
	for _, p := range peers {
		t := &p.path
		before, asked := t.current(), t.asked
		t.asked = true
		base, via := t.base, t.via
		t.mtu, t.base, t.via = s.ask(p)
		if t.base != base || t.via != via {
			s.turns++
		}
		if t.heard != 0 && now.After(t.until) {
			t.heard = 0
		}
		if after := s.publish(p); asked && after != before && before != 0 && after != 0 {
			changes = append(changes, pathChange{peer: p, from: before, to: after})
		}
	}
	return changes
}

// publish tells the workers.
func (s *paths) publish(p *peer) (mtu int) {
	mtu = p.path.current()
	limit := 0
	if mtu != 0 {
		limit = max(mtu-encapOverhead(p.addr.Addr()), encap.EthernetLen)
	}
	p.path.limit.Store(int32(limit))
	return mtu
}

// ask asks the kernel for the way to a peer, or to a group by the interface that it is joined on.
func (s *paths) ask(p *peer) (mtu, base, via int) {
	if s.netlink == nil {
		return 0, 0, 0
	}
	to := p.addr.Addr()
	options := netlink.RouteGetOptions{SrcAddr: s.local[p.family].AsSlice(), OifIndex: cmp.Or(p.dest.Interface(), s.vrf.index)}
	routes, err := s.netlink.RouteGetWithOptions(to.AsSlice(), &options)
	p.path.why = ""
	if err != nil || len(routes) == 0 {
		p.path.why = noRoute(err)
		return 0, 0, 0
	}
	if routes[0].Type == unix.RTN_BROADCAST { // sending there fails for want of SO_BROADCAST, which no peer is worth
		p.path.why = broadcastRoute
		return 0, 0, 0
	}
	via = routes[0].LinkIndex
	link := s.linkMTU(via)
	mtu = routes[0].MTU
	if mtu == 0 {
		return link, link, via
	}
	// The route has an MTU of its own, or ICMP gave it one: the entry of the table itself tells.
	base = link
	options.FIBMatch = true
	if routes, err = s.netlink.RouteGetWithOptions(to.AsSlice(), &options); err == nil && len(routes) > 0 && routes[0].MTU != 0 {
		base = routes[0].MTU
	}
	// The kernel goes by a route's MTU even where the interface has less, and loses what is larger.
	return narrower(mtu, link), narrower(base, link), via
}

// broadcastRoute is the reason where a peer's address is no host's.
const broadcastRoute = "it is the broadcast address of a network that this host is in"

// noRoute says in words what the kernel answers when it knows no way: each type of route that leads nowhere has an error of its own (ip-route(8)). A missing
// source address has them, too.
func noRoute(err error) string {
	switch {
	case errors.Is(err, unix.EINVAL):
		return "its route is of type blackhole"
	case errors.Is(err, unix.EHOSTUNREACH):
		return "its route is of type unreachable"
	case errors.Is(err, unix.EACCES):
		return "its route is of type prohibit"
	case err == nil:
		return "there is no route to it"
	}
	return fmt.Sprintf("there is no route to it: %v", err)
}

// linkMTU is the MTU of an interface, asked for once a round; 0 when there is none.
func (s *paths) linkMTU(index int) int {
	if mtu, ok := s.links[index]; ok {
		return mtu
	}
	link, err := s.netlink.LinkByIndex(index)
	if err != nil {
		return 0
	}
	if s.links == nil {
		s.links = make(map[int]int)
	}
	s.links[index] = link.Attrs().MTU
	return link.Attrs().MTU
}

// hear takes in what the underlay said about a datagram to a peer that was too big. The kernel has heard the same before us.
func (s *paths) hear(p *peer, e *underlay.ICMPError) []pathChange {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := p.path.current()
	s.refreshLocked([]*peer{p})
	if mtu := max(e.MTU, s.least[p.family]); e.MTU != 0 && (p.path.mtu == 0 || mtu < p.path.mtu) {
		keep := s.expires[p.family]
		if e.Local {
			keep = min(keep, localExpires)
		}
		p.path.heard, p.path.until = mtu, time.Now().Add(keep)
		s.publish(p)
	}
	after := p.path.current()
	if after == before || before == 0 || after == 0 {
		return nil
	}
	return []pathChange{{peer: p, from: before, to: after, router: e.From}}
}

// state is another after routes or interfaces have changed what a port's MTU follows.
func (s *paths) state() (now [1 + families]int) {
	for family := range families {
		now[1+family] = s.carrier(family)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now[0] = s.turns
	return now
}

// describe says in bytes what is known of a peer's path: its MTU, the MTU of routes and interfaces alone, and the largest packet inside.
func (s *paths) describe(p *peer) (mtu, route, inside int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mtu = p.path.current(); mtu > 0 {
		inside = max(mtu-overheads[p.family], 0)
	}
	return mtu, p.path.base, inside
}

// whyNone says why nothing gets to a peer; "": something may.
func (s *paths) whyNone(p *peer) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.path.why
}

// over is the ifindex of the interface that the route to a peer leads over; 0: there is no route.
func (s *paths) over(p *peer) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.path.via
}

// forget has what was heard of old ways dropped when the peers are asked about next: routes or interfaces have changed. Until then it is what the workers go by.
func (s *paths) forget(peers []*peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range peers {
		p.path.until = time.Time{}
	}
}

// unsure selects the peers to ask about again although nothing was announced: those never asked about, those whose path ICMP narrowed, since nobody
// announces that the kernel has forgotten it, and perRound of the rest in turn from next on.
func (s *paths) unsure(peers []*peer, next, perRound int) (some []*peer, then int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range peers {
		t := &p.path
		turn := (i - next + len(peers)) % len(peers)
		if !t.asked || t.heard != 0 || t.mtu != t.base || turn < perRound {
			some = append(some, p)
		}
	}
	if len(peers) == 0 {
		return nil, 0
	}
	return some, (next + perRound) % len(peers)
}
