package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/xdp"
)

// route is how a peer is reached: what `ip route get` says.
type route struct {
	ifindex int        // 0: there is none that the programs could take
	nextHop netip.Addr // the peer itself where it is on the link
	mtu     int        // bytes of an IP packet that passes in one piece
	divided bool       // superframes of UDP leave as datagrams
	reason  string     // why the programs cannot go that way; empty: they can
}

// linkInfo is what the fast path wants to know of an interface of the underlay.
type linkInfo struct {
	name     string
	mtu      int
	ethernet bool
	loopback bool // of the host or of a VRF
	divided  bool // superframes of UDP leave it as datagrams
	// reversePath is the setting of its reverse path filter.
	reversePath int
	err         error
}

// Times of following routes.
const (
	// routeSettle gathers a burst of announcements into one look.
	routeSettle = 50 * time.Millisecond
	// routeRest is the least rest after a look, in multiples of what the look took: an underlay whose routes never stand still must not take the processor.
	routeRest = 10
	// routesATurn is how many peers are asked about at a poll, about 20 microseconds each, in turn: routes that change are announced, and of the rest the kernel's last
	// answer is judged anew.
	routesATurn = 256
)

// routes asks the kernel for the way to peers, in the namespace of the thread that made it.
type routes struct {
	log *slog.Logger
	vrf vrf
	h   *netlink.Handle
	raw map[int]*nl.SocketHandle // for what h does not tell in full
	// changed has an element when something was announced.
	changed chan struct{}
	sub     *nl.NetlinkSocket
	links   map[int]linkInfo                // as known since forget
	held    map[netip.Addr]holding          // who has a local address, as known since forget
	ipsec   map[int]string                  // by address family: why IPsec has to be asked about packets; "": it has not
	rules   map[int]string                  // by address family: why RouteGet does not say the way; "": it does
	silent  map[int]map[neighbour]time.Time // by address family: neighbours that have no address, and since when that is known
	before  map[int]map[neighbour]time.Time // silent as it was before forget
	closed  atomic.Bool
	deaf    atomic.Bool               // nothing is announced
	rested  atomic.Pointer[time.Time] // when the rest after the last look at all peers ends; nil: there was none
}

// newRoutes is for what an underlay in a VRF reaches.
func newRoutes(log *slog.Logger, in vrf) (*routes, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
	if err != nil {
		// A kernel without IPsec has no NETLINK_XFRM.
		if h, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return nil, fmt.Errorf("fast path: netlink: %w", err)
		}
	}
	r := &routes{log: log, vrf: in, h: h, changed: make(chan struct{}, 1), links: make(map[int]linkInfo), held: make(map[netip.Addr]holding), ipsec: make(map[int]string), rules: make(map[int]string),
		silent: make(map[int]map[neighbour]time.Time), before: make(map[int]map[neighbour]time.Time)}
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("fast path: netlink: %w", err)
	}
	r.raw = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	if r.sub, err = nl.Subscribe(unix.NETLINK_ROUTE, routeGroups...); err != nil {
		r.log.Warn("no announcements of routes, polling instead", "every", fastPathPoll, "reason", err)
		r.deaf.Store(true)
		return r, nil
	}
	go r.listen(r.sub)
	return r, nil
}

// listen turns bursts of announcements into single elements of changed.
func (r *routes) listen(sub *nl.NetlinkSocket) {
	told := make(chan struct{}, 1)
	go func() {
		defer close(told)
		r.hear(sub, told)
	}()
	for range told {
		time.Sleep(r.patience(time.Now()))
		select {
		case <-told: // while we waited
		default:
		}
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

// hear reads what is announced, all the time: what the kernel kept ready of a burst while a look waits would ask for a look each, one after the other.
func (r *routes) hear(sub *nl.NetlinkSocket, told chan<- struct{}) {
	for {
		_, _, err := sub.Receive()
		if r.closed.Load() {
			return
		}
		// ENOBUFS: there was more to tell than room; something has changed for sure.
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			r.log.Debug("announcements of routes end, polling instead", "error", err)
			r.deaf.Store(true)
			return
		}
		select {
		case told <- struct{}{}:
		default:
		}
	}
}

// looked is told of a look at all peers: the next one has to wait in proportion.
func (r *routes) looked(began, ended time.Time) {
	until := ended.Add(routeRest * ended.Sub(began))
	r.rested.Store(&until)
}

// patience is how long to wait with a look after an announcement at now. The rest is counted from the last look, not from the announcement: a way that changes
// after a while of quiet must not be followed the later the more peers there are, for until then the programs send into what may be gone.
func (r *routes) patience(now time.Time) time.Duration {
	if until := r.rested.Load(); until != nil {
		return max(routeSettle, until.Sub(now))
	}
	return routeSettle
}

func (r *routes) close() {
	r.closed.Store(true)
	if r.sub != nil {
		r.sub.Close()
	}
	r.raw[unix.NETLINK_ROUTE].Close()
	r.h.Close()
}

// forget has interfaces and policies asked for anew.
func (r *routes) forget() {
	clear(r.links)
	clear(r.held)
	clear(r.ipsec)
	clear(r.rules)
	for family, silent := range r.silent {
		r.before[family] = silent
	}
	clear(r.silent)
}

// kernelRoute is the kernel's answer to who asks for the way to a peer.
type kernelRoute struct {
	asked   bool
	ifindex int
	nextHop netip.Addr
	mtu     int    // of the route itself, bytes; 0: it has none
	reason  string // why it is no way for the programs; empty: it may be one
}

// ask asks the kernel for the way to a peer, for datagrams from local, by an interface unless that is 0.
func (r *routes) ask(peer, local netip.Addr, by int) kernelRoute {
	list, err := r.h.RouteGetWithOptions(peer.AsSlice(), &netlink.RouteGetOptions{SrcAddr: local.AsSlice(), OifIndex: cmp.Or(by, r.vrf.index)})
	if err != nil || len(list) == 0 {
		return kernelRoute{asked: true, reason: noRoute(err)}
	}
	k := &list[0]
	a := kernelRoute{asked: true, ifindex: k.LinkIndex, nextHop: peer, mtu: k.MTU}
	switch {
	case k.Type == unix.RTN_BROADCAST:
		a.reason = broadcastRoute
	case k.Type != unix.RTN_UNICAST:
		a.reason = "its route leads to this host itself, or nowhere"
	case k.Encap != nil:
		a.reason = "its route adds a tunnel header"
	}
	if gw, ok := netip.AddrFromSlice(k.Gw); ok {
		a.nextHop = gw.Unmap()
	}
	if via, ok := k.Via.(*netlink.Via); ok && via != nil {
		if gw, ok := netip.AddrFromSlice(via.Addr); ok {
			a.nextHop = gw.Unmap()
		}
	}
	return a
}

// judge says what the way is for the programs, by the kernel's answer and by what else of the host decides, as known since forget.
func (r *routes) judge(peer, local netip.Addr, a *kernelRoute) route {
	if why := r.policies(peer); why != "" {
		return route{reason: why}
	}
	if why := r.rulesBeyond(peer); why != "" {
		return route{reason: why}
	}
	if local.IsValid() { // IPv6 gives a route to a source address that is not there, too
		if at, err := r.carriers(local); len(at.ifindexes) == 0 && err == nil {
			return route{reason: awayText(r.vrf.name, local, at.flaw)}
		}
	}
	if a.reason != "" {
		return route{reason: a.reason}
	}
	l := r.link(a.ifindex)
	switch {
	case l.err != nil:
		return route{reason: fmt.Sprintf("interface %d of its route: %v", a.ifindex, l.err)}
	case l.loopback:
		return route{reason: "its route leads over the loopback interface"}
	case !l.ethernet:
		return route{reason: fmt.Sprintf("%s, which leads to it, carries no Ethernet", l.name)}
	}
	out := route{ifindex: a.ifindex, nextHop: a.nextHop, mtu: l.mtu, divided: l.divided}
	if a.mtu > 0 && a.mtu < out.mtu {
		out.mtu = a.mtu
	}
	if n := (neighbour{out.ifindex, out.nextHop}); r.isSilent(n) {
		// What the programs send to it is lost without a word. User space hears of it, and says so.
		return route{ifindex: out.ifindex, reason: fmt.Sprintf("%s on %s does not answer when the kernel asks for its address: see `ip neigh`", n.addr, l.name)}
	}
	return out
}

// neighbour is an address on an interface.
type neighbour struct {
	ifindex int
	addr    netip.Addr
}

// silentAfter is how long the kernel may ask for a neighbour's address before that counts as no answer: it asks once a second.
const silentAfter = time.Second

// isSilent says whether a neighbour does not tell its address. A frame that comes after the kernel gave up (NUD_FAILED) has it ask again (NUD_INCOMPLETE), so
// that it is found asking whenever there is traffic.
func (r *routes) isSilent(n neighbour) bool {
	family := netlinkFamily(n.addr)
	silent, known := r.silent[family]
	if !known {
		silent = make(map[neighbour]time.Time)
		list, err := dump(func() ([]netlink.Neigh, error) { return r.h.NeighList(0, family) })
		if err != nil {
			r.log.Debug("fast path: neighbours cannot be asked for", "reason", err)
		}
		for i := range list {
			addr, _ := netip.AddrFromSlice(list[i].IP)
			n := neighbour{list[i].LinkIndex, addr.Unmap()}
			since, before := r.before[family][n]
			switch list[i].State {
			case unix.NUD_FAILED:
				silent[n] = time.Time{}
			case unix.NUD_INCOMPLETE:
				if !before {
					since = time.Now()
				}
				silent[n] = since
			}
		}
		r.silent[family] = silent
	}
	since, silently := silent[n]
	return silently && time.Since(since) >= silentAfter
}

// policies says why packets of the family have to go through the host's IPsec: what the programs send would leave untransformed, and what they take would
// come in unasked. "": they have not.
func (r *routes) policies(peer netip.Addr) string {
	family := netlinkFamily(peer)
	why, known := r.ipsec[family]
	if !known {
		list, err := dump(func() ([]netlink.XfrmPolicy, error) { return r.h.XfrmPolicyList(family) })
		switch {
		case len(list) > 0:
			why = "the host has IPsec policies, which the fast path would pass by"
		case !noneOf(err):
			why = fmt.Sprintf("the host may have IPsec policies, which the fast path would pass by, and cannot be asked: %v", err)
		}
		r.ipsec[family] = why
	}
	return why
}

// dumpTries bounds asking again for a list that changed while it was told (NLM_F_DUMP_INTR).
const dumpTries = 3

func dump[T any](ask func() ([]T, error)) (list []T, err error) {
	for range dumpTries {
		if list, err = ask(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

// noneOf says whether the answer to a dump is complete: a kernel without the thing asked for has none of it. Any other error may hide one.
func noneOf(err error) bool {
	for _, none := range []error{unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.EAFNOSUPPORT} {
		if errors.Is(err, none) {
			return true
		}
	}
	return err == nil
}

// link tells of an interface.
func (r *routes) link(ifindex int) linkInfo {
	if l, ok := r.links[ifindex]; ok {
		return l
	}
	var l linkInfo
	k, err := r.h.LinkByIndex(ifindex)
	if err != nil {
		l.err = err
	} else {
		a := k.Attrs()
		l = linkInfo{name: a.Name, mtu: a.MTU, ethernet: a.EncapType == "ether", loopback: a.RawFlags&unix.IFF_LOOPBACK != 0 || k.Type() == vrfKind,
			reversePath: reversePathFilter(a.Name), divided: xdp.DividesUDP(k)}
	}
	r.links[ifindex] = l
	return l
}

// carriers finds out who has a local address.
func (r *routes) carriers(local netip.Addr) (holding, error) {
	if at, ok := r.held[local]; ok {
		return at, nil
	}
	at, err := whoHas(r.h, r.vrf, local)
	if err == nil {
		r.held[local] = at
	}
	return at, err
}
