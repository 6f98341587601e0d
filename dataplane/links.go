package dataplane

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

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
	done := make(chan struct{})
	updates, err := s.subscribeLinks(ctx, done)
	if err != nil {
		// The poll remains: slower to notice, otherwise the same.
		s.log.Warn("no link announcements, polling instead", "every", linkPoll, "reason", err)
	}
	defer func() {
		close(done)
		for updates != nil { // the subscription may be waiting for a reader
			if _, ok := <-updates; !ok {
				return
			}
		}
	}()
	t := time.NewTicker(linkPoll)
	defer t.Stop()
	for {
		var changed map[int]bool
		select {
		case <-ctx.Done():
			return
		case u, ok := <-updates:
			if !ok {
				updates = nil // the kernel had more to tell than there was room for
				continue
			}
			changed = map[int]bool{int(u.Index): true}
			time.Sleep(linkSettle)
			for len(updates) > 0 {
				u := <-updates
				changed[int(u.Index)] = true
			}
		case <-t.C:
			if updates == nil {
				updates, _ = s.subscribeLinks(ctx, done)
			}
		}
		s.refreshPorts(changed)
		s.refreshGroups()
	}
}

// subscribeLinks asks the kernel to announce changes of interfaces. The channel is closed when announcements were lost, and after done.
func (s *Switch) subscribeLinks(ctx context.Context, done <-chan struct{}) (<-chan netlink.LinkUpdate, error) {
	updates := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) {
			if ctx.Err() == nil {
				s.log.Debug("link announcements", "error", err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return updates, nil
}

// refreshPorts looks at the ports whose interface has one of these indices, and at missing ones; nil is all.
func (s *Switch) refreshPorts(changed map[int]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, r := range s.ports {
		if changed == nil || changed[r.attr.Ifindex] || r.published.link == nil {
			s.refreshPort(r)
		}
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
	a, err := p.link.dev.Attr()
	if errors.Is(err, device.ErrGone) {
		s.losePort(r)
		return
	}
	if err != nil {
		s.log.Debug("asking for a port's state", "port", p.config.Name, "error", err)
		return
	}
	r.attr = PortInfo{Ifname: a.Name, Ifindex: a.Ifindex, MTU: a.MTU, MAC: a.MAC, NetNS: a.NetNS}
	state := PortIsDown
	if a.Up {
		state = PortUp
	}
	s.setPortState(r, state)
}

func (s *Switch) setPortState(r *portRecord, state PortState) {
	if r.state == state {
		return
	}
	name := r.published.config.Name
	s.log.Info("port state", "port", name, "from", string(r.state), "to", string(state))
	r.state = state
	s.event(Event{Object: "port", Action: string(state), Port: name})
}

// losePort lets go of a device that was deleted under us. Its entries are forgotten; the port stays and is made again.
func (s *Switch) losePort(r *portRecord) {
	old := r.published
	p := newPort(old.index, old.config, old.stats)
	r.published = p
	s.publishPort(r, nil)
	s.settle()
	s.flushPortDynamic(p)
	s.closeLink(old.link)
	r.lastMAC = r.attr.MAC
	r.attr = PortInfo{}
	r.wait = retryFirst
	r.retry = time.Now().Add(r.wait)
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
	l, err := s.openLink(&c)
	if err != nil {
		if r.wait == retryFirst {
			s.log.Warn("a vanished port cannot be made again yet", "port", old.config.Name, "error", err, "retry_most_every", retryMost)
		}
		r.wait = min(2*r.wait, retryMost)
		r.retry = time.Now().Add(r.wait)
		return
	}
	p := newPort(old.index, old.config, old.stats)
	p.link = l
	r.published = p
	s.publishPort(r, nil)
	if err := s.watchQueues(p); err != nil {
		s.log.Warn("a vanished port cannot be made again yet", "port", p.config.Name, "error", err)
		s.losePort(r)
		return
	}
	s.refreshPort(r)
}

// underlayLink finds the interface that carries the local address: its name and MTU in bytes, or nothing.
func (s *Switch) underlayLink() (name string, mtu int) { return linkOf(s.config.Local) }

// linkOf finds the interface that has an address: its name and MTU in bytes, or nothing.
func linkOf(local netip.Addr) (name string, mtu int) {
	links, err := net.Interfaces()
	if err != nil {
		return "", 0
	}
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && local.Compare(addrOf(n.IP)) == 0 {
				return l.Name, l.MTU
			}
		}
	}
	return "", 0
}

// defaultMTU is what fits the underlay in one piece toward every peer of the port's VNIs: of two address families the one that leaves less counts.
// Where there is no peer it is what Local leaves. Needs mu.
func (s *Switch) defaultMTU(c *PortConfig) int {
	left := maxMTU
	for family, used := range s.familiesOf(c) {
		if !used {
			continue
		}
		_, mtu := linkOf(s.config.localOf(family))
		if mtu == 0 {
			mtu = 1500
		}
		left = min(left, mtu-[families]int{overhead4, overhead6}[family])
	}
	return max(left, minMTU)
}

// familiesOf says which address families the peers and groups of a port's VNIs have; Local's when there are none.
func (s *Switch) familiesOf(c *PortConfig) (used [families]bool) {
	for _, vni := range append(vnisTagged(c), c.Untagged) {
		if r := s.vnis[vni]; r != nil {
			for _, p := range r.destinations() {
				used[p.family] = true
			}
		}
	}
	if used == [families]bool{} {
		used[familyOf(s.config.Local)] = true
	}
	return used
}

func vnisTagged(c *PortConfig) []uint32 {
	var list []uint32
	for _, m := range c.Tagged {
		list = append(list, m.VNI)
	}
	return list
}
