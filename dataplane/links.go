package dataplane

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vtepd/dataplane/device"
)

// linkPoll is how often the state of every port's interface is asked for even when the kernel announced nothing: announcements from the
// namespaces that ports were moved into do not reach us.
const linkPoll = 2 * time.Second

// linkSettle gathers a burst of announcements into one look.
const linkSettle = 20 * time.Millisecond

// watchLinks notices interfaces that go down, vanish, are renamed or moved. An announcement is about one interface, and its port alone is looked at:
// otherwise a thousand ports would cost a thousand times a thousand questions to start.
func (s *Switch) watchLinks(ctx context.Context) {
	updates, end, err := s.subscribeLinks(ctx)
	if err != nil {
		// The poll remains: slower to notice, otherwise the same.
		s.log.Warn("no link announcements, polling instead", "every", linkPoll, "reason", err)
	}
	defer func() { end() }()
	t := time.NewTicker(linkPoll)
	defer t.Stop()
	for polls := 1; ; {
		var changed *linkChanges
		select {
		case <-ctx.Done():
			return
		case u, ok := <-updates:
			if !ok {
				end() // the kernel had more to tell than there was room for
				updates, end = nil, noLinks
				continue
			}
			changed = newLinkChanges(u)
			time.Sleep(linkSettle)
			for len(updates) > 0 {
				changed.add(<-updates)
			}
		case <-t.C:
			if updates == nil {
				updates, end, _ = s.subscribeLinks(ctx)
			}
			if polls++; polls%superframePolls == 0 {
				s.eachPort(s.boundSuperframes)
			}
		}
		s.refreshPorts(changed)
		// A socket is of the namespace of the thread that opens it.
		if err := s.atHome(func() error { s.refreshGroups(); return nil }); err != nil {
			s.log.Error("multicast groups are not looked after", "error", err)
		}
	}
}

// noLinks ends no subscription.
func noLinks() {}

// subscribeLinks asks the kernel to announce changes of interfaces, until end is called. The channel is closed when announcements were lost, and the socket stays open
// then all the same.
func (s *Switch) subscribeLinks(ctx context.Context) (_ <-chan netlink.LinkUpdate, end func(), err error) {
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	var at *netns.NsHandle // nil: the thread's, which needs no right to enter namespaces
	if !device.IsOwnNetNS(s.home) {
		at = new(netns.NsHandle(s.home))
	}
	err = netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		Namespace: at,
		ErrorCallback: func(err error) {
			if ctx.Err() == nil {
				s.log.Debug("link announcements", "error", err)
			}
		},
	})
	if err != nil {
		return nil, noLinks, err
	}
	return updates, func() {
		close(done)
		for range updates { // it may be waiting for a reader
		}
	}, nil
}

// linkChanges are the interfaces that a burst of announcements was about.
type linkChanges struct {
	indices map[int]bool
	names   map[string]bool
}

func newLinkChanges(u netlink.LinkUpdate) *linkChanges {
	c := &linkChanges{make(map[int]bool), make(map[string]bool)}
	c.add(u)
	return c
}

func (c *linkChanges) add(u netlink.LinkUpdate) {
	c.indices[int(u.Index)] = true
	if u.Link != nil {
		c.names[u.Attrs().Name] = true
	}
}

// concern says whether a port is to be looked at. A missing interface is looked for by name, and at once; a missing device of our own making is
// tried at every occasion, as far as its wait allows.
func (c *linkChanges) concern(r *portRecord) bool {
	p := r.published
	switch {
	case c == nil:
		return true
	case p.link != nil:
		return c.indices[r.attr.Ifindex]
	case p.config.Type != PortNetdev:
		return true
	case c.names[p.config.Name]:
		r.retry = time.Time{}
		return true
	}
	return false
}

// refreshPorts looks at the ports that announcements concern; nil is all.
func (s *Switch) refreshPorts(changed *linkChanges) {
	s.eachPort(func(r *portRecord) {
		if changed.concern(r) {
			s.refreshPort(r)
			if changed != nil && !s.closed { // it may have been another meanwhile, and be as before
				s.fast.portChanged(r.published)
				s.boundSuperframes(r)
			}
			s.tellRest(r)
		}
	})
}

// eachPort calls f with mu for each port, by name. The mutex is let go between two ports: asking the kernel takes tens of microseconds a port, and
// a command must not wait for a thousand of them. Ports that come meanwhile are left out.
func (s *Switch) eachPort(f func(r *portRecord)) {
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.ports))
	s.mu.Unlock()
	for _, name := range names {
		s.mu.Lock()
		if r := s.ports[name]; r != nil {
			f(r)
		}
		s.mu.Unlock()
	}
}

// refreshPort asks the kernel what the port's interface is doing and acts on what changed. Needs mu.
func (s *Switch) refreshPort(r *portRecord) {
	if s.closed {
		return // the devices are gone for good
	}
	p := r.published
	if p.link == nil {
		s.remakePort(r)
		return
	}
	var a device.Attr
	err := s.atHome(func() (err error) { // whether it is away is told from there
		a, err = p.link.dev.Attr()
		return err
	})
	if errors.Is(err, device.ErrGone) {
		s.losePort(r)
		if p.config.Type == PortNetdev { // the next of that name may be there, and have been announced along with it
			s.remakePort(r)
		}
		return
	}
	if err != nil {
		s.log.Debug("asking for a port's state", "port", p.config.Name, "error", err)
		return
	}
	if a.Ifindex != r.attr.Ifindex || a.NetNS != r.attr.NetNS || a.Away != (r.here == 0) || !bytes.Equal(a.MAC, r.attr.MAC) || a.Up != (r.state == PortUp) || a.XDP != r.xdp || a.Whole != r.whole {
		s.fast.portChanged(p)
	}
	if a.Warning == "" {
		a.Warning = leftBehind(&p.config, &a)
	}
	if a.Warning == "" && p.config.MTU > a.MTU {
		a.Warning = fmt.Sprintf("its mtu is %d, and its interface or the other end of that takes %d", p.config.MTU, a.MTU)
	}
	if a.Warning != r.attr.Warning && a.Warning != "" {
		log := s.logOf(r)
		log.Warn("port is not served well", "port", p.config.Name, "interface", a.Name, "reason", a.Warning)
	}
	if a.Away {
		s.place(r, 0)
	} else {
		s.place(r, a.Ifindex)
	}
	r.xdp, r.whole = a.XDP, a.Whole
	if p.config.Type != PortNetdev && a.MAC != nil { // of a pair that is about to go, too: its other end may go first
		r.lastMAC = a.MAC
	}
	found := r.attr.Peer == "" && a.Peer != ""
	r.attr = PortInfo{Warning: a.Warning, Ifname: a.Name, Ifindex: a.Ifindex, MTU: a.MTU, MAC: a.MAC, NetNS: a.NetNS, Peer: a.Peer}
	if workload := cmp.Or(a.OtherMTU, a.MTU); workload != p.link.workload {
		s.keepIPv6(r, workload)
	}
	if a.MTU != p.link.mtu {
		log := s.logOf(r)
		log.Info("port MTU was changed from outside", "port", p.config.Name, "from", p.link.mtu, "to", a.MTU)
		s.judgeBy(r, a.MTU)
		s.fitPort(r)
	}
	if found {
		s.catchUpMTU(r)
	}
	if a.Master != r.master {
		r.master = a.Master
		s.boundSuperframes(r)
	}
	state := PortIsDown
	if a.Up {
		state = PortUp
	}
	p.link.down.Store(!a.Up)
	s.setPortState(r, state)
	if !a.Up {
		// A station that was here may be elsewhere by now, and is looked for. Not only when the port went down: what waited in its queue was learned from since.
		s.flushPortDynamic(p)
	}
}

// leftBehind says that a workload's end is not in the namespace that is called what netns says; "": it is, or none was asked for. A process keeps a namespace whose name
// was deleted, and with it the interface, while the name may be another one's by now.
func leftBehind(c *PortConfig, a *device.Attr) string {
	if c.NetNS == "" || a.NetNSKey == device.NetNSKey(c.NetNS) {
		return ""
	}
	if a.NetNS != "" {
		return fmt.Sprintf("its end for the workload is in the network namespace %s, not in %s: `vtepctl port set %s netns %s` if it belongs there; or delete the port and add it again",
			a.NetNS, c.NetNS, c.Name, a.NetNS)
	}
	return fmt.Sprintf("its end for the workload is not in the network namespace %s: it was moved, or a process keeps a former one of that name: end that, or delete the port and add it again",
		c.NetNS)
}

// place notes where a port's interface is: its ifindex in vtepd's own namespace, or 0. Needs mu.
func (s *Switch) place(r *portRecord, ifindex int) {
	if r.here == ifindex {
		return
	}
	s.portLinks.CompareAndDelete(r.here, r.published.config.Name) // the number may be another port's by now
	if r.here = ifindex; ifindex != 0 {
		s.portLinks.Store(ifindex, r.published.config.Name)
	}
}

// leadsInside names the port that the route to a peer leads into; "": it leads over the underlay, or there is none. What is sent there comes back as
// a frame from the host and is dropped or sent again; it never reaches the peer.
func (s *Switch) leadsInside(p *peer) string {
	if name, ok := s.portLinks.Load(s.paths.over(p)); ok {
		return name.(string)
	}
	return ""
}

func (s *Switch) setPortState(r *portRecord, state PortState) {
	if r.state == state {
		return
	}
	name := r.published.config.Name
	log := s.logOf(r)
	log.Info("port state", "port", name, "from", string(r.state), "to", string(state))
	r.state = state
	s.event(Event{Object: "port", Action: string(state), Port: name})
}

// losePort lets go of a device that was deleted under us. Its entries are forgotten; the port stays and is made again.
func (s *Switch) losePort(r *portRecord) {
	old := r.published
	p := newPort(old.index, old.config, nil, old.stats)
	r.published = p
	s.publishPort(r, nil)
	s.settle()
	s.flushPortDynamic(p)
	r.kernelDrops += old.link.kernelDrops()
	s.closeLink(old.link)
	s.place(r, 0)
	r.attr = PortInfo{}
	r.why = "the interface has been deleted, or moved to another namespace"
	r.wait = retryFirst
	r.retry = time.Now().Add(r.wait)
	if p.config.Type == PortNetdev {
		r.retry = time.Time{} // who makes the interface again decides when
	}
	s.setPortState(r, PortMissing)
}

// remakePort makes a missing device again once its wait is over.
func (s *Switch) remakePort(r *portRecord) {
	if time.Now().Before(r.retry) {
		return
	}
	old := r.published
	c := old.config
	if c.MAC == nil {
		c.MAC = r.lastMAC // the one its neighbours know
	}
	var l *link
	var err error
	if err = s.checkUnderlay(&c); err == nil { // what was not there when the port came may carry the underlay now
		l, err = s.openLink(&c)
	}
	if errors.Is(err, device.ErrMissing) {
		r.why = err.Error() // the announcement, or the poll, that it is there again asks anew
		return
	}
	if err != nil {
		most := retryMost
		if errors.Is(err, device.ErrNoNetNS) {
			most = retryFirst // nobody announces a namespace, and to look for one costs an open(2)
		}
		if err.Error() != r.why {
			s.log.Warn("a missing port cannot be had yet", "port", old.config.Name, "error", err, "retry_most_every", max(most, linkPoll))
		}
		r.why = err.Error()
		r.wait = min(max(2*r.wait, retryFirst), most)
		r.retry = time.Now().Add(r.wait)
		return
	}
	p := newPort(old.index, old.config, l, old.stats)
	r.published, r.why = p, ""
	s.publishPort(r, nil)
	if err := s.watchQueues(p); err != nil {
		s.log.Warn("a missing port cannot be had yet", "port", p.config.Name, "error", err)
		s.losePort(r)
		return
	}
	s.refreshPort(r)
}
