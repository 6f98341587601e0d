package dataplane

import (
	"cmp"
	"fmt"
	"slices"

	"vtepd/encap"
	"vtepd/fdb"
)

// forward is worker.forward.
func (t *tracer) forward() Reason {
	f := t.f
	dst := encap.Ethernet(f.bytes()).Dst()
	if encap.MulticastMAC(dst) {
		return t.flood(floodText(dst))
	}
	t.s.fast.freshAge(f.domain.vni, fdb.MAC(dst))
	place, found := t.s.fdb.Lookup(f.domain.vni, fdb.MAC(dst), t.w.now)
	text := t.whereText(fdb.MAC(dst))
	if t.learned && dst == encap.Ethernet(f.bytes()).Src() {
		place, found, text = t.ownPlace(), true, fmt.Sprintf("%s would be at %s", fdb.MAC(dst), t.where)
	}
	going := func(e fdb.Entry) bool { return e.VNI == f.domain.vni && e.MAC == fdb.MAC(dst) }
	if slices.ContainsFunc(t.gone, going) && !t.onPrograms(place) {
		found, text = false, fmt.Sprintf("%s would just have gone", fdb.MAC(dst))
	}
	if !found {
		return t.flood(text)
	}
	if place.IsPort() {
		p := t.w.snap.port(place.Index())
		if p == nil {
			return t.flood(text)
		}
		if p == f.port {
			t.stage("lookup", SamePlace, text+", where the frame comes from")
			return SamePlace
		}
		vid, ok := p.tagFor(f.domain.vni)
		if !ok {
			return t.flood(text + ", which does not carry the VNI")
		}
		t.stage("lookup", ReasonNone, text)
		return t.toPort(p, vid, true)
	}
	if f.wire {
		t.stage("lookup", SplitHorizon, text+", and what comes from a peer goes to none")
		return SplitHorizon
	}
	p := t.s.peers.at(place.Index())
	if p == nil {
		return t.flood(text)
	}
	t.stage("lookup", ReasonNone, text)
	return t.verdict(t.toPeers([]*peer{p}, true))
}

// onPrograms says whether the fast path carries what goes to a place. Its programs tell of a new source, and forward before it is learned.
func (t *tracer) onPrograms(place fdb.Dest) bool {
	var c TraceCopy
	to := func() (bool, string) { return t.fast.peer(place.Index()) }
	if place.IsPort() {
		to = func() (bool, string) {
			p := t.w.snap.port(place.Index())
			if p == nil {
				return false, ""
			}
			return t.fast.port(p)
		}
	}
	t.carrier(&c, true, to, "")
	return c.FastPath
}

// verdict is what the frame is dropped for, the last stage having said r: a copy may have failed to leave behind that.
func (t *tracer) verdict(r Reason) Reason {
	switch {
	case t.left:
		return ReasonNone
	case t.failed != ReasonNone:
		return t.failed
	}
	return r
}

// ownPlace is where the frame comes from.
func (t *tracer) ownPlace() fdb.Dest {
	if t.f.wire {
		return t.f.peer.place()
	}
	return t.f.port.place()
}

// flood is worker.flood.
func (t *tracer) flood(text string) Reason {
	f, d := t.f, t.f.domain
	if r := guardFlood(f); t.stage("lookup", r, text+": "+t.floodsText()) {
		return r
	}
	if r, text := t.stormText(); text != "" && t.stage("storm-control", r, text) {
		return r
	}
	reason := NoDestination
	note := func(r Reason) {
		if reason == NoDestination && r != ReasonNone {
			reason = r
		}
	}
	for _, m := range d.floodPorts {
		p := t.w.snap.port(m.port)
		if p == nil || p == f.port {
			continue
		}
		note(t.toPort(p, m.vid, false))
	}
	if !f.wire && len(d.floodPeers) > 0 {
		note(t.toPeers(d.floodPeers, false))
	}
	return t.verdict(reason)
}

// stormText says what is left of the budget that the frame is flooded by; "" where there is none.
func (t *tracer) stormText() (Reason, string) {
	b, rate := t.w.stormBudget(t.f)
	switch {
	case b == nil:
		return ReasonNone, ""
	case b.exhausted(t.s.sinceStart()):
		return StormLimited, fmt.Sprintf("it has had %s flooded of late, and more", rate)
	}
	return ReasonNone, fmt.Sprintf("%s may be flooded", rate)
}

func (t *tracer) floodsText() string {
	d := t.f.domain
	ports := len(d.floodPorts)
	if !t.f.wire {
		ports = max(ports-1, 0)
	}
	switch {
	case d.noFlood&floodKind(encap.Ethernet(t.f.bytes()).Dst()) != 0:
		return "the VNI does not flood this kind"
	case t.f.wire:
		return fmt.Sprintf("flooded to %s, and to no peer, since it is from one", counted(ports, "port"))
	}
	peers, groups := 0, 0
	for _, p := range d.floodPeers {
		if p.group {
			groups++
		} else {
			peers++
		}
	}
	text := fmt.Sprintf("flooded to %s and %s", counted(ports, "port"), counted(peers, "peer"))
	if groups > 0 {
		text += " and " + counted(groups, "group")
	}
	return text
}

// toPort is worker.toPort.
func (t *tracer) toPort(p *port, vid uint16, known bool) Reason {
	f := t.f
	c := TraceCopy{Port: p.config.Name, VID: vid, Most: p.maxFrame}
	if vid != 0 {
		c.Priority = f.priority
		c.Most += encap.VLANTagLen
	}
	c.Reason = guardPort(f, p, vid)
	if c.Reason == ReasonNone {
		if f.wire {
			f.findUnfinished(p)
		}
		c.Clamped = t.clamped(func() { t.w.clampToPort(f, p) })
		c.Reason = guardPortSize(f, p)
	}
	if c.Reason == ReasonNone {
		c.Reason = t.stateReason(p)
	}
	c.Bytes = f.largest()
	if isTag(encap.Ethernet(f.bytes()).EtherType()) {
		c.Most += encap.VLANTagLen // see guardPortSize
	}
	if vid != 0 {
		c.Bytes += encap.VLANTagLen
	}
	c.Text = portText(c.Reason)
	t.carrier(&c, known, func() (bool, string) { return t.fast.port(p) }, "port "+p.config.Name)
	t.note(c)
	return c.Reason
}

// stateReason is why a port's device takes nothing.
func (t *tracer) stateReason(p *port) Reason {
	switch r := t.s.ports[p.config.Name]; {
	case r == nil || r.state == PortMissing:
		return PortGone
	case r.state == PortIsDown:
		return PortDown
	}
	return ReasonNone
}

// routeReason is why the kernel takes no datagram for a peer; text may say more although it takes it.
func (t *tracer) routeReason(p *peer) (r Reason, text string) {
	if t.away[p.family] == nil { // the kernel is asked once, not for each of thousands of peers
		away := t.s.paths.away(p.family)
		t.away[p.family] = &away
	}
	away := *t.away[p.family]
	if text = t.s.noWay(p, away); away != "" || text != "" && t.s.leadsInside(p) == "" { // what leads into a port leaves by it
		r = NoRoute
	}
	return r, text
}

func (t *tracer) note(c TraceCopy) {
	if c.Reason == ReasonNone {
		t.left, t.handed = true, true
	}
	t.out.Copies = append(t.out.Copies, c)
}

// toPeers is worker.toPeers. What would keep a datagram from leaving the host is not what it returns, but in failed.
func (t *tracer) toPeers(peers []*peer, known bool) Reason {
	f, d := t.f, t.f.domain
	clamped := t.clamped(func() { t.w.clampToPeers(f, peers) })
	layout := f.parse()
	class := d.class
	t.w.outerFields(f, layout, &class)
	hash := encap.FlowHash(f.bytes(), layout, t.s.seed)
	size := len(f.bytes())
	reason := TooBig
	for _, p := range peers {
		class := d.classFor(p, class)
		c := TraceCopy{Peer: p.addr, Bytes: size + encapOverhead(p.addr.Addr()), Clamped: clamped}
		c.Outer = TraceOuter{Source: t.s.config.localOf(p.family), TOS: class.TOS, TTL: cmp.Or(class.TTL, DefaultTTL), Checksum: !class.NoChecksum}
		if u := t.s.sockets[p.family]; u != nil {
			c.Outer.SrcPort = u.SourcePort(class, hash)
		}
		limit := p.maxFrame()
		switch {
		case limit != 0 && size > limit:
			f.tighten(limit, true)
			c.Reason = TooBig
			c.Text = fmt.Sprintf("the path to it carries %d bytes", limit+encapOverhead(p.addr.Addr()))
		default:
			reason, t.handed = ReasonNone, true
			c.Reason, c.Text = t.routeReason(p)
			if t.failed == ReasonNone {
				t.failed = c.Reason
			}
		}
		if limit != 0 {
			c.Most = limit + encapOverhead(p.addr.Addr())
		}
		t.carrier(&c, known, func() (bool, string) { return t.fast.peer(p.index) }, "peer "+p.addr.Addr().String())
		t.note(c)
	}
	return reason
}

// clamped has a stage lower the MSS of the frame, and says whether one did.
func (t *tracer) clamped(clamp func()) bool {
	if t.f.domain.clamp.on {
		before := t.w.answers.clamped.Load()
		clamp()
		t.lowered = t.lowered || t.w.answers.clamped.Load() > before
	}
	return t.lowered
}

// carrier says who would carry a copy: the programs know where known unicast goes.
func (t *tracer) carrier(c *TraceCopy, known bool, to func() (bool, string), name string) {
	type end struct {
		name string
		ask  func() (bool, string)
	}
	if !t.fast.active {
		c.FastPathReason = t.fast.reason
		return
	}
	if !known {
		c.FastPathReason = "what is flooded passes user space"
		return
	}
	from := end{"", nil}
	if p := t.f.port; p != nil {
		from = end{"port " + p.config.Name, func() (bool, string) { return t.fast.port(p) }}
	}
	vni := end{fmt.Sprintf("VNI %d", t.f.domain.vni), func() (bool, string) { return t.fast.vni(t.f.domain.vni) }}
	for _, e := range []end{from, vni, {name, to}} {
		if e.ask == nil {
			continue
		}
		if on, why := e.ask(); !on {
			c.FastPathReason = e.name + ": " + why
			return
		}
	}
	c.FastPath = true
}
