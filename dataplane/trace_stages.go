package dataplane

import (
	"fmt"
	"net/netip"
	"time"

	"vtepd/encap"
	"vtepd/fdb"
)

// tracer takes one frame through the stages of a worker. It has a worker of its own, in which stages leave what they leave there; what they would leave in
// the switch, they are not asked for.
type tracer struct {
	s    *Switch
	w    *worker
	f    *frame
	fast onFastPath
	out  Trace
	// learned: from now on the source would be known at its place.
	learned bool
	where   string // that place, in words
	// lowered: the MSS is lowered from now on, for later copies too, since they are of the same bytes.
	lowered bool
	// away are what is wrong with our own addresses, by family, once asked for.
	away [families]*string
	// gone are the entries that would have made room for it.
	gone []fdb.Entry
	// left: a copy did, or would. handed: one would be given to the kernel at least, whether it leaves the host or not; failed is what would keep the first one
	// that does not.
	left, handed bool
	failed       Reason
}

func (s *Switch) newTracer(q TraceQuery) *tracer {
	w := &worker{s: s, snap: s.current.Load(), now: s.now(), fates: make([]fate, 1)}
	buf := make([]byte, encap.VXLANLen+len(q.Frame))
	copy(buf[encap.VXLANLen:], q.Frame)
	w.frame.reset(buf, encap.VXLANLen, encap.Offload{})
	return &tracer{s: s, w: w, f: &w.frame, fast: s.fast.places()}
}

// stage notes a step, and says whether it dropped the frame. Text is what is said of one that goes on; what dropped it speaks for itself.
func (t *tracer) stage(name string, r Reason, text string) (dropped bool) {
	t.out.Stages = append(t.out.Stages, TraceStage{Name: name, Text: text, Reason: r})
	return r != ReasonNone
}

// fromPort is worker.portStages.
func (t *tracer) fromPort() Reason {
	f := t.f
	if r := t.stateReason(f.port); r != ReasonNone {
		t.stage("port", ReasonNone, portText(r)+": no frame comes from there now")
	}
	if r := guardLength(f); t.stage("length", r, t.lengthText()) {
		return r
	}
	if r := guardLinkLocal(f); t.stage("link-local", r, linkLocalText(f)) {
		return r
	}
	tag := tagText(f)
	if r := t.w.classify(f); t.stage("vlan", r, tag+t.classText(r)) {
		return r
	}
	if r := t.group(); r != ReasonNone {
		return r
	}
	if r := guardSource(f); t.stage("source", r, macText(encap.Ethernet(f.bytes()).Src())) {
		return r
	}
	if f.domain.spoofGuard {
		if r := t.w.guardSpoof(f); t.stage("vxlan-spoof", r, spoofText(r)) {
			return r
		}
	}
	if r := t.learn(f.port.place(), "port "+f.port.config.Name); r != ReasonNone {
		return r
	}
	return t.forward()
}

// fromPeer is worker.wireStages.
func (t *tracer) fromPeer(q TraceQuery) Reason {
	f := t.f
	f.wire = true
	header := encap.NewVXLANHeader(q.VNI)
	d := t.w.snap.vnis.get(q.VNI)
	if d != nil && d.gpe {
		header = header.WithNext(encap.GPEEthernet)
	}
	if q.GBP != 0 || d != nil && d.gbp {
		header = header.WithGBP(q.GBP)
	}
	header.Put(f.buf)
	r := t.w.decapsulate(f)
	text := fmt.Sprintf("VNI %d", q.VNI)
	if r == UnknownVNI {
		text += " is not declared here"
	} else if r == BadVXLANHeader {
		text += " takes no header with a group policy ID: reserved-bits is strict"
	}
	if t.stage("vni", r, text) {
		return r
	}
	if r := t.admit(netip.AddrPortFrom(q.Peer, q.Arrival)); r != ReasonNone {
		return r
	}
	if r := t.group(); r != ReasonNone {
		return r
	}
	if r := guardLength(f); t.stage("length", r, t.lengthText()) {
		return r
	}
	tag := tagText(f)
	if r := guardInnerTag(f); t.stage("inner-vlan", r, tag) {
		return r
	}
	if r := propagateECN(f, q.TOS); t.stage("ecn", r, ecnText(f, q.TOS)) {
		return r
	}
	if r := guardLinkLocal(f); t.stage("link-local", r, linkLocalText(f)) {
		return r
	}
	if r := guardSource(f); t.stage("source", r, macText(encap.Ethernet(f.bytes()).Src())) {
		return r
	}
	if f.domain.learning && f.peer != nil && !f.gbp.DontLearn() {
		if r := t.learn(f.peer.place(), t.peerText(f.peer.addr)); r != ReasonNone {
			return r
		}
	} else {
		text := "the VNI does not learn from peers"
		r := t.w.guardStatic(f)
		switch {
		case r != ReasonNone:
			text = t.whereText(fdb.MAC(encap.Ethernet(f.bytes()).Src()))
		case f.domain.learning && f.peer == nil:
			text = "too many peers are known to learn from one more"
		case f.domain.learning:
			text = "its header says not to learn"
		}
		if t.stage("learning", r, text) {
			return r
		}
	}
	return t.forward()
}

// admit is worker.admit; the port is the one that it arrived at. A source that would become a peer now gets a place that no other has.
func (t *tracer) admit(arrived netip.AddrPort) Reason {
	source := arrived.Addr()
	p, r := t.s.judge(t.f.domain, source)
	text := "a peer of the VNI"
	switch {
	case r == OwnSource:
		text = source.String() + " is an address of this VTEP itself"
	case r == UnknownPeer:
		text = source.String() + " is no peer of the VNI, and peer-policy is strict"
	case p == nil:
		text = "no peer of the VNI, but its policy admits it"
		if p = t.s.peers.find(arrived); p == nil && t.s.peers.count.Load() < maxLearnedPeers {
			p = &peer{index: fdb.MaxIndex, addr: arrived, family: familyOf(source)}
		}
	}
	t.f.peer = p
	t.stage("peer", r, text)
	return r
}

// group is guardGBP, where the VNI has groups.
func (t *tracer) group() Reason {
	if !t.f.domain.gbp {
		return ReasonNone
	}
	r := guardGBP(t.f)
	text := fmt.Sprintf("group %d", t.f.gbp.ID())
	if t.f.gbp.Applied() {
		text += ", policy applied already"
	}
	t.stage("group", r, text)
	return r
}

// learn is worker.learn, foreseen.
func (t *tracer) learn(place fdb.Dest, where string) Reason {
	mac := fdb.MAC(encap.Ethernet(t.f.bytes()).Src())
	t.s.fast.freshAge(t.f.domain.vni, mac)
	verdict, leave := t.s.fdb.Foresee(t.f.domain.vni, mac, place, t.w.now)
	r, text := ReasonNone, ""
	switch verdict {
	case fdb.Elsewhere:
		if t.w.staticAtSource(t.f, mac) {
			text = "known by a static entry for another UDP port of the peer"
			break
		}
		r, text = StaticMACElsewhere, t.whereText(mac)
	case fdb.Refused:
		r, text = MACLimit, fmt.Sprintf("%s cannot be learned", mac)
	case fdb.Held:
		text = t.whereText(mac) + ", and stays there"
	case fdb.Moved:
		t.learned = true
		text = fmt.Sprintf("%s, and would move to %s", t.whereText(mac), where)
	case fdb.Learned:
		t.learned = true
		text = fmt.Sprintf("%s would be learned at %s", mac, where)
	default:
		text = t.whereText(mac)
	}
	for _, e := range leave {
		text += fmt.Sprintf("; a limit is reached, and %s of VNI %d would go", e.MAC, e.VNI)
	}
	t.gone, t.where = leave, where
	t.stage("learning", r, text)
	return r
}

// whereText says where a MAC of the frame's VNI is known to be.
func (t *tracer) whereText(mac fdb.MAC) string {
	e, ok := t.s.fdb.Get(t.f.domain.vni, mac, t.w.now)
	if !ok {
		return fmt.Sprintf("%s is not known", mac)
	}
	place := "a place that is just going"
	if e.Dest.IsPort() {
		place = "port " + t.s.placeName(e.Dest)
	} else if p := t.s.peers.at(e.Dest.Index()); p != nil {
		place = t.peerText(p.addr)
	}
	text := fmt.Sprintf("%s is at %s, %s", mac, place, e.State)
	if e.State == fdb.Dynamic {
		text += fmt.Sprintf(", seen %s ago", time.Duration(max(t.w.now, e.Seen)-e.Seen)*time.Second)
	}
	return text
}

// answer is worker.answerTooBig, without the answer.
func (t *tracer) answer() {
	f := t.f
	if f.tight == 0 || !f.tightPeer && t.handed || !t.answerLeaves() {
		return
	}
	l := f.parse()
	head, rest, ok := t.w.quotation(f, l)
	if !ok {
		return
	}
	limit := encap.MaxTooBigLen
	if most := f.returnLimit(); most > 0 {
		limit = min(limit, most)
	}
	if encap.TooBig(make([]byte, limit), head, rest, l, f.tight-int(l.L3)) != 0 {
		t.out.Answer = f.tight - int(l.L3)
	}
}

// answerLeaves says whether anything gets back to where the frame came from.
func (t *tracer) answerLeaves() bool {
	f := t.f
	switch {
	case !f.wire:
		return t.stateReason(f.port) == ReasonNone
	case f.peer == nil:
		return false
	}
	r, _ := t.routeReason(f.peer)
	return r == ReasonNone
}
