package dataplane

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/underlay"
)

const (
	// pathPoll is how often peers are asked about that nothing was announced of.
	pathPoll = 2 * time.Second
	// pathsPerPoll bounds those of them that are asked about in turn.
	pathsPerPoll = 64
	// errorPause is the least time between two looks at the error queues: somebody may send ICMP errors without end.
	errorPause = 2 * time.Millisecond
	// maxAnswers bounds the distinct ICMP errors kept for the next report.
	maxAnswers = 1024
)

// answers gathers what routers and hosts of the underlay answered, until it is reported.
type answers struct {
	mu   sync.Mutex
	list map[underlay.ICMPError]uint64
}

func (a *answers) add(e underlay.ICMPError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list == nil {
		a.list = make(map[underlay.ICMPError]uint64)
	}
	if _, ok := a.list[e]; ok || len(a.list) < maxAnswers {
		a.list[e]++
	}
}

func (a *answers) take() map[underlay.ICMPError]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// watchErrors reads the error queues of the sockets of one family as soon as there is something in them.
func (s *Switch) watchErrors(ctx context.Context, u *underlay.Sockets) {
	context.AfterFunc(ctx, u.EndErrors)
	for u.AwaitErrors() {
		narrow := make(map[*peer]underlay.ICMPError)
		u.DrainErrors(func(e underlay.ICMPError) {
			s.heard.add(e)
			if e.Errno != unix.EMSGSIZE {
				return
			}
			if p := s.peers.find(e.Dest); p != nil {
				if last, ok := narrow[p]; !ok || e.MTU < last.MTU {
					narrow[p] = e
				}
			}
		})
		for p, e := range narrow {
			s.pathsChanged(s.paths.hear(p, &e))
		}
		time.Sleep(errorPause)
	}
}

// routeGroups are the announcements after which the way to a peer may be another (rtnetlink(7)). Numbers up to 32 can be asked of any kernel: one without nexthop
// objects (before Linux 5.3) has nothing to say in their group.
var routeGroups = []uint{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP}

// announcements is a netlink socket that hears of changes. What they say is of no interest: the kernel is asked again.
type announcements struct{ socket *nl.NetlinkSocket }

// subscribe is for the network namespace of the calling thread.
func subscribe() (*announcements, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, routeGroups...)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &announcements{socket}, nil
}

// close ends await, too.
func (a *announcements) close() {
	if a != nil {
		a.socket.Close()
	}
}

// await waits until something is announced, and says false when the wait ended otherwise. Announcements that were lost for want of room count as one.
func (a *announcements) await() bool {
	_, _, err := a.socket.Receive()
	return err == nil || err == unix.ENOBUFS
}

// watchPaths asks about the peers' paths anew when the kernel announces a change, and now and then in any case.
func (s *Switch) watchPaths(ctx context.Context, told *announcements) {
	changed := make(chan struct{}, 1)
	var reader sync.WaitGroup
	if told != nil {
		context.AfterFunc(ctx, told.close)
		reader.Go(func() {
			for ctx.Err() == nil {
				if told.await() {
					select {
					case changed <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	defer reader.Wait()
	runtime.LockOSThread() // for threadTime
	defer runtime.UnlockOSThread()
	t := time.NewTicker(pathPoll)
	defer t.Stop()
	next := 0
	again := false             // something was announced during the rest
	var seen [1 + families]int // what the ports were last made to follow
	var footings [families]footing
	for {
		var some []*peer
		if again {
			again = false
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			time.Sleep(linkSettle)
			select {
			case <-changed: // said while we waited
			default:
			}
			some = s.peers.all()
			s.paths.forget(some)
		case <-t.C:
			some, next = s.paths.unsure(s.peers.all(), next, pathsPerPoll)
		}
		start := threadTime()
		s.awayFollows()
		s.pathsChanged(s.paths.refresh(some))
		for family := range families {
			if now := s.paths.footing(family); now.known {
				s.tellFooting(s.config.localOf(family), footings[family], now)
				footings[family] = now
			}
		}
		if now := s.paths.state(); now != seen {
			seen = now
			s.fit()
		}
		// A routing daemon that changes its mind all the time gets a tenth of a processor at most; to wait for the kernel, where others change much, costs none. Whether
		// there is an address to send from does not wait for that.
		for rest, resting := time.After(10*(threadTime()-start)), true; resting; {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				time.Sleep(linkSettle)
				s.awayFollows()
				again = true
			case <-rest:
				resting = false
			}
		}
	}
}

// threadTime is how much of a processor the calling thread has used so far.
func threadTime() time.Duration {
	var used unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used) // which no kernel refuses
	return time.Duration(used.Nano())
}

// awayFollows has nothing sent from an IPv6 address that this host has not, or may not use yet. What is sent from an IPv4 address the kernel judges itself.
func (s *Switch) awayFollows() {
	const family = 1
	if u := s.sockets[family]; u != nil {
		u.SetAway(s.paths.away(family) != "")
	}
}

// pathsChanged tells of paths that are not what they were.
func (s *Switch) pathsChanged(changes []pathChange) {
	if len(changes) > 0 {
		s.fast.peersChanged()
	}
	for _, c := range changes {
		kind := "peer"
		if c.peer.group {
			kind = "group"
		}
		log := s.log.With(kind, c.peer.addr.Addr(), "from", c.from, "to", c.to, "inside", c.to-overheads[c.peer.family])
		reason := fmt.Sprintf("%d bytes, was %d", c.to, c.from)
		if c.router.IsValid() {
			log = log.With("router", c.router)
			reason += ", said " + c.router.String()
		}
		hint := "packets that fit are carried again"
		if c.to < c.from {
			hint = "larger packets are answered with ICMP; see vtepctl doctor mtu"
		}
		log.Info("path MTU changed", "hint", hint)
		if !c.peer.group { // which is announced by its VNI
			s.event(Event{Object: "peer", Action: "pmtu", Peer: c.peer.addr, Reason: reason})
		}
	}
}

// learnPaths asks about peers that nothing is known of yet.
func (s *Switch) learnPaths(peers []*peer) {
	fresh := make(map[*peer]bool)
	s.paths.mu.Lock()
	for _, p := range peers {
		if !p.path.asked {
			fresh[p] = true
		}
	}
	s.paths.mu.Unlock()
	if len(fresh) > 0 {
		s.paths.refresh(slices.Collect(maps.Keys(fresh)))
	}
}

// sysctl reads a number that the kernel keeps for the network namespace of the calling thread.
func sysctl(key string) (int, bool) {
	b, err := os.ReadFile("/proc/sys/" + key)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil && n > 0
}
